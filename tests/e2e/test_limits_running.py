"""Limitation solvers at work, when they are asked again, and what many sockets cost."""

from __future__ import annotations

import contextlib
import gc
import itertools
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evsockets import (
    Channel,
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
    ServerSocket,
    WriteOperation,
)
from evsockets.testing.scripted import ScriptedEngine
from support.life import END, USUAL
from support.stage import unanswered
from support.wire import Log, add, pair

OK, SKIP, STOP = LimitationDecision.OK, LimitationDecision.SKIP_CURRENT, LimitationDecision.PROCESS_SCHEDULED
BYTE = FixedLengthFramePicker(1)


class Scripted(LimitationSolver):
    """Answers `answers` in turn, then OK; notes what it was asked. `bad` is the call that fails."""

    def __init__(self, *answers: Any, bad: str = "") -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []
        self.totals: list[int] = []
        self.calls: list[str] = []
        self._bad = bad

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name == self._bad:
            raise ZeroDivisionError

    def initialize(self, executor: Any, context: Any) -> None:
        self._called("initialize")

    def decide(self, executor: Any, socket: Any, context: Any, total: int) -> Any:
        self.asked.append(socket)
        self.totals.append(total)
        answer = self.answers.pop(0) if self.answers else OK
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def finalize(self, executor: Any, context: Any) -> None:
        self._called("finalize")


class Listening(Log, Scripted):
    """A solver that is a handler, too."""

    def __init__(self) -> None:
        Log.__init__(self)
        Scripted.__init__(self)


class Crowd:
    """Sockets that write one byte and end; who ran when."""

    def __init__(self, executor: RequestExecutor, count: int) -> None:
        self.started: list[Any] = []
        self.running: set[Any] = set()
        self.most = 0
        self.sockets: list[Any] = []
        self.peers: list[socket.socket] = []
        handler = {"INITIALIZE": self._start, "FINALIZE": lambda event: self.running.remove(event.socket)}
        for _ in range(count):
            ours, theirs = pair()
            theirs.sendall(b"!")
            self.sockets.append(ours)
            self.peers.append(theirs)
            add(executor, None, WriteOperation(b"x", then=ReadOperation()), socket=ours, on=handler)

    def _start(self, event: Any) -> None:
        self.started.append(event.socket)
        self.running.add(event.socket)
        self.most = max(self.most, len(self.running))

    def close(self) -> None:
        for one in [*self.sockets, *self.peers]:
            one.close()


@pytest.fixture
def crowd(executor: RequestExecutor) -> Iterator[Callable[..., Crowd]]:
    """`crowd(solver, count)`: so many sockets of an executor with that solver."""
    made: list[Crowd] = []

    def make(solver: LimitationSolver, count: int) -> Crowd:
        executor.with_limitation_solver(solver)
        made.append(Crowd(executor, count))
        return made[-1]

    yield make
    for one in made:
        one.close()


MakeCrowd = Callable[..., Crowd]


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_never_more_than_n(executor: RequestExecutor, crowd: MakeCrowd, limit: int) -> None:
    many = crowd(ConstantLimitationSolver(limit), 20)
    executor.execute_request()
    assert many.started == many.sockets and many.most == min(limit, 20) and not many.running


@pytest.mark.parametrize("where", ["refused", "INITIALIZE", "CONNECTED", "cancel", "no address"])
def test_no_place_is_lost(executor: RequestExecutor, unused_port: int, where: str) -> None:
    executor.with_limitation_solver(ConstantLimitationSolver(1))

    def fail(event: Any) -> None:
        raise NetworkSocketError("mine")

    logs = []
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            if where in ("refused", "no address"):
                address = None if where == "no address" else f"tcp://127.0.0.1:{unused_port}"
                logs.append(add(executor, address, ReadOperation()))
                continue
            ours, theirs = pair()
            stack.enter_context(theirs)
            cancels = {"INITIALIZE": lambda event: event.cancel_operation()}
            on = cancels if where == "cancel" else {where: fail}
            logs.append(add(executor, None, ReadOperation(), socket=ours, on=on))
        executor.execute_request()
    assert [log.names[-1] for log in logs] == ["FINALIZE"] * 5


def test_a_place_per_life_over_attempts(executor: RequestExecutor) -> None:
    executor.with_limitation_solver(solver := Listening())

    def again(event: Any) -> None:
        if len(log.timeouts) < 3:
            event.enable_one_more_attempt()

    with unanswered() as address:
        log = add(executor, address, ReadOperation(), connection_timeout=0.02, on={"TIMEOUT": again})
        executor.execute_request()
    assert log.names == ["INITIALIZE", "TIMEOUT"] * 3 + ["FINALIZE"]
    assert solver.names == ["INITIALIZE", "TIMEOUT", "TIMEOUT", "TIMEOUT", "FINALIZE"]
    assert len(solver.asked) == 1


def test_answers(executor: RequestExecutor, crowd: MakeCrowd) -> None:
    many = crowd(solver := Scripted(OK, SKIP, OK, STOP), 6)
    executor.execute_request()
    a, b, c, d, e, f = many.sockets
    assert solver.asked[:5] == [a, b, c, d, b]
    assert many.started == [a, c, b, d, e, f]
    assert solver.totals[:4] == [6, 6, 6, 6]
    assert solver.calls == ["initialize", "finalize"]


@pytest.mark.parametrize("answer", [None, True, "ok", 5, ZeroDivisionError("solver")])
def test_other_answers_are_type_errors(executor: RequestExecutor, crowd: MakeCrowd, answer: Any) -> None:
    """And its exceptions leave as they are."""
    many = crowd(solver := Scripted(OK, SKIP, answer), 5)
    with pytest.raises(ZeroDivisionError if isinstance(answer, Exception) else TypeError) as caught:
        executor.execute_request()
    assert caught.value is answer or not isinstance(answer, Exception)
    assert len(many.started) == 1 and not many.running
    assert solver.calls == ["initialize", "finalize"]
    for one in many.sockets:
        assert executor.socket_bag.get_metadata(one).request_complete


@pytest.mark.parametrize("how", ["end", "stop", "error", "initialize", "finalize"])
def test_once_each_run(executor: RequestExecutor, how: str) -> None:
    executor.with_limitation_solver(solver := Scripted(bad=how))

    def act(event: Any) -> None:
        if how == "stop":
            executor.stop_request()
        elif how == "error":
            raise ZeroDivisionError

    ours, theirs = pair()
    with theirs:
        add(executor, None, WriteOperation(b"x"), socket=ours, on={"CONNECTED": act})
        with contextlib.nullcontext() if how in ("end", "stop") else pytest.raises(ZeroDivisionError):
            executor.execute_request()
        ours.close()
    assert solver.calls == ["initialize", "finalize"] and not executor.is_executing
    if how not in ("initialize", "finalize"):
        executor.execute_request()
        assert solver.calls == ["initialize", "finalize"] * 2


def test_a_callable_solver_hears_last(executor: RequestExecutor) -> None:
    executor.with_limitation_solver(solver := Listening())
    order: list[str] = []
    executor.with_event_handler(lambda event: order.append(f"{event.type.name} {len(solver.events)}"))
    ours, theirs = pair()
    with theirs:
        add(executor, None, WriteOperation(b"x"), socket=ours)
        executor.execute_request()
    assert solver.names == [*USUAL, "WRITE", *END]
    assert order == [f"{name} {number}" for number, name in enumerate(solver.names)]


# ---- asked again -------------------------------------------------------------------------------------


def test_asked_again_while_nothing_runs() -> None:
    engine = ScriptedEngine(look=True)
    start, solver = engine.clock.now, Scripted(STOP, STOP, STOP)
    with RequestExecutor(engine) as executor:
        executor.with_limitation_solver(solver)
        crowd = Crowd(executor, 1)
        executor.execute_request()
        crowd.close()
    assert len(solver.asked) == 4
    assert engine.clock.now - start == pytest.approx(0.3)


def test_asked_again_after_a_callback(executor: RequestExecutor, crowd: MakeCrowd) -> None:
    silent, theirs = pair()
    on = {"CONNECTED": lambda event: executor.call_soon_threadsafe(lambda: None)}
    with theirs:
        add(executor, None, ReadOperation(), socket=silent, on=on)
        many = crowd(Scripted(OK, STOP), 1)
        executor.with_event_handler(
            {EventType.FINALIZE: lambda event: event.socket is silent or executor.stop_request()}
        )
        executor.execute_request()
    assert many.started == many.sockets


class After(LimitationSolver):
    """Lets `socket` in once `condition` is true, all others at once."""

    def __init__(self, socket: ClientSocket, condition: list[Any]) -> None:
        self.socket = socket
        self.condition = condition

    def decide(self, executor: Any, socket: Any, context: Any, total: int) -> LimitationDecision:
        return SKIP if socket is self.socket and not self.condition else OK


def test_a_skipped_socket_is_asked_for_when_one_fails_within_the_round(executor: RequestExecutor) -> None:
    """A socket that ends as soon as it starts gives its place to one skipped before it, though others run."""
    ended: list[Any] = []
    running: list[bool] = []
    (long, theirs), (skipped, peer) = pair(), pair()
    executor.with_limitation_solver(After(skipped, ended))

    def start(event: Any) -> None:
        running.append(not long_log.metadata.request_complete)
        long.close()

    with theirs, peer:
        long_log = add(executor, None, ReadOperation(), socket=long, request_timeout=5)
        add(executor, None, WriteOperation(b"x"), socket=skipped, on={"INITIALIZE": start})
        add(executor, None, ReadOperation(), on={"FINALIZE": ended.append})  # without address it ends at once
        executor.execute_request()
        assert peer.recv(10) == b"x"
    assert running == [True] and long_log.timeouts == []


@pytest.mark.parametrize("how", ["stop", "cancel"])
def test_listeners_behind_a_full_house_obey_at_once(executor: RequestExecutor, how: str) -> None:
    """The first one's INITIALIZE ends the run, or itself."""
    executor.with_limitation_solver(ConstantLimitationSolver(1))
    seen: list[list[str]] = []

    def end(event: Any) -> None:
        executor.stop_request() if how == "stop" else event.cancel_operation()

    def begun(event: Any) -> None:
        seen.append(first.names)
        executor.stop_request()

    with contextlib.ExitStack() as stack:
        for _ in range(2):
            ours, theirs = pair()
            stack.enter_context(theirs)
            add(executor, None, ReadOperation(), socket=ours)
        first, second = (
            add(executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), on={"INITIALIZE": act})
            for act in (end, begun)
        )
        executor.execute_request()
    assert first.names == ["INITIALIZE", "FINALIZE"]
    assert seen == ([] if how == "stop" else [first.names])
    assert second.names[:1] == ([] if how == "stop" else ["INITIALIZE"])


# ---- what many cost ----------------------------------------------------------------------------------


def least_turn_beside(crowd: int, engine: str) -> float:
    """Processor seconds of a turn with one busy socket while `crowd` others wait for their places."""
    solver = Scripted(OK, *[STOP] * 10_000)
    ours, theirs = pair()
    moments: list[float] = []

    def on_read(event: Any) -> None:
        moments.append(time.process_time())
        theirs.sendall(b"x")
        if len(moments) < 300:
            event.next_is_read(BYTE)
        else:
            event.executor.stop_request()

    with RequestExecutor(engine) as executor, theirs:
        executor.with_limitation_solver(solver)
        theirs.sendall(b"x")
        add(executor, None, ReadOperation(BYTE), socket=ours, on={"READ": on_read})
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
    assert least_turn_beside(20_000, engine) < 5 * alone, "a look at each would take many times as long"


def test_very_many_come_and_go() -> None:
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
        assert ended == {"FINALIZE": 100_000} and len(bag) == 0
        assert executor._loop.deadlines.first() is None
        gc.collect()
        assert not [one for one in gc.get_objects() if type(one) is Channel and one.loop.executor is executor]


def test_a_flood_starves_nobody(executor: RequestExecutor) -> None:
    """A socket that always has data gets a bounded share of a turn."""
    (loud, flooding), (quiet, theirs) = pair(), pair()
    reads = Counter[str]()

    def on_flood(event: Any) -> None:
        reads["loud"] += 1
        with contextlib.suppress(BlockingIOError):
            flooding.send(b"x")
        event.next_is_read(BYTE)

    def on_quiet(event: Any) -> None:
        reads["quiet"] += 1
        if reads["quiet"] == 20:
            executor.stop_request()
        else:
            theirs.sendall(b"y")
            event.next_is_read()

    with flooding, theirs:
        flooding.setblocking(False)
        flooding.send(b"x" * 10_000)
        theirs.sendall(b"y")
        add(executor, None, ReadOperation(BYTE), socket=loud, on={"READ": on_flood})
        add(executor, None, ReadOperation(), socket=quiet, on={"READ": on_quiet})
        executor.execute_request()
    assert reads["quiet"] == 20 and reads["loud"] <= 20 * 200
