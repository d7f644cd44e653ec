"""What the core asks of an engine: which descriptors, for what, and for how long; and what it makes of the
answers, false ones included."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest

from evsockets import (
    READ,
    WRITE,
    ClientSocket,
    DelayedOperation,
    EngineError,
    FixedLengthFramePicker,
    NullOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ServerSocket,
    TlsHandshakeOperation,
    WriteOperation,
)
from evsockets.testing.scripted import ScriptedEngine
from support.machine import until
from support.stage import Stage
from support.wire import Log, add, pair, turns_to_the_end

BIG = bytes(5_000_000)
FOREVER = {"connection_timeout": None, "io_timeout": None}


# ---- for how long ------------------------------------------------------------------------------------

WAITS = {
    "one": ([100.0003], 100.0003),
    "smallest": ([100.0003, 2.4, 1.000003, 5.000001], 1.000003),
    "smallest, others forever": ([None, 2.0, 3.0, 1.0], 1.0),
    "forever": ([None], None),
    "all forever": ([None, None, None], None),
    "zero": ([5.0, 0.0], 0.0),
    "tiny": ([0.000001], 0.000001),
    "over a day": ([100_000.0], 86_400.0),
}


class Enough(BaseException):
    """The engine was asked to wait."""


@pytest.mark.parametrize("when", ["connection", "io", "both"])
@pytest.mark.parametrize(("timeouts", "wait"), WAITS.values(), ids=WAITS.keys())
def test_it_waits_for_the_earliest(stage: Stage, timeouts: list[Any], wait: float | None, when: str) -> None:
    """The connection time-out before the connection, the I/O time-out after it."""
    executor = stage.executor
    asked: list[float | None] = []

    def poll(timeout: float | None) -> Any:
        asked.append(timeout)
        raise Enough

    stage.engine.poll = poll  # type: ignore[method-assign]
    with contextlib.ExitStack() as stack:
        # At 127.0.0.1 a connect is asked again at once, and done before the engine is.
        listener = stack.enter_context(socket.create_server(("127.0.0.2", 0)))
        for number, timeout in enumerate(timeouts):
            # The other time-out, of no account yet or any more, would be the earlier one.
            if when == "connection" or (when == "both" and number % 2):
                address = "tcp://127.0.0.2:%d" % listener.getsockname()[1]
                add(executor, address, ReadOperation(), connection_timeout=timeout, io_timeout=1e-9)
            else:
                ours, theirs = pair()
                stack.enter_context(theirs)
                add(executor, None, ReadOperation(), socket=ours, io_timeout=timeout, connection_timeout=1e-9)
        with pytest.raises(Enough):
            executor.execute_request()
    assert asked == [pytest.approx(wait) if wait is not None else None]


# ---- for what ----------------------------------------------------------------------------------------


class Both(Operation):
    """Asks for both directions, does nothing."""

    __slots__ = ()
    interest = READ | WRITE

    def step(self, channel: Any, mask: int) -> Operation:
        return self


INTERESTS: dict[str, tuple[Any, int]] = {
    "read": (lambda: ReadOperation(), READ),
    "write": (lambda: WriteOperation(BIG), WRITE),
    "write, then read": (lambda: WriteOperation(BIG, then=ReadOperation()), WRITE),
    "written, now read": (lambda: WriteOperation(b"x", then=ReadOperation()), READ),
    "both": (lambda: ReadWriteOperation(True, [ReadOperation(), WriteOperation(BIG)]), READ | WRITE),
    "both, only reads": (lambda: ReadWriteOperation(True, [ReadOperation()]), READ),
    "both, only writes": (lambda: ReadWriteOperation(True, [WriteOperation(BIG)]), WRITE),
    "handshake": (lambda: TlsHandshakeOperation(), READ),
    "idle": (lambda: NullOperation(), READ),
    "one's own": (lambda: Both(), READ | WRITE),
}


def started(executor: RequestExecutor, name: str, ours: ClientSocket) -> Log:
    """`ours` with that operation, in a run that has come to where it waits."""
    make, _ = INTERESTS[name]
    log = add(
        executor, None, make(), socket=ours, keep_alive=name == "idle",
        stream_context={"verify": False, "server_hostname": "localhost"}, **FOREVER,
    )  # fmt: skip
    executor.start_request()
    executor.turn(0)
    executor.turn(0)
    return log


@pytest.mark.parametrize("name", INTERESTS)
def test_it_watches_exactly_what_the_operation_waits_for(stage: Stage, name: str) -> None:
    _, interest = INTERESTS[name]
    ours, theirs = pair()
    executor = stage.executor
    with theirs:
        theirs.setblocking(False)
        started(executor, name, ours)
        assert stage.engine.watched[ours.fileno()][0] == interest
        if interest & WRITE and name != "one's own":
            # When everything is sent it waits to read, or has ended.
            for _ in until(lambda: not stage.engine.watched.get(ours.fileno(), (0,))[0] & WRITE):
                with contextlib.suppress(BlockingIOError):
                    theirs.recv(1 << 20)
                executor.turn(0)
            expected = READ if name in ("write, then read", "both") else 0
            assert stage.engine.watched.get(ours.fileno(), (0,))[0] == expected
        executor.stop_request() if executor.is_executing else None
        if executor.is_executing:
            turns_to_the_end(executor, 0)
    # Only the waker's.
    assert len(stage.engine.watched) == 1


def test_a_delayed_one_is_not_watched(stage: Stage) -> None:
    ours, theirs = pair()
    with theirs:
        delayed = DelayedOperation(ReadOperation(), lambda *args: True)
        add(stage.executor, None, delayed, socket=ours, **FOREVER)
        stage.executor.start_request()
        stage.executor.turn(0)
        assert ours.fileno() not in stage.engine.watched
        stage.executor.stop_request()
        assert not stage.executor.turn(0)


# ---- answers that are not true -----------------------------------------------------------------------


def false_alarms(stage: Stage, log: Log, client: Any, mask: int, count: int = 20) -> None:
    """Turns in which the engine says `mask` though nothing has happened."""
    names = list(log.names)
    for _ in range(count):
        stage.engine.play((client.fileno(), mask))
        stage.executor.turn(0)
        assert log.names == names


@pytest.mark.parametrize("mask", [READ, WRITE, READ | WRITE])
@pytest.mark.parametrize("name", sorted(set(INTERESTS) - {"written, now read", "one's own"}))
def test_called_for_nothing(name: str, mask: int) -> None:
    """No event, no error, no loss, whatever the engine says and however often."""
    stage = Stage()
    stage.engine._look = False
    _, interest = INTERESTS[name]
    ours, theirs = pair()
    with stage.executor as executor, theirs:
        log = started(executor, name, ours)
        false_alarms(stage, log, ours, mask & interest)
        assert log.errors == []
        if interest & READ and name not in ("handshake", "idle"):
            theirs.sendall(b"true")
            for _ in until(lambda: "READ" in log.names):
                stage.engine.play((ours.fileno(), interest))
                executor.turn(0)
            assert log.frames == [b"true"]
        if executor.is_executing:
            executor.stop_request()
            executor.turn(0)
    assert log.names[-2:] == ["DISCONNECTED", "FINALIZE"] and log.errors == []


def test_half_frames_and_empty_looks_in_between(stage: Stage) -> None:
    """A slow peer: looks that find nothing lose nothing and fail nothing."""
    stage.engine._look = False
    ours, theirs = pair()
    executor = stage.executor
    with theirs:
        log = add(executor, None, ReadOperation(FixedLengthFramePicker(10)), socket=ours, **FOREVER)
        executor.start_request()
        executor.turn(0)
        for number in range(10):
            false_alarms(stage, log, ours, READ, 3)
            theirs.sendall(b"%d" % number)
            stage.engine.play((ours.fileno(), READ))
            executor.turn(0)
    assert log.frames == [b"0123456789"] and log.errors == []


def test_false_alarms_of_a_listener_and_a_connect(stage: Stage) -> None:
    stage.engine._look = False
    executor = stage.executor
    server = ServerSocket()
    listening = add(executor, "tcp://127.0.0.1:0", ReadOperation(), socket=server, io_timeout=None)
    executor.start_request()
    executor.turn(0)
    false_alarms(stage, listening, server, READ)
    with socket.create_connection(listening.metadata.local_address):
        stage.engine.play((server.fileno(), READ))
        executor.turn(0)
        assert listening.names == ["INITIALIZE", "CONNECTED", "ACCEPT"]
    false_alarms(stage, listening, server, READ)
    executor.stop_request()
    assert not executor.turn(0)
    assert listening.errors == []


def test_a_connect_announced_too_early(stage: Stage) -> None:
    """Writability is asked about, not believed: a connect on its way is neither done nor failed."""
    stage.engine._look = False
    executor = stage.executor
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        client = ClientSocket()
        address = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
        log = add(executor, address, ReadOperation(), socket=client, connection_timeout=9)
        executor.start_request()
        executor.turn(0)
        (attempt,) = [fd for fd, (interest, _) in stage.engine.watched.items() if interest == WRITE]
        for _ in range(20):
            stage.engine.play((attempt, WRITE))
            executor.turn(0)
            assert log.names == ["INITIALIZE"]
        turns_to_the_end(executor)
    assert log.timeouts == [("CONNECTION", "connecting")] and stage.now == pytest.approx(9)


# ---- engines that fail -------------------------------------------------------------------------------


def test_an_error_of_the_engine_leaves_the_run() -> None:
    """As an EngineError; everything started is closed, and the user's engine can be used again."""
    engine = ScriptedEngine(look=True)
    error = OSError(5, "broken engine")
    poll = engine.poll
    engine.poll = lambda timeout: (_ for _ in ()).throw(error)  # type: ignore[method-assign]
    ours, theirs = pair()
    with RequestExecutor(engine) as executor, theirs:
        log = add(executor, None, ReadOperation(), socket=ours)
        with pytest.raises(EngineError, match="broken engine") as caught:
            executor.execute_request()
        assert caught.value.__cause__ is error and not executor.is_executing
        assert log.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
        engine.poll = poll  # type: ignore[method-assign]
        again, others = pair()
        with others:
            others.sendall(b"!")
            second = add(executor, None, ReadOperation(), socket=again)
            executor.execute_request()
        assert second.frames == [b"!"]


@pytest.mark.parametrize("fails", [False, True])
def test_its_own_engine_is_closed_once(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    closed: list[Any] = []
    executor = RequestExecutor("selectors")
    close = executor.engine.close
    monkeypatch.setattr(executor.engine, "close", lambda: closed.append(close()))
    ours, theirs = pair()
    with theirs:
        on = {"CONNECTED": lambda event: 1 / 0} if fails else {}
        add(executor, None, WriteOperation(b"x"), socket=ours, on=on)
        with contextlib.suppress(ZeroDivisionError):
            executor.execute_request()
        assert closed == []
        executor.close()
        executor.close()
    assert len(closed) == 1


def test_closed_by_a_callback_in_the_turn_of_its_time_out(stage: Stage) -> None:
    """What has been closed sees only its end: no TIMEOUT any more."""
    ours, theirs = pair()
    with theirs:
        log = add(stage.executor, None, ReadOperation(), socket=ours, io_timeout=3)
        stage.engine.call(lambda: stage.executor.call_soon_threadsafe(ours.close), after=3)
        stage.executor.execute_request()
    assert stage.now == pytest.approx(3)
    assert log.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
