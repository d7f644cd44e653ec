"""The resolver: what is asked when, by whom, and who hears of it."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evsockets.opening.resolver import Resolver, Ticket
from support.command import run_python

LIMIT = 60.0
ANSWER = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]


class Outcomes:
    """A `done` that can be waited for."""

    def __init__(self) -> None:
        self.queue: queue.Queue[Any] = queue.Queue()
        self.threads: set[int] = set()

    def __call__(self, outcome: Any) -> None:
        self.threads.add(threading.get_ident())
        self.queue.put(outcome)

    def get(self) -> Any:
        return self.queue.get(timeout=LIMIT)


class Gate:
    """A look-up that waits until it is let through."""

    def __init__(self) -> None:
        self.entered: queue.Queue[str] = queue.Queue()
        self.open = threading.Semaphore(0)
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, *arguments: Any) -> Any:
        self.calls.append(arguments)
        self.entered.put(arguments[0])
        assert self.open.acquire(timeout=LIMIT)
        return ANSWER


@pytest.fixture
def resolvers() -> Iterator[Callable[..., Resolver]]:
    made: list[Resolver] = []

    def make(*arguments: Any, **keywords: Any) -> Resolver:
        made.append(Resolver(*arguments, **keywords))
        return made[-1]

    yield make
    for resolver in made:
        resolver.close()


def keep_busy(resolver: Resolver, gate: Gate, done: Outcomes) -> None:
    """Four look-ups at the gate: what a resolver with `at_once=4` makes at a time."""
    for number in range(4):
        resolver.resolve(f"name{number}", 80, 1, done)
    for _ in range(4):
        gate.entered.get(timeout=LIMIT)


def test_the_answer_comes_from_another_thread(resolvers: Callable[..., Resolver]) -> None:
    calls = []

    def lookup(*arguments: Any) -> Any:
        calls.append(arguments)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 80, 0, 0)),
            *ANSWER,
            *ANSWER,
            (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", "/x"),
        ]

    done = Outcomes()
    resolvers(lookup).resolve("name", 80, socket.SOCK_STREAM, done)
    assert done.get() == [(socket.AF_INET6, ("::1", 80, 0, 0)), (socket.AF_INET, ("127.0.0.1", 80))]
    assert done.threads.isdisjoint({threading.get_ident()})
    assert calls == [("name", 80, 0, socket.SOCK_STREAM)]


def test_the_default_is_the_systems(
    resolvers: Callable[..., Resolver], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Outcomes()
    resolver = resolvers()
    resolver.resolve("localhost", 80, socket.SOCK_STREAM, done)
    assert {sockaddr[0] for _, sockaddr in done.get()} <= {"127.0.0.1", "::1"}
    # Looked for when it is used, so that it can be replaced.
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: ANSWER)
    resolver.resolve("other.invalid", 80, socket.SOCK_STREAM, done)
    assert done.get() == [(socket.AF_INET, ("127.0.0.1", 80))]


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), socket.gaierror),
        (UnicodeError("label too long"), socket.gaierror),
        (OSError(5, "trouble"), OSError),
        (KeyError("bug"), KeyError),
        (SystemExit(3), SystemExit),
    ],
)
def test_errors_are_outcomes(
    resolvers: Callable[..., Resolver], raised: BaseException, kind: type[BaseException]
) -> None:
    def lookup(*arguments: Any) -> Any:
        raise raised

    done = Outcomes()
    resolver = resolvers(lookup)
    resolver._at_once = 1
    for _ in range(3):  # the thread is not lost
        resolver.resolve("name", 80, 1, done)
        assert isinstance(done.get(), kind)


def test_no_answer_is_an_error(resolvers: Callable[..., Resolver]) -> None:
    done = Outcomes()
    resolvers(lambda *arguments: []).resolve("name", 80, 1, done)
    assert isinstance(done.get(), socket.gaierror)


def test_identical_look_ups_in_flight_are_one(resolvers: Callable[..., Resolver]) -> None:
    gate, done = Gate(), Outcomes()
    resolver = resolvers(gate)
    resolver.resolve("name", 80, 1, done)
    gate.entered.get(timeout=LIMIT)
    resolver.resolve("name", 80, 1, done)
    resolver.resolve("name", 81, 1, done)
    gate.entered.get(timeout=LIMIT)
    gate.open.release(2)
    assert [done.get() for _ in range(3)] == [[(socket.AF_INET, ("127.0.0.1", 80))]] * 3
    assert len(gate.calls) == 2
    # What is over is asked again.
    gate.open.release()
    resolver.resolve("name", 80, 1, done)
    done.get()
    assert len(gate.calls) == 3


def test_a_bounded_number_at_a_time_and_the_rest_in_order(resolvers: Callable[..., Resolver]) -> None:
    gate, done = Gate(), Outcomes()
    resolver = resolvers(gate, at_once=4)
    for number in range(7):
        resolver.resolve(f"name{number}", 80, 1, done)
    first = {gate.entered.get(timeout=LIMIT) for _ in range(4)}
    assert first == {f"name{number}" for number in range(4)}
    assert gate.entered.empty()
    for number in range(4, 7):
        gate.open.release()
        assert gate.entered.get(timeout=LIMIT) == f"name{number}"
    gate.open.release(4)
    for _ in range(7):
        done.get()


def test_a_cancelled_look_up_is_not_told(resolvers: Callable[..., Resolver]) -> None:
    gate, done, other = Gate(), Outcomes(), Outcomes()
    resolver = resolvers(gate)
    ticket = resolver.resolve("name", 80, 1, done)
    resolver.resolve("name", 80, 1, other)
    gate.entered.get(timeout=LIMIT)
    ticket.cancel()
    ticket.cancel()
    gate.open.release()
    other.get()
    assert done.queue.empty()


def test_a_cancelled_look_up_in_the_queue_is_not_made(resolvers: Callable[..., Resolver]) -> None:
    gate, done = Gate(), Outcomes()
    resolver = resolvers(gate, at_once=4)
    keep_busy(resolver, gate, done)
    resolver.resolve("late", 80, 1, done).cancel()
    gate.open.release(4)
    for _ in range(4):
        done.get()
    assert all(call[0] != "late" for call in gate.calls)
    gate.open.release()
    resolver.resolve("late", 80, 1, done)
    done.get()


@pytest.mark.parametrize("shared", [False, True])
def test_cancelling_costs_the_same_however_many_wait(
    resolvers: Callable[..., Resolver], shared: bool
) -> None:
    """Last in, first out, and every other one."""
    gate, done = Gate(), Outcomes()
    resolver = resolvers(gate, at_once=1)
    resolver.resolve("busy", 80, 1, done)
    gate.entered.get(timeout=LIMIT)

    def cancelled(count: int) -> float:
        names = ["name"] * count if shared else [f"name{number}" for number in range(count)]
        tickets = [resolver.resolve(name, 80, 1, done) for name in names]
        began = time.thread_time()
        for ticket in [*tickets[::-2], *tickets[::2]]:
            ticket.cancel()
        return (time.thread_time() - began) / count

    few, many = (min(cancelled(count) for _ in range(3)) for count in (1_000, 16_000))
    assert many < 4 * few, f"{few * 1e6:.1f} us for each of 1,000, {many * 1e6:.1f} us for each of 16,000"
    gate.open.release()
    done.get()


def test_close_forgets_everybody() -> None:
    gate, done = Gate(), Outcomes()
    resolver = Resolver(gate, at_once=4)
    keep_busy(resolver, gate, done)
    resolver.resolve("name4", 80, 1, done)
    resolver.close()
    resolver.close()
    gate.open.release(4)
    with pytest.raises(RuntimeError, match="closed"):
        resolver.resolve("name", 80, 1, done)
    assert done.queue.empty()
    assert len(gate.calls) == 4


def test_one_callers_trouble_is_not_anothers(resolvers: Callable[..., Resolver]) -> None:
    gate, done = Gate(), Outcomes()

    def closed(outcome: Any) -> None:
        raise RuntimeError("the executor is closed")

    resolver = resolvers(gate)
    resolver.resolve("name", 80, 1, closed)
    gate.entered.get(timeout=LIMIT)
    resolver.resolve("name", 80, 1, done)
    gate.open.release()
    done.get()


Run = list[tuple[Callable[[], Any], Callable[..., object]]]


def test_somebody_else_runs_the_look_ups(resolvers: Callable[..., Resolver]) -> None:
    waiting: Run = []
    done = Outcomes()
    calls = []

    def lookup(*given: Any) -> Any:
        calls.append(given)
        return ANSWER

    resolver = resolvers(lookup, lambda *pair: waiting.append(pair))
    resolver.resolve("name", 80, 1, done)
    resolver.resolve("name", 80, 1, done)
    assert len(waiting) == 1
    function, finished = waiting.pop()
    found = function()
    assert calls == [("name", 80, 0, 1)]
    assert done.queue.empty()
    finished(found)
    finished(found)
    assert [done.get() for _ in range(2)] == [[(socket.AF_INET, ("127.0.0.1", 80))]] * 2
    assert done.queue.empty()
    assert done.threads == {threading.get_ident()}


def test_somebody_else_is_given_a_bounded_number_at_a_time(resolvers: Callable[..., Resolver]) -> None:
    waiting: Run = []
    done = Outcomes()
    resolver = resolvers(lambda *given: ANSWER, lambda *pair: waiting.append(pair), 2)
    tickets = [resolver.resolve(f"name{number}", 80, 1, done) for number in range(5)]
    tickets[2].cancel()
    in_flight = []
    while waiting:
        in_flight.append(len(waiting))
        function, finished = waiting.pop(0)
        finished(function())
        done.get()
    assert in_flight == [2, 2, 2, 1]


def test_somebody_else_gets_the_patched_look_up(
    resolvers: Callable[..., Resolver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: ANSWER)
    done = Outcomes()

    def run(function: Callable[[], object], finished: Callable[..., object]) -> None:
        finished(function())

    resolvers(run=run).resolve("name", 80, 1, done)
    assert done.get() == [(socket.AF_INET, ("127.0.0.1", 80))]


def test_a_run_that_gives_up_is_an_error(resolvers: Callable[..., Resolver]) -> None:
    done = Outcomes()
    resolvers(run=lambda function, finished: finished()).resolve("name", 80, 1, done)
    assert isinstance(done.get(), OSError)


def test_no_thread_to_be_had(resolvers: Callable[..., Resolver]) -> None:
    done = Outcomes()
    resolver = resolvers(lambda *arguments: ANSWER)

    def refuse(*arguments: Any) -> None:
        raise RuntimeError("can't start new thread")

    resolver._start_thread = refuse
    ticket = resolver.resolve("name", 80, 1, done)
    assert isinstance(done.get(), OSError)
    assert isinstance(ticket, Ticket)


def test_a_hanging_look_up_does_not_delay_the_interpreters_exit() -> None:
    program = (
        "import threading\n"
        "from evsockets.opening.resolver import Resolver\n"
        "entered = threading.Event()\n"
        "def lookup(*arguments):\n"
        "    entered.set()\n"
        "    threading.Event().wait()\n"
        "Resolver(lookup).resolve('name', 80, 1, print)\n"
        "assert entered.wait(60)\n"
        "print('over')\n"
    )
    result = run_python(program)
    assert (result.returncode, result.stdout, result.stderr) == (0, "over\n", "")
