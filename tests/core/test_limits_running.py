"""Limitation solvers at work, when they are asked again, and what many sockets cost."""

from __future__ import annotations

import contextlib
import gc
import itertools
import time
from collections import Counter
from typing import Any

import pytest

from evsockets import (
    Channel,
    ClientSocket,
    ConstantLimitationSolver,
    EventType,
    LimitationDecision,
    LimitationSolver,
    NetworkSocketError,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.conversation import Talk, fixed, sends
from support.life import END, USUAL
from support.stage import unanswered
from support.wire import Log, add, pair

OK, SKIP, STOP = LimitationDecision.OK, LimitationDecision.SKIP_CURRENT, LimitationDecision.PROCESS_SCHEDULED


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

    def __init__(self, talk: Talk, count: int) -> None:
        self.started: list[Any] = []
        self.running: set[Any] = set()
        self.most = 0
        on = {"INITIALIZE": self._start, "FINALIZE": lambda event: self.running.remove(event.socket)}
        operation = WriteOperation(b"x", then=ReadOperation())
        self.sockets = [talk.begin(operation, sends(b"!"), on=on).client for _ in range(count)]

    def _start(self, event: Any) -> None:
        self.started.append(event.socket)
        self.running.add(event.socket)
        self.most = max(self.most, len(self.running))


def crowd(talk: Talk, solver: LimitationSolver, count: int) -> Crowd:
    """So many sockets of an executor with that solver."""
    talk.executor.with_limitation_solver(solver)
    return Crowd(talk, count)


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_never_more_than_n(talk: Talk, limit: int) -> None:
    many = crowd(talk, ConstantLimitationSolver(limit), 20)
    talk.run()
    assert many.started == many.sockets and many.most == min(limit, 20) and not many.running


@pytest.mark.parametrize("where", ["INITIALIZE", "CONNECTED", "cancel", "no address", "refused"])
def test_no_place_is_lost(talk: Talk, where: str) -> None:
    def fail(event: Any) -> None:
        if where == "cancel":
            event.cancel_operation()
        else:
            raise NetworkSocketError("mine")

    talk.executor.with_limitation_solver(ConstantLimitationSolver(1))
    if where in ("no address", "refused"):
        address = None if where == "no address" else "unix:///nowhere/at/all"
        lives: list[Any] = [add(talk.executor, address, ReadOperation()) for _ in range(5)]
    else:
        on = {"INITIALIZE" if where == "cancel" else where: fail}
        lives = [talk.begin(ReadOperation(), on=on) for _ in range(5)]
    talk.run()
    assert [life.names[-1] for life in lives] == ["FINALIZE"] * 5


def test_a_place_per_life_over_attempts(executor: RequestExecutor) -> None:
    executor.with_limitation_solver(solver := Listening())

    def again(event: Any) -> None:
        if len(log.timeouts) < 3:
            event.enable_one_more_attempt()

    with unanswered() as address:
        log = add(executor, address, ReadOperation(), connection_timeout=2, on={"TIMEOUT": again})
        executor.execute_request()
    assert log.names == ["INITIALIZE", "TIMEOUT"] * 3 + ["FINALIZE"]
    assert solver.names == ["INITIALIZE", "TIMEOUT", "TIMEOUT", "TIMEOUT", "FINALIZE"]
    assert len(solver.asked) == 1


def test_answers(talk: Talk) -> None:
    many = crowd(talk, solver := Scripted(OK, SKIP, OK, STOP), 6)
    talk.run()
    a, b, c, d, e, f = many.sockets
    assert solver.asked[:5] == [a, b, c, d, b]
    assert many.started == [a, c, b, d, e, f]
    assert solver.totals[:4] == [6, 6, 6, 6]
    assert solver.calls == ["initialize", "finalize"]


@pytest.mark.parametrize("answer", [None, True, "ok", 5, ZeroDivisionError("solver")])
def test_other_answers_are_type_errors(talk: Talk, answer: Any) -> None:
    """And its exceptions leave as they are."""
    many = crowd(talk, solver := Scripted(OK, SKIP, answer), 5)
    with pytest.raises(ZeroDivisionError if isinstance(answer, Exception) else TypeError) as caught:
        talk.run()
    assert caught.value is answer or not isinstance(answer, Exception)
    assert len(many.started) == 1 and not many.running
    assert solver.calls == ["initialize", "finalize"]
    for one in many.sockets:
        assert talk.bag.get_metadata(one).request_complete


@pytest.mark.parametrize("how", ["end", "stop", "error", "initialize", "finalize"])
def test_once_each_run(talk: Talk, how: str) -> None:
    talk.executor.with_limitation_solver(solver := Scripted(bad=how))

    def act(event: Any) -> None:
        if how == "stop":
            talk.executor.stop_request()
        elif how == "error":
            raise ZeroDivisionError

    talk.begin(WriteOperation(b"x"), on={"CONNECTED": act})
    with contextlib.nullcontext() if how in ("end", "stop") else pytest.raises(ZeroDivisionError):
        talk.run()
    assert solver.calls == ["initialize", "finalize"] and not talk.executor.is_executing
    if how not in ("initialize", "finalize"):
        talk.run()
        assert solver.calls == ["initialize", "finalize"] * 2


def test_a_callable_solver_hears_last(talk: Talk) -> None:
    talk.executor.with_limitation_solver(solver := Listening())
    order: list[str] = []
    talk.executor.with_event_handler(lambda event: order.append(f"{event.type.name} {len(solver.events)}"))
    talk(WriteOperation(b"x"), told=["WRITE"], sent=b"x")
    assert solver.names == [*USUAL, "WRITE", *END]
    assert order == [f"{name} {number}" for number, name in enumerate(solver.names)]


# ---- asked again -------------------------------------------------------------------------------------


def test_asked_again_while_nothing_runs(talk: Talk) -> None:
    crowd(talk, solver := Scripted(STOP, STOP, STOP), 1)
    talk.run()
    assert len(solver.asked) == 4
    assert talk.clock.now == pytest.approx(0.3)


def test_asked_again_after_a_callback(talk: Talk) -> None:
    silent = talk.begin(
        ReadOperation(), on={"CONNECTED": lambda event: talk.executor.call_soon_threadsafe(lambda: None)}
    )
    many = crowd(talk, Scripted(OK, STOP), 1)
    talk.executor.with_event_handler(
        {EventType.FINALIZE: lambda event: event.socket is silent.client or talk.executor.stop_request()}
    )
    talk.run()
    assert many.started == many.sockets


class After(LimitationSolver):
    """Lets `socket` in once `condition` is true, all others at once."""

    def __init__(self, socket: ClientSocket, condition: list[Any]) -> None:
        self.socket = socket
        self.condition = condition

    def decide(self, executor: Any, socket: Any, context: Any, total: int) -> LimitationDecision:
        return SKIP if socket is self.socket and not self.condition else OK


def test_a_skipped_socket_is_asked_for_when_one_fails_within_the_round(talk: Talk) -> None:
    """A socket that ends as soon as it starts gives its place to one skipped before it, though others run."""
    ended: list[Any] = []
    running: list[bool] = []

    def start(event: Any) -> None:
        running.append(not long.metadata.request_complete)
        long.client.close()

    long = talk.begin(ReadOperation(), request_timeout=5)
    skipped = talk.begin(WriteOperation(b"x"), on={"INITIALIZE": start})
    talk.executor.with_limitation_solver(After(skipped.client, ended))
    # Without an address it ends at once.
    add(talk.executor, None, ReadOperation(), on={"FINALIZE": ended.append})
    talk.run()
    skipped.check(["WRITE"], b"x")
    long.check()
    assert running == [True]


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


def test_clients_wait_beside_a_running_listener(executor: RequestExecutor) -> None:
    """A listener among many waiting clients: refused ones are not looked through at every end."""
    executor.with_limitation_solver(ConstantLimitationSolver(1))
    server = add(executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket())
    ended: list[Any] = []

    def count(event: Any) -> None:
        ended.append(event)
        if len(ended) == 5000:
            executor.stop_request()

    handler = {EventType.FINALIZE: count}
    for _ in range(5000):
        executor.socket_bag.add_socket(ClientSocket(), ReadOperation(), handler=handler)
    executor.execute_request()
    assert len(ended) == 5000
    assert server.names == [*USUAL, *END]


def least_turn_beside(crowd: int) -> float:
    """Processor seconds of a turn with one busy socket while `crowd` others wait for their places."""
    solver = Scripted(OK, *[STOP] * 10_000)
    ours, theirs = pair()
    moments: list[float] = []

    def on_read(event: Any) -> None:
        moments.append(time.process_time())
        theirs.sendall(b"x")
        if len(moments) < 300:
            event.next_is(fixed(1))
        else:
            event.executor.stop_request()

    with RequestExecutor("selectors") as executor, theirs:
        executor.with_limitation_solver(solver)
        theirs.sendall(b"x")
        add(executor, None, fixed(1), socket=ours, on={"READ": on_read})
        for _ in range(crowd):
            executor.socket_bag.add_socket(ClientSocket(), ReadOperation())
        executor.execute_request()
        assert len(solver.asked) == 2
        assert len(executor.socket_bag) == crowd + 1
    # The least of all: others on the machine disturb single ones only.
    return min(later - sooner for sooner, later in itertools.pairwise(moments))


def test_a_waiting_crowd_costs_nothing() -> None:
    """While one place is taken nobody asks about the others at every turn, nor looks at them."""
    alone = least_turn_beside(1)
    assert least_turn_beside(20_000) < 5 * alone, "a look at each would take many times as long"


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


def test_a_flood_starves_nobody(talk: Talk) -> None:
    """A socket that always has data gets a bounded share of a turn."""

    def on_flood(event: Any) -> None:
        loud.peer.send(b"x")
        event.next_is(fixed(1))

    def on_quiet(event: Any) -> None:
        if quiet.names.count("READ") == 20:
            talk.executor.stop_request()
        else:
            quiet.peer.send(b"y")
            event.next_is_read()

    loud = talk.begin(fixed(1), sends(b"x" * 10_000), on={"READ": on_flood})
    quiet = talk.begin(ReadOperation(), sends(b"y"), on={"READ": on_quiet})
    talk.run()
    assert quiet.names.count("READ") == 20 and loud.names.count("READ") <= 20 * 200
