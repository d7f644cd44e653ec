"""A peer answers and is gone while we still send: what it said is delivered, then the failed send is told."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evsockets import (
    DelayedOperation,
    DisconnectedError,
    EndOfStreamFramePicker,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    ShutdownWriteOperation,
    WriteOperation,
)
from support.conversation import READ_LINE, Conversation, Talk, says_goodbye, turns

ANSWER = b"-ERR max number of clients reached\r\n"
ADDRESSES = {"unix": "unix:///peer", "tcp": "tcp://127.0.0.1:1"}
LOST = DisconnectedError
BIG = 4_000_000
over = pytest.mark.parametrize("over", ["tcp", "unix"])


def converse(
    talk: Talk,
    over: str,
    operation: Operation,
    told: list[Any] | None,
    answer: bytes = ANSWER,
    on: dict[str, Any] | None = None,
    **metadata: Any,
) -> Conversation:
    """The peer says `answer` and is gone before the first operation starts; the failed send is told."""
    one = talk.pair(over)
    goodbye = {"CONNECTED": lambda event: says_goodbye(one, answer, over)}
    one.live(operation, [], {**goodbye, **(on or {})}, address=ADDRESSES[over], **metadata)
    talk.run()
    if told is not None:
        one.check(told, None)
    assert lost(one)
    return one


def lost(one: Any) -> bool:
    """Whether the one error told is that of the failed send."""
    gone = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)
    return type(one.error) is LOST and one.error.errno in gone and "writing" in str(one.error)


def ping(then: Operation | None = None) -> WriteOperation:
    return WriteOperation(b"PING\r\n", then=then)


class Later:
    """Held back until asked for the third time."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, *args: Any) -> bool:
        self.asked += 1
        return self.asked < 3


#: operation, what the peer says, what handlers name, what is told
ROWS: dict[str, tuple[Callable[[], Operation], bytes, dict[str, Any], list[Any]]] = {
    "a read": (lambda: ping(READ_LINE), ANSWER, {}, ["WRITE", ANSWER, LOST]),
    "named": (ping, ANSWER, {"WRITE": [READ_LINE]}, ["WRITE", ANSWER, LOST]),
    "no read": (ping, ANSWER, {}, ["WRITE", LOST]),
    "nothing said": (lambda: ping(READ_LINE), b"", {}, ["WRITE", LOST]),
    "two writes": (lambda: ping(ping(READ_LINE)), ANSWER, {}, ["WRITE", "WRITE", ANSWER, LOST]),
    "raw": (
        lambda: ping(ReadOperation()), ANSWER, {"READ": [ReadOperation()]}, ["WRITE", ANSWER, LOST]
    ),
    "not whole": (
        lambda: ping(READ_LINE), b"one\ntw", {"READ": [READ_LINE] * 2}, ["WRITE", b"one\n", LOST]
    ),
    "held back": (
        lambda: ping(DelayedOperation(READ_LINE, Later(), interval=0.001)), ANSWER, {},
        ["WRITE", ANSWER, LOST],
    ),
    "every frame": (
        lambda: ping(READ_LINE), b"".join(b"%d\n" % number for number in range(20_000)),
        {"READ": [READ_LINE] * 20_000}, ["WRITE", *(b"%d\n" % number for number in range(20_000)), LOST],
    ),
}  # fmt: skip


@over
@pytest.mark.parametrize("row", ROWS)
def test_what_it_said_comes_first(talk: Talk, row: str, over: str) -> None:
    operation, answer, on, told = ROWS[row]
    converse(talk, over, operation(), told, answer, on)


@over
@pytest.mark.parametrize("read_first", [True, False])
def test_both_directions(talk: Talk, over: str, read_first: bool) -> None:
    one = converse(talk, over, ReadWriteOperation(read_first, [ping(), ping(), READ_LINE]), None)
    assert one.told.count(ANSWER) == 1


@over
@pytest.mark.parametrize("writes", [0, 1])
def test_both_directions_with_frames_beyond_a_share_of_a_turn(talk: Talk, over: str, writes: int) -> None:
    """Whether it is a send or a receive that meets the end: every read that has its frame is told."""
    operations = [*[ping()] * writes, *[READ_LINE] * (200 + writes)]
    one = talk.pair(over)
    goodbye = {"CONNECTED": lambda event: says_goodbye(one, b"x\n" * 200, over)}
    one.live(ReadWriteOperation(not writes, operations), [], goodbye, address=ADDRESSES[over])
    talk.run()
    assert one.told.count(b"x\n") == 200
    assert lost(one) if writes else not one.errors


@over
def test_an_endless_iterable_is_pulled_no_further(talk: Talk, over: str) -> None:
    pulled: list[int] = []

    def chunks() -> Iterator[bytes]:
        while True:
            pulled.append(len(pulled))
            yield bytes(50_000)

    converse(talk, over, WriteOperation(chunks(), then=READ_LINE), ["WRITE", ANSWER, LOST])
    assert pulled == [0, 1]  # what left in one send


UNSENT = {
    "bytes": lambda: WriteOperation(bytes(BIG), then=READ_LINE),
    "iterable": lambda: WriteOperation([bytes(100_000)] * 100, then=READ_LINE),
    "both directions": lambda: ReadWriteOperation(False, [WriteOperation(bytes(BIG)), READ_LINE]),
}


@over
@pytest.mark.parametrize("data", UNSENT)
def test_bytes_that_remained_unsent(talk: Talk, over: str, data: str) -> None:
    """Nothing is read while the socket only sends; when that fails, what has arrived meanwhile is."""
    one = talk.pair(over)
    goodbye = [turns(20), lambda one: says_goodbye(one, ANSWER, over)]
    one.live(UNSENT[data](), goodbye, {}, address=ADDRESSES[over])
    talk.run()
    one.check(["WRITE", ANSWER, LOST], None)
    assert lost(one)


@over
@pytest.mark.parametrize(("size", "count"), [(10, 15_000), (5000, 300), (70_000, 300)])
def test_answers_that_cannot_leave_keep_no_request_back(talk: Talk, over: str, size: int, count: int) -> None:
    """Pipelined requests of a client that is gone: the answers gather, or fail one by one."""
    lines = [b"%d\n" % number for number in range(count)]
    told = [each for line in lines for each in (line, "WRITE")]
    on = {"READ": [WriteOperation(bytes(size), then=READ_LINE)] * count}
    converse(talk, over, READ_LINE, [*told, LOST], b"".join(lines), on)


@over
@pytest.mark.parametrize("data", [b"more", [b"more", b"and more"]], ids=["bytes", "iterable"])
def test_a_writer_without_end_learns_of_it(talk: Talk, over: str, data: Any) -> None:
    on = {"WRITE": lambda event: event.next_is_write(data)}
    one = converse(talk, over, WriteOperation(data), None, on=on)
    assert one.names.count("WRITE") < 1000


@over
def test_the_end_of_the_stream(talk: Talk, over: str) -> None:
    """An orderly end completes the frame that asks for it; a reset does not."""
    told = ["WRITE", *[ANSWER] * (over == "unix"), LOST]
    converse(talk, over, ping(ReadOperation(EndOfStreamFramePicker())), told)


@over
def test_no_such_connection_is_kept(talk: Talk, over: str) -> None:
    on = {"READ": lambda event: talk.bag.forget_socket(event.socket)}
    converse(talk, over, ping(READ_LINE), ["WRITE", ANSWER, LOST], on=on, keep_alive=True)


@over
def test_an_end_of_our_direction_that_cannot_be_sent(talk: Talk, over: str) -> None:
    one = talk.pair(over)
    goodbye = {"CONNECTED": lambda event: says_goodbye(one, ANSWER, over)}
    one.live(ShutdownWriteOperation(READ_LINE), [], goodbye, address=ADDRESSES[over])
    talk.run()
    assert one.told[2] == ANSWER
    assert over == "unix" or talk.in_memory or lost(one)  # where the kernel refuses the end


class Own(Operation):
    """Sends, and where that fails reads what there is."""

    def __init__(self) -> None:
        self.received = b""
        self.errors: list[Exception] = []

    def start(self, channel: Any) -> Operation | None:
        try:
            channel.send(b"PING\r\n")
        except DisconnectedError as error:
            self.errors.append(error)
        return self

    def step(self, channel: Any, mask: int) -> Operation | None:
        channel.recv()
        self.received += channel.inbox.take(len(channel.inbox))
        return self


@over
def test_an_operation_of_ones_own(talk: Talk, over: str) -> None:
    own = Own()
    converse(talk, over, own, [LOST])
    assert len(own.errors) == 1 and own.received == ANSWER
