"""Shutdown, delay, null, out-of-band data, and operations of one's own."""

from __future__ import annotations

import socket

import pytest
from support.wire import add, pair, peer, read_to_end, talk

from evsockets import (
    READ,
    WRITE,
    ClientSocket,
    DelayedOperation,
    DisconnectedError,
    Event,
    EventType,
    FixedLengthFramePicker,
    MarkerFramePicker,
    NullOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ShutdownWriteOperation,
    UnsupportedOperationError,
    WriteOperation,
)

LINE = MarkerFramePicker(None, b"\n")
USUAL = ["INITIALIZE", "CONNECTED"]
END = ["DISCONNECTED", "FINALIZE"]


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


# ---- out-of-band data ------------------------------------------------------------------------------


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


def test_oob_in_the_middle_of_a_frame(executor: RequestExecutor) -> None:
    script = urgent((b"te", 0), (b"!", socket.MSG_OOB), (b"xt\n", 0))
    with peer(script) as server:
        log = talk(executor, server.url(), ReadOperation(LINE), oob=True)
    assert log.names == [*USUAL, "OOB", "READ", *END] and log.frames == [b"text\n"]


def test_a_next_operation_replaces_the_current_one(executor: RequestExecutor) -> None:
    script = urgent((b"!", socket.MSG_OOB),)
    with peer(script) as server:
        log = talk(
            executor, server.url(), ReadOperation(LINE),
            on={"OOB": lambda event: event.next_is_write(b"seen")},
        )  # fmt: skip
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
        both = talk(
            executor, server.url(), duplex, on={"OOB": lambda event: event.next_is_write(b"duplex")}
        )
    assert idle.names == [*USUAL, "OOB", "WRITE", *END]
    assert both.names == [*USUAL, "OOB", "WRITE", *END]
    assert server.results == [b"idle", b"duplex"]


def test_scheduling_does_not_read_the_urgent_byte_as_data(executor: RequestExecutor) -> None:
    """Stepped without having been announced, the mark is still looked at first."""
    duplex = ReadWriteOperation(True, [ReadOperation(FixedLengthFramePicker(2))])
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
        theirs.send(b"!", socket.MSG_OOB)
        theirs.send(b"ab")
        duplex.schedule(WriteOperation(b"x"))
        while executor.turn(None):
            pass
    assert seen == [b"!"] and log.frames == [b"ab"]


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
