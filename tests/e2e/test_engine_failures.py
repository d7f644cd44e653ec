"""An engine fails: the run ends with an EngineError that has the cause, on every engine; nothing is left."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evsockets import (
    Configuration,
    EngineError,
    EngineUnavailableError,
    ReadOperation,
    RequestExecutor,
    WriteOperation,
    create_engine,
)
from evsockets.engines import TracingEngine
from evsockets.testing.engines import alarm
from evsockets.testing.refusal import refuse
from support.command import run_python
from support.elsewhere import with_executor
from support.wire import Log, add, pair

ENDED = ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


class Faulty(TracingEngine):
    """Does what another engine does, but raises `fault` where and when it is told to."""

    runs_others = False  # of its own faults gevent knows nothing

    def __init__(self, name: str) -> None:
        super().__init__(create_engine(name), write=lambda line: None)
        self.fault: Exception | None = None
        self.verb = ""

    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        self._fail("poll")
        return super().poll(timeout)

    def watch(self, fd: int, interest: int, token: Any) -> None:
        self._fail("watch" if interest else "forget")
        super().watch(fd, interest, token)

    def _fail(self, verb: str) -> None:
        if self.fault is not None and verb == self.verb:
            fault, self.fault = self.fault, None
            raise fault


@pytest.fixture
def faulty(engine: str) -> Iterator[Faulty]:
    with Faulty(engine) as made:
        yield made


def run_into(faulty: Faulty, verb: str, fault: Exception, **options: Any) -> tuple[BaseException, Log]:
    """What leaves a run in whose midst the engine fails, and the log of a socket that waits meanwhile."""
    ours, theirs = pair()
    other, others = pair()

    def arm(event: Any) -> None:
        faulty.verb, faulty.fault = verb, fault

    with theirs, others, RequestExecutor(faulty, **options) as executor:
        waiting = add(executor, None, ReadOperation(), socket=ours)
        # The end of the other's life forgets its descriptor; a write that is too large watches it anew.
        operation = WriteOperation(bytes(10_000_000) if verb == "watch" else b"x")
        add(executor, None, operation, socket=other, on={"WRITE": arm})
        if verb == "forget":
            executor.call_soon_threadsafe(others.close)
            add_reader(executor, arm)
        with pytest.raises(Exception) as caught:
            executor.execute_request()
        assert not executor.is_executing
        assert all(executor.socket_bag.get_metadata(each).request_complete for each in executor.socket_bag)
        # It can be used again.
        again, peer = pair()
        with peer:
            peer.sendall(b"again")
            log = add(executor, None, ReadOperation(), socket=again)
            executor.execute_request()
        assert log.frames == [b"again"]
    return caught.value, waiting


def add_reader(executor: RequestExecutor, arm: Any) -> None:
    """One more socket, which ends as soon as it has read something."""
    ours, theirs = pair()
    theirs.sendall(b"x")
    theirs.close()
    add(executor, None, ReadOperation(), socket=ours, on={"READ": arm})


FAULTS: dict[str, Callable[[], Exception]] = {
    "no memory": lambda: OSError(errno.ENOMEM, "Cannot allocate memory"),
    "bad descriptor": lambda: OSError(errno.EBADF, "Bad file descriptor"),
    "a bug": lambda: ZeroDivisionError("division by zero"),
    "closed": lambda: RuntimeError("this engine is closed"),
}
# An OSError of `watch` is one socket's affair: test_engine_refusals.py.
CASES = [
    (verb, what)
    for verb in ("poll", "watch", "forget")
    for what, make in FAULTS.items()
    if verb != "watch" or not isinstance(make(), OSError)
]


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize(("verb", "what"), CASES)
def test_what_an_engine_raises_is_the_cause(faulty: Faulty, verb: str, what: str, isolate: bool) -> None:
    """Also where handlers' bugs are isolated: this is none."""
    fault = FAULTS[what]()
    configuration = Configuration(isolate_handler_errors=isolate)
    error, waiting = run_into(faulty, verb, fault, configuration=configuration)
    assert type(error) is EngineError and error.__cause__ is fault
    assert faulty.name in str(error) and repr(fault) in str(error)
    assert waiting.names == ENDED


def test_an_engine_error_is_passed_on_as_it_is(faulty: Faulty) -> None:
    fault = EngineUnavailableError("gone")
    error, waiting = run_into(faulty, "poll", fault)
    assert error is fault and waiting.names == ENDED


@pytest.mark.parametrize("kind", [TimeoutError, ValueError])
def test_what_a_signal_handler_raises_is_not_the_engines(engine: str, kind: type[Exception]) -> None:
    """It leaves as it is, whatever class it is of: TimeoutError is an OSError."""
    raised = kind("too long")

    def too_long(*given: Any) -> None:
        raise raised

    ours, theirs = pair()
    with theirs, RequestExecutor(engine) as executor:
        with pytest.raises(kind) as caught, contextlib.ExitStack() as stack:
            on = {"CONNECTED": lambda event: stack.enter_context(alarm(too_long, 0.05))}
            log = add(executor, None, ReadOperation(), socket=ours, on=on)
            executor.execute_request()
    assert caught.value is raised and log.names == ENDED


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EINVAL])
def test_the_kernel_refuses_to_wait(engine: str, number: int) -> None:
    def script(executor: RequestExecutor) -> Log:
        ours, theirs = pair()

        def refuse_to_wait(event: Any) -> None:
            for call in ("epoll_wait", "epoll_pwait"):
                refuse(call, number, argument=3, above=10)
                refuse(call, number, argument=3, equals=0xFFFFFFFF)  # for ever

        with theirs:
            log = add(executor, None, ReadOperation(), socket=ours, on={"CONNECTED": refuse_to_wait})
            with pytest.raises(EngineError) as caught:
                executor.execute_request()
        assert isinstance(caught.value.__cause__, OSError) and caught.value.__cause__.errno == number
        assert not executor.is_executing
        # What need not wait can still be done.
        again, peer = pair()
        with peer:
            peer.sendall(b"again")
            other = add(executor, None, ReadOperation(), socket=again)
            executor.start_request()
            for _ in range(20):
                if not executor.turn(0):
                    break
        assert other.frames == [b"again"]
        return log

    assert with_executor(engine, script).names == ENDED


CLOSED = """
    import os, socket, sys
    from evsockets import *
    engine, moment = sys.argv[1:]
    ours, theirs = socket.socketpair()
    events = []

    def close(event=None):
        if engine == "gevent":
            import gevent
            os.close(gevent.get_hub().loop.fileno())
        elif engine == "libevent":  # which does not tell its descriptor
            links = [(int(name), f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
            os.close(next(fd for fd, link in links if "eventpoll" in os.path.realpath(link)))
        else:
            os.close(executor.engine.fileno())
        if moment == "taken":
            taken.append(socket.socket())

    executor, taken = RequestExecutor(engine), []
    executor.socket_bag.add_socket(ClientSocket.from_socket(ours), ReadOperation(),
        handler={type: lambda event: events.append(event.type.name) for type in EventType})
    executor.start_request()
    executor.turn(0)
    close()
    try:
        while executor.turn(5):
            pass
    except EngineError as error:
        assert isinstance(error.__cause__, OSError), error.__cause__
    assert not executor.is_executing
    assert events == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"], events
    executor.close()
    print("ok")
"""


@pytest.mark.parametrize("moment", ["gone", "taken"])
def test_the_engines_descriptor_was_closed(engine: str, moment: str) -> None:
    """By somebody else's `os.close`; `taken`: its number is a socket's by now."""
    result = run_python(CLOSED, engine, moment)
    assert result.stdout.strip() == "ok", result.stdout + result.stderr
