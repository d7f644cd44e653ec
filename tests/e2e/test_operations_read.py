"""Reading, byte by byte against hand-written peers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EmptyFramePicker,
    FixedLengthFramePicker,
    FrameError,
    FramePicker,
    Inbox,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    WriteOperation,
)
from support.life import END, USUAL
from support.service import LINE
from support.wire import answer, pair, peer, read_to_end, talk


def test_leftovers_are_offered_to_the_next_picker_first(executor: RequestExecutor) -> None:
    lengths = iter([4, 3, 1, 8, 2])

    def on_read(event):
        length = next(lengths, None)
        if length:
            event.next_is_read(FixedLengthFramePicker(length))

    with peer(answer(bytes(range(20)))) as server:
        log = talk(executor, server.url(), ReadOperation(FixedLengthFramePicker(2)), on={"READ": on_read})
    data = bytes(range(20))
    assert log.frames == [data[:2], data[2:6], data[6:9], data[9:10], data[10:18], data[18:]]
    assert log.metadata.bytes_received == 20
    assert log.names == [*USUAL, *["READ"] * 6, *END]


def test_byte_by_byte(executor: RequestExecutor) -> None:
    def script(sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"one\ntwo\n":
            sock.sendall(bytes([byte]))

    with peer(script) as server:
        frames = iter(range(1))
        log = talk(
            executor, server.url(), ReadOperation(LINE),
            on={"READ": lambda event: next(frames, None) is not None and event.next_is_read(LINE)},
        )  # fmt: skip
    assert log.frames == [b"one\n", b"two\n"]


@pytest.mark.parametrize("lines", [1, 63, 64, 65, 1000])
def test_the_same_read_again_and_again(executor: RequestExecutor, lines: int) -> None:
    """The operation just done may be named as the next one: what was received with it is not forgotten."""
    read = ReadOperation(LINE)
    client, theirs = pair()

    def on_read(event):
        if event.frame.data != b"end\n":
            event.next_is(read)

    with theirs:
        theirs.sendall(b"line\n" * lines + b"end\n")
        log = talk(executor, None, read, socket=client, on={"READ": on_read})
    assert log.frames == [b"line\n"] * lines + [b"end\n"]


def test_echo_with_the_same_two_objects(executor: RequestExecutor) -> None:
    client, theirs = pair()
    read = ReadOperation(LINE)
    write = WriteOperation(b"", then=read)

    def on_read(event):
        if event.frame.data != b"end\n":
            write.data = event.frame.data
            event.next_is(write)

    with theirs:
        theirs.sendall(b"a\nb\nc\nend\n")
        talk(executor, None, read, socket=client, on={"READ": on_read})
        assert read_to_end(theirs) == b"a\nb\nc\n"


def test_pipelined_frames_are_answered_with_one_send(executor: RequestExecutor) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Each send() is one packet of its own here.
    with theirs:
        theirs.settimeout(5)
        theirs.send(b"".join(b"%d\n" % i for i in range(50)) + b"end\n")

        def on_read(event):
            if event.frame.data != b"end\n":
                event.next_is_write(event.frame.data, then=ReadOperation(LINE))

        log = talk(
            executor, None, ReadOperation(LINE), socket=ClientSocket.from_socket(ours), on={"READ": on_read}
        )
        assert len(log.frames) == 51
        assert theirs.recv(65536) == b"".join(b"%d\n" % i for i in range(50))


def test_empty_frame_picker_takes_nothing(executor: RequestExecutor) -> None:
    def on_read(event):
        if event.frame.data == b"":
            assert event.frame.remote_address == event.metadata.remote_address
            event.next_is_read()

    with peer(answer(b"hello")) as server:
        log = talk(executor, server.url(), ReadOperation(EmptyFramePicker()), on={"READ": on_read})
    assert log.frames == [b"", b"hello"]


def test_zero_length_read_is_there_at_once(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        log = talk(executor, None, ReadOperation(FixedLengthFramePicker(0)), socket=client)
    assert log.names == [*USUAL, "READ", *END] and log.frames == [b""]


def test_frames_carry_the_peers_address(executor: RequestExecutor) -> None:
    with peer(answer(b"hi")) as server:
        log = talk(executor, server.url(), ReadOperation())
    frame = next(event.frame for event in log.events if event.type.name == "READ")
    assert frame.remote_address == ("127.0.0.1", server.port)
    assert bytes(frame) == b"hi" and len(frame) == 2


def test_an_endless_source_is_not_read_further_than_a_frame_needs(executor: RequestExecutor) -> None:
    def script(sock: socket.socket) -> int:
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 1 << 30:
                sent += sock.send(bytes(4096))
        return sent

    with peer(script) as server:
        log = talk(executor, server.url(), ReadOperation(FixedLengthFramePicker(12)))
    assert log.frames == [bytes(12)]
    assert 12 <= log.metadata.bytes_received <= 2 * 65536
    assert server.results[0] < 1 << 30


class Own(FramePicker):
    """A picker of a user's own, which does what it is told."""

    def __init__(self, then: Callable[[Inbox], Any]) -> None:
        self.then = then

    def pick(self, inbox: Inbox, ended: bool) -> Any:
        return self.then(inbox) if inbox else None


def kinds() -> list[Any]:
    """How a read may come to its picker."""
    return [
        ("tcp", ReadOperation),
        ("in two directions", lambda picker: ReadWriteOperation(operations=[ReadOperation(picker)])),
        ("udp", ReadOperation),
    ]


@pytest.mark.parametrize(("transport", "make"), kinds(), ids=["tcp", "in two directions", "udp"])
def test_what_a_picker_gives_is_a_frame(executor: RequestExecutor, transport: str, make: Any) -> None:
    with speaking(transport, b"word") as ours:
        operation = make(Own(lambda inbox: inbox.take(4)))
        with pytest.raises(TypeError, match="must return a Frame or None, got b'word'"):
            talk(executor, None, operation, socket=ours)


@pytest.mark.parametrize(("transport", "make"), kinds(), ids=["tcp", "in two directions", "udp"])
def test_a_pickers_own_error_is_completed(executor: RequestExecutor, transport: str, make: Any) -> None:
    def refuse(inbox: Inbox) -> None:
        raise FrameError("no such word")

    picker = Own(refuse)
    with speaking(transport, b"word") as ours:
        log = talk(executor, None, make(picker), socket=ours)
    assert isinstance(log.error, FrameError)
    assert log.error.picker is picker and log.error.partial is not None
    assert log.error.partial.data == b"word" and log.error.socket is ours


@contextlib.contextmanager
def speaking(transport: str, data: bytes) -> Iterator[ClientSocket]:
    """A client to whom `data` has been sent."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    ours, theirs = socket.socketpair(type=kind)
    with theirs:
        theirs.sendall(data)
        yield ClientSocket.from_socket(ours)
