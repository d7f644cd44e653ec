"""A slow handler takes nothing from its own socket's time-outs, on a clock that only the engine moves."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from evsockets import (
    READ,
    Event,
    EventType,
    NullOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    WriteOperation,
)
from evsockets.core import timeouts
from support.conversation import Talk, fixed
from support.stage import Stage
from support.wire import add, tcp_pair

SLOW = 10.0


def slowly(talk: Talk) -> Any:
    return lambda event: talk.clock.advance(SLOW)


def test_data_alerts(talk: Talk) -> None:
    """An idle connection's time goes on when the handler has returned."""

    def slow(event: Any) -> None:
        if event.attempt == 2:  # the bytes have been received in an earlier turn
            talk.clock.advance(SLOW)
        elif event.attempt == 3:
            event.next_is_read()

    one = talk.pair()
    talk.later((2, lambda: one.peer.send(b"x")))
    talk(
        NullOperation(), told=["DATA_ALERT 1", "DATA_ALERT 2", "DATA_ALERT 3", b"x", "TIMEOUT IDLE idle"],
        on={"DATA_ALERT": slow}, again=one, keep_alive=True, idle_timeout=3,
    )  # fmt: skip
    assert one.when("TIMEOUT") == pytest.approx([2 + SLOW + 3])


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
    assert dict(moments)["TIMEOUT"] == pytest.approx(2 + SLOW + 3)


def test_another_time_out_of_its_own(talk: Talk) -> None:
    """REQUEST is put off by a handler that takes its time; what was pending has as much left as before."""

    def slow(event: Any) -> None:
        if event.when.name == "REQUEST":
            talk.clock.advance(SLOW)
            event.enable_one_more_attempt()

    told = ["TIMEOUT REQUEST reading", "TIMEOUT IO reading"]
    one = talk(ReadOperation(), told=told, on={"TIMEOUT": slow}, io_timeout=5, request_timeout=4)
    assert one.when("TIMEOUT")[1] == pytest.approx(4 + SLOW + 1)


def test_a_write_begun_where_nothing_leaves(talk: Talk) -> None:
    """In both directions: the read has been pending, and the peer takes nothing."""
    duplex = ReadWriteOperation(True, [ReadOperation()])
    one = talk.pair()
    one.peer.room = 0
    write = WriteOperation(b"x")
    talk.later((2, lambda: talk.executor.call_soon_threadsafe(duplex.schedule, write)))
    told = ["WRITE", "TIMEOUT IO reading"]
    talk(duplex, told=told, on={"WRITE": slowly(talk)}, again=one, io_timeout=3)
    assert one.when("TIMEOUT") == pytest.approx([2 + SLOW + 3])


def test_an_event_of_ones_own(talk: Talk) -> None:
    class Telling(Operation):
        def step(self, channel: Any, mask: int) -> Any:
            channel.emit(Event(EventType.CONNECTED, channel))
            self.interest = 0
            return self

    seen: list[Any] = []

    def second(event: Any) -> None:
        seen.append(event)
        if len(seen) == 2:
            talk.clock.advance(SLOW)

    one = talk.pair()
    talk.later((2, lambda: one.peer.send(b"x")))
    told = ["CONNECTED", "TIMEOUT IO reading"]
    talk(Telling(), told=told, on={"CONNECTED": second}, again=one, io_timeout=3)
    assert one.when("TIMEOUT") == pytest.approx([SLOW + 3], abs=2)


@pytest.mark.parametrize(("size", "told", "when"), [
    (4, [b"just"], []), (9, ["TIMEOUT IO reading"], [3 + SLOW + 3]),
])  # fmt: skip
def test_what_arrives_during_a_read_handler(talk: Talk, size: int, told: Any, when: Any) -> None:
    """Another socket is late when the engine is asked, and has its bytes when it would be told so; if they
    are no frame, they are progress, and the time-out counts from there."""

    def slow(event: Any) -> None:
        talk.clock.advance(SLOW)
        other.peer.send(b"just")

    other = talk.begin(fixed(size), io_timeout=3)
    one = talk.begin(ReadOperation(), on={"READ": slow}, io_timeout=100)
    talk.later((3, lambda: one.peer.send(b"x")))
    talk.run()
    other.check(told)
    assert other.when("TIMEOUT") == pytest.approx(when)


def test_many_time_outs_at_once(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow handler leaves the others to later turns, which do not look through all of them each time."""
    many = 200
    asked = 0
    earliest = timeouts.earliest

    def counted(channel: Any, now: float) -> Any:
        nonlocal asked
        asked += 1
        return earliest(channel, now)

    monkeypatch.setattr(timeouts, "earliest", counted)
    slow = {"TIMEOUT": lambda event: talk.clock.advance(0.01)}
    all_of_them = [talk.begin(ReadOperation(), io_timeout=1, on=slow) for _ in range(many)]
    talk.run()
    for one in all_of_them:
        one.check(["TIMEOUT IO reading"])
    assert asked < 20 * many


def test_late_again_at_once(talk: Talk) -> None:
    """A clock may stand still: each is told once a turn all the same, and nobody keeps the others waiting."""
    many, times = 4, 3
    told: list[Any] = []

    def again(event: Any) -> None:
        told.append(event.socket)
        if len(told) <= many * (times - 1):
            event.enable_one_more_attempt()

    for _ in range(many):
        talk.begin(ReadOperation(), io_timeout=0, on={"TIMEOUT": again})
    talk.run()
    rounds = [told[n : n + many] for n in range(0, len(told), many)]
    assert [len(set(one)) for one in rounds] == [many] * times


@pytest.mark.parametrize("end", ["cancel", "stop"])
def test_ended_while_the_engine_is_asked_again(talk: Talk, end: str) -> None:
    """As another greenlet can, behind a slow handler: who was late is told of no time-out any more."""
    other = talk.begin(ReadOperation(), io_timeout=3)
    cancel = {"stop": talk.executor.stop_request, "cancel": lambda: other.events[1].cancel_operation()}[end]

    def slow(event: Any) -> None:
        talk.clock.advance(SLOW)
        talk.later((0, cancel))

    one = talk.begin(ReadOperation(), on={"READ": slow}, io_timeout=100)
    talk.later((3, lambda: one.peer.send(b"x")))
    talk.run()
    other.check()
