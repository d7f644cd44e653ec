"""The resolver: what is asked when, by whom, and who hears of it."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evsockets.resolver import Resolver, Ticket, numeric
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
    """A look-up for each of the four threads, all of them at the gate."""
    for number in range(4):
        resolver.resolve(f"name{number}", 80, 1, done)
    for _ in range(4):
        gate.entered.get(timeout=LIMIT)


def test_numeric_addresses_need_no_resolver() -> None:
    assert numeric("127.0.0.1", 1) == [(socket.AF_INET, ("127.0.0.1", 1))]
    assert numeric("::1", 1) == [(socket.AF_INET6, ("::1", 1, 0, 0))]
    assert numeric("localhost", 1) is None


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
    for _ in range(6):  # more than there are threads: none of them is lost
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


def test_at_most_four_at_a_time_and_the_rest_in_order(resolvers: Callable[..., Resolver]) -> None:
    gate, done = Gate(), Outcomes()
    resolver = resolvers(gate)
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
    assert ticket.cancelled
    gate.open.release()
    other.get()
    assert done.queue.empty()


def test_a_cancelled_look_up_in_the_queue_is_not_made(resolvers: Callable[..., Resolver]) -> None:
    gate, done = Gate(), Outcomes()
    resolver = resolvers(gate)
    keep_busy(resolver, gate, done)
    resolver.resolve("late", 80, 1, done).cancel()
    gate.open.release(4)
    for _ in range(4):
        done.get()
    assert all(call[0] != "late" for call in gate.calls)
    gate.open.release()
    resolver.resolve("late", 80, 1, done)
    done.get()


def test_close_forgets_everybody() -> None:
    gate, done = Gate(), Outcomes()
    resolver = Resolver(gate)
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


@pytest.mark.parametrize("arguments", [(), (None,), ("a", None)])
def test_somebody_else_runs_the_look_ups(
    resolvers: Callable[..., Resolver], arguments: tuple[Any, ...]
) -> None:
    waiting: list[tuple[Callable[[], object], Callable[..., object]]] = []
    done = Outcomes()
    calls = []

    def lookup(*given: Any) -> Any:
        calls.append(given)
        return ANSWER

    resolver = resolvers(lookup, lambda function, finished: waiting.append((function, finished)))
    resolver.resolve("name", 80, 1, done)
    resolver.resolve("name", 80, 1, done)
    assert len(waiting) == 1
    function, finished = waiting.pop()
    function()
    assert calls == [("name", 80, 0, 1)]
    assert done.queue.empty()
    finished(*arguments)
    finished(*arguments)
    assert done.queue.qsize() == 2
    assert done.threads == {threading.get_ident()}


def test_somebody_else_gets_the_patched_look_up(
    resolvers: Callable[..., Resolver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: ANSWER)
    done = Outcomes()

    def run(function: Callable[[], object], finished: Callable[..., object]) -> None:
        function()
        finished()

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
        "from evsockets.resolver import Resolver\n"
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


def test_a_forked_child_has_threads_of_its_own() -> None:
    program = (
        "import os, queue, threading\n"
        "from evsockets.resolver import Resolver\n"
        "entered = threading.Semaphore(0)\n"
        "def lookup(host, *arguments):\n"
        "    if host == 'hang':\n"
        "        entered.release()\n"
        "        threading.Event().wait()\n"
        "    return [(2, 1, 6, '', ('127.0.0.1', 80))]\n"
        "resolver = Resolver(lookup)\n"
        "for port in range(4):\n"
        "    resolver.resolve('hang', port, 1, print)\n"
        "for _ in range(4):\n"
        "    assert entered.acquire(timeout=60)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    told = queue.Queue()\n"
        "    resolver.resolve('name', 80, 1, told.put)\n"
        "    print(told.get(timeout=60), flush=True)\n"
        "    os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
    )
    result = run_python(program, PYTHONWARNINGS="ignore::DeprecationWarning")
    assert (result.returncode, result.stdout) == (0, "[(2, ('127.0.0.1', 80))]\n"), result.stderr
