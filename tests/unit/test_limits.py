"""Limitation solvers."""

from __future__ import annotations

import contextlib
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evsockets import ClientSocket, EventType, ReadOperation, RequestExecutor
from evsockets.callbacks import resolve
from evsockets.context import ExecutionContext
from evsockets.limits import (
    ConstantLimitationSolver,
    LimitationDecision,
    NoLimitationSolver,
)

CONTEXT = ExecutionContext()


class Crowd:
    """Clients that read for ever, in one executor under a solver; each knows how to make its peer hang up."""

    def __init__(self, solver, stack):
        self.executor = stack.enter_context(RequestExecutor("selectors"))
        self.executor.with_limitation_solver(solver)
        self.stack = stack
        self.running = []
        self.handler = {
            EventType.INITIALIZE: lambda event: self.running.append(event.user_context),
            EventType.FINALIZE: lambda event: self.running.remove(event.user_context),
        }

    def add(self, count):
        for _ in range(count):
            ours, peer = socket.socketpair()
            self.stack.enter_context(peer)
            self.executor.socket_bag.add_socket(
                ClientSocket.from_socket(ours), ReadOperation(), handler=self.handler, user_context=peer
            )

    def turns(self):
        """Let happen what can."""
        for _ in range(5):
            if self.executor.is_executing:
                self.executor.turn(0)

    def start(self):
        self.executor.start_request()
        self.turns()

    def hang_up(self, number):
        self.running[number].shutdown(socket.SHUT_RDWR)
        self.turns()


def test_no_limitation():
    solver = NoLimitationSolver()
    assert not callable(solver)
    assert {solver.decide(None, None, CONTEXT, n) for n in range(5)} == {LimitationDecision.OK}


def test_each_run_begins_anew(stack):
    crowd = Crowd(ConstantLimitationSolver(1), stack)
    crowd.add(1)
    crowd.start()
    crowd.executor.stop_request()
    assert not crowd.executor.turn(0)
    crowd.add(2)
    crowd.start()
    assert len(crowd.running) == 1


def test_executors_do_not_share_places(stack):
    solver = ConstantLimitationSolver(1)
    crowds = [Crowd(solver, stack), Crowd(solver, stack)]
    for crowd in crowds:
        crowd.add(2)
        crowd.start()
    assert [len(crowd.running) for crowd in crowds] == [1, 1]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(-1, 5), max_size=12), st.integers(1, 4))
def test_places_follow_the_sockets_that_run(history, limit):
    """-1 adds a socket, another number ends one of those that run."""
    with contextlib.ExitStack() as stack:
        crowd = Crowd(ConstantLimitationSolver(limit), stack)
        crowd.add(3)
        crowd.start()
        alive = 3
        for step in history:
            if step < 0:
                crowd.add(1)
                crowd.turns()
                alive += 1
            elif step < len(crowd.running) and alive > 1:
                crowd.hang_up(step)
                alive -= 1
            assert len(crowd.running) == min(limit, alive)


def test_solvers_see_every_event_unless_they_choose():
    class Watching(NoLimitationSolver):
        def __call__(self, event):
            pass

    solver = Watching()
    assert resolve(solver, EventType.READ) == [solver]
    solver.listens_to = frozenset({"WRITE"})
    assert resolve(solver, EventType.READ) == []
    assert resolve(solver, EventType.WRITE) == [solver]


@pytest.mark.parametrize(
    ("limit", "error"), [(0, ValueError), (-1, ValueError), ("3", TypeError), (True, TypeError)]
)
def test_bad_limits_are_named(limit, error):
    with pytest.raises(error, match="limit"):
        ConstantLimitationSolver(limit)


def test_limit_is_readable():
    assert ConstantLimitationSolver(3).limit == 3
    assert repr(ConstantLimitationSolver(3)) == "ConstantLimitationSolver(3)"
