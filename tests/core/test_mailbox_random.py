"""Takers, putters, ends and turns in any order: nothing is lost, nothing comes twice, nobody is stuck."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from evsockets import Conversation, Mailbox, MailboxClosedError, MailboxFullError, SocketTimeoutError
from support.stage import Stage
from support.talks import Talks, talks

ACTIONS = [*["take", "take", "take in time", "put", "put", "wait to put", "put, cancel"] * 6, "close"]


class Model:
    """A mailbox, who uses it, and what became of each item. Items are numbers, each larger than the last."""

    def __init__(self, people: Talks, limit: int | None) -> None:
        self.people = people
        self.mailbox: Mailbox[int] = Mailbox(limit)
        self.takers: list[Any] = []
        self.putters: list[Any] = []
        self.tried = 0
        self.put: list[int] = []
        self.put_by_waiting: list[int] = []
        self.taken: list[int] = []
        self.closed = False

    async def _take(self, talk: Conversation, bound: float | None) -> None:
        try:
            with talk.timeout(bound):
                self.taken.append(await talk.take(self.mailbox))
        except SocketTimeoutError:
            pass

    async def _wait_to_put(self, talk: Conversation, item: int) -> None:
        try:
            await talk.put(self.mailbox, item)
            self.put_by_waiting.append(item)
        except MailboxClosedError:
            assert self.closed

    async def take_rest(self, talk: Conversation) -> None:
        async for item in talk.items(self.mailbox):
            self.taken.append(item)

    def act(self, action: str, which: int) -> None:
        limit, before = self.mailbox.limit, len(self.mailbox)
        if action.startswith("take"):
            self.takers.append(self.people.add(self._take, 2 if action == "take in time" else None))
        elif action.startswith("put"):
            self.tried += 1
            try:
                self.mailbox.put(self.tried)
                self.put.append(self.tried)
            except MailboxFullError:
                assert before == limit
            except MailboxClosedError:
                assert self.closed
            if action == "put, cancel":  # perhaps one who has just been called
                self.cancel(which)
        elif action == "wait to put":
            self.tried += 1
            self.putters.append(self.people.add(self._wait_to_put, self.tried))
        elif action == "close":
            self.closed = True
            self.mailbox.close()
        assert limit is None or len(self.mailbox) <= limit

    def cancel(self, which: int) -> None:
        going = [log for log in (*self.takers, *self.putters) if not log.metadata.request_complete]
        if going and going[which % len(going)].events:
            going[which % len(going)].events[0].cancel_operation()

    def settle(self) -> None:
        """After some turns nobody waits for what is there."""
        for _ in range(4):
            assert self.people.executor.turn(0)
        waits_to_take = any(not log.metadata.request_complete for log in self.takers)
        waits_to_put = any(not log.metadata.request_complete for log in self.putters)
        assert not (waits_to_take and (self.closed or len(self.mailbox)))
        assert not (waits_to_put and (self.closed or len(self.mailbox) != self.mailbox.limit))

    def check_nothing_is_lost(self) -> None:
        assert len(set(self.taken)) == len(self.taken)
        # A putter that was cancelled may have put before.
        assert {*self.put, *self.put_by_waiting} <= set(self.taken) <= set(range(1, self.tried + 1))
        assert [item for item in self.taken if item in self.put] == self.put
        waited = [item for item in self.taken if item not in self.put]
        assert waited == sorted(waited)


@given(
    st.lists(
        st.tuples(st.sampled_from(ACTIONS), st.integers(0, 9), st.integers(0, 2)), min_size=20, max_size=60
    ),
    st.sampled_from([None, 1, 2, 5]),
)
@settings(deadline=None, max_examples=100)
def test_nothing_is_lost(actions: list[tuple[str, int, int]], limit: int | None) -> None:
    stage = Stage()
    with stage.executor as executor, talks(executor) as people:
        executor.start_request(until_stopped=True)
        model = Model(people, limit)
        for action, which, turns in actions:
            model.act(action, which)
            if turns == 1:
                assert executor.turn(1)
            elif turns == 2:
                model.settle()
        model.act("close", 0)
        model.settle()
        people.add(model.take_rest)
        model.settle()
        assert len(model.mailbox) == 0
        model.check_nothing_is_lost()
        executor.stop_request()
        assert not executor.turn(0)
