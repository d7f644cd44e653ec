"""Urgent bytes, sent and received."""

from __future__ import annotations

import select
import socket
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    Conversation,
    ConversationOperation,
    EventType,
    FixedLengthFramePicker,
    NullOperation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    UnsupportedOperationError,
    WriteOperation,
)
from support.life import END, USUAL
from support.service import LINE, Service, ask
from support.wire import add, pair, peer, read_to_end, talk, tcp_pair


def urgent(*parts: tuple[bytes, int]):
    """A peer that sends `parts` (bytes, flags) and then waits for our end."""

    def script(sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for data, flags in parts:
            sock.send(data, flags)
        return read_to_end(sock)

    return script


def test_the_urgent_byte_is_sent(executor: RequestExecutor) -> None:
    def script(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        return read_to_end(sock)

    then = WriteOperation(b"!", out_of_band=True, then=WriteOperation(b"after"))
    with peer(script) as server:
        log = talk(executor, server.url(), WriteOperation(b"before", then=then))
    assert server.results == [b"before!after"]
    assert log.metadata.bytes_sent == 12
    assert log.names == [*USUAL, "WRITE", "WRITE", "WRITE", *END]


@pytest.mark.parametrize("data", [b"", b"12", [b"1", b"2"], bytearray(2)])
def test_one_byte_at_a_time(executor: RequestExecutor, data: object) -> None:
    with peer(read_to_end) as server:
        log = talk(executor, server.url(), WriteOperation(data, out_of_band=True))
    assert isinstance(log.error, UnsupportedOperationError)
    assert log.error.address == server.url()


@pytest.mark.parametrize("data", [b"!", memoryview(b"!"), [b"", b"!"]])
def test_the_byte_may_come_as_any_data(executor: RequestExecutor, data: object) -> None:
    def script(sock):
        # Out of line, as it is by default: what is urgent is not among the data.
        return read_to_end(sock)

    with peer(script) as server:
        log = talk(executor, server.url(), WriteOperation(data, out_of_band=True))
    assert server.results == [b""] and log.metadata.bytes_sent == 1


def test_only_tcp_has_it(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        log = talk(executor, None, WriteOperation(b"!", out_of_band=True), socket=client)
    assert isinstance(log.error, UnsupportedOperationError)


def test_oob_comes_before_the_regular_operation(executor: RequestExecutor) -> None:
    def on_oob(event):
        assert event.type is EventType.OOB and event.frame.data == b"!"
        assert event.operation is read
        assert event.socket is not None and event.next_operation is None

    read = ReadOperation(LINE)
    script = urgent((b"!", socket.MSG_OOB), (b"text\n", 0))
    with peer(script) as server:
        log = talk(executor, server.url(), read, on={"OOB": on_oob})
    assert log.names == [*USUAL, "OOB", "READ", *END]
    assert log.frames == [b"text\n"]
    assert log.metadata.bytes_received == 6


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


def test_oob_in_the_middle_of_a_frame(executor: RequestExecutor) -> None:
    script = urgent((b"te", 0), (b"!", socket.MSG_OOB), (b"xt\n", 0))
    with peer(script) as server:
        log = talk(executor, server.url(), ReadOperation(LINE), oob=True)
    assert log.names == [*USUAL, "OOB", "READ", *END] and log.frames == [b"text\n"]


def test_a_next_operation_replaces_the_current_one(executor: RequestExecutor) -> None:
    script = urgent(
        (b"!", socket.MSG_OOB),
    )
    with peer(script) as server:
        log = talk(
            executor, server.url(), ReadOperation(LINE),
            on={"OOB": lambda event: event.next_is_write(b"seen")},
        )  # fmt: skip
    assert log.names == [*USUAL, "OOB", "WRITE", *END] and server.results == [b"seen"]


def test_the_bag_may_replace_it_too(executor: RequestExecutor) -> None:
    def on_oob(event):
        event.executor.socket_bag.set_operation(event.socket, WriteOperation(b"seen"))

    with peer(urgent((b"!", socket.MSG_OOB))) as server:
        log = talk(executor, server.url(), ReadOperation(LINE), on={"OOB": on_oob})
    assert log.names == [*USUAL, "OOB", "WRITE", *END] and server.results == [b"seen"]


def test_oob_while_idle_and_while_both_directions_are_open(executor: RequestExecutor) -> None:
    script = urgent((b"!", socket.MSG_OOB))
    with peer(script, count=2) as server:
        idle = talk(
            executor, server.url(), NullOperation(), keep_alive=True, idle_timeout=5,
            on={"OOB": lambda event: event.next_is_write(b"idle"),
                "WRITE": lambda event: setattr(event.metadata, "keep_alive", False)},
        )  # fmt: skip
        duplex = ReadWriteOperation(True, [ReadOperation(LINE)])
        both = talk(executor, server.url(), duplex, on={"OOB": lambda event: event.next_is_write(b"duplex")})
    assert idle.names == [*USUAL, "OOB", "WRITE", *END]
    assert both.names == [*USUAL, "OOB", "WRITE", *END]
    assert server.results == [b"idle", b"duplex"]


@pytest.mark.parametrize("before", [b"", b"-"])
def test_scheduling_does_not_read_the_urgent_byte_as_data(executor: RequestExecutor, before: bytes) -> None:
    """Stepped without having been announced, the mark is still looked at first."""
    duplex = ReadWriteOperation(True, [ReadOperation(FixedLengthFramePicker(len(before) + 2))])
    seen = []

    def on_oob(event):
        seen.append(event.frame.data)

    ours = socket.socket()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours.connect(listener.getsockname())
        theirs, _ = listener.accept()
    with theirs:
        log = add(executor, None, duplex, socket=ClientSocket.from_socket(ours), on={"OOB": on_oob})
        executor.start_request()
        executor.turn(0)
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if before:
            theirs.send(before)
        theirs.send(b"!", socket.MSG_OOB)
        theirs.send(b"ab")
        duplex.schedule(WriteOperation(b"x"))
        while executor.turn(None):
            pass
    assert seen == [b"!"] and log.frames == [before + b"ab"]


@pytest.mark.parametrize("when", ["INITIALIZE", "CONNECTED", "READ"])
def test_a_global_handler_may_come_later(executor: RequestExecutor, when: str) -> None:
    seen = []

    def listen(event):
        executor.with_event_handler({EventType.OOB: lambda event: seen.append(event.frame.data)})

    def on_read(event):
        if event.frame.data == b"1\n":
            if when == "READ":
                listen(event)
            event.next_is_write(b"go\n", then=ReadOperation(LINE))

    def script(sock):
        sock.sendall(b"1\n")
        assert sock.recv(3) == b"go\n"
        sock.send(b"!", socket.MSG_OOB)
        sock.sendall(b"2\n")
        return read_to_end(sock)

    on = {"READ": on_read} if when == "READ" else {when: listen, "READ": on_read}
    with peer(script) as server:
        log = talk(executor, server.url(), ReadOperation(LINE), on=on)
    assert log.frames == [b"1\n", b"2\n"] and seen == [b"!"]


def test_urgent_byte_between_two_sockets_of_the_library(executor: RequestExecutor) -> None:
    got: list[tuple[str, bytes]] = []

    def note(event: Any) -> None:
        if event.type in (EventType.OOB, EventType.READ):
            got.append((event.type.name, event.frame.data))

    def started(event: Any) -> None:
        operation = WriteOperation(b"!", out_of_band=True, then=WriteOperation(b"line\n"))
        ask(executor, "tcp://127.0.0.1:%d" % event.metadata.local_address[1], operation)

    Service(executor, handler=note, started=started)
    executor.execute_request()
    assert got == [("OOB", b"!"), ("READ", b"line\n")]
