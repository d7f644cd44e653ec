"""Timers on a clock that only the engine moves: when exactly, in which order, and beside what."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from evsockets import (
    Configuration,
    DelayedOperation,
    FrameError,
    LimitationDecision,
    LimitationSolver,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    Timer,
    WriteOperation,
)
from support.conversation import Talk
from support.life import END, USUAL
from support.memory import MemoryEngine
from support.wire import add

Moments = list[tuple[str, float]]


def bug() -> None:
    raise ZeroDivisionError


def note(talk: Talk, moments: Moments, name: str) -> None:
    moments.append((name, talk.clock.now))


def test_at_their_times_and_what_is_due_at_once_in_the_order_set(talk: Talk) -> None:
    moments: Moments = []
    for name, seconds in [("d", 7), ("b", 5), ("a", 0), ("c", 5), ("e", 1e6)]:
        talk.executor.call_later(seconds, note, talk, moments, name)
    talk.run()
    assert [name for name, _ in moments] == list("abcde")
    assert [when for _, when in moments] == pytest.approx([0, 5, 5, 7, 1e6])
    assert max(filter(None, talk.executor.engine.polls)) <= 86_400  # longer waits are split


def test_it_counts_from_the_call(talk: Talk) -> None:
    """Not from the run's beginning, nor from before a slow handler or callback."""
    moments: Moments = []

    def slow(event: Any) -> None:
        talk.clock.advance(10)
        assert talk.executor.call_later(2, note, talk, moments, "handler").due == 15 + 2
        talk.clock.advance(10)

    one = talk.begin(ReadOperation(), on={"READ": slow}, io_timeout=None)
    talk.executor.call_later(3, note, talk, moments, "before")
    talk.clock.advance(2)
    talk.later((3, lambda: one.peer.send(b"x")))
    talk.run()
    assert moments == [("before", pytest.approx(3)), ("handler", pytest.approx(25))]


def test_one_that_renews_itself_with_0_runs_once_a_turn_and_starves_nobody(talk: Talk) -> None:
    """Though the clock stands still."""
    calls: list[int] = []
    turn = 0
    one = talk.begin(ReadOperation())

    def again() -> None:
        calls.append(turn)
        if one.going_on:
            talk.executor.call_later(0, again)

    talk.executor.start_request()
    again()
    for turn in range(1, 1000):
        if turn == 100:
            one.peer.send(b"x")
        if not talk.executor.turn(None):
            break
    one.check([b"x"])
    assert len(set(calls)) == len(calls) and 100 <= len(calls) <= turn + 1 < 110


def test_after_a_slow_one_the_rest_waits_until_the_engine_has_been_asked(talk: Talk) -> None:
    """What arrives while a timer takes its time is looked at before the next timer, and before a time-out."""
    order: list[str] = []

    def slow() -> None:
        order.append("slow")
        one.peer.send(b"x")
        talk.clock.advance(5)

    on = {name: lambda event: order.append(event.type.name) for name in ("READ", "TIMEOUT")}
    one = talk.begin(ReadOperation(), io_timeout=3, on=on)
    talk.executor.call_later(1, slow)
    talk.executor.call_later(1, order.append, "next")
    talk.run()
    assert order == ["slow", "READ", "next"]


@pytest.mark.parametrize("io_timeout", [3, 1])
def test_a_timer_takes_nothing_from_a_time_out_and_the_other_way_round(talk: Talk, io_timeout: float) -> None:
    moments: Moments = []
    one = talk.begin(ReadOperation(), io_timeout=io_timeout)
    talk.executor.call_later(2, note, talk, moments, "timer")
    talk.run()
    assert one.when("TIMEOUT") == pytest.approx([io_timeout]) and moments == [("timer", pytest.approx(2))]


def test_what_begins_in_a_timer_counts_from_its_end(talk: Talk) -> None:
    def slow() -> None:
        talk.clock.advance(10)
        talk.bag.set_operation(one.client, ReadOperation())

    one = talk.begin(NullOperation(), keep_alive=True, idle_timeout=None, io_timeout=3)
    talk.executor.call_later(1, slow)
    talk.run()
    assert one.when("TIMEOUT") == pytest.approx([11 + 3])


def test_a_delayed_operation_is_asked_after_a_timer(talk: Talk) -> None:
    asked: list[float] = []
    done: list[int] = []

    def pending(sock: Any, executor: Any) -> bool:
        asked.append(talk.clock.now)
        return not done

    talk.begin(DelayedOperation(NullOperation(), pending))
    talk.executor.call_later(2, lambda: None)
    talk.executor.call_later(4, done.append, 1)
    talk.run()
    assert asked == pytest.approx([0, 2, 4])


def test_the_solver_is_asked_after_a_timer(talk: Talk) -> None:
    asked: list[float] = []

    class Later(LimitationSolver):
        def decide(self, *_: Any) -> LimitationDecision:
            asked.append(talk.clock.now)
            return LimitationDecision.OK if talk.clock.now >= 2 else LimitationDecision.SKIP_CURRENT

    talk.executor.with_limitation_solver(Later())
    talk.begin(NullOperation())
    talk.executor.call_later(2, lambda: None)
    talk.run()
    assert pytest.approx(2) in asked


def test_of_many_the_cancelled_are_let_go(talk: Talk) -> None:
    """Setting a timer and cancelling it, again and again, keeps a bounded number."""

    def timers() -> int:
        return sum(isinstance(one, Timer) for one in gc.get_objects())

    for _ in range(10_000):
        talk.executor.call_later(60, note).cancel()
    assert timers() < 200
    talk.run()
    assert talk.clock.now == 0
    assert timers() == 0


@pytest.mark.parametrize("how", ["called", "cancelled"])
def test_over_it_lets_go_of_its_callback(talk: Talk, how: str) -> None:
    def callback() -> None: ...

    known = weakref.ref(callback)
    timer = talk.executor.call_later(60, callback)
    del callback
    assert known() is not None
    timer.cancel() if how == "cancelled" else talk.run()
    assert known() is None
    assert how == "cancelled" or "over" in repr(timer)


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("error", [ZeroDivisionError, FrameError])
def test_what_one_raises_ends_the_run(error: type[Exception], isolated: bool) -> None:
    def raises() -> None:
        raise error

    configuration = Configuration(isolate_handler_errors=isolated)
    with RequestExecutor(MemoryEngine(), configuration=configuration) as executor:
        talk = Talk(executor)
        one = talk.begin(ReadOperation())
        executor.call_later(2, raises)
        with pytest.raises(error):
            talk.run()
        one.check()
        assert one.metadata.request_complete and not executor.is_executing
        executor.execute_request()


def test_closing_cancels_them(executor: RequestExecutor) -> None:
    timer = executor.call_later(0, bug)
    executor.close()
    timer.cancel()
    with pytest.raises(RuntimeError, match="closed"):
        executor.call_later(0, bug)


def test_until_stopped_ends_by_an_exception_too(executor: RequestExecutor) -> None:
    executor.call_later(0, bug)
    with pytest.raises(ZeroDivisionError):
        executor.execute_request(until_stopped=True)
    executor.execute_request()


@pytest.mark.parametrize("options", [{}, {"until_stopped": True}])
def test_a_drain_between_turns_ends_a_run_without_sockets(executor: RequestExecutor, options: Any) -> None:
    executor.call_later(60, bug)
    executor.start_request(**options)
    assert executor.turn(0)
    report = executor.drain(60)
    assert not executor.is_executing
    assert (report.finished, report.closed_idle, report.aborted) == (0, 0, [])


@pytest.mark.parametrize(
    ("seconds", "callback", "options", "error", "says"),
    [
        (-1, bug, {}, ValueError, "seconds.*-1"),
        (float("nan"), bug, {}, ValueError, "seconds.*nan"),
        (float("inf"), bug, {}, ValueError, "seconds.*finite"),
        (10**400, bug, {}, ValueError, "seconds.*large"),
        (None, bug, {}, TypeError, "seconds.*None"),
        ("1", bug, {}, TypeError, "seconds.*str"),
        (1, "no callable", {}, TypeError, "callback.*'no callable'"),
        (1, bug, {"keeps_running": 1}, TypeError, "keeps_running.*1"),
    ],
)
def test_what_cannot_be_used(
    executor: RequestExecutor, seconds: Any, callback: Any, options: Any, error: Any, says: str
) -> None:
    with pytest.raises(error, match=says):
        executor.call_later(seconds, callback, **options)
    executor.execute_request()  # nothing is left of it


@pytest.mark.parametrize("begin", [RequestExecutor.execute_request, RequestExecutor.start_request])
def test_until_stopped_is_a_flag(executor: RequestExecutor, begin: Any) -> None:
    with pytest.raises(TypeError, match="until_stopped.*'yes'"):
        begin(executor, until_stopped="yes")
    assert not executor.is_executing


def test_sockets_and_timers_together(talk: Talk) -> None:
    """A client that is asked anew every now and then, by timers of its handlers."""

    def ask() -> None:
        one.peer.send(b"%d" % one.names.count("READ"))
        talk.bag.set_operation(one.client, WriteOperation(b"?", then=ReadOperation()))

    def on_read(event: Any) -> None:
        if one.names.count("READ") < 3:
            talk.executor.call_later(2, ask)
        else:
            event.cancel_operation()

    one = talk.begin(NullOperation(), keep_alive=True, on={"READ": on_read})
    talk.executor.call_later(1, ask)
    talk.run()
    one.check(["WRITE", b"0", "WRITE", b"1", "WRITE", b"2"], b"???")
    assert one.when("READ") == pytest.approx([1, 3, 5])


def test_a_server_without_clients_is_kept_by_itself_not_by_timers(executor: RequestExecutor) -> None:
    server = ServerSocket()
    log = add(executor, "tcp://127.0.0.1:0", ReadOperation(), socket=server, io_timeout=None)
    executor.call_later(2, server.close)
    executor.call_later(60, bug, keeps_running=False)
    executor.execute_request()
    assert log.names == [*USUAL, *END]
