"""Limitation solvers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsockets.context import ExecutionContext
from evsockets.events import EventType
from evsockets.limits import (
    ConstantLimitationSolver,
    LimitationDecision,
    LimitationSolver,
    NoLimitationSolver,
)

CONTEXT = ExecutionContext()


class Sock:
    def __init__(self, is_server=False):
        self.is_server = is_server


class Run:
    """One executor, as a solver sees it."""

    def __init__(self, solver):
        self.solver = solver
        solver.initialize(self, CONTEXT)

    def tell(self, type, socket):
        self.solver(SimpleNamespace(type=type, socket=socket, executor=self))

    def decide(self):
        return self.solver.decide(self, Sock(), CONTEXT, 1)


def test_no_limitation():
    solver = NoLimitationSolver()
    assert not callable(solver)
    assert {solver.decide(None, Sock(), CONTEXT, n) for n in range(5)} == {LimitationDecision.OK}


def test_excess():
    run = Run(ConstantLimitationSolver(10))
    for _ in range(10):
        assert run.decide() is LimitationDecision.OK
        run.tell(EventType.INITIALIZE, Sock())
    assert run.decide() is LimitationDecision.PROCESS_SCHEDULED


def test_complete_requests_give_their_places_back():
    run = Run(ConstantLimitationSolver(2))
    for _ in range(10):
        sockets = [Sock(), Sock()]
        for socket in sockets:
            assert run.decide() is LimitationDecision.OK
            run.tell(EventType.INITIALIZE, socket)
        assert run.decide() is LimitationDecision.PROCESS_SCHEDULED
        for socket in sockets:
            run.tell(EventType.FINALIZE, socket)


def test_other_events_and_listeners_do_not_count():
    run = Run(ConstantLimitationSolver(1))
    for type in EventType:
        if type is not EventType.INITIALIZE:
            run.tell(type, Sock())
        run.tell(type, Sock(is_server=True))
    assert run.decide() is LimitationDecision.OK


def test_each_run_begins_anew():
    solver = ConstantLimitationSolver(1)
    run = Run(solver)
    run.tell(EventType.INITIALIZE, Sock())
    solver.initialize(run, CONTEXT)
    assert run.decide() is LimitationDecision.OK
    run.tell(EventType.INITIALIZE, Sock())
    solver.finalize(run, CONTEXT)
    assert not solver._running


def test_executors_do_not_share_places():
    solver = ConstantLimitationSolver(1)
    first, second = Run(solver), Run(solver)
    first.tell(EventType.INITIALIZE, Sock())
    assert first.decide() is LimitationDecision.PROCESS_SCHEDULED
    assert second.decide() is LimitationDecision.OK


@given(st.lists(st.tuples(st.sampled_from(["INITIALIZE", "FINALIZE"]), st.integers(0, 5))), st.integers(1, 4))
def test_places_follow_the_sockets_that_run(history, limit):
    run = Run(ConstantLimitationSolver(limit))
    sockets, running = [Sock() for _ in range(6)], set()
    for name, number in history:
        run.tell(EventType[name], sockets[number])
        (running.add if name == "INITIALIZE" else running.discard)(number)
        assert (run.decide() is LimitationDecision.OK) == (len(running) < limit)


def test_wanted_events_are_event_types():
    assert {EventType[name] for name in ConstantLimitationSolver.listens_to} == {
        EventType.INITIALIZE,
        EventType.FINALIZE,
    }
    assert LimitationSolver.listens_to is None


@pytest.mark.parametrize(
    ("limit", "error"), [(0, ValueError), (-1, ValueError), ("3", TypeError), (True, TypeError)]
)
def test_bad_limits_are_named(limit, error):
    with pytest.raises(error, match="limit"):
        ConstantLimitationSolver(limit)


def test_limit_is_readable():
    assert ConstantLimitationSolver(3).limit == 3
    assert repr(ConstantLimitationSolver(3)) == "ConstantLimitationSolver(3)"
