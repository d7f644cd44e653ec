"""Shutdown, delay, null, out-of-band data, and operations of one's own."""

from __future__ import annotations

import pytest

from evsockets import (
    READ,
    WRITE,
    DelayedOperation,
    DisconnectedError,
    Event,
    EventType,
    NullOperation,
    Operation,
    ReadOperation,
    RequestExecutor,
    ShutdownWriteOperation,
    WriteOperation,
)
from support.life import END, USUAL
from support.service import LINE
from support.wire import add, pair, peer, read_to_end, talk

# ---- shutdown and null -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5, 3_000_000])
def test_our_end_then_the_answer(executor: RequestExecutor, size: int) -> None:
    def script(sock):
        received = read_to_end(sock)
        sock.sendall(b"%d\n" % len(received))

    then = ShutdownWriteOperation(ReadOperation(LINE))
    with peer(script, receive_buffer=8192) as server:
        log = talk(executor, server.url(), WriteOperation(bytes(size), then=then))
    assert log.frames == [b"%d\n" % size]
    assert log.names == [*USUAL, "WRITE", "READ", *END]


def test_shutdown_without_more_ends_the_request(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        log = talk(executor, None, ShutdownWriteOperation(), socket=client)
        assert theirs.recv(1) == b""
    assert log.names == [*USUAL, *END]


def test_writing_after_our_end_fails(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        log = talk(executor, None, ShutdownWriteOperation(WriteOperation(b"late")), socket=client)
    assert isinstance(log.error, DisconnectedError) and log.error.errno == 32


def test_null_ends_a_plain_socket(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        theirs.sendall(b"unread")
        log = talk(executor, None, NullOperation(), socket=client)
    assert log.names == [*USUAL, *END]


# ---- delays ----------------------------------------------------------------------------------------


def test_what_a_delay_shows() -> None:
    inner = WriteOperation(b"x")

    def pending(socket, executor, first, second):
        return False

    operation = DelayedOperation(inner, pending, 1, 2, interval=3)
    assert (operation.operation, operation.pending, operation.args) == (inner, pending, (1, 2))
    for wrong in ((b"x", pending), (inner, None)):
        with pytest.raises(TypeError):
            DelayedOperation(*wrong)
    for interval in (0, -1, float("nan")):
        with pytest.raises(ValueError):
            DelayedOperation(inner, pending, interval=interval)


def test_not_pending_it_starts_at_once(executor: RequestExecutor) -> None:
    client, theirs = pair()
    asked = []

    def pending(*args):
        asked.append(args)
        return False

    with theirs:
        log = talk(executor, None, DelayedOperation(WriteOperation(b"x"), pending, "a", 1), socket=client)
        assert read_to_end(theirs) == b"x"
    assert asked == [(client, executor, "a", 1)]
    assert log.names == [*USUAL, "WRITE", *END]


@pytest.mark.parametrize("io_timeout", [None, 60, 0.01])
@pytest.mark.parametrize("first", ["first", "after a read"])
def test_asked_every_interval(executor: RequestExecutor, io_timeout: float | None, first: str) -> None:
    client, theirs = pair()
    asked = []

    def pending(*args):
        asked.append(args)
        return len(asked) < 4

    delayed = DelayedOperation(WriteOperation(b"x"), pending, interval=0.01)
    operation = delayed if first == "first" else ReadOperation()
    with theirs:
        theirs.sendall(b"go")
        log = talk(
            executor, None, operation, socket=client, io_timeout=io_timeout,
            on={"READ": lambda event: event.next_is(delayed)},
        )  # fmt: skip
    assert len(asked) == 4
    assert log.timeouts == []  # a delay is no time without progress
    assert "WRITE" in log.names


def test_asked_when_another_socket_had_an_event(executor: RequestExecutor) -> None:
    waiting, waiting_peer = pair()
    working, working_peer = pair()
    state = {"open": False, "asked": 0}

    def pending(*args):
        state["asked"] += 1
        return not state["open"]

    def on_read(event):
        state["open"] = event.frame.data == b"3\n"
        if not state["open"]:
            event.next_is_read(LINE)

    with waiting_peer, working_peer:
        add(executor, None, DelayedOperation(WriteOperation(b"x"), pending), socket=waiting)
        add(executor, None, ReadOperation(LINE), socket=working, on={"READ": on_read})
        working_peer.sendall(b"1\n2\n3\n")
        executor.execute_request()
        assert read_to_end(waiting_peer) == b"x"
    assert 2 <= state["asked"] <= 4  # not once for each event of a turn


def test_asked_after_a_thread_safe_callback_and_never_spins(executor: RequestExecutor) -> None:
    client, theirs = pair()
    state = {"open": False, "asked": 0, "turns": 0}

    def pending(*args):
        state["asked"] += 1
        return not state["open"]

    def release():
        state["open"] = True

    with theirs:
        add(executor, None, DelayedOperation(WriteOperation(b"x"), pending), socket=client)
        executor.start_request()
        for _ in range(10):
            assert executor.turn(0)
        assert state["asked"] == 1
        assert executor.patience() is None
        executor.call_soon_threadsafe(int)
        executor.turn(0)
        assert state["asked"] == 2
        executor.call_soon_threadsafe(release)
        while executor.turn(None):
            pass
        assert state["asked"] == 3
        assert read_to_end(theirs) == b"x"


def test_all_delayed_on_one_another(executor: RequestExecutor) -> None:
    """The second is asked because the first had its events."""
    first, first_peer = pair()
    second, second_peer = pair()
    order = []

    def pending(socket, executor):
        return "first" not in order

    ticks = iter([True, True, False])
    with first_peer, second_peer:
        add(
            executor, None, DelayedOperation(NullOperation(), lambda *args: next(ticks), interval=0.01),
            socket=first, on={"FINALIZE": lambda event: order.append("first")},
        )  # fmt: skip
        add(
            executor, None, DelayedOperation(NullOperation(), pending), socket=second,
            on={"FINALIZE": lambda event: order.append("second")},
        )  # fmt: skip
        executor.execute_request()
    assert order == ["first", "second"]


def test_an_exception_out_of_pending_ends_the_run(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        log = add(executor, None, DelayedOperation(NullOperation(), lambda *args: 1 / 0), socket=client)
        with pytest.raises(ZeroDivisionError):
            executor.execute_request()
    assert log.names == [*USUAL, *END]


def test_a_delayed_socket_can_be_cancelled_and_timed_out(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        log = talk(
            executor, None, DelayedOperation(NullOperation(), lambda *args: True), socket=client,
            request_timeout=0.05,
        )  # fmt: skip
    assert log.timeouts == [("REQUEST", "delayed")]
    client, theirs = pair()
    with theirs:
        log = talk(
            executor, None, DelayedOperation(NullOperation(), lambda *args: True), socket=client,
            on={"CONNECTED": lambda event: executor.call_soon_threadsafe(client.close)},
        )  # fmt: skip
    assert log.names == [*USUAL, *END]


# ---- one's own -------------------------------------------------------------------------------------


class Greeting(Operation):
    """Says hello in its own way and reads the answer without a picker."""

    __slots__ = ()
    interest = READ

    def start(self, channel):
        assert channel.send(b"hello") == 5
        return self

    def step(self, channel, mask):
        assert mask & READ
        data = channel.recv()
        if data is None or len(channel.inbox) < 5:
            return self
        channel.metadata.user_context = channel.inbox.take(5), channel.socket
        channel.emit(Event(EventType.CONNECTED, channel))
        return WriteOperation(b"bye")


def test_an_operation_of_ones_own(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        theirs.sendall(b"howdy and more")
        log = talk(executor, None, Greeting(), socket=client)
        assert theirs.recv(100) == b"hellobye"
    assert log.metadata.user_context == (b"howdy", client)
    assert log.names == [*USUAL, "CONNECTED", "WRITE", *END]
    assert (log.metadata.bytes_sent, log.metadata.bytes_received) == (8, 14)


class Pour(Operation):
    """Sends as much as the peer takes, with what it has sent so far in the user context."""

    __slots__ = ()
    interest = WRITE
    phase = "writing"

    def step(self, channel, mask):
        channel.metadata.user_context += channel.send(bytes(100_000))
        return self if channel.metadata.user_context < 2_000_000 else None


def test_its_interest_may_be_writing(executor: RequestExecutor) -> None:
    with peer(read_to_end, receive_buffer=8192) as server:
        log = talk(executor, server.url(), Pour(), user_context=0)
    assert log.metadata.user_context >= 2_000_000
    assert [len(data) for data in server.results] == [log.metadata.user_context]


def test_the_default_start_waits(executor: RequestExecutor) -> None:
    class Bare(Operation):
        def step(self, channel, mask):
            return None if channel.recv() is not None else self

    client, theirs = pair()
    with theirs:
        theirs.sendall(b"x")
        log = talk(executor, None, Bare(), socket=client)
    assert log.names == [*USUAL, *END]


def test_its_end_of_stream_and_errors(executor: RequestExecutor) -> None:
    class Bare(Operation):
        def step(self, channel, mask):
            return self if channel.recv() != b"" else 1 / 0

    client, theirs = pair()
    theirs.close()
    log = add(executor, None, Bare(), socket=client)
    with pytest.raises(ZeroDivisionError):
        executor.execute_request()
    assert log.names == [*USUAL, *END]
