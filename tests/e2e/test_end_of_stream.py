"""How a stream ends while a read is pending."""

from __future__ import annotations

import pytest

from evsockets import (
    DisconnectedError,
    EmptyFramePicker,
    EndOfStreamFramePicker,
    FrameError,
    MarkerFramePicker,
    ReadOperation,
    RequestExecutor,
    WriteOperation,
)
from support.life import END, USUAL
from support.service import LINE
from support.wire import Log, add, answer, pair, peer, read_exactly, reset, talk


def ending(executor: RequestExecutor, sent: bytes, picker: object, scripted=answer) -> Log:
    with peer(scripted(sent)) as server:
        return talk(executor, server.url(), ReadOperation(picker))


def test_end_inside_a_frame(executor: RequestExecutor) -> None:
    log = ending(executor, b"half a li", LINE)
    assert isinstance(log.error, FrameError)
    assert log.error.picker is LINE
    assert log.error.partial.data == b"half a li" and bytes(log.error.partial) == b"half a li"
    assert log.names == [*USUAL, "EXCEPTION", *END]


def test_end_at_a_frame_boundary(executor: RequestExecutor) -> None:
    log = ending(executor, b"", LINE)
    assert isinstance(log.error, DisconnectedError)
    assert log.names == [*USUAL, "EXCEPTION", *END]


def test_end_of_a_raw_read_is_no_exception(executor: RequestExecutor) -> None:
    log = ending(executor, b"", None)
    assert log.names == [*USUAL, *END]


@pytest.mark.parametrize("sent", [b"", b"0", b"everything" * 50_000])
def test_reading_to_the_end(executor: RequestExecutor, sent: bytes) -> None:
    log = ending(executor, sent, EndOfStreamFramePicker())
    assert log.frames == [sent]
    assert log.names == [*USUAL, "READ", *END]


def test_what_came_before_the_end_is_delivered_first(executor: RequestExecutor) -> None:
    with peer(answer(b"one\ntwo\nthr")) as server:
        log = talk(
            executor, server.url(), ReadOperation(LINE), on={"READ": lambda event: event.next_is_read(LINE)}
        )
    assert log.frames == [b"one\n", b"two\n"]
    assert isinstance(log.error, FrameError) and log.error.partial.data == b"thr"


def test_a_frame_over_its_limit(executor: RequestExecutor) -> None:
    picker = MarkerFramePicker(None, b"\n", max_length=10)
    log = ending(executor, b"x" * 100, picker)
    assert isinstance(log.error, FrameError) and log.error.picker is picker
    assert log.error.socket is not None
    # A picker knows nothing of sockets; the message does.
    assert log.metadata.address in str(log.error) and "reading" in str(log.error)


def test_empty_frame_picker_completes_at_the_end(executor: RequestExecutor) -> None:
    log = ending(executor, b"", EmptyFramePicker())
    assert log.frames == [b""]
    assert log.names == [*USUAL, "READ", *END]


@pytest.mark.parametrize("picker", [None, LINE, EndOfStreamFramePicker()], ids=["raw", "line", "end"])
def test_reset_while_reading(executor: RequestExecutor, picker: object) -> None:
    def script(sock):
        read_exactly(sock, 5)
        reset(sock)

    with peer(script) as server:
        log = talk(executor, server.url(), WriteOperation(b"hello", then=ReadOperation(picker)))
    assert isinstance(log.error, DisconnectedError) and log.error.errno == 104
    assert log.names == [*USUAL, "WRITE", "EXCEPTION", *END]


def test_what_came_before_a_reset_is_delivered_first(executor: RequestExecutor) -> None:
    """A unix peer that closes with unread bytes of ours resets; what it wrote before still counts."""
    client, theirs = pair()
    theirs.sendall(b"last words\n")

    def on_write(event):
        event.next_is_read(LINE)

    def on_read(event):
        event.next_is_read(LINE)

    def on_connected(event):
        pass

    log = add(
        executor, None, WriteOperation(b"unread"), socket=client,
        on={"WRITE": on_write, "READ": on_read, "CONNECTED": on_connected},
    )  # fmt: skip
    executor.start_request()
    executor.turn(0)
    theirs.close()
    while executor.turn(None):
        pass
    assert log.frames == [b"last words\n"]
    assert isinstance(log.error, DisconnectedError)
