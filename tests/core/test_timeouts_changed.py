"""Time-outs changed on the way, and slow handlers, on a clock that only the engine moves."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EventType,
    FixedLengthFramePicker,
    MarkerFramePicker,
    NullOperation,
    ReadOperation,
    WriteOperation,
)
from support.stage import Stage, unanswered
from support.wire import Log, add, pair

FOREVER = {"connection_timeout": None, "io_timeout": None}


@pytest.mark.parametrize(
    ("before", "after", "end"), [(100, 3, 3), (3, 8, 8), (None, 3, 3), (100, 0.5, 1), (100, 0, 1)]
)
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


@pytest.mark.parametrize("kind", ["INITIALIZE"])
def test_slow_initialize_takes_nothing_from_the_request(stage: Stage, kind: str) -> None:
    ours, theirs = pair()
    with theirs:
        on = {kind: lambda event: stage.engine.clock.advance(10)}
        log = add(stage.executor, None, ReadOperation(), socket=ours, on=on, request_timeout=3)
        stage.executor.execute_request()
    assert log.timeouts == [("REQUEST", "reading")]
    assert stage.now == pytest.approx(13)


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
