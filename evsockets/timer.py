"""Timers (`call_later`): a callback and when it is due."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .core.deadlines import INFINITY, Timed
from .validation import check_called, check_flag, check_seconds

if TYPE_CHECKING:
    from .core.loop import Loop


class Timer(Timed):
    """A timer, made by `RequestExecutor.call_later`.

    `due`: the time of the call, in seconds on the clock of `time.monotonic`.
    """

    __slots__ = ("__weakref__", "_args", "_callback", "_loop", "due")

    def __init__(self, loop: Loop, due: float, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.due = due
        self._loop = loop
        self._callback: Callable[..., Any] | None = callback
        self._args = args
        self._armed = INFINITY

    def cancel(self) -> None:
        """Do not call the callback; no effect after its call or a first `cancel`. RuntimeError from another
        thread while executing."""
        self._loop.check_thread()
        if self._callback is not None:
            self._end()
            self._loop.wake_if_hosted()  # it may have been what kept the run alive, or its next turn

    def _end(self) -> None:
        self._callback, self._args = None, ()
        self._loop.deadlines.keepers.discard(self)  # first: interrupted in between, it keeps no run alive
        self._loop.deadlines.disarm(self)

    def _deadline(self, now: float) -> float:
        return self._armed

    def _late(self, arrived: Iterable[Any], now: float) -> None:
        callback, args = self._callback, self._args
        self._end()
        if callback is not None:
            self._loop.call_back(callback, args)

    def __repr__(self) -> str:
        pending = self._armed != INFINITY
        return f"<Timer due in {self.due - self._loop.clock():g} s>" if pending else "<Timer over>"


def call_later(
    loop: Loop, seconds: float, callback: Callable[..., Any], args: tuple[Any, ...], keeps_running: bool
) -> Timer:
    """See `RequestExecutor.call_later`."""
    loop.check_open()
    due = loop.clock() + check_seconds("seconds", seconds)
    check_called("callback", callback)
    check_flag("keeps_running", keeps_running)
    timer = Timer(loop, due, callback, args)
    # In the next turn at the earliest, even while the clock stands still.
    loop.deadlines.arm(timer, max(due, math.nextafter(loop.now, INFINITY)))
    if keeps_running:
        loop.deadlines.keepers.add(timer)
    loop.wake_if_hosted()
    return timer
