"""An engine that reports readiness from a script, and its clock.

With them a time-out of an hour takes a microsecond and is exact. The clock advances only by the time-outs
of polls, and the core reads it from `engine.clock`:

    engine = ScriptedEngine()
    engine.play((sock.fileno(), READ), after=1.5)       # ready when 1.5 s of waiting have passed
    executor = RequestExecutor(engine=engine)
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from .._unpatched import original
from ..engines.base import READ, WRITE, Engine
from ..errors import EngineError

Readiness = tuple[int, int]
"""A descriptor and the mask it is ready for."""


class ManualClock:
    """A clock: a call returns the time in seconds, which only `advance` changes."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Advance by `seconds` (not negative)."""
        if not seconds >= 0:
            raise ValueError(f"time does not go back: {seconds!r}")
        self.now += seconds


class ScriptedEngine(Engine):
    """An engine that reports the readiness of its script, at the script's times.

    `script` has steps, each an iterable of `(descriptor, mask)`; `play` and `call` append more. Each poll
    plays one step. Descriptors that are not watched are left out. After the last step a poll advances the
    clock by its time-out; without a time-out it raises an EngineError, since the core would never wake up.

    With `look=True` real descriptors count as well: each poll asks the kernel (without waiting) and
    advances the clock only if none is ready.

    `polls` lists the time-outs of polls, `calls` each `(descriptor, interest)` given to `watch`, and
    `watched` the present watches.
    """

    name = "scripted"

    def __init__(
        self,
        script: Iterable[Iterable[Readiness]] = (),
        *,
        clock: ManualClock | None = None,
        look: bool = False,
    ) -> None:
        self.clock = clock or ManualClock()
        self.polls: list[float | None] = []
        self.calls: list[tuple[int, int]] = []
        self.watched: dict[int, tuple[int, Any]] = {}
        self._look = look
        self._closed = False
        self._steps: deque[tuple[float, Callable[[], Iterable[Readiness] | None]]] = deque()
        self._waited = 0.0
        for step in script:
            self.play(*step)

    def play(self, *ready: Readiness, after: float = 0.0) -> None:
        """Append a step: `ready` is reported `after` seconds of waiting after the step before."""
        self.call(lambda: ready, after=after)

    def call(self, function: Callable[[], Iterable[Readiness] | None], after: float = 0.0) -> None:
        """Append a step that calls `function()`, which may return the readiness to report."""
        if not after >= 0:
            raise ValueError(f"after must not be negative: {after!r}")
        self._steps.append((after, function))

    @property
    def finished(self) -> bool:
        """Whether every step has been played."""
        return not self._steps

    def watch(self, fd: int, interest: int, token: Any) -> None:
        """See `Engine.watch`."""
        self._check_open()
        if fd < 0:
            raise OSError(errno.EBADF, f"not a descriptor: {fd}")
        self.calls.append((fd, interest))
        self.watched.pop(fd, None)
        if interest:
            self.watched[fd] = interest, token

    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        """See `Engine.poll`; advances the clock instead of waiting."""
        self._check_open()
        self.polls.append(timeout)
        batch = self._batch(self._really_ready()) if self._look else []
        if batch:
            return batch
        if not self._steps:
            if timeout is None:
                raise EngineError("the script has ended, and the core waits without a time-out")
            self.clock.advance(timeout)
            return []
        after, function = self._steps[0]
        remaining = max(after - self._waited, 0.0)
        if timeout is not None and timeout < remaining:
            self._waited += timeout
            self.clock.advance(timeout)
            return []
        self._steps.popleft()
        self._waited = 0.0
        self.clock.advance(remaining)
        return self._batch(function() or ())

    def close(self) -> None:
        """See `Engine.close`."""
        self._closed = True
        self.watched.clear()

    def _batch(self, ready: Iterable[Readiness]) -> list[tuple[Any, int]]:
        masks: dict[int, int] = {}
        for fd, mask in ready:
            masks[fd] = masks.get(fd, 0) | mask
        batch = []
        for fd, mask in masks.items():
            interest, token = self.watched.get(fd, (0, None))
            if mask & interest:
                batch.append((token, mask & interest))
        return batch

    def _really_ready(self) -> list[Readiness]:
        poller = original("select", "poll")()
        for fd, (interest, _) in self.watched.items():
            poller.register(fd, (1 if interest & READ else 0) | (4 if interest & WRITE else 0))
        # POLLIN and POLLOUT say which; an error or a hang-up is everything.
        return [(fd, {1: READ, 4: WRITE}.get(bits, READ | WRITE)) for fd, bits in poller.poll(0)]

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this engine is closed")
