"""The libev engine: a private libev loop, run for one iteration per poll.

Native callbacks only note what fired. Everything they call is written in C (`list.append`,
`dict.__setitem__`): no Python frame runs inside the loop, so a signal handler that raises is never
swallowed by the binding; it runs when the loop has returned. A wait that a signal interrupts returns
early.

libev keeps its own clock, so it is refreshed before the timer is armed. One timer stays armed and is
moved only when a poll must end sooner; where it goes off first, that poll returns early, once.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from typing import Any

from evsockets.engines.base import READ, WRITE, Engine

from .bindings import Binding, find_binding, flaw, why_none

_BOTH = READ | WRITE
_DAY = 86_400.0


# A loop's own: the back end's, and those that wake it.
_DESCRIPTORS = 4


def _check_room() -> None:
    """Without descriptors for its loop libev aborts the process: OSError (EMFILE) before it can."""
    taken: list[int] = []
    try:
        for _ in range(_DESCRIPTORS):
            taken.append(os.open(os.devnull, os.O_RDONLY))
    finally:
        for descriptor in taken:
            os.close(descriptor)


class LibevEngine(Engine):
    """Readiness from libev, over `pyev` if that is importable, else over gevent's libev core.

    `variant` names one of libev's back ends; None lets libev choose. `binding` says what it runs on,
    `backend` which back end. ValueError for a variant that is unknown, that the kernel refuses, or that
    does not keep the engine contract (io_uring).
    """

    name = "libev"

    @classmethod
    def available(cls) -> str | None:
        """See `Engine.available`."""
        return why_none()

    @classmethod
    def variants(cls) -> Sequence[str]:
        """The back ends this libev was built with."""
        found = find_binding()
        return found.variants() if found is not None else ()

    def __init__(self, variant: str | None = None) -> None:
        found = find_binding()
        if found is None:
            raise RuntimeError(why_none())
        if variant is not None and variant not in found.variants():
            raise ValueError(f"no libev back end {variant!r}; there are {', '.join(found.variants())}")
        _check_room()
        self._loop: Binding = found(variant)
        self.binding = self._loop.name
        self.backend = self._loop.backend
        if (why := flaw(found, self.backend)) is not None:  # asked for, or by libev's LIBEV_FLAGS
            self._loop.close()
            raise ValueError(why)
        self._watchers: dict[int, Any] = {}  # by descriptor; the binding's watchers
        self._due = 0.0  # when the armed timer goes off; 0.0 if none is
        self._hosted = False
        self._closed = False

    def watch(self, fd: int, interest: int, token: Any) -> None:
        """See `Engine.watch`."""
        if fd < 0:
            raise OSError(errno.EBADF, f"not a descriptor: {fd}")
        if self._closed:
            raise RuntimeError("this engine is closed")
        if not 0 <= interest <= _BOTH:
            raise ValueError(f"interest must be 0, READ, WRITE or both, not {interest!r}")
        if interest:
            os.get_blocking(fd)  # an OSError for a bad one: libev finds out too late
        watcher = self._watchers.pop(fd, None)
        if watcher is not None:
            self._loop.stop(watcher)
        if interest:
            self._watchers[fd] = self._loop.start(fd, interest, token, watcher)
        if self._hosted:
            self._loop.run_now()  # what it finds comes again in the next poll: readiness is a level

    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        """See `Engine.poll`."""
        if self._closed:
            raise RuntimeError("this engine is closed")
        loop = self._loop
        if timeout == 0:
            return loop.run_now()
        now = time.monotonic()
        until = now + (_DAY if timeout is None else timeout)
        if not now < self._due <= until:
            loop.arm(until - now)
            self._due = until
        return loop.run_once()

    def fileno(self) -> int:
        """libev's own epoll or kqueue descriptor; UnsupportedOperationError with other back ends."""
        number = None if self._closed else self._loop.fileno()
        if number is None:
            return super().fileno()
        if not self._hosted:
            # libev tells the kernel about new watchers only when it runs; from now on, at once.
            self._hosted = True
            self._loop.run_now()
        return number

    def close(self) -> None:
        """See `Engine.close`."""
        if not self._closed:
            self._closed = True
            for watcher in self._watchers.values():
                self._loop.stop(watcher)
            self._watchers.clear()
            self._loop.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.close()
