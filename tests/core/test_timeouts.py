"""Every time-out, exactly, on a clock that only the engine moves."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.wire import Log, add, pair

from evsockets import (
    ClientSocket,
    DelayedOperation,
    EventType,
    FixedLengthFramePicker,
    MarkerFramePicker,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from evsockets.testing.scripted import ScriptedEngine

FOREVER = {"connection_timeout": None, "io_timeout": None}


class Stage:
    """An executor whose clock starts at 0 and moves only by waiting."""

    def __init__(self) -> None:
        self.engine = ScriptedEngine(look=True)
        self.engine.clock.now = 0.0
        self.executor = RequestExecutor(self.engine)

    @property
    def now(self) -> float:
        return self.engine.clock.now

    def stamp(self, log: Log) -> list[tuple[str, float]]:
        """Have `log` collect (name, moment)."""
        moments: list[tuple[str, float]] = []
        self.executor.with_event_handler(
            lambda e: moments.append((e.type.name, self.now)) if e.metadata is log.metadata else None
        )
        return moments


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    with made.executor:
        yield made


@contextlib.contextmanager
def unanswered() -> Iterator[str]:
    """The address of a unix listener whose queue is full: connecting goes on for ever."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind("")
        listener.listen(0)
        name = listener.getsockname()
        for _ in range(8):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            if client.connect_ex(name):
                break
        yield "unix://@" + name[1:].decode()


def test_connection_timeout(stage: Stage) -> None:
    with unanswered() as address:
        log = add(
            stage.executor, address, ReadOperation(), connection_timeout=5, io_timeout=1, user_context="mine"
        )
        stage.executor.execute_request()
    assert log.names == ["INITIALIZE", "TIMEOUT", "FINALIZE"]
    assert log.timeouts == [("CONNECTION", "connecting")]
    assert log.events[1].user_context == "mine"
    assert stage.now == pytest.approx(5)


def test_connection_is_tried_again(stage: Stage) -> None:
    seen: list[Any] = []

    def again(event: Any) -> None:
        if len(seen) < 2:
            event.enable_one_more_attempt()
        seen.append(stage.now)

    def times(event: Any) -> None:
        m = event.metadata
        assert (m.connection_start_time, m.connection_finish_time, m.last_io_start_time) == (None, None, None)

    with unanswered() as address:
        on = {"TIMEOUT": again, "INITIALIZE": times}
        log = add(stage.executor, address, ReadOperation(), on=on, connection_timeout=5)
        stage.executor.execute_request()
    assert log.names == ["INITIALIZE", "TIMEOUT"] * 3 + ["FINALIZE"]
    assert seen == pytest.approx([5, 10, 15])


def test_another_address_for_another_attempt(stage: Stage) -> None:
    with unanswered() as address, socket.create_server(("127.0.0.1", 0)) as listener:

        def move(event: Any) -> None:
            event.metadata.address = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
            event.enable_one_more_attempt()

        log = add(
            stage.executor, address, WriteOperation(b"x"), on={"TIMEOUT": move}, connection_timeout=5
        )
        stage.executor.execute_request()
    assert log.names == ["INITIALIZE", "TIMEOUT", "INITIALIZE", "CONNECTED", "WRITE", "DISCONNECTED", "FINALIZE"]


def test_request_timeout_counts_over_connection_attempts(stage: Stage) -> None:
    with unanswered() as address:
        def again(event: Any) -> None:
            if event.when.name == "CONNECTION":
                event.enable_one_more_attempt()

        on = {"TIMEOUT": again}
        log = add(
            stage.executor, address, ReadOperation(), on=on, connection_timeout=5, request_timeout=12
        )
        stage.executor.execute_request()
    assert log.timeouts == [("CONNECTION", "connecting")] * 2 + [("REQUEST", "connecting")]
    assert stage.now == pytest.approx(12)


def test_resolving_counts_as_connecting() -> None:
    release = threading.Event()

    def slow(*args: Any, **named: Any) -> Any:
        release.wait(20)
        raise OSError("never mind")

    with RequestExecutor("selectors", resolver=slow) as executor:
        log = add(executor, "tcp://name.invalid:80", ReadOperation(), connection_timeout=0.05)
        try:
            executor.execute_request()
        finally:
            release.set()
    assert log.names == ["INITIALIZE", "TIMEOUT", "FINALIZE"]
    assert log.timeouts == [("CONNECTION", "resolving")]


def test_handshaking_counts_as_connecting(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "tls://127.0.0.1:%d" % listener.getsockname()[1]
        log = add(stage.executor, address, ReadOperation(), connection_timeout=5, io_timeout=1)
        stage.executor.execute_request()
    assert log.names == ["INITIALIZE", "TIMEOUT", "FINALIZE"]
    assert log.timeouts == [("CONNECTION", "handshaking")]
    assert stage.now == pytest.approx(5)


def test_io_timeout_reading(stage: Stage) -> None:
    ours, theirs = pair()
    with theirs:
        log = add(stage.executor, None, ReadOperation(), socket=ours, io_timeout=3, connection_timeout=1)
        stage.executor.execute_request()
    assert log.names == ["INITIALIZE", "CONNECTED", "TIMEOUT", "DISCONNECTED", "FINALIZE"]
    assert log.timeouts == [("IO", "reading")]
    assert stage.now == pytest.approx(3)


def test_io_timeout_writing(stage: Stage) -> None:
    ours, theirs = pair()
    with theirs:
        log = add(stage.executor, None, WriteOperation(bytes(10_000_000)), socket=ours, io_timeout=3)
        stage.executor.execute_request()
    assert log.names == ["INITIALIZE", "CONNECTED", "WRITE", "TIMEOUT", "DISCONNECTED", "FINALIZE"]
    assert log.timeouts == [("IO", "writing")]
    assert stage.now == pytest.approx(3)


def test_io_timeout_once_more(stage: Stage) -> None:
    seen: list[float] = []

    def again(event: Any) -> None:
        seen.append(stage.now)
        if len(seen) < 3:
            event.enable_one_more_attempt()

    ours, theirs = pair()
    with theirs:
        log = add(stage.executor, None, ReadOperation(), socket=ours, on={"TIMEOUT": again}, io_timeout=3)
        stage.executor.execute_request()
    assert seen == pytest.approx([3, 6, 9])
    assert log.names == ["INITIALIZE", "CONNECTED", "TIMEOUT", "TIMEOUT", "TIMEOUT", "DISCONNECTED", "FINALIZE"]


def test_bytes_move_the_io_clock_and_another_sockets_do_not(stage: Stage) -> None:
    busy, talker = pair()
    idle, silent = pair()
    with talker, silent:
        for _ in range(4):
            stage.engine.call(lambda: talker.send(b"x") and None, after=2)
        one = add(stage.executor, None, ReadOperation(FixedLengthFramePicker(9)), socket=busy, io_timeout=3)
        two = add(stage.executor, None, ReadOperation(), socket=idle, io_timeout=3)
        first, second = stage.stamp(one), stage.stamp(two)
        stage.executor.execute_request()
    assert dict(second)["TIMEOUT"] == pytest.approx(3)
    assert dict(first)["TIMEOUT"] == pytest.approx(8 + 3)


def test_delayed_does_not_count(stage: Stage) -> None:
    ours, theirs = pair()
    with theirs:
        operation = DelayedOperation(ReadOperation(), lambda s, e: stage.now < 100, interval=10)
        log = add(stage.executor, None, operation, socket=ours, io_timeout=3)
        stage.executor.execute_request()
    assert log.timeouts == [("IO", "reading")]
    assert stage.now == pytest.approx(103)


def test_delayed_phase_and_request_timeout(stage: Stage) -> None:
    ours, theirs = pair()
    with theirs:
        operation = DelayedOperation(ReadOperation(), lambda s, e: True)
        log = add(stage.executor, None, operation, socket=ours, io_timeout=3, request_timeout=7)
        stage.executor.execute_request()
    assert log.timeouts == [("REQUEST", "delayed")]
    assert log.names == ["INITIALIZE", "CONNECTED", "TIMEOUT", "DISCONNECTED", "FINALIZE"]
    assert stage.now == pytest.approx(7)


def test_idle_timeout(stage: Stage) -> None:
    seen: list[float] = []

    def again(event: Any) -> None:
        seen.append(stage.now)
        if len(seen) < 2:
            event.enable_one_more_attempt()

    ours, theirs = pair()
    with theirs:
        log = add(
            stage.executor, None, WriteOperation(b"x"), socket=ours, keep_alive=True, io_timeout=1,
            idle_timeout=4, on={"TIMEOUT": again},
        )  # fmt: skip
        stage.executor.execute_request()
    assert log.timeouts == [("IDLE", "idle")] * 2
    assert seen == pytest.approx([4, 8])


def test_request_timeout_counts_through_progress(stage: Stage) -> None:
    ours, theirs = pair()
    seen: list[float] = []

    def again(event: Any) -> None:
        seen.append(stage.now)
        if len(seen) < 2:
            event.enable_one_more_attempt()

    with theirs:
        for _ in range(12):
            stage.engine.call(lambda: theirs.send(b"x") and None, after=1)
        on = {"READ": lambda event: event.next_is_read(), "TIMEOUT": again}
        log = add(
            stage.executor, None, ReadOperation(), socket=ours, io_timeout=3, request_timeout=5.5, on=on
        )
        stage.executor.execute_request()
    assert log.timeouts == [("REQUEST", "reading")] * 2
    assert seen == pytest.approx([5.5, 11])


def test_server_timeouts(stage: Stage) -> None:
    server = ServerSocket()
    metadata = stage.executor.socket_bag.add_socket(server, ReadOperation(), address="tcp://127.0.0.1:0")
    for name in ("connection_timeout", "io_timeout", "idle_timeout", "request_timeout"):
        assert getattr(metadata, name) is None
    log = add(
        stage.executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), io_timeout=3,
        on={"FINALIZE": lambda event: stage.executor.stop_request()},
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        stage.engine.call(
            lambda: stack.enter_context(socket.create_connection(log.metadata.local_address)) and None, after=2
        )
        stage.executor.execute_request()
    assert log.timeouts == [("IO", "listening")]
    assert log.names == ["INITIALIZE", "CONNECTED", "ACCEPT", "TIMEOUT", "DISCONNECTED", "FINALIZE"]
    assert stage.now == pytest.approx(5)


@pytest.mark.parametrize(("before", "after", "end"), [(100, 3, 3), (3, 8, 8), (None, 3, 3), (100, 0.5, 1), (100, 0, 1)])
@pytest.mark.parametrize("name", ["io_timeout", "request_timeout", "idle_timeout", "connection_timeout"])
def test_a_changed_timeout_acts_at_once(stage: Stage, name: str, before: Any, after: Any, end: float) -> None:
    timeouts = {**FOREVER, name: before}
    with contextlib.ExitStack() as stack:
        if name == "connection_timeout":
            log = add(stage.executor, stack.enter_context(unanswered()), ReadOperation(), **timeouts)
        else:
            ours, theirs = pair()
            stack.enter_context(theirs)
            idle = name == "idle_timeout"
            operation = NullOperation() if idle else ReadOperation()
            log = add(stage.executor, None, operation, socket=ours, keep_alive=idle, **timeouts)
        moments = stage.stamp(log)

        def change() -> None:
            stage.executor.call_soon_threadsafe(setattr, log.metadata, name, after)

        stage.engine.call(change, after=1)
        stage.executor.execute_request()
    assert dict(moments)["TIMEOUT"] == pytest.approx(end)


def test_slow_handler_takes_nothing_from_what_it_starts(stage: Stage) -> None:
    ours, theirs = pair()

    def slow(event: Any) -> None:
        stage.engine.clock.advance(10)
        event.next_is_read()

    with theirs:
        theirs.sendall(b"x")
        log = add(stage.executor, None, ReadOperation(), socket=ours, on={"READ": slow}, io_timeout=3)
        moments = stage.stamp(log)
        stage.executor.execute_request()
    assert dict(moments)["TIMEOUT"] == pytest.approx(13)


@pytest.mark.parametrize("kind", ["INITIALIZE", "CONNECTED", "WRITE"])
def test_slow_handler_in_the_beginning(stage: Stage, kind: str) -> None:
    with unanswered() as address, socket.create_server(("127.0.0.1", 0)) as listener:
        url = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
        slow = {kind: lambda event: stage.engine.clock.advance(10)}
        own = add(
            stage.executor, url, WriteOperation(b"x", then=ReadOperation()), on=slow,
            connection_timeout=3, io_timeout=3,
        )  # fmt: skip
        other = add(stage.executor, address, ReadOperation(), connection_timeout=3)
        mine, others = stage.stamp(own), stage.stamp(other)
        stage.executor.execute_request()
    assert own.timeouts == [("IO", "reading")]
    assert dict(mine)["TIMEOUT"] == pytest.approx(13)
    if kind == "INITIALIZE":
        assert dict(others)["TIMEOUT"] == pytest.approx(13)


def test_slow_handler_takes_nothing_from_a_socket_ready_with_it(stage: Stage) -> None:
    """Bytes that came are progress when they are looked at, not when the turn began."""
    logs = []
    peers = []
    line = MarkerFramePicker(None, b"\n")
    for _ in range(3):
        ours, theirs = pair()
        peers.append(theirs)
        theirs.sendall(b"x")
        log = add(stage.executor, None, ReadOperation(line), socket=ours, io_timeout=3)
        logs.append((log, stage.stamp(log)))
    slow, theirs = pair()
    peers.append(theirs)
    theirs.sendall(b"\n")
    on = {"READ": lambda event: stage.engine.clock.advance(10)}
    add(stage.executor, None, ReadOperation(line), socket=slow, on=on)
    # The slow one is somewhere among the three in the batch: second, whatever the engine's order.
    poll = stage.engine.poll

    def shuffled(timeout: float | None) -> Any:
        batch = poll(timeout)
        batch.sort(key=lambda entry: getattr(entry[0], "socket", None) is not slow)
        return batch

    stage.engine.poll = shuffled  # type: ignore[method-assign]
    stage.executor.execute_request()
    for theirs in peers:
        theirs.close()
    for log, moments in logs:
        assert log.timeouts == [("IO", "reading")]
        assert dict(moments)["TIMEOUT"] == pytest.approx(13)


def test_io_is_looked_at_before_timeouts(stage: Stage) -> None:
    """After a long stall bytes that came meanwhile are delivered."""
    ours, theirs = pair()
    stalling, others = pair()
    with theirs, others:

        def stall(event: Any) -> None:
            stage.engine.clock.advance(100)
            theirs.sendall(b"in time")

        others.sendall(b"x")
        log = add(stage.executor, None, ReadOperation(), socket=ours, io_timeout=3)
        add(stage.executor, None, ReadOperation(), socket=stalling, on={"READ": stall})
        stage.executor.execute_request()
    assert log.frames == [b"in time"] and log.timeouts == []


def test_zero_is_at_once(stage: Stage) -> None:
    ours, theirs = pair()
    with theirs:
        log = add(stage.executor, None, ReadOperation(), socket=ours, io_timeout=0)
        stage.executor.execute_request()
    assert log.timeouts == [("IO", "reading")]
    assert stage.now == 0


@pytest.mark.parametrize("name", ["io_timeout", "connection_timeout", "idle_timeout", "request_timeout"])
@pytest.mark.parametrize("value", [-1, -0.001, float("nan")])
def test_bad_values(stage: Stage, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        stage.executor.socket_bag.add_socket(ClientSocket(), ReadOperation(), **{name: value})
    metadata = stage.executor.socket_bag.add_socket(ClientSocket(), ReadOperation())
    with pytest.raises(ValueError, match=name):
        setattr(metadata, name, value)
    with pytest.raises(TypeError):
        setattr(metadata, name, "soon")


def test_many_waits_longer_than_a_day(stage: Stage) -> None:
    ours, theirs = pair()
    with theirs:
        log = add(stage.executor, None, ReadOperation(), socket=ours, io_timeout=200_000.0)
        stage.executor.execute_request()
    assert log.timeouts == [("IO", "reading")]
    assert stage.now == pytest.approx(200_000)
    assert max(timeout for timeout in stage.engine.polls if timeout is not None) <= 86_400


def test_no_look_at_idle_sockets(stage: Stage) -> None:
    """One busy socket among many idle ones: turns ask nothing of the others."""
    idle = [pair() for _ in range(50)]
    busy, theirs = pair()
    with theirs:
        for ours, _ in idle:
            add(stage.executor, None, ReadOperation(), socket=ours, io_timeout=1000)
        theirs.sendall(b"x" * 200)
        left = [200]

        def on_read(event: Any) -> None:
            left[0] -= 1
            if left[0]:
                event.next_is_read(FixedLengthFramePicker(1))
            else:
                stage.executor.stop_request()

        log = Log()
        stage.executor.socket_bag.add_socket(
            busy, ReadOperation(FixedLengthFramePicker(1)), handler={EventType.READ: on_read}
        )
        calls = len(stage.engine.calls)
        stage.executor.execute_request()
        # One watch when they start, one when they end.
        assert len(stage.engine.calls) - calls <= 2 * 51 + 4
        del log
    for _, other in idle:
        other.close()
