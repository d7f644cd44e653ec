"""An exception from a signal handler at any line of a run: the run is over, and nothing is left of it.

EVSOCKETS_EVERY_LINE=1 tries every line; by default some of them, always the same. Fewer on other engines than
the standard library's: their own lines are the contract's affair.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    AcceptedSocket,
    ClientSocket,
    Conversation,
    ConversationOperation,
    FixedLengthFramePicker,
    LimitationDecision,
    LimitationSolver,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    SocketTimeoutError,
    UnsupportedOperationError,
    WriteOperation,
)
from support.certificates import Authority, server_side
from support.interrupts import interrupted, lines_of, some
from support.wire import Log, add, pair, turns_to_the_end

POINTS, ELSEWHERE = 120, 50
TWO = FixedLengthFramePicker(2)
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Counting(LimitationSolver):
    """Whether it is told of the beginning and the end of each run."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.initialize = lambda *_: self.told.append("initialize")  # type: ignore[method-assign]
        self.finalize = lambda *_: self.told.append("finalize")  # type: ignore[method-assign]

    def decide(self, *_: Any) -> LimitationDecision:
        return LimitationDecision.OK


class Run:
    """A short run with a bit of everything in it."""

    def __init__(self, engine: str, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None) -> None:
        self.logs: list[Log] = []
        self.all: dict[Any, list[str]] = {}  # what the global handler heard, by socket
        self.solver = Counting()
        self.executor = RequestExecutor(engine, resolver=two_addresses)
        self.executor.with_limitation_solver(self.solver)
        self.executor.with_event_handler(self.hear)
        self.silent, self.theirs = pair()
        self.begun = self.over = 0  # conversations
        scheme = "tcp" if tls is None else "tls"
        self.client_tls = {} if tls is None else {"stream_context": {"tls": tls[1]}}
        server_tls = {} if tls is None else {"stream_context": {"tls": tls[0]}}
        self.server = ServerSocket()
        self.scheme = scheme
        self.add(f"{scheme}://127.0.0.1:0", ReadOperation(), socket=self.server,
                 on={"CONNECTED": self.listens, "ACCEPT": self.accepted}, **server_tls)  # fmt: skip
        self.add(None, ReadOperation(), socket=self.silent, io_timeout=0.001)
        self.fired: list[float] = []
        for seconds in (0.001, 60):
            self.executor.call_later(seconds, self.fired.append, seconds, keeps_running=seconds < 1)
        for ours in socket.socketpair():
            talk = ConversationOperation(self.converse)
            self.add(None, talk, socket=ClientSocket.from_socket(ours))

    def hear(self, event: Any) -> None:
        self.all.setdefault(event.socket, []).append(event.type.name)

    def add(self, *args: Any, **more: Any) -> None:
        self.logs.append(add(self.executor, *args, **more))

    async def converse(self, talk: Conversation) -> None:
        """Both ends of a connection of its own: each begun is closed."""
        self.begun += 1
        try:
            await talk.write(b"ab")
            with talk.timeout(60):
                await talk.read(TWO)
            talk.post(b"cd")
            await talk.sleep(0)
            await talk.flushed()
            await talk.read(TWO)
            with contextlib.suppress(SocketTimeoutError), talk.timeout(0):
                await talk.read(TWO)
        finally:
            self.over += 1

    def listens(self, event: Any) -> None:
        port = event.metadata.local_address[1]
        talk = WriteOperation(b"ab", then=ReadOperation(TWO))
        self.add(f"{self.scheme}://localhost:{port}", talk, on={"FINALIZE": self.ended}, **self.client_tls)
        self.add("unix://@nobody-listens-here", ReadOperation())

    def accepted(self, event: Any) -> None:
        answer = WriteOperation([b"a", b"b"])
        on = {"READ": lambda e: e.next_is(answer)}
        self.add(None, ReadOperation(TWO), socket=event.client_socket, on=on)

    def ended(self, event: Any) -> None:
        self.server.close()

    def check_lives(self, stopped: bool = False) -> None:
        for log in self.logs:
            names = log.names
            assert names.count("FINALIZE") == names.count("INITIALIZE") <= 1, names
            assert names.count("DISCONNECTED") == names.count("CONNECTED"), names
            assert not names or names[-1] == "FINALIZE", names
        for names in self.all.values():  # it hears nothing of an event that a handler before it broke off
            assert "FINALIZE" not in names[:-1], names
        assert self.begun == self.over
        assert self.solver.told.count("initialize") == self.solver.told.count("finalize") <= 1
        for log in self.logs:
            unstarted = stopped and not log.names  # a stop leaves it for another run
            assert log.metadata.request_complete or unstarted or not self.solver.told
        # Who was accepted and has not begun waits for another run after a stop, too.
        assert stopped or not [sock for sock in self.executor.socket_bag if isinstance(sock, AcceptedSocket)]

    def check_usable(self) -> None:
        ours, theirs = pair()
        with theirs:
            theirs.sendall(b"!!")
            log = add(self.executor, None, ReadOperation(TWO), socket=ours)
            self.executor.execute_request()
            assert log.frames == [b"!!"]
        assert self.fired in ([], [0.001])
        assert not self.executor._loop.deadlines.keepers

    def close(self) -> None:
        self.executor.close()
        self.silent.close()
        self.theirs.close()


def two_addresses(host: str, port: int, *_: Any) -> list[Any]:
    """The first one refuses."""
    return [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")
    ]


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def everywhere(make: Callable[[], Run], run: Callable[[Run], object], hosted: bool = False) -> None:
    """Interrupt `run` at every line (see `some`), and look at what is left each time."""

    def once() -> str:
        one = make()
        run(one)
        one.check_lives()
        one.close()
        return one.executor.engine.name

    engine = once()  # what is made or imported once for the whole process is there by now

    def lines() -> list[Any]:
        one = make()
        found = lines_of(lambda: run(one))
        one.close()
        return found

    gc.collect()
    descriptors = open_descriptors()
    met = 0
    for at in some(lines(), POINTS if engine == "selectors" else ELSEWHERE):
        one = make()
        try:
            met += interrupted(at, lambda one=one: run(one))  # type: ignore[misc]
            stopped = hosted and one.executor.is_executing
            if stopped:  # before the turn began: whoever takes them can go on
                one.executor.stop_request()
                turns_to_the_end(one.executor, 0)
            assert not one.executor.is_executing
            assert signal.set_wakeup_fd(-1) == -1
            one.check_lives(stopped)
            one.check_usable()
            one.close()
            del one
            if open_descriptors() > descriptors:
                gc.collect()  # what the interrupted line had in its hands
            assert open_descriptors() == descriptors
        except BaseException as error:
            error.add_note(f"interrupted at {at}")
            raise
    assert met > 20


@pytest.fixture(scope="module")
def contexts(ca: Authority) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return server_side(ca), ssl.create_default_context(cafile=ca.ca_file)


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_run_is_over_wherever_it_is_interrupted(
    engine: str, scheme: str, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    tls = None if scheme == "tcp" else contexts
    everywhere(lambda: Run(engine, tls), lambda one: one.executor.execute_request())


def test_a_hosted_run(engine: str) -> None:
    def turns(one: Run) -> None:
        one.executor.start_request()
        turns_to_the_end(one.executor)

    everywhere(lambda: Run(engine, None), turns, hosted=True)


def test_a_run_inside_asyncio(engine: str) -> None:
    with RequestExecutor(engine) as executor:
        try:
            executor.fileno()
        except UnsupportedOperationError:
            with pytest.raises(UnsupportedOperationError):
                asyncio.run(executor.execute_request_async())
            return
    everywhere(lambda: Run(engine, None), lambda one: asyncio.run(one.executor.execute_request_async()))


def test_a_second_interrupt_does_not_stop_the_end(executor: RequestExecutor) -> None:
    """What is raised while everything is ended is a note on what ended it."""

    def interrupt(event: Any) -> None:
        raise KeyboardInterrupt(event.type.name)

    logs = []
    for _ in range(3):
        ours, theirs = pair()
        on = dict.fromkeys(("DISCONNECTED", "FINALIZE"), interrupt)
        logs.append(add(executor, None, ReadOperation(), socket=ours, on=on))
        theirs.close()
    with pytest.raises(KeyboardInterrupt) as caught:
        executor.execute_request()
    assert str(caught.value) == "DISCONNECTED"
    assert len(caught.value.__notes__) >= 3
    for log in logs:
        assert log.names[-2:] == ["DISCONNECTED", "FINALIZE"]
        assert log.metadata.request_complete
    assert not executor.is_executing


def test_an_interrupt_does_not_count_as_somebodys_wake_up_descriptor(engine: str) -> None:
    """Whoever has claimed signal.set_wakeup_fd has it afterwards, wherever the run was interrupted."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        before = signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)
        try:
            make = lambda: Run(engine, None)  # noqa: E731
            one = make()
            points = lines_of(one.executor.execute_request)
            one.close()
            for at in [point for point in points if point[0].endswith(("waker.py", "executor.py", "run.py"))]:
                one = make()
                interrupted(at, one.executor.execute_request)
                assert signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False) == ours.fileno()
                one.close()
        finally:
            signal.set_wakeup_fd(before)
