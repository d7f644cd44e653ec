"""The way to libev over gevent's compiled core."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

from evsockets.engines.base import READ, WRITE

from .binding import NOTHING, Batch, Plain

_failures: dict[int, OSError] = {}  # by thread: what its wait met


def _wait_failed(message: bytes, number: int) -> None:
    """libev's call for the whole process when a wait fails; without one it aborts."""
    running: Any = sys.modules["greenlet"].getcurrent()
    if hasattr(running, "loop"):  # a hub of gevent's, which has its own way to tell
        running.loop._handle_syserr(message, number)
    else:
        _failures[threading.get_ident()] = OSError(number, f"{os.strerror(number)} {message.decode()}")


class GeventCore(Plain):
    """gevent's libev extension, without greenlets or hub: a loop that is not the default one."""

    name = "gevent.libev.corecext"
    _FLAGS = {"io_uring": "linux_iouring", "linuxaio": "linux_aio"}
    _ORDER = ("epoll", "kqueue", "port", "poll", "select", "linuxaio", "io_uring")

    @classmethod
    def variants(cls) -> Sequence[str]:
        core = importlib.import_module("gevent.libev.corecext")
        ours = {theirs: name for name, theirs in cls._FLAGS.items()}
        names = [ours.get(name, name) for name in core.supported_backends()]
        return sorted((name for name in names if name in cls._ORDER), key=cls._ORDER.index)

    @classmethod
    def version(cls) -> tuple[int, int]:
        text: str = importlib.import_module("gevent.libev.corecext").get_version()  # "libev-4.33"
        major, minor = text.rpartition("-")[2].split(".")[:2]
        return int(major), int(minor)

    def __init__(self, variant: str | None) -> None:
        self._core = core = importlib.import_module("gevent.libev.corecext")
        try:
            flags = None if variant is None else self._FLAGS.get(variant, variant)
            self._loop = core.loop(flags=flags, default=False)
        except SystemError as error:
            raise ValueError(f"the kernel refuses libev's back end {variant!r}") from error
        found = self._loop.backend
        self.backend = {theirs: name for name, theirs in self._FLAGS.items()}.get(found, found)
        self._run = self._loop.run
        # The loop holds descriptors, not tokens: an engine that nobody has any more can be collected.
        self._fired: list[int] = []
        self._news: dict[int, tuple[Any, int]] = {}
        self._masks: dict[int, int] = {}  # duplex watchers only: descriptor to what fired
        self._timer: Any = None
        super().__init__()

    def watcher(self, fd: int) -> Any:
        self._core.set_syserr_cb(_wait_failed)  # each hub that is made sets its own
        return self._loop.io(fd, READ)

    def begin(self, watcher: Any, interest: int, token: Any) -> None:
        """See `Plain`."""
        fd = watcher.fd
        watcher.events = interest  # `ev_io_set`, whatever the value was
        self._news[fd] = token, interest
        if interest == READ | WRITE:
            watcher.start(partial(self._masks.__setitem__, fd), pass_events=True)
        else:
            watcher.start(self._fired.append, fd)

    def end(self, watcher: Any) -> Any:
        """See `Plain`."""
        watcher.stop()
        return self._news.pop(watcher.fd, NOTHING)[0]

    def iterate(self, timeout: float | None) -> Batch:
        """See `Plain`."""
        batch = super().iterate(timeout)
        if not batch and _failures and (failure := _failures.pop(threading.get_ident(), None)) is not None:
            raise failure
        return batch

    def arm(self, seconds: float) -> None:
        """See `Plain`."""
        if self._timer is not None:
            self._timer.stop()
        self._timer = self._loop.timer(seconds)
        self._timer.start(dict, update=True)  # any callable in C will do

    def run_once(self) -> Batch:
        """See `Plain`."""
        # Cleared before, not after: what raises in between must leave nothing behind.
        self._fired.clear()
        self._masks.clear()
        self._run(False, True)
        news = self._news
        return self._with_masks() if self._masks else [news[fd] for fd in self._fired]

    def run_now(self) -> Batch:
        """See `Plain`."""
        self._fired.clear()
        self._masks.clear()
        self._run(True)
        news = self._news
        return self._with_masks() if self._masks else [news[fd] for fd in self._fired]

    def _with_masks(self) -> Batch:
        batch = [self._news[fd] for fd in self._fired]
        for fd, events in self._masks.items():
            batch.append((self._news[fd][0], events & (READ | WRITE)))
        return batch

    def fileno(self) -> int | None:
        return self._loop.fileno() if self.backend in ("epoll", "kqueue") else None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        del self._run
        self._loop.destroy()
