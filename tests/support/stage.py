"""An executor on a clock that only the engine moves, for exact time-outs."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator

from evsockets import RequestExecutor
from evsockets.testing.scripted import Readiness, ScriptedEngine
from support.wire import Log


class PatientEngine(ScriptedEngine):
    """The scripted engine; what is on its way over the loopback, which a busy kernel may deliver a little
    later, has a moment of real time to arrive before the clock moves."""

    def _really_ready(self) -> list[Readiness]:
        ready = super()._really_ready()
        if not ready and any(map(_is_internet, self.watched)):
            time.sleep(0.002)
            ready = super()._really_ready()
        return ready


def _is_internet(descriptor: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as same:
            return same.family in (socket.AF_INET, socket.AF_INET6)
    except OSError:  # no socket: the waker's
        return False


class Stage:
    """An executor whose clock starts at 0 and moves only by waiting."""

    def __init__(self, patient: bool = False) -> None:
        self.engine = (PatientEngine if patient else ScriptedEngine)(look=True)
        self.engine.clock.now = 0.0
        self.executor = RequestExecutor(self.engine)

    @property
    def now(self) -> float:
        return self.engine.clock.now

    def stamp(self, log: Log) -> list[tuple[str, float]]:
        """Have `log` collect (name, moment)."""
        moments: list[tuple[str, float]] = []
        self.executor.with_event_handler(
            lambda e: moments.append((e.type.name, self.now)) if e.metadata is log.metadata else None
        )
        return moments


@contextlib.contextmanager
def unanswered() -> Iterator[str]:
    """The address of a unix listener whose queue is full: connecting goes on for ever."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind("")
        listener.listen(0)
        name = listener.getsockname()
        for _ in range(8):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            if client.connect_ex(name):
                break
        yield "unix://@" + name[1:].decode()
