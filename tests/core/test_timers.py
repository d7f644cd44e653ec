"""Timers on a clock that only the engine moves: when exactly, in which order, and beside what."""

from __future__ import annotations

import gc
import socket
from typing import Any

import pytest

from evsockets import READ, DelayedOperation, NullOperation, ReadOperation, Timer
from support.stage import Stage
from support.wire import add, pair

Moments = list[tuple[str, float]]


def note(stage: Stage, moments: Moments, name: str) -> None:
    moments.append((name, stage.now))


def test_at_their_times_and_what_is_due_at_once_in_the_order_set(stage: Stage) -> None:
    moments: Moments = []
    for name, seconds in [("d", 7), ("b", 5), ("a", 0), ("c", 5), ("e", 1e6)]:
        stage.executor.call_later(seconds, note, stage, moments, name)
    stage.executor.execute_request()
    assert [name for name, _ in moments] == list("abcde")
    assert [when for _, when in moments] == pytest.approx([0, 5, 5, 7, 1e6])
    assert max(filter(None, stage.engine.polls)) <= 86_400  # longer waits are split


def test_it_counts_from_the_call(stage: Stage) -> None:
    """Not from the run's beginning, nor from before a slow handler or callback."""
    moments: Moments = []
    executor, clock = stage.executor, stage.engine.clock

    def slow(event: Any) -> None:
        clock.advance(10)
        assert executor.call_later(2, note, stage, moments, "handler").due == 15 + 2
        clock.advance(10)

    executor.call_later(3, note, stage, moments, "before")
    clock.advance(2)
    ours, theirs = pair()
    with theirs:
        stage.engine.call(lambda: theirs.send(b"x") and [(ours.fileno(), READ)], after=3)
        add(executor, None, ReadOperation(), socket=ours, io_timeout=None, on={"READ": slow})
        executor.execute_request()
    assert moments == [("before", pytest.approx(3)), ("handler", pytest.approx(25))]


def test_one_that_renews_itself_with_0_runs_once_a_turn_though_the_clock_stands_still(stage: Stage) -> None:
    executor = stage.executor
    calls: list[int] = []
    turns = 0

    def again() -> None:
        calls.append(turns)
        if len(calls) < 5:
            executor.call_later(0, again)

    executor.call_later(0, again)
    executor.start_request()
    while executor.turn(None):
        turns += 1
    assert calls == [0, 1, 2, 3, 4]


def test_after_a_slow_one_the_rest_waits_until_the_engine_has_been_asked(stage: Stage) -> None:
    """What arrives while a timer takes its time is looked at before the next timer, and before a time-out."""
    order: list[str] = []
    ours, theirs = pair()

    def slow() -> None:
        order.append("slow")
        theirs.send(b"x")
        stage.engine.clock.advance(5)

    with theirs:
        stage.executor.call_later(1, slow)
        stage.executor.call_later(1, order.append, "next")
        on = {name: lambda event: order.append(event.type.name) for name in ("READ", "TIMEOUT")}
        add(stage.executor, None, ReadOperation(), socket=ours, io_timeout=3, on=on)
        stage.executor.execute_request()
    assert order == ["slow", "READ", "next"]


@pytest.mark.parametrize("first", ["timer", "socket"])
def test_a_timer_takes_nothing_from_a_time_out_and_the_other_way_round(stage: Stage, first: str) -> None:
    moments: Moments = []
    ours, theirs = pair()
    with theirs:
        log = add(stage.executor, None, ReadOperation(), socket=ours, io_timeout=3 if first == "timer" else 1)
        moments = stage.stamp(log)
        stage.executor.call_later(2, note, stage, moments, "timer")
        stage.executor.execute_request()
    found = {name: when for name, when in moments if name in ("TIMEOUT", "timer")}
    assert found == pytest.approx({"TIMEOUT": 3 if first == "timer" else 1, "timer": 2})


def test_what_begins_in_a_timer_counts_from_its_end(stage: Stage) -> None:
    ours, theirs = pair()
    moments: Moments = []

    def slow() -> None:
        stage.engine.clock.advance(10)
        stage.executor.socket_bag.set_operation(ours, ReadOperation())

    with theirs:
        log = add(
            stage.executor, None, NullOperation(), socket=ours, keep_alive=True, idle_timeout=None,
            io_timeout=3,
        )  # fmt: skip
        moments = stage.stamp(log)
        stage.executor.call_later(1, slow)
        stage.executor.execute_request()
    assert dict(moments)["TIMEOUT"] == pytest.approx(11 + 3)


def test_a_delayed_operation_is_asked_after_a_timer(stage: Stage) -> None:
    asked: list[float] = []
    done: list[int] = []

    def pending(sock: Any, executor: Any) -> bool:
        asked.append(stage.now)
        return not done

    ours, theirs = pair()
    with theirs:
        add(stage.executor, None, DelayedOperation(NullOperation(), pending), socket=ours)
        stage.executor.call_later(2, lambda: None)
        stage.executor.call_later(4, done.append, 1)
        stage.executor.execute_request()
    assert asked == pytest.approx([0, 2, 4])


def test_the_solver_is_asked_after_a_timer(stage: Stage) -> None:
    from evsockets import LimitationDecision, LimitationSolver

    asked: list[float] = []

    class Later(LimitationSolver):
        def decide(self, *_: Any) -> LimitationDecision:
            asked.append(stage.now)
            return LimitationDecision.OK if stage.now >= 2 else LimitationDecision.SKIP_CURRENT

    stage.executor.with_limitation_solver(Later())
    ours, theirs = pair()
    runs = socket.socketpair()
    with theirs, runs[1]:
        runs[0].close()
        add(stage.executor, None, NullOperation(), socket=ours)
        stage.executor.call_later(2, lambda: None)
        stage.executor.execute_request()
    assert pytest.approx(2) in asked


def test_of_many_the_cancelled_are_let_go(stage: Stage) -> None:
    """Setting a timer and cancelling it, again and again, keeps a bounded number."""

    def timers() -> int:
        return sum(isinstance(one, Timer) for one in gc.get_objects())

    for _ in range(10_000):
        stage.executor.call_later(60, note).cancel()
    assert timers() < 200
    stage.executor.execute_request()
    assert stage.now == 0
    assert timers() == 0
