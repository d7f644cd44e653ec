"""Writing, byte by byte against hand-written peers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from evsockets import (
    DisconnectedError,
    FixedLengthFramePicker,
    FrameError,
    ReadOperation,
    RequestExecutor,
    StreamContext,
    WriteOperation,
)
from support.life import END, USUAL
from support.wire import add, pair, peer, read_exactly, read_to_end, reset, talk


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        (b"hello", b"hello"),
        (bytearray(b"hello"), b"hello"),
        (memoryview(b"xhellox")[1:-1], b"hello"),
        (memoryview(bytes(8)).cast("I"), bytes(8)),
        (b"0", b"0"),
        (b"", b""),
        (None, b""),
        ([b"a", b"", bytearray(b"b"), memoryview(b"c"), b"0"], b"abc0"),
        ((b"0" for _ in range(300)), b"0" * 300),
        ([], b""),
        ([b"", b""], b""),
    ],
    ids=lambda value: type(value).__name__,  # not repr: addresses differ in every run
)
def test_what_can_be_written(executor: RequestExecutor, data: object, sent: bytes) -> None:
    # One object may be written by one test on several engines; a generator only once.
    if not isinstance(data, (bytes, bytearray, memoryview, list, type(None))):
        data = (b"0" for _ in range(300))
    with peer(read_to_end) as server:
        log = talk(executor, server.url(), WriteOperation(data))
    assert server.results == [sent]
    assert log.names == [*USUAL, "WRITE", *END]
    assert log.metadata.bytes_sent == len(sent)


def test_text_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="encode"):
        WriteOperation("text")  # type: ignore[arg-type]
    operation = WriteOperation()
    with pytest.raises(TypeError):
        operation.data = "text"
    with pytest.raises(TypeError):
        WriteOperation(12)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        WriteOperation(b"", then=b"")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        ReadOperation(b"\n")  # type: ignore[arg-type]


@pytest.mark.parametrize("chunk", ["text", 7, None])
def test_an_iterable_of_something_else_ends_the_run(executor: RequestExecutor, chunk: object) -> None:
    client, theirs = pair()
    with theirs:
        log = add(executor, None, WriteOperation([b"a", chunk]), socket=client)
        with pytest.raises(TypeError, match="bytes"):
            executor.execute_request()
        assert read_to_end(theirs) == b"a"
    assert log.names[-2:] == END


def test_write_fires_once_before_the_first_byte_and_may_set_the_data(executor: RequestExecutor) -> None:
    client, theirs = pair()
    seen = []

    def on_write(event):
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        theirs.settimeout(5)
        seen.append(event.metadata.bytes_sent)
        event.operation.data = [b"in", b"stead"]

    with theirs:
        log = talk(executor, None, WriteOperation(b"hello"), socket=client, on={"WRITE": on_write})
        assert read_to_end(theirs) == b"instead"
    assert seen == [0] and log.names.count("WRITE") == 1


def test_then_is_next_unless_a_handler_says_otherwise(executor: RequestExecutor) -> None:
    client, theirs = pair()
    other = WriteOperation(b"2")

    def on_write(event):
        if event.operation is first:
            assert event.next_operation is then
            event.next_is(other)

    then = WriteOperation(b"never")
    first = WriteOperation(b"1", then=then)
    with theirs:
        talk(executor, None, first, socket=client, on={"WRITE": on_write})
        assert read_to_end(theirs) == b"12"


def test_then_can_be_cleared(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        log = talk(
            executor, None, WriteOperation(b"1", then=ReadOperation()), socket=client,
            on={"WRITE": lambda event: event.next_operation_not_required()},
        )  # fmt: skip
        assert read_to_end(theirs) == b"1"
    assert log.names == [*USUAL, "WRITE", *END]


def test_the_same_write_again_and_again(executor: RequestExecutor) -> None:
    client, theirs = pair()
    count = itertools.count()
    again = WriteOperation(b"x")

    def on_write(event):
        if next(count) < 200:
            event.next_is(again)

    with theirs:
        talk(executor, None, again, socket=client, on={"WRITE": on_write})
        assert read_to_end(theirs) == b"x" * 201


def test_one_write_object_serves_many_sockets(executor: RequestExecutor) -> None:
    shared = WriteOperation(b"shared" * 100_000, then=ReadOperation(FixedLengthFramePicker(2)))

    def script(sock):
        data = read_exactly(sock, 600_000)
        sock.sendall(b"ok")
        return data

    with peer(script, count=5) as server:
        logs = [add(executor, server.url(), shared) for _ in range(5)]
        executor.execute_request()
    assert server.results == [b"shared" * 100_000] * 5
    assert [log.frames for log in logs] == [[b"ok"]] * 5


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "chunks", "one chunk"])
def test_a_big_write_through_tiny_buffers(executor: RequestExecutor, kind: str) -> None:
    data = bytes(range(256)) * 12_000
    given = {
        "bytes": data,
        "bytearray": bytearray(data),
        "chunks": (data[i : i + 5000] for i in range(0, len(data), 5000)),
        "one chunk": iter([data]),
    }[kind]
    with peer(read_to_end, receive_buffer=4096) as server:
        context = StreamContext(send_buffer_size=4096)
        log = talk(executor, server.url(), WriteOperation(given), stream_context=context)
    assert server.results == [data]
    assert log.names == [*USUAL, "WRITE", *END]
    assert log.metadata.bytes_sent == len(data)


def test_an_iterable_is_pulled_as_the_peer_accepts(executor: RequestExecutor) -> None:
    client, theirs = pair()
    pulled = 0

    def endless():
        nonlocal pulled
        while True:
            pulled += 1
            yield bytes(10_000)

    with theirs:
        log = talk(executor, None, WriteOperation(endless()), socket=client, io_timeout=0.1)
    assert log.timeouts == [("IO", "writing")]
    assert pulled < 200  # what the kernel's buffers hold, no more
    assert log.names == [*USUAL, "WRITE", "TIMEOUT", *END]


def test_an_iterator_that_raises_midway_ends_the_run(executor: RequestExecutor) -> None:
    client, theirs = pair()

    def broken():
        yield b"first"
        raise ZeroDivisionError("midway")

    with theirs:
        log = add(executor, None, WriteOperation(broken()), socket=client)
        with pytest.raises(ZeroDivisionError, match="midway"):
            executor.execute_request()
        assert read_to_end(theirs) == b"first"
    assert log.names == [*USUAL, "WRITE", *END]


def test_a_library_error_out_of_an_iterator_is_that_sockets_exception(executor: RequestExecutor) -> None:
    client, theirs = pair()

    def broken():
        yield b"first"
        raise FrameError("no more")

    with theirs:
        log = talk(executor, None, WriteOperation(broken()), socket=client)
        assert read_to_end(theirs) == b"first"
    assert log.names == [*USUAL, "WRITE", "EXCEPTION", *END]
    assert log.error.socket is client


def test_reset_while_writing(executor: RequestExecutor) -> None:
    def script(sock):
        read_exactly(sock, 1000)
        reset(sock)

    with peer(script, receive_buffer=4096) as server:
        log = talk(
            executor, server.url(), WriteOperation(itertools.repeat(bytes(10_000))),
            stream_context={"send_buffer_size": 4096},
        )  # fmt: skip
    assert isinstance(log.error, DisconnectedError)
    assert log.error.errno in (104, 32) and log.error.socket is not None
    assert server.url() in str(log.error) and str(log.error.errno) in str(log.error)
    assert isinstance(log.error.__cause__, OSError)
    assert log.names == [*USUAL, "WRITE", "EXCEPTION", *END]


def test_one_character_zero_goes_everywhere(executor: RequestExecutor) -> None:
    """It is data: alone, out of an iterable, as what a frame left over."""
    ours, theirs = pair()

    def answer(event: Any) -> None:
        if event.frame.data == b"1":
            event.next_is_read(FixedLengthFramePicker(1))
        else:
            event.next_is_write(iter([event.frame.data, b"0"]))

    with theirs:
        theirs.sendall(b"10")
        write = WriteOperation(b"0", then=ReadOperation(FixedLengthFramePicker(1)))
        log = talk(executor, None, write, socket=ours, on={"READ": answer})
        assert read_to_end(theirs) == b"000"
    assert log.frames == [b"1", b"0"]
