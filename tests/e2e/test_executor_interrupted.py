"""A waiting run and what comes from outside it: threads, signals, Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evsockets import (
    WAIT_FOREVER,
    DelayedOperation,
    LimitationDecision,
    LimitationSolver,
    NoLimitationSolver,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from evsockets.core import run
from evsockets.testing.engines import alarm
from support.sources import sources_only
from support.stage import unanswered
from support.wire import Log, add, listening, pair, talk, turns_to_the_end

ENDED = ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


WAITING = ("nothing", "connecting", "handshaking", "reading", "writing", "idle", "delayed", "listening")


class Waiting:
    """A run in which nothing happens any more, in a stage of its sockets' lives."""

    def __init__(self, executor: RequestExecutor, stage: str) -> None:
        self._stack = contextlib.ExitStack()
        self.life = list(ENDED)
        forever = dict.fromkeys(("connection_timeout", "io_timeout"), WAIT_FOREVER)
        quiet, theirs = pair()
        self._stack.enter_context(theirs)
        self.logs: list[Log] = []
        if stage in ("connecting", "handshaking"):
            self.life = ["INITIALIZE", "FINALIZE"]
            _, address = self._stack.enter_context(listening("tls"))
            if stage == "connecting":
                address = self._stack.enter_context(unanswered())
            self.logs.append(add(executor, address, ReadOperation(), **forever))
            quiet.close()
        elif stage == "listening":
            address = "tcp://127.0.0.1:0"
            self.logs.append(add(executor, address, ReadOperation(), socket=ServerSocket(), **forever))
            quiet.close()
        elif stage == "nothing":
            executor.with_limitation_solver(Never())
            self.life = []
            self.logs.append(add(executor, None, ReadOperation(), socket=quiet, **forever))
            self._stack.callback(quiet.close)
        else:
            operation: Any = {
                "reading": ReadOperation(), "writing": WriteOperation(bytes(5_000_000)),
                "idle": NullOperation(), "delayed": DelayedOperation(ReadOperation(), lambda *args: True),
            }[stage]  # fmt: skip
            if stage == "writing":
                self.life.insert(2, "WRITE")
            keep = stage == "idle"
            self.logs.append(add(executor, None, operation, socket=quiet, keep_alive=keep, **forever))

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()


class Never(LimitationSolver):
    def decide(self, *args: Any) -> LimitationDecision:
        return LimitationDecision.SKIP_CURRENT


@contextlib.contextmanager
def when_it_waits(executor: RequestExecutor, act: Callable[[], object]) -> Iterator[list[float]]:
    """Another thread calls `act` when the engine has been asked to wait; the moment in which it does."""
    waiting = threading.Event()
    moments: list[float] = []
    poll = executor.engine.poll
    polls = 0

    def noting(timeout: float | None) -> Any:
        nonlocal polls
        polls += 1
        if timeout is None or timeout > 0:
            waiting.set()
        return poll(timeout)

    def run() -> None:
        if waiting.wait(20):  # else it has ended, and a signal would come too late
            moments.append(time.monotonic())
            act()

    thread = threading.Thread(target=run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor.engine, "poll", noting)
        thread.start()
        try:
            yield moments
        finally:
            thread.join()
    assert polls < 1000, "it spins"


@contextlib.contextmanager
def default_interrupts() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("stage", WAITING)
def test_keyboard_interrupt(executor: RequestExecutor, stage: str) -> None:
    """Out of a waiting run within a tenth of a second, with everything closed; then another run works."""
    took: list[float] = []
    for _ in range(5):
        with Waiting(executor, stage) as waiting, default_interrupts():
            with when_it_waits(executor, lambda: os.kill(os.getpid(), signal.SIGINT)) as moments:
                with pytest.raises(KeyboardInterrupt):
                    executor.execute_request()
                took.append(time.monotonic() - moments[0])
            for log in waiting.logs:
                assert log.names == waiting.life
                assert log.metadata.request_complete
            assert not executor.is_executing
    assert min(took) < 0.1
    if stage == "nothing":
        executor.with_limitation_solver(NoLimitationSolver())
    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"!")
        assert talk(executor, None, ReadOperation(), socket=ours).frames == [b"!"]


@pytest.mark.parametrize("how", ["thread", "signal"])
@pytest.mark.parametrize("stage", WAITING)
def test_stopped_in_every_stage(executor: RequestExecutor, stage: str, how: str) -> None:
    """The same order as everywhere; what has not begun stays, not complete."""

    def act() -> None:
        os.kill(os.getpid(), signal.SIGUSR1) if how == "signal" else executor.stop_request()

    before = signal.signal(signal.SIGUSR1, lambda *_: executor.stop_request())
    try:
        with Waiting(executor, stage) as waiting:
            with when_it_waits(executor, act):
                executor.execute_request()
            for log in waiting.logs:
                assert log.names == waiting.life
                assert log.metadata.request_complete is bool(waiting.life)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("taken", [False, True])
def test_somebody_elses_wake_up_descriptor_is_left_alone(executor: RequestExecutor, taken: bool) -> None:
    """signal.set_wakeup_fd: after a run it is what it was, and whoever had it is told of the signals."""

    def stop(*_: Any) -> None:
        if executor.is_executing:
            executor.stop_request()

    theirs, told = socket.socketpair()
    with theirs, told, Waiting(executor, "reading") as waiting:
        told.setblocking(False)
        theirs.setblocking(False)
        owner = told.fileno() if taken else -1
        before = signal.set_wakeup_fd(owner, warn_on_full_buffer=False)
        try:
            with alarm(stop, 0.02):
                executor.execute_request()
        finally:
            found = signal.set_wakeup_fd(before)
        assert found == owner
        assert waiting.logs[0].names == waiting.life
        if taken:
            assert set(theirs.recv(1000)) == {signal.SIGALRM}


@sources_only
def test_what_a_signal_handler_adds_while_a_run_begins_belongs_to_it(executor: RequestExecutor) -> None:
    """At each line of the beginning, once."""
    added: dict[int, Log] = {}

    def at_line(frame: Any, event: str, arg: Any) -> Any:
        if event == "line" and frame.f_lineno not in added:
            ours, theirs = pair()
            theirs.close()
            added[frame.f_lineno] = add(executor, None, ReadOperation(), socket=ours)
        return at_line

    before = sys.gettrace()
    sys.settrace(lambda frame, event, arg: at_line if frame.f_code is run.begin.__code__ else None)
    try:
        executor.start_request()
    finally:
        sys.settrace(before)
    turns_to_the_end(executor, 0.1)
    assert len(added) > 5
    assert [log.names for log in added.values()] == [ENDED] * len(added)
