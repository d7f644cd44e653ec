"""An executor on a clock that only the engine moves, for exact time-outs."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from evsockets import RequestExecutor
from evsockets.testing.scripted import ScriptedEngine
from support.wire import Log


class Stage:
    """An executor whose clock starts at 0 and moves only by waiting."""

    def __init__(self) -> None:
        self.engine = ScriptedEngine(look=True)
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
