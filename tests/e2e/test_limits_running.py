"""Limitation solvers at work, and what many sockets cost."""

from __future__ import annotations

import contextlib
import gc
import itertools
import socket
import time
from collections import Counter
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    ConstantLimitationSolver,
    EventType,
    FixedLengthFramePicker,
    LimitationDecision,
    LimitationSolver,
    NetworkSocketError,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    WriteOperation,
)
from evsockets.testing.scripted import ScriptedEngine
from support.wire import Log, add, pair

OK, SKIP, STOP = LimitationDecision.OK, LimitationDecision.SKIP_CURRENT, LimitationDecision.PROCESS_SCHEDULED


class Scripted(LimitationSolver):
    """Answers `answers` in turn, then OK; notes what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []
        self.totals: list[int] = []
        self.calls: list[str] = []

    def initialize(self, executor: Any, context: Any) -> None:
        self.calls.append("initialize")

    def decide(self, executor: Any, socket: Any, context: Any, total: int) -> Any:
        self.asked.append(socket)
        self.totals.append(total)
        answer = self.answers.pop(0) if self.answers else OK
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def finalize(self, executor: Any, context: Any) -> None:
        self.calls.append("finalize")


class Listening(Scripted):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []

    def __call__(self, event: Any) -> None:
        self.events.append(event.type.name)


class Crowd:
    """Sockets that write one byte and end; who ran when."""

    def __init__(self, executor: RequestExecutor, count: int) -> None:
        self.started: list[Any] = []
        self.running: set[Any] = set()
        self.most = 0
        self.sockets: list[Any] = []
        self.peers: list[socket.socket] = []
        handler = {EventType.INITIALIZE: self._start, EventType.FINALIZE: self._end}
        for _ in range(count):
            ours, theirs = pair()
            theirs.sendall(b"!")
            self.sockets.append(ours)
            self.peers.append(theirs)
            executor.socket_bag.add_socket(ours, WriteOperation(b"x", then=ReadOperation()), handler=handler)

    def _start(self, event: Any) -> None:
        self.started.append(event.socket)
        self.running.add(event.socket)
        self.most = max(self.most, len(self.running))

    def _end(self, event: Any) -> None:
        self.running.remove(event.socket)

    def close(self) -> None:
        for one in [*self.sockets, *self.peers]:
            one.close()


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_never_more_than_n(executor: RequestExecutor, limit: int) -> None:
    executor.with_limitation_solver(ConstantLimitationSolver(limit))
    crowd = Crowd(executor, 20)
    executor.execute_request()
    crowd.close()
    assert crowd.started == crowd.sockets
    assert crowd.most == min(limit, 20)
    assert not crowd.running


@pytest.mark.parametrize("where", ["refused", "INITIALIZE", "CONNECTED", "cancel", "no address"])
def test_no_place_is_lost(executor: RequestExecutor, unused_port: int, where: str) -> None:
    executor.with_limitation_solver(ConstantLimitationSolver(1))

    def fail(event: Any) -> None:
        if where == "cancel":
            event.cancel_operation()
        else:
            raise NetworkSocketError("mine")

    logs = []
    peers = []
    for _ in range(5):
        if where in ("refused", "no address"):
            address = None if where == "no address" else f"tcp://127.0.0.1:{unused_port}"
            logs.append(add(executor, address, ReadOperation()))
            continue
        ours, theirs = pair()
        peers.append(theirs)
        kind = "INITIALIZE" if where == "cancel" else where
        logs.append(add(executor, None, ReadOperation(), socket=ours, on={kind: fail}))
    executor.execute_request()
    for theirs in peers:
        theirs.close()
    assert [log.names[-1] for log in logs] == ["FINALIZE"] * 5


def test_a_place_per_life_over_attempts(executor: RequestExecutor) -> None:
    solver = Listening()
    executor.with_limitation_solver(solver)
    left = [2]

    def again(event: Any) -> None:
        left[0] -= 1
        if left[0] >= 0:
            event.enable_one_more_attempt()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "tls://127.0.0.1:%d" % listener.getsockname()[1]
        log = add(executor, address, ReadOperation(), connection_timeout=0.02, on={"TIMEOUT": again})
        executor.execute_request()
    assert log.names == ["INITIALIZE", "TIMEOUT"] * 3 + ["FINALIZE"]
    assert solver.events == ["INITIALIZE", "TIMEOUT", "TIMEOUT", "TIMEOUT", "FINALIZE"]
    assert len(solver.asked) == 1


def test_answers(executor: RequestExecutor) -> None:
    solver = Scripted(OK, SKIP, OK, STOP)
    executor.with_limitation_solver(solver)
    crowd = Crowd(executor, 6)
    executor.execute_request()
    crowd.close()
    a, b, c, d, e, f = crowd.sockets
    assert solver.asked[:4] == [a, b, c, d]
    assert crowd.started == [a, c, b, d, e, f]
    assert solver.totals[:4] == [6, 6, 6, 6]
    assert solver.asked[4] is b
    assert solver.calls == ["initialize", "finalize"]


@pytest.mark.parametrize("answer", [None, True, "ok", 5])
def test_other_answers_are_type_errors(executor: RequestExecutor, answer: Any) -> None:
    solver = Scripted(OK, SKIP, answer)
    executor.with_limitation_solver(solver)
    crowd = Crowd(executor, 5)
    with pytest.raises(TypeError):
        executor.execute_request()
    crowd.close()
    assert len(crowd.started) == 1 and not crowd.running
    assert solver.calls == ["initialize", "finalize"]
    for one in crowd.sockets:
        assert executor.socket_bag.get_metadata(one).request_complete


def test_an_exception_of_the_solver(executor: RequestExecutor) -> None:
    error = ZeroDivisionError("solver")
    executor.with_limitation_solver(Scripted(OK, error))
    crowd = Crowd(executor, 3)
    with pytest.raises(ZeroDivisionError) as caught:
        executor.execute_request()
    crowd.close()
    assert caught.value is error and not crowd.running


@pytest.mark.parametrize("how", ["end", "stop", "error", "initialize", "finalize"])
def test_once_each_run(executor: RequestExecutor, how: str) -> None:
    class Failing(Scripted):
        def initialize(self, executor: Any, context: Any) -> None:
            super().initialize(executor, context)
            if how == "initialize":
                raise ZeroDivisionError

        def finalize(self, executor: Any, context: Any) -> None:
            super().finalize(executor, context)
            if how == "finalize":
                raise ZeroDivisionError

    solver = Failing()
    executor.with_limitation_solver(solver)

    def act(event: Any) -> None:
        if how == "stop":
            executor.stop_request()
        elif how == "error":
            raise ZeroDivisionError

    ours, theirs = pair()
    with theirs:
        add(executor, None, WriteOperation(b"x"), socket=ours, on={"CONNECTED": act})
        if how in ("end", "stop"):
            executor.execute_request()
        else:
            with pytest.raises(ZeroDivisionError):
                executor.execute_request()
        ours.close()
    assert solver.calls == ["initialize", "finalize"]
    assert not executor.is_executing
    if how not in ("initialize", "finalize"):
        executor.execute_request()
        assert solver.calls == ["initialize", "finalize"] * 2


def test_a_callable_solver_hears_last(executor: RequestExecutor) -> None:
    solver = Listening()
    executor.with_limitation_solver(solver)
    order: list[str] = []
    executor.with_event_handler(lambda event: order.append(f"{event.type.name} {len(solver.events)}"))
    ours, theirs = pair()
    with theirs:
        add(executor, None, WriteOperation(b"x"), socket=ours)
        executor.execute_request()
    assert solver.events == ["INITIALIZE", "CONNECTED", "WRITE", "DISCONNECTED", "FINALIZE"]
    assert order == [f"{name} {n}" for n, name in enumerate(solver.events)]


def test_asked_again_while_nothing_runs() -> None:
    engine = ScriptedEngine(look=True)
    start = engine.clock.now
    solver = Scripted(STOP, STOP, STOP)
    with RequestExecutor(engine) as executor:
        executor.with_limitation_solver(solver)
        crowd = Crowd(executor, 1)
        executor.execute_request()
        crowd.close()
    assert len(solver.asked) == 4
    assert engine.clock.now - start == pytest.approx(0.3)


def test_asked_again_after_a_callback(executor: RequestExecutor) -> None:
    solver = Scripted(OK, STOP)
    executor.with_limitation_solver(solver)
    silent, theirs = pair()
    with theirs:
        def on_connected(event: Any) -> None:
            executor.call_soon_threadsafe(lambda: None)

        add(executor, None, ReadOperation(), socket=silent, on={"CONNECTED": on_connected})
        crowd = Crowd(executor, 1)
        executor.with_event_handler(
            {EventType.FINALIZE: lambda e: e.socket is crowd.sockets[0] and executor.stop_request()}
        )
        executor.execute_request()
        crowd.close()
    assert crowd.started == crowd.sockets


def least_turn_beside(crowd: int, engine: str) -> float:
    """Processor seconds of a turn with one busy socket while `crowd` others wait for their places."""
    solver = Scripted(OK)
    solver.answers += [STOP] * 10_000
    ours, theirs = pair()
    moments: list[float] = []

    def on_read(event: Any) -> None:
        moments.append(time.process_time())
        theirs.sendall(b"x")
        if len(moments) < 300:
            event.next_is_read(FixedLengthFramePicker(1))
        else:
            event.executor.stop_request()

    with RequestExecutor(engine) as executor, theirs:
        executor.with_limitation_solver(solver)
        theirs.sendall(b"x")
        add(executor, None, ReadOperation(FixedLengthFramePicker(1)), socket=ours, on={"READ": on_read})
        for _ in range(crowd):
            executor.socket_bag.add_socket(ClientSocket(), ReadOperation())
        executor.execute_request()
        assert len(solver.asked) == 2
        assert len(executor.socket_bag) == crowd + 1
    # The least of all: others on the machine disturb single ones only.
    return min(later - sooner for sooner, later in itertools.pairwise(moments))


def test_a_waiting_crowd_costs_nothing(engine: str) -> None:
    """While one place is taken nobody asks about the others at every turn, nor looks at them."""
    alone = least_turn_beside(1, engine)
    assert least_turn_beside(100_000, engine) < 5 * alone, "a look at each would take a hundred times as long"


def test_hundred_thousand_come_and_go() -> None:
    executor = RequestExecutor("selectors")
    executor.with_limitation_solver(ConstantLimitationSolver(10))
    ended = Counter[str]()
    bag = executor.socket_bag

    def gone(event: Any) -> None:
        ended[event.type.name] += 1
        bag.remove_socket(event.socket)

    handler = {EventType.FINALIZE: gone}
    for _ in range(100_000):
        bag.add_socket(ClientSocket(), NullOperation(), handler=handler)
    with executor:
        executor.execute_request()
        assert ended == {"FINALIZE": 100_000}
        assert len(bag) == 0
        assert len(executor.deadlines) == 0
        gc.collect()
        from evsockets import Channel

        assert not [one for one in gc.get_objects() if type(one) is Channel and one.executor is executor]


def test_a_flood_starves_nobody(executor: RequestExecutor) -> None:
    """A socket that always has data gets a bounded share of a turn."""
    loud, flooding = pair()
    quiet, theirs = pair()
    with flooding, theirs:
        flooding.setblocking(False)
        reads = Counter[str]()

        def on_flood(event: Any) -> None:
            reads["loud"] += 1
            with contextlib.suppress(BlockingIOError):
                flooding.send(b"x")
            event.next_is_read(FixedLengthFramePicker(1))

        def on_quiet(event: Any) -> None:
            reads["quiet"] += 1
            if reads["quiet"] == 20:
                executor.stop_request()
            else:
                theirs.sendall(b"y")
                event.next_is_read()

        flooding.send(b"x" * 10_000)
        theirs.sendall(b"y")
        add(executor, None, ReadOperation(FixedLengthFramePicker(1)), socket=loud, on={"READ": on_flood})
        log = add(executor, None, ReadOperation(), socket=quiet, on={"READ": on_quiet})
        executor.execute_request()
    assert reads["quiet"] == 20
    assert reads["loud"] <= 20 * 200
    assert isinstance(log, Log)
