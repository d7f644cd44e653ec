"""What leaves in which sends: joined while a received chunk is worked through, and a bounded share a turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from evsockets import Operation, WriteOperation
from support.conversation import READ_LINE, Conversation, Talk, does, fixed, is_told, sends
from support.states import Sampler

HUGE = bytes(16 << 20)


def answers(data: list[Any], following: Operation = READ_LINE) -> list[Operation]:
    return [WriteOperation(each, then=following) for each in data]


def test_pipelined_frames_are_answered_with_one_send(talk: Talk) -> None:
    lines = [b"%d\n" % number for number in range(50)]
    told = [each for line in lines for each in (line, "WRITE")]
    whole = b"".join(lines)
    one = talk(
        READ_LINE, sends(whole + b"end\n"), told=[*told, b"end\n"], sent=whole, on={"READ": answers(lines)}
    )
    assert one.peer.arrivals == [len(whole)]


def test_answers_gather_while_a_chunk_is_worked_through(talk: Talk) -> None:
    """Bounded: at most 64 KiB gather, however many frames came at once."""
    one = talk.pair()
    one.peer.room = 1 << 20
    talk(
        READ_LINE, sends(b"x\n" * 200 + b"end\n"), on={"READ": answers([bytes(1000)] * 200)},
        told=[*[b"x\n", "WRITE"] * 200, b"end\n"], sent=bytes(200_000), again=one,
    )  # fmt: skip
    assert len(one.peer.arrivals) == 4 and max(one.peer.arrivals) < 64 * 1024 + 1000


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_what_waits_may_be_changed_by_its_owner(talk: Talk, kind: Callable[[Any], Any]) -> None:
    """Written behind an answer of the same chunk that the kernel does not take: it has been copied."""
    mine = bytearray(b"B" * 200_000)

    def change() -> None:
        mine[:] = b"C" * len(mine)

    one = talk.pair()
    one.peer.room = 4000
    writes = answers([b"A" * 60_000, mine if kind is bytearray else memoryview(mine)], fixed(1))
    talk(
        fixed(1), sends(b"123"), is_told("WRITE", 2), does(change), on={"READ": writes},
        told=[b"1", "WRITE", b"2", "WRITE", b"3"], sent=b"A" * 60_000 + b"B" * 200_000, again=one,
    )  # fmt: skip


def test_a_read_waits_until_what_gathered_has_left(talk: Talk, states_at_rest: Sampler) -> None:
    """The answers to a whole chunk are sent when the next read is about to wait: what the kernel refuses
    of them holds it up."""
    one = talk.pair()
    one.peer.room = 4000
    talk(
        READ_LINE, sends(b"1\n2\n"), is_told("WRITE", 2), sends(b"end\n"),
        on={"READ": answers([b"A" * 20_000] * 2)},
        told=[b"1\n", "WRITE", b"2\n", "WRITE", b"end\n"], sent=b"A" * 40_000, again=one,
    )  # fmt: skip
    assert ("connected", "sending", "current", "held") in states_at_rest.seen


def test_the_last_of_a_share_may_be_the_last_of_all(talk: Talk, states_at_rest: Sampler) -> None:
    """What gathered in a share of the turn that was used up leaves in the next, though nothing follows."""
    writes: Operation | None = None
    for number in reversed(range(64)):
        writes = WriteOperation(b"%d\n" % number, then=writes)
    talk(
        READ_LINE, sends(b"1\nunread"), on={"READ": [writes]}, told=[b"1\n", *["WRITE"] * 64],
        sent=b"".join(b"%d\n" % number for number in range(64)),
    )  # fmt: skip
    assert ("connected", "yielded", "-", "corked") in states_at_rest.seen


def pieces() -> Iterator[bytes]:
    return (HUGE[:65536] for _ in range(256))


@pytest.mark.parametrize("data", [lambda: HUGE, pieces, lambda: iter([HUGE])], ids=["bytes", "pieces", "one"])
def test_a_writers_share_of_a_turn_is_bounded(talk: Talk, data: Callable[[], Any]) -> None:
    """However much the kernel would take at once, and however fast the peer reads."""
    sent = [0]

    def look(one: Conversation) -> bool:
        sent.append(one.metadata.bytes_sent)
        return not one.going_on

    one = talk.pair()
    one.peer.room = len(HUGE) + 1
    talk(WriteOperation(data()), look, told=["WRITE"], sent=HUGE, again=one)
    first, *others = [after - before for before, after in pairwise(sent) if after > before]
    # The turn it begins in may hold its start and a step.
    assert first <= 2 << 20 and max(others) <= 1 << 20
