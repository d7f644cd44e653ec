"""The libev engine: a private libev loop, run for one iteration per poll.

No Python frame runs inside the loop: evsockets-pyev collects events in C, and the callbacks of other bindings
(`list.append`, `dict.__setitem__`) are written in C and only record them. So no binding swallows an exception
of a signal handler, which runs when the loop has returned. A wait that a signal interrupts returns early.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any

from evsockets.engines.base import READ, WRITE, Engine, WatchError

from .binding import Binding
from .bindings import find_binding, flaw, passed_over, why_none

_BOTH = READ | WRITE


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
    """Readiness from libev, by evsockets-pyev if it is installed, else by gevent's libev core.

    `variant` names one of libev's back ends; None lets libev choose. `binding` is the binding in use,
    `backend` the back end. ValueError for a variant that is unknown, that the kernel refuses, or that
    does not keep the engine contract (io_uring). `passed_over` says why an installed pyev is not used.
    """

    name = "libev"

    @classmethod
    def available(cls) -> str | None:
        """See `Engine.available`."""
        return why_none()

    @classmethod
    def variants(cls) -> Sequence[str]:
        """The back ends of this libev."""
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
        self.passed_over = passed_over()
        if (why := flaw(found, self.backend)) is not None:  # asked for, or by libev's LIBEV_FLAGS
            self._loop.close()
            raise ValueError(why)
        self._watchers: dict[int, Any] = {}  # by descriptor; the binding's watchers
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
        watcher = self._watchers.get(fd)
        if not interest:
            if watcher is not None:
                self._forget(watcher)
            return
        # A signal handler may raise at any line. So a watcher is always known here while it is started: an
        # unknown one that outlives its descriptor fails an assertion of libev's.
        known = watcher is not None
        if watcher is None:
            watcher = self._watchers[fd] = self._loop.watcher(fd)
        try:
            self._loop.start(watcher, interest, token)
        except OSError:
            if not known:
                del self._watchers[fd]
            raise
        if self._hosted:
            self.poll(0)  # what it finds comes again in the next poll: readiness is a level

    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        """See `Engine.poll`."""
        if self._closed:
            raise RuntimeError("this engine is closed")
        try:
            return self._loop.poll(timeout)
        except self._loop.refusal as error:
            refused = error.watchers
            if not refused:
                raise
        raise WatchError.about(refused[0].fd, [self._forget(watcher) for watcher in refused])

    def _forget(self, watcher: Any) -> Any:
        """Stop it; what it stood for."""
        token = self._loop.stop(watcher)
        self._watchers.pop(watcher.fd, None)
        return token

    def fileno(self) -> int:
        """libev's own epoll or kqueue descriptor; UnsupportedOperationError with other back ends."""
        number = None if self._closed else self._loop.fileno()
        if number is None:
            return super().fileno()
        if not self._hosted:
            # libev tells the kernel about new watchers only when it runs; from now on, at once.
            self._hosted = True
            self.poll(0)
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
