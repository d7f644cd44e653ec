"""An engine that plays readiness from a list, and the clock it moves.

With them an hour's time-out takes a microsecond and is exact. The clock moves only by the time-outs the
engine was asked to wait, and the core reads it from `engine.clock`:

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
    """Calling it gives the time in seconds; only `advance` moves it."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let `seconds` (not negative) pass."""
        if not seconds >= 0:
            raise ValueError(f"time does not go back: {seconds!r}")
        self.now += seconds


class ScriptedEngine(Engine):
    """Reports what the script says, when it says so.

    `script` holds steps, each an iterable of `(descriptor, mask)`; `play` and `call` append more. One
    step is played per poll. Readiness nobody watches is left out. With the script at its end a poll lets
    its time-out pass; waiting forever is then an EngineError, for the core would never wake up.

    With `look=True` real descriptors count as well: each poll asks the kernel (without waiting) and
    lets time pass only if nothing is really ready.

    `polls` lists the time-outs asked for, `calls` each `(descriptor, interest)` given to `watch`, and
    `watched` holds what is watched now.
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
        """Append a step: `ready` is reported when `after` seconds have been waited since the step before."""
        self.call(lambda: ready, after=after)

    def call(self, function: Callable[[], Iterable[Readiness] | None], after: float = 0.0) -> None:
        """Append a step that runs `function()`; what it returns, if anything, is what is ready."""
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
        """See `Engine.poll`; moves the clock instead of waiting."""
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
