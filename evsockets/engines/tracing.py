"""A wrapper of any engine that writes a line for each call and its result."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from .base import READ, WRITE, Engine

_WORDS = {0: "nothing", READ: "read", WRITE: "write", READ | WRITE: "read+write"}


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


class TracingEngine(Engine):
    """Passes each call on to `engine`, and calls `write(line)` with the call and its result.

    Lines have no line end; by default they go to standard error. `engine` and its `name` stay readable,
    and so does any other attribute of the wrapped engine.
    """

    def __init__(self, engine: Engine, write: Callable[[str], object] = _to_stderr) -> None:
        self.engine = engine
        self.name = engine.name
        self._write = write

    def __getattr__(self, name: str) -> Any:
        if name == "engine":  # asked before __init__ ran, as copying does
            raise AttributeError(name)
        return getattr(self.engine, name)

    def watch(self, fd: int, interest: int, token: Any) -> None:
        """See `Engine.watch`."""
        try:
            self.engine.watch(fd, interest, token)
        except BaseException as error:
            self._write(f"watch {fd} for {_WORDS.get(interest, interest)}: {error!r}")
            raise
        self._write(f"watch {fd} for {_WORDS.get(interest, interest)}")

    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        """See `Engine.poll`."""
        waiting = "without end" if timeout is None else f"{timeout:.6g} s"
        try:
            batch = self.engine.poll(timeout)
        except BaseException as error:
            self._write(f"poll {waiting}: {error!r}")
            raise
        found = ", ".join(f"{token!r} {_WORDS.get(mask, mask)}" for token, mask in batch)
        self._write(f"poll {waiting}: {found or 'nothing'}")
        return batch

    def fileno(self) -> int:
        """See `Engine.fileno`."""
        return self.engine.fileno()

    def close(self) -> None:
        """See `Engine.close`."""
        self._write("close")
        self.engine.close()

    def __repr__(self) -> str:
        return f"<TracingEngine {self.engine!r}>"
