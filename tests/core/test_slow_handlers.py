"""A slow handler takes nothing from its own socket's time-outs, on a clock that only the engine moves."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

import pytest

from evsockets import (
    READ,
    Event,
    EventType,
    FixedLengthFramePicker,
    NullOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    WriteOperation,
)
from evsockets.core import timeouts
from support.stage import Stage
from support.wire import add, pair, tcp_pair

SLOW = 10.0


def timeout(moments: list[tuple[str, float]]) -> float:
    return [when for name, when in moments if name == "TIMEOUT"][-1]


def test_data_alerts(stage: Stage) -> None:
    """An idle connection's time goes on when the handler has returned."""
    ours, theirs = pair()
    alerts: list[float] = []

    def slow(event: Any) -> None:
        alerts.append(stage.now)
        if len(alerts) == 2:  # the bytes have been received in an earlier turn
            stage.engine.clock.advance(SLOW)
        elif len(alerts) == 3:
            event.next_is_read()

    with theirs:
        stage.engine.call(lambda: theirs.send(b"x") and [(ours.fileno(), READ)], after=2)
        log = add(
            stage.executor, None, NullOperation(), socket=ours, keep_alive=True, idle_timeout=3,
            on={"DATA_ALERT": slow},
        )  # fmt: skip
        moments = stage.stamp(log)
        stage.executor.execute_request()
    assert log.frames == [b"x"]
    assert timeout(moments) == pytest.approx(2 + SLOW + 3)


def test_out_of_band_data(stage: Stage) -> None:
    ours, theirs = tcp_pair()

    def urgent() -> list[tuple[int, int]]:
        theirs.send(b"!", socket.MSG_OOB)
        return [(ours.fileno(), READ)]

    with theirs:
        stage.engine.call(urgent, after=2)
        log = add(
            stage.executor, None, ReadOperation(), socket=ours, io_timeout=3,
            on={"OOB": lambda event: stage.engine.clock.advance(SLOW)},
        )  # fmt: skip
        moments = stage.stamp(log)
        stage.executor.execute_request()
    assert timeout(moments) == pytest.approx(2 + SLOW + 3)


def test_another_time_out_of_its_own(stage: Stage) -> None:
    """REQUEST is put off by a handler that takes its time; what was pending has as much left as before."""
    ours, theirs = pair()

    def slow(event: Any) -> None:
        if event.when.name == "REQUEST":
            stage.engine.clock.advance(SLOW)
            event.enable_one_more_attempt()

    with theirs:
        log = add(
            stage.executor, None, ReadOperation(), socket=ours, io_timeout=5, request_timeout=4,
            on={"TIMEOUT": slow},
        )  # fmt: skip
        moments = stage.stamp(log)
        stage.executor.execute_request()
    assert log.timeouts == [("REQUEST", "reading"), ("IO", "reading")]
    assert timeout(moments) == pytest.approx(4 + SLOW + 1)


def test_a_write_begun_where_nothing_leaves(stage: Stage) -> None:
    """In both directions: the read has been pending, and the peer takes nothing."""
    ours, theirs = pair()
    duplex = ReadWriteOperation(True, [ReadOperation()])

    def fill() -> None:
        with socket.socket(fileno=os.dup(ours.fileno())) as same, contextlib.suppress(BlockingIOError):
            same.setblocking(False)
            while same.send(bytes(65_536)):
                pass
        stage.executor.call_soon_threadsafe(duplex.schedule, WriteOperation(b"x"))

    with theirs:
        log = add(
            stage.executor, None, duplex, socket=ours, io_timeout=3,
            on={"WRITE": lambda event: stage.engine.clock.advance(SLOW)},
        )  # fmt: skip
        stage.engine.call(fill, after=2)
        moments = stage.stamp(log)
        stage.executor.execute_request()
    assert log.timeouts == [("IO", "reading")]
    assert timeout(moments) == pytest.approx(2 + SLOW + 3)


def test_an_event_of_ones_own(stage: Stage) -> None:
    ours, theirs = pair()

    class Telling(Operation):
        def step(self, channel: Any, mask: int) -> Any:
            channel.emit(Event(EventType.DATA_ALERT, channel))
            self.interest = 0
            return self

    with theirs:
        stage.engine.call(lambda: theirs.send(b"x") and [(ours.fileno(), READ)], after=2)
        log = add(
            stage.executor, None, Telling(), socket=ours, io_timeout=3,
            on={"DATA_ALERT": lambda event: stage.engine.clock.advance(SLOW)},
        )  # fmt: skip
        moments = stage.stamp(log)
        stage.executor.execute_request()
    assert timeout(moments) == pytest.approx(SLOW + 3, abs=2)


def test_what_arrives_during_a_read_handler(stage: Stage) -> None:
    """Another socket is late when the engine is asked, and has its bytes when it would be told so."""
    ours, theirs = pair()
    other, others = pair()

    def slow(event: Any) -> None:
        stage.engine.clock.advance(SLOW)
        others.send(b"just now")

    with theirs, others:
        stage.engine.call(lambda: theirs.send(b"x") and [(ours.fileno(), READ)], after=3)
        add(stage.executor, None, ReadOperation(), socket=ours, on={"READ": slow}, io_timeout=100)
        log = add(stage.executor, None, ReadOperation(), socket=other, io_timeout=3)
        stage.executor.execute_request()
    assert (log.timeouts, log.frames) == ([], [b"just now"])


def test_what_arrives_is_no_frame(stage: Stage) -> None:
    """It is progress, and the time-out counts from there."""
    ours, theirs = pair()
    other, others = pair()

    def slow(event: Any) -> None:
        stage.engine.clock.advance(SLOW)
        others.send(b"half")

    with theirs, others:
        stage.engine.call(lambda: theirs.send(b"x") and [(ours.fileno(), READ)], after=3)
        add(stage.executor, None, ReadOperation(), socket=ours, on={"READ": slow}, io_timeout=100)
        log = add(stage.executor, None, ReadOperation(FixedLengthFramePicker(8)), socket=other, io_timeout=3)
        moments = stage.stamp(log)
        stage.executor.execute_request()
    assert log.timeouts == [("IO", "reading")]
    assert timeout(moments) == pytest.approx(3 + SLOW + 3)


def test_many_time_outs_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow handler leaves the others to later turns, which do not look through all of them each time."""
    many = 200
    asked = 0
    earliest = timeouts.earliest

    def counted(channel: Any) -> Any:
        nonlocal asked
        asked += 1
        return earliest(channel)

    monkeypatch.setattr(timeouts, "earliest", counted)
    ended: list[Any] = []

    def slow(event: Any) -> None:
        ended.append(event.socket)
        stage.engine.clock.advance(0.01)

    with contextlib.ExitStack() as stack:
        for _ in range(many):
            ours, theirs = pair()
            stack.enter_context(theirs)
            stage.executor.socket_bag.add_socket(
                ours, ReadOperation(), io_timeout=1, handler={EventType.TIMEOUT: slow}
            )
        stage.executor.execute_request()
    assert len(ended) == many and asked < 20 * many


def test_late_again_at_once(stage: Stage) -> None:
    """A clock may stand still: each is told once a turn all the same, and nobody keeps the others waiting."""
    many, times = 4, 3
    told: list[Any] = []

    def again(event: Any) -> None:
        told.append(event.socket)
        if len(told) <= many * (times - 1):
            event.enable_one_more_attempt()

    with contextlib.ExitStack() as stack:
        for _ in range(many):
            ours, theirs = pair()
            stack.enter_context(theirs)
            stage.executor.socket_bag.add_socket(
                ours, ReadOperation(), io_timeout=0, handler={EventType.TIMEOUT: again}
            )
        stage.executor.execute_request()
    turns = [told[n : n + many] for n in range(0, len(told), many)]
    assert [len(set(turn)) for turn in turns] == [many] * times


@pytest.mark.parametrize("end", ["cancel", "stop"])
def test_ended_while_the_engine_is_asked_again(stage: Stage, end: str) -> None:
    """As another greenlet can, behind a slow handler: who was late is told of no time-out any more."""
    ours, theirs = pair()
    other, others = pair()
    events: dict[str, Any] = {}

    def ended() -> list[tuple[int, int]]:
        if end == "stop":
            stage.executor.stop_request()
        else:
            events["CONNECTED"].cancel_operation()
        return []

    def slow(event: Any) -> None:
        stage.engine.clock.advance(SLOW)
        stage.engine.call(ended)

    with theirs, others:
        stage.engine.call(lambda: theirs.send(b"x") and [(ours.fileno(), READ)], after=3)
        add(stage.executor, None, ReadOperation(), socket=ours, on={"READ": slow}, io_timeout=100)
        log = add(
            stage.executor, None, ReadOperation(), socket=other, io_timeout=3,
            on={"CONNECTED": lambda event: events.update(CONNECTED=event)},
        )  # fmt: skip
        stage.executor.execute_request()
    assert log.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
