"""ReadWriteOperation: both directions at once."""

from __future__ import annotations

import socket

import pytest

from evsockets import (
    DisconnectedError,
    EndOfStreamFramePicker,
    FixedLengthFramePicker,
    FrameError,
    NullOperation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    WriteOperation,
)
from support.life import END, USUAL
from support.service import LINE
from support.wire import add, pair, peer, read_exactly, read_to_end, reset, talk


@pytest.mark.parametrize("read_first", [True, False])
@pytest.mark.parametrize("what", ["reads", "writes", "both"])
def test_twenty_first_in_first_out(executor: RequestExecutor, read_first: bool, what: str) -> None:
    """Reads of twenty different lengths: each frame tells which of them was served."""
    text = b"".join(b"%c" % (65 + i) * (i + 1) for i in range(20))
    reads = [ReadOperation(FixedLengthFramePicker(i + 1)) for i in range(20)]
    writes = [WriteOperation(b"%c" % (97 + i)) for i in range(20)]

    mixed = [operation for both in zip(reads, writes, strict=True) for operation in both]
    queued = {"reads": reads, "writes": writes, "both": mixed}[what]
    client, theirs = pair()
    with theirs:
        if what != "writes":
            theirs.sendall(text)
        duplex = ReadWriteOperation(read_first, queued)
        assert duplex.read_first is read_first
        log = talk(executor, None, duplex, socket=client)
        assert read_to_end(theirs) == (b"" if what == "reads" else b"abcdefghijklmnopqrst")
    if what != "writes":
        assert log.frames == [b"%c" % (65 + i) * (i + 1) for i in range(20)]
    assert log.names.count("READ") == (0 if what == "writes" else 20)
    written = [event.operation for event in log.events if event.type.name == "WRITE"]
    assert written == ([] if what == "reads" else writes)
    assert log.names[:2] == USUAL and log.names[-2:] == END


@pytest.mark.parametrize("read_first", [True, False])
def test_which_one_is_looked_at_first_when_both_are_ready(
    executor: RequestExecutor, read_first: bool
) -> None:
    """What one read left over lies ready, and so does room to write."""
    client, theirs = pair()

    def go_on(event):
        if event.frame.data == b"one\n":
            event.next_is(ReadWriteOperation(read_first, [WriteOperation(b"y"), ReadOperation(LINE)]))

    with theirs:
        theirs.sendall(b"one\ntwo\n")
        log = talk(executor, None, ReadOperation(LINE), socket=client, on={"READ": go_on})
        assert read_to_end(theirs) == b"y"
    order = ["READ", "WRITE"] if read_first else ["WRITE", "READ"]
    assert log.names == [*USUAL, "READ", *order, *END]
    assert log.frames == [b"one\n", b"two\n"]


def test_it_reads_while_a_large_write_is_on_its_way(executor: RequestExecutor) -> None:
    size = 2_000_000

    def script(sock):
        # Not a byte is read before what we send has been answered by more to read.
        sock.sendall(b"x" * size)
        return len(read_exactly(sock, size))

    operations = [WriteOperation(bytes(size)), ReadOperation(FixedLengthFramePicker(size))]
    with peer(script, receive_buffer=8192) as server:
        log = talk(executor, server.url(), ReadWriteOperation(False, operations))
    assert server.results == [size] and log.frames == [b"x" * size]


def test_only_reads_and_writes_can_be_scheduled() -> None:
    with pytest.raises(TypeError):
        ReadWriteOperation(True, [NullOperation()])
    with pytest.raises(TypeError):
        ReadWriteOperation().schedule(NullOperation())
    with pytest.raises(TypeError):
        ReadWriteOperation().schedule(ReadWriteOperation())


def test_with_nothing_queued_the_request_ends(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        log = talk(executor, None, ReadWriteOperation(), socket=client)
    assert log.names == [*USUAL, *END]


def test_a_next_operation_is_queued_in_its_direction(executor: RequestExecutor) -> None:
    client, theirs = pair()
    theirs.sendall(b"one\ntwo\nthree\n")

    def on_read(event):
        event.next_is_write(event.frame.data.upper())
        if event.frame.data != b"three\n":
            duplex.schedule(ReadOperation(LINE))

    duplex = ReadWriteOperation(True, [ReadOperation(LINE)])
    with theirs:
        log = talk(executor, None, duplex, socket=client, on={"READ": on_read})
        assert read_to_end(theirs) == b"ONE\nTWO\nTHREE\n"
    assert log.frames == [b"one\n", b"two\n", b"three\n"]


def test_then_is_queued_behind_what_is_queued(executor: RequestExecutor) -> None:
    client, theirs = pair()
    writes = [WriteOperation(b"1", then=WriteOperation(b"3")), WriteOperation(b"2")]
    with theirs:
        talk(executor, None, ReadWriteOperation(False, writes), socket=client)
        assert read_to_end(theirs) == b"123"


def test_another_kind_of_next_operation_is_a_type_error(executor: RequestExecutor) -> None:
    client, theirs = pair()
    theirs.sendall(b"x")
    with theirs:
        log = add(
            executor, None, ReadWriteOperation(True, [ReadOperation()]), socket=client,
            on={"READ": lambda event: event.next_is(NullOperation())},
        )  # fmt: skip
        with pytest.raises(TypeError):
            executor.execute_request()
    assert log.names == [*USUAL, "READ", *END]


def test_the_same_operations_again(executor: RequestExecutor) -> None:
    client, theirs = pair()
    theirs.sendall(b"a\nb\nc\nend\n")
    read = ReadOperation(LINE)

    def on_read(event):
        if event.frame.data != b"end\n":
            event.next_is(read)

    count = iter(range(5))

    def on_write(event):
        if next(count, None) is not None:
            event.next_is(event.operation)

    with theirs:
        log = talk(
            executor, None, ReadWriteOperation(True, [read, WriteOperation(b"w")]), socket=client,
            on={"READ": on_read, "WRITE": on_write},
        )  # fmt: skip
        assert read_to_end(theirs) == b"w" * 6
    assert log.frames == [b"a\n", b"b\n", b"c\n", b"end\n"]


def test_scheduling_from_another_sockets_handler(executor: RequestExecutor) -> None:
    first, first_peer = pair()
    second, second_peer = pair()
    duplex = ReadWriteOperation(True, [ReadOperation()])

    def on_read(event):
        duplex.schedule(WriteOperation(b"from the other: " + event.frame.data))

    with first_peer, second_peer:
        second_peer.sendall(b"hello")
        done = []

        def on_write(event):
            done.append(event.operation.data)
            executor.call_soon_threadsafe(first_peer.sendall, b"bye")

        log = add(executor, None, duplex, socket=first, on={"WRITE": on_write})
        add(executor, None, ReadOperation(), socket=second, on={"READ": on_read})
        executor.execute_request()
        assert read_to_end(first_peer) == b"from the other: hello"
    assert log.frames == [b"bye"] and len(done) == 1


@pytest.mark.parametrize(
    ("picker", "sent", "frames", "error"),
    [
        (None, b"", [], None),
        (LINE, b"", [], DisconnectedError),
        (LINE, b"hal", [], FrameError),
        (LINE, b"one\n", [b"one\n"], None),
        (EndOfStreamFramePicker(), b"all of it", [b"all of it"], None),
    ],
    ids=["raw", "boundary", "inside", "whole", "to the end"],
)
def test_the_end_comes_after_queued_writes_have_been_sent(
    executor: RequestExecutor, picker: object, sent: bytes, frames: list[bytes], error: type | None
) -> None:
    size = 3_000_000

    def script(sock):
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        return len(read_to_end(sock))

    chunks = (bytes(50_000) for _ in range(size // 50_000))
    operations = [ReadOperation(picker), WriteOperation(chunks), WriteOperation(b"last")]
    with peer(script, receive_buffer=8192) as server:
        log = talk(executor, server.url(), ReadWriteOperation(True, operations))
    assert server.results == [size + 4]
    assert log.frames == frames
    assert [type(one) for one in log.errors] == ([error] if error else [])
    assert log.names.count("WRITE") == 2 and log.names[-2:] == END


def test_reset_in_the_middle(executor: RequestExecutor) -> None:
    def script(sock):
        read_exactly(sock, 100)
        reset(sock)

    operations = [ReadOperation(LINE), WriteOperation(bytes(100))]
    with peer(script) as server:
        log = talk(executor, server.url(), ReadWriteOperation(True, operations))
    assert isinstance(log.error, DisconnectedError) and log.error.errno == 104
    assert log.names[-3:] == ["EXCEPTION", *END]


def test_cancelled_in_either_direction(executor: RequestExecutor) -> None:
    for name in ("READ", "WRITE"):
        client, theirs = pair()
        with theirs:
            theirs.sendall(b"x")
            log = talk(
                executor, None, ReadWriteOperation(name == "READ", [ReadOperation(), WriteOperation(b"y")]),
                socket=client, on={name: lambda event: event.cancel_operation()},
            )  # fmt: skip
            assert log.names[-2:] == END and "EXCEPTION" not in log.names
            if name == "WRITE":
                with_nothing = b""
                try:
                    with_nothing = theirs.recv(10)
                except ConnectionResetError:  # our unread byte
                    pass
                assert with_nothing == b""


def test_time_out_without_progress(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        log = talk(
            executor, None, ReadWriteOperation(True, [ReadOperation()]), socket=client, io_timeout=0.05
        )
    assert log.timeouts == [("IO", "reading")]


def test_kept_alive_it_idles_when_both_queues_are_empty(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        log = talk(
            executor, None, ReadWriteOperation(True, [WriteOperation(b"x")]), socket=client,
            keep_alive=True, idle_timeout=0.05,
        )  # fmt: skip
        assert read_to_end(theirs) == b"x"
    assert log.timeouts == [("IDLE", "idle")]


@pytest.mark.parametrize("at_once", [True, False])
def test_one_object_serves_many_sockets(executor: RequestExecutor, at_once: bool) -> None:
    def script(sock):
        data = read_exactly(sock, 6)
        sock.sendall(data.upper())
        return data + read_to_end(sock)

    shared = ReadWriteOperation(True, [ReadOperation(LINE), WriteOperation(b"hel"), WriteOperation(b"lo\n")])
    logs = []
    with peer(script, count=4) as server:
        for _ in range(4):
            logs.append(add(executor, server.url(), shared))
            if not at_once:
                executor.execute_request()
        executor.execute_request()
    assert server.results == [b"hello\n"] * 4
    assert [log.frames for log in logs] == [[b"HELLO\n"]] * 4


def test_what_an_ended_socket_left_undone_is_not_the_next_ones(executor: RequestExecutor) -> None:
    shared = ReadWriteOperation(False, [WriteOperation(b"1"), ReadOperation(LINE), WriteOperation(b"2")])
    for _ in range(2):
        client, theirs = pair()
        with theirs:
            log = talk(executor, None, shared, socket=client, io_timeout=0.05)
            assert read_to_end(theirs) == b"12"
        assert log.timeouts == [("IO", "reading")]


@pytest.mark.parametrize("read_first", [True, False])
def test_duplex_over_tcp(executor: RequestExecutor, read_first: bool) -> None:
    def script(sock: socket.socket) -> bytes:
        asked = read_exactly(sock, 4)
        sock.sendall(b"answer\n")
        return asked

    with peer(script) as server:
        operation = ReadWriteOperation(read_first, [WriteOperation(b"ask\n"), ReadOperation(LINE)])
        log = talk(executor, server.url(), operation)
    assert log.frames == [b"answer\n"] and not log.errors
    assert server.results == [b"ask\n"]
