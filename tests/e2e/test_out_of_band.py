"""Urgent bytes, sent and received."""

from __future__ import annotations

import select
import socket
from typing import Any

import pytest

from evsockets import (
    Conversation,
    ConversationOperation,
    EventType,
    NullOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    UnsupportedOperationError,
    WriteOperation,
)
from support.conversation import READ_LINE, Talk, fixed, gets, sends, urgent
from support.life import END, USUAL
from support.service import LINE, Service
from support.wire import add, peer, read_to_end, tcp_pair, turns_to_the_end
from support.wire import talk as hold

SEEN = WriteOperation(b"seen")
TCP = {"over": "tcp"}


def test_the_urgent_byte_is_sent(executor: RequestExecutor) -> None:
    def script(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        return read_to_end(sock)

    then = WriteOperation(b"!", out_of_band=True, then=WriteOperation(b"after"))
    with peer(script) as server:
        log = hold(executor, server.url(), WriteOperation(b"before", then=then))
    assert server.results == [b"before!after"]
    assert log.metadata.bytes_sent == 12
    assert log.names == [*USUAL, "WRITE", "WRITE", "WRITE", *END]


@pytest.mark.parametrize(("data", "over"), [
    (b"", "tcp"), (b"12", "tcp"), ([b"1", b"2"], "tcp"), (bytearray(2), "tcp"), (b"!", "unix"),
])  # fmt: skip
def test_one_byte_at_a_time_and_only_over_tcp(talk: Talk, data: Any, over: str) -> None:
    write = WriteOperation(data, out_of_band=True)
    one = talk(write, told=["WRITE", UnsupportedOperationError], over=over)
    assert one.error.address == one.metadata.address


@pytest.mark.parametrize("data", [b"!", memoryview(b"!"), [b"", b"!"]])
def test_the_byte_may_come_as_any_data(talk: Talk, data: Any) -> None:
    """Out of line, as it is by default: what is urgent is not among the data."""
    one = talk(WriteOperation(data, out_of_band=True), told=["WRITE"], sent=None, **TCP)
    assert one.received == b"" and one.metadata.bytes_sent == 1


@pytest.mark.parametrize("before", [b"", b"te"])
def test_oob_comes_before_the_regular_operation(talk: Talk, before: bytes) -> None:
    """Also in the middle of a frame."""

    def on_oob(event: Any) -> None:
        assert event.frame.data == b"!" and event.operation is READ_LINE and event.next_operation is None

    one = talk(
        READ_LINE, sends(before), urgent(b"!"), sends(b"xt\n"), told=["OOB", before + b"xt\n"],
        on={"OOB": on_oob}, **TCP,
    )  # fmt: skip
    assert one.metadata.bytes_received == len(before) + 4


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    "parts", [[b"1\n", b"!", b"2\n"], [b"1\n2", b"!", b"\n"], [b"1\n2\n", b"!"], [b"!", b"1\n2\n"]]
)
@pytest.mark.parametrize("kind", ["read", "duplex", "conversation", "kept alive"])
def test_oob_comes_before_what_was_sent_before_it(
    executor: RequestExecutor, kind: str, parts: list[bytes], late: bool
) -> None:
    """Nothing of the regular bytes is lost, and the urgent one is not among them."""
    ours, theirs = tcp_pair()
    theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    read = ReadOperation(LINE)

    def send() -> None:
        for part in parts:
            theirs.send(part, socket.MSG_OOB if part == b"!" else 0)
        urgent = select.poll()
        urgent.register(ours.fileno(), select.POLLPRI)
        assert urgent.poll(60_000)

    def on_read(event: Any) -> None:
        if kind == "duplex":
            if event.frame.data == b"1\n":
                operation.schedule(read)
        elif kind == "read" and event.frame.data == b"1\n":
            event.next_is(read)
        elif kind == "kept alive" and event.frame.data == b"2\n":
            event.metadata.keep_alive = False

    async def function(talk: Conversation) -> None:
        for _ in range(2):
            await talk.read(LINE)
            await talk.sleep(0.001)

    operation: Any = {
        "duplex": ReadWriteOperation(True, [read, WriteOperation(b"x")]),
        "conversation": ConversationOperation(function),
    }.get(kind, read)
    on = {"READ": on_read, "DATA_ALERT": lambda event: event.next_is(read)}
    with theirs:
        if late:
            executor.call_later(0.01, send)
        else:
            send()
        log = add(executor, None, operation, socket=ours, on=on, oob=True, keep_alive=kind == "kept alive")
        executor.execute_request()
    told = [event for event in log.names if event in ("OOB", "READ")]
    assert told == ["OOB", "READ", "READ"] and log.frames == [b"1\n", b"2\n"]
    assert log.metadata.bytes_received == 5


def test_another_urgent_byte_before_the_bytes_are_read(executor: RequestExecutor) -> None:
    """Neither is among the data."""
    ours, theirs = tcp_pair()
    told: list[bytes] = []

    def on_oob(event: Any) -> None:
        told.append(event.frame.data)
        if len(told) == 1:
            theirs.send(b"def")
            theirs.send(b"2", socket.MSG_OOB)
            theirs.send(b"ghi")
            theirs.shutdown(socket.SHUT_WR)

    on = {"OOB": on_oob, "READ": lambda event: event.next_is(ReadOperation())}
    with theirs:
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        theirs.send(b"abc")
        theirs.send(b"1", socket.MSG_OOB)
        log = add(executor, None, ReadOperation(), socket=ours, on=on)
        executor.execute_request()
    assert told == [b"1", b"2"] and b"".join(log.frames) == b"abcdefghi"


@pytest.mark.parametrize("first", [READ_LINE, ReadWriteOperation(True, [READ_LINE]), NullOperation()])
@pytest.mark.parametrize("by_the_bag", [False, True])
def test_another_operation_replaces_the_current_one(talk: Talk, first: Operation, by_the_bag: bool) -> None:
    """Also while idle, and while both directions are open."""

    def replace(event: Any) -> None:
        talk.bag.set_operation(event.socket, SEEN) if by_the_bag else event.next_is(SEEN)
        event.metadata.keep_alive = False

    talk(
        first, urgent(b"!"), told=["OOB", "WRITE"], sent=b"seen", on={"OOB": replace},
        keep_alive=type(first) is NullOperation, **TCP,
    )  # fmt: skip


@pytest.mark.parametrize("before", [b"", b"-"])
def test_scheduling_does_not_read_the_urgent_byte_as_data(executor: RequestExecutor, before: bytes) -> None:
    """Stepped without having been announced, the mark is still looked at first."""
    duplex = ReadWriteOperation(True, [fixed(len(before) + 2)])
    seen = []
    ours, theirs = tcp_pair()
    with theirs:
        on = {"OOB": lambda event: seen.append(event.frame.data)}
        log = add(executor, None, duplex, socket=ours, on=on)
        executor.start_request()
        executor.turn(0)
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if before:
            theirs.send(before)
        theirs.send(b"!", socket.MSG_OOB)
        theirs.send(b"ab")
        duplex.schedule(WriteOperation(b"x"))
        turns_to_the_end(executor)
    assert seen == [b"!"] and log.frames == [before + b"ab"]


@pytest.mark.parametrize("when", ["INITIALIZE", "CONNECTED", "READ"])
def test_a_global_handler_may_come_later(talk: Talk, when: str) -> None:
    seen = []

    def listen(event: Any) -> None:
        talk.executor.with_event_handler({EventType.OOB: lambda event: seen.append(event.frame.data)})

    def on_read(event: Any) -> None:
        if event.frame.data == b"1\n":
            if when == "READ":
                listen(event)
            event.next_is_write(b"go\n", then=READ_LINE)

    talk(
        READ_LINE, sends(b"1\n"), gets(b"go\n"), urgent(b"!"), sends(b"2\n"),
        told=[b"1\n", "WRITE", b"2\n"], sent=b"go\n", on={when: listen, "READ": on_read}, **TCP,
    )  # fmt: skip
    assert seen == [b"!"]


def test_urgent_byte_between_two_sockets_of_the_library(executor: RequestExecutor) -> None:
    got: list[tuple[str, bytes]] = []

    def note(event: Any) -> None:
        if event.type in (EventType.OOB, EventType.READ):
            got.append((event.type.name, event.frame.data))

    def started(event: Any) -> None:
        operation = WriteOperation(b"!", out_of_band=True, then=WriteOperation(b"line\n"))
        add(executor, "tcp://127.0.0.1:%d" % event.metadata.local_address[1], operation)

    Service(executor, handler=note, started=started)
    executor.execute_request()
    assert got == [("OOB", b"!"), ("READ", b"line\n")]
