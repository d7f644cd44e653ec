"""A mailbox and time-outs, on a clock that only the engine moves."""

from __future__ import annotations

import pytest

from evsockets import Conversation, Mailbox, SocketTimeoutError
from support.stage import Stage
from support.talks import talks


@pytest.mark.parametrize(
    ("put_at", "bound", "gets"), [(5, 5, True), (4, 5, True), (6, 5, False), (5, None, True)]
)
def test_what_is_put_before_the_bound_has_passed_is_taken(
    stage: Stage, put_at: float, bound: float | None, gets: bool
) -> None:
    """In the very turn in which it passes, too."""
    mailbox: Mailbox[str] = Mailbox()

    async def taker(talk: Conversation) -> str:
        try:
            with talk.timeout(bound):
                return await talk.take(mailbox)
        except SocketTimeoutError as error:
            return f"{error.phase} at {stage.now:g}, {await talk.take(mailbox)} at {stage.now:g}"

    stage.executor.call_later(put_at, mailbox.put, "item")
    with talks(stage.executor) as people:
        assert people.result(taker) == ("item" if gets else "waiting at 5, item at 6")


def test_the_same_for_room_to_put(stage: Stage) -> None:
    mailbox: Mailbox[int] = Mailbox(1)
    mailbox.put(1)

    async def giver(talk: Conversation) -> str:
        with pytest.raises(SocketTimeoutError):
            with talk.timeout(5):
                await talk.put(mailbox, 2)
        await talk.put(mailbox, 3)
        return f"{stage.now:g}"

    async def taker(talk: Conversation) -> list[int]:
        await talk.sleep(7)
        return [await talk.take(mailbox), await talk.take(mailbox)]

    with talks(stage.executor) as people:
        log = people.add(giver)
        assert people.result(taker) == [1, 3]
    assert log.metadata.result == "7"


def test_an_io_time_out_does_not_count_while_it_waits(stage: Stage) -> None:
    mailbox: Mailbox[int] = Mailbox()

    async def taker(talk: Conversation) -> int:
        return await talk.take(mailbox)

    stage.executor.call_later(1000, mailbox.put, 1)
    with talks(stage.executor) as people:
        assert people.result(taker, io_timeout=3) == 1
