"""`call_later` and `until_stopped`: what they keep alive, what ends them, and who may use them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    DrainReport,
    EngineError,
    ReadOperation,
    RequestExecutor,
    Timer,
)
from evsockets.testing.engines import alarm
from support.machine import refused_in_a_thread
from support.runs import WAYS, run
from support.service import Service, count_polls, needs_descriptor
from support.wire import Log, add, pair, turns_to_the_end, turns_until

BRIEF = 0.02


class Bug(Exception):
    pass


def bug() -> None:
    raise Bug


# ---- when ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_before_a_run_it_fires_in_the_run_and_alone_makes_one(executor: RequestExecutor, way: str) -> None:
    calls: list[Any] = []
    began = time.monotonic()
    timer = executor.call_later(BRIEF, lambda *args: calls.append((args, time.monotonic())), 1, "two")
    assert isinstance(timer, Timer)
    assert began + BRIEF <= timer.due <= time.monotonic() + BRIEF
    run(executor, way)
    ((args, when),) = calls
    assert args == (1, "two")
    assert when >= timer.due  # never early
    run(executor, way)
    assert len(calls) == 1


@pytest.mark.parametrize("way", WAYS)
def test_one_that_is_due_runs_after_the_turns_io(executor: RequestExecutor, way: str) -> None:
    order: list[str] = []
    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"x")
        executor.call_later(0, order.append, "timer")
        add(executor, None, ReadOperation(), socket=ours, on={"READ": lambda event: order.append("READ")})
        run(executor, way)
    assert order == ["READ", "timer"]


@pytest.mark.parametrize("way", WAYS)
def test_a_chain_of_timers_keeps_the_run_alive(executor: RequestExecutor, way: str) -> None:
    left = [0.0, BRIEF, 0.0, BRIEF, 0.0]

    def following() -> None:
        if left:
            executor.call_later(left.pop(), following)

    following()
    run(executor, way)
    assert not left


# ---- cancelling ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_cancelled_it_is_not_called_and_keeps_nothing_alive(executor: RequestExecutor, way: str) -> None:
    calls: list[str] = []
    never = executor.call_later(60, calls.append, "never")
    beside = executor.call_later(0, calls.append, "beside")
    mine: list[Timer] = []

    def first() -> None:
        for timer in (never, beside, mine[0]):  # late, due in this turn, and the one being called
            timer.cancel()
            timer.cancel()
        calls.append("first")

    beside.cancel()
    mine.append(executor.call_later(0, first))
    beside = executor.call_later(0, calls.append, "beside")
    run(executor, way)
    assert calls == ["first"]
    mine[0].cancel()


# ---- what keeps a run alive ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_one_that_keeps_nothing_running_fires_beside_another_or_in_the_next_run(
    executor: RequestExecutor, way: str
) -> None:
    calls: list[str] = []
    executor.call_later(60, calls.append, "never", keeps_running=False)
    executor.call_later(0, calls.append, "beside", keeps_running=False)
    run(executor, way)
    assert calls == []
    executor.call_later(BRIEF, calls.append, "keeps")
    run(executor, way)
    assert calls == ["beside", "keeps"]


# ---- what ends them ------------------------------------------------------------------------------------


def drain(executor: RequestExecutor) -> DrainReport:
    return executor.drain(60)


ENDS: dict[str, Callable[[RequestExecutor], object]] = {
    "stop": RequestExecutor.stop_request, "drain": drain, "exception": lambda executor: bug(),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_a_run_cancels_them(executor: RequestExecutor, end: str, way: str) -> None:
    calls: list[str] = []

    def never() -> None: ...

    known = weakref.ref(never)
    for keeps_running in (True, False):
        executor.call_later(60, never, keeps_running=keeps_running)
    del never
    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"x")
        log = add(
            executor, None, ReadOperation(), socket=ours,
            on={"READ": lambda e: ENDS[end](executor), "FINALIZE": lambda e: executor.call_later(0, bug)},
        )  # fmt: skip
        if end == "exception":
            with pytest.raises(Bug):
                run(executor, way)
        else:
            run(executor, way)
    assert log.names[-2:] == ["DISCONNECTED", "FINALIZE"]
    assert known() is None
    executor.call_later(0, calls.append, "later")
    run(executor, way)
    assert calls == ["later"]


@pytest.mark.parametrize("way", WAYS)
def test_a_drain_lets_them_fire_while_a_socket_is_served_and_waits_for_none(
    executor: RequestExecutor, way: str
) -> None:
    calls: list[str] = []
    ours, theirs = pair()

    def begin() -> None:
        executor.drain(60)
        executor.call_later(60, calls.append, "never")
        executor.call_later(BRIEF, lambda: calls.append("served") or theirs.sendall(b"x"))
        executor.call_later(2 * BRIEF, int)  # a host that only waits as long as it is told to looks again

    with theirs:
        log = add(executor, None, ReadOperation(), socket=ours)
        executor.call_later(0, begin)
        run(executor, way)
    assert calls == ["served"]
    assert log.frames == [b"x"]


def test_ctrl_c_while_only_a_timer_waits(executor: RequestExecutor) -> None:
    calls: list[str] = []
    executor.call_later(60, calls.append, "never")
    with pytest.raises(KeyboardInterrupt), contextlib.ExitStack() as stack:
        executor.call_later(BRIEF, lambda: stack.enter_context(alarm(signal.default_int_handler, BRIEF)))
        executor.execute_request()
    executor.execute_request()  # it is over at once: the timer is cancelled
    assert calls == []


# ---- until stopped -------------------------------------------------------------------------------------


def serve_one(executor: RequestExecutor, then: Callable[[], object]) -> Log:
    """A socket that reads one byte and ends."""
    ours, theirs = pair()
    theirs.sendall(b"x")
    theirs.shutdown(socket.SHUT_WR)
    on = {"FINALIZE": lambda event: (theirs.close(), then())}
    return add(executor, None, ReadOperation(), socket=ours, on=on)


@pytest.mark.parametrize("way", ["execute", "turns"])
@pytest.mark.parametrize("end", ["stop", "drain"])
def test_until_stopped_it_waits_for_sockets_from_everywhere(
    executor: RequestExecutor, way: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls = count_polls(executor, monkeypatch)
    logs: list[Log] = []

    def from_callback() -> None:
        logs.append(serve_one(executor, lambda: executor.call_later(BRIEF, from_timer)))

    def from_timer() -> None:
        logs.append(serve_one(executor, threading.Timer(BRIEF, from_thread).start))

    def from_thread() -> None:
        def add_it() -> None:
            logs.append(serve_one(executor, threading.Timer(BRIEF, ENDS[end], [executor]).start))

        executor.call_soon_threadsafe(add_it)

    executor.call_soon_threadsafe(from_callback)
    run(executor, way, until_stopped=True)
    assert [log.frames for log in logs] == [[b"x"]] * 3
    assert len(polls) < 60  # it waits, and does not look again and again
    executor.execute_request()  # the next run is not until stopped


def test_until_stopped_a_host_has_all_the_time(executor: RequestExecutor) -> None:
    executor.start_request(until_stopped=True)
    turns_until(executor, lambda: executor.patience() != 0, 0)
    assert executor.patience() is None
    assert executor.turn(0)
    executor.stop_request()
    assert executor.patience() == 0
    assert not executor.turn(0)


# ---- in a host -----------------------------------------------------------------------------------------


def test_patience_names_the_next_timer(executor: RequestExecutor) -> None:
    service = Service(executor).listen()
    far = executor.call_later(1000, bug)
    turns_until(executor, lambda: executor.patience() != 0, 0)
    near = executor.call_later(100, bug)
    for timer, low, high in ((near, 50, 100), (far, 500, 1000)):
        turns_until(executor, lambda: executor.patience() != 0, 0)
        patience = executor.patience()
        assert patience is not None and low < patience <= high
        timer.cancel()
    turns_until(executor, lambda: executor.patience() != 0, 0)
    assert executor.patience() is None
    service.server.close()
    turns_to_the_end(executor, 0)


def test_setting_and_cancelling_between_turns_wakes_the_engine(executor: RequestExecutor) -> None:
    import select

    fd = needs_descriptor(executor)
    executor.start_request(until_stopped=True)

    def due() -> bool:
        return bool(select.select([fd], [], [], 0)[0])

    def settle() -> None:
        while executor.patience() == 0 or due():
            assert executor.turn(0)

    settle()
    timer = executor.call_later(60, bug)
    assert due()
    settle()
    timer.cancel()
    assert due()
    executor.stop_request()
    assert not executor.turn(0)


# ---- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["call_later", "cancel"])
def test_another_thread_is_told_what_to_call(executor: RequestExecutor, what: str) -> None:
    timer = executor.call_later(60, bug)
    act: Any = timer.cancel if what == "cancel" else lambda: executor.call_later(0, bug)
    errors: list[str] = []
    executor.call_later(0, lambda: (errors.extend(refused_in_a_thread(act)), executor.stop_request()))
    executor.execute_request()
    assert "call_soon_threadsafe" in errors[0]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_in_the_child_of_a_fork(executor: RequestExecutor) -> None:
    told: list[int] = []

    def fork() -> None:
        pid = os.fork()
        if pid:
            told.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            return
        try:
            executor.call_later(0, bug)
        except EngineError:
            os._exit(7)
        finally:
            os._exit(8)

    executor.call_later(0, fork)
    executor.execute_request()
    assert told == [7]


def test_another_greenlet_sets_and_cancels_them_while_the_engine_waits(gevent_is_tested: None) -> None:
    import gevent

    calls: list[str] = []
    with RequestExecutor("gevent") as executor:

        def beside() -> None:
            gevent.sleep(BRIEF)
            never.cancel()
            executor.call_later(BRIEF, calls.append, "set beside")

        never = executor.call_later(60, calls.append, "never")
        greenlet = gevent.spawn(beside)
        executor.execute_request()
        greenlet.join()
    assert calls == ["set beside"]
