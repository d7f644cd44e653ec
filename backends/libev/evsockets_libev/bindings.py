"""The two ways from Python to libev, made alike."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from evsockets.engines.base import READ, WRITE

_BOTH = READ | WRITE

Batch = list[tuple[Any, int]]


class Binding(Protocol):
    """A loop of its own. Watchers are opaque; `run_*` return what fired, each token once.

    `start` may take a stopped watcher of the same descriptor as `spare`. In any case it tells libev that the
    number may be another file by now.
    """

    name: str
    backend: str

    @classmethod
    def variants(cls) -> Sequence[str]: ...
    @classmethod
    def version(cls) -> tuple[int, int]: ...
    def __init__(self, variant: str | None) -> None: ...
    def start(self, fd: int, interest: int, token: Any, spare: Any = None) -> Any: ...
    def stop(self, watcher: Any) -> None: ...
    def arm(self, seconds: float) -> None: ...
    def run_once(self) -> Batch: ...
    def run_now(self) -> Batch: ...
    def fileno(self) -> int | None: ...
    def close(self) -> None: ...


_PYEV_NAMES = ("Loop", "EVRUN_ONCE", "EVRUN_NOWAIT", "supported_backends", "abi_version")


def find_binding() -> type[Binding] | None:
    """The best binding that can be imported: pyev, else gevent's core, else None."""
    try:
        pyev = importlib.import_module("pyev")
    except ImportError:
        pass
    else:
        if all(hasattr(pyev, name) for name in _PYEV_NAMES):
            return Pyev
    try:
        importlib.import_module("gevent.libev.corecext")
    except ImportError:
        return None
    return GeventCore


def flaw(binding: type[Binding], backend: str) -> str | None:
    """What keeps one of libev's back ends from keeping the contract; None if nothing is known.

    io_uring: its completion ring has 64 places, and what does not fit is never reported. The next change
    then fails the assertion "io_uring_enter did not consume all sqes" (seen with Linux 6.18).
    """
    if backend == "io_uring" and binding.version() <= (4, 33):
        return (
            "libev 4.33's io_uring loses events (of more than 64 descriptors ready at once it tells 64) and "
            "then aborts the process; use libev:epoll"
        )
    return None


def why_none() -> str | None:
    """Why there is no binding and what to install; None if there is one."""
    if find_binding() is not None:
        return None
    reasons = []
    for module in ("pyev", "gevent.libev.corecext"):
        try:
            importlib.import_module(module)
            reasons.append(f"{module} lacks the names needed")
        except ImportError as error:
            reasons.append(f"{module}: {error}")
    return f"no binding to libev ({'; '.join(reasons)}); install one with: pip install gevent"


class GeventCore:
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
        core = importlib.import_module("gevent.libev.corecext")
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

    def start(self, fd: int, interest: int, token: Any, spare: Any = None) -> Any:
        if spare is None:
            watcher = self._loop.io(fd, interest)
        else:
            watcher = spare
            watcher.events = interest  # `ev_io_set`, whatever the value was
        if interest == _BOTH:
            watcher.start(partial(self._masks.__setitem__, fd), pass_events=True)
        else:
            watcher.start(self._fired.append, fd)
        self._news[fd] = token, interest
        return watcher

    def stop(self, watcher: Any) -> None:
        watcher.stop()
        self._news.pop(watcher.fd, None)

    def arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self._loop.timer(seconds)
        self._timer.start(dict, update=True)  # any callable in C will do

    def run_once(self) -> Batch:
        # Cleared before, not after: what raises in between must leave nothing behind.
        self._fired.clear()
        self._masks.clear()
        self._run(False, True)
        news = self._news
        return self._with_masks() if self._masks else [news[fd] for fd in self._fired]

    def run_now(self) -> Batch:
        self._fired.clear()
        self._masks.clear()
        self._run(True)
        news = self._news
        return self._with_masks() if self._masks else [news[fd] for fd in self._fired]

    def _with_masks(self) -> Batch:
        batch = [self._news[fd] for fd in self._fired]
        for fd, events in self._masks.items():
            batch.append((self._news[fd][0], events & _BOTH))
        return batch

    def fileno(self) -> int | None:
        return self._loop.fileno() if self.backend in ("epoll", "kqueue") else None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        del self._run
        self._loop.destroy()


class Pyev:
    """pyev: `Loop`, `Io`, `Timer`; 0.9's names, which are also those of its successors."""

    name = "pyev"
    _FLAGS = {
        "epoll": "EVBACKEND_EPOLL",
        "kqueue": "EVBACKEND_KQUEUE",
        "poll": "EVBACKEND_POLL",
        "select": "EVBACKEND_SELECT",
        "port": "EVBACKEND_PORT",
        "linuxaio": "EVBACKEND_LINUXAIO",
        "io_uring": "EVBACKEND_IOURING",
    }

    @classmethod
    def variants(cls) -> Sequence[str]:
        pyev = importlib.import_module("pyev")
        supported = pyev.supported_backends()
        return [name for name, flag in cls._FLAGS.items() if getattr(pyev, flag, 0) & supported]

    @classmethod
    def version(cls) -> tuple[int, int]:
        major, minor = importlib.import_module("pyev").abi_version()[:2]
        return int(major), int(minor)

    def __init__(self, variant: str | None) -> None:
        self._pyev = importlib.import_module("pyev")
        flags = 0 if variant is None else getattr(self._pyev, self._FLAGS[variant])
        try:
            self._loop = self._pyev.Loop(flags=flags)
        except Exception as error:
            raise ValueError(f"the kernel refuses libev's back end {variant!r}") from error
        found = self._loop.backend
        self.backend = next(
            (name for name, flag in self._FLAGS.items() if getattr(self._pyev, flag, 0) == found), str(found)
        )
        self._once, self._nowait = self._pyev.EVRUN_ONCE, self._pyev.EVRUN_NOWAIT
        self._fired: dict[Any, int] = {}
        self._timer = self._loop.timer(0.0, 0.0, operator.is_)  # any callable in C will do
        self._refresh = getattr(self._loop, "update", None) or partial(self._loop.now, True)

    def start(self, fd: int, interest: int, token: Any, spare: Any = None) -> Any:
        if spare is None:
            watcher = self._loop.io(fd, interest, self._fired.__setitem__, (token,))
        else:
            watcher = spare
            watcher.set(fd, interest)
            watcher.data = (token,)
        watcher.start()
        return watcher

    def stop(self, watcher: Any) -> None:
        watcher.stop()

    def arm(self, seconds: float) -> None:
        self._timer.stop()
        self._refresh()
        self._timer.set(seconds, 0.0)
        self._timer.start()

    def run_once(self) -> Batch:
        return self._run(self._once)

    def run_now(self) -> Batch:
        return self._run(self._nowait)

    def _run(self, flags: int) -> Batch:
        fired = self._fired
        fired.clear()
        self._loop.start(flags)
        return [(watcher.data[0], events & watcher.events & _BOTH) for watcher, events in fired.items()]

    def fileno(self) -> int | None:
        ask = getattr(self._loop, "fileno", None)
        return ask() if ask is not None and self.backend in ("epoll", "kqueue") else None

    def close(self) -> None:
        self._timer.stop()
        self._fired.clear()
        destroy = getattr(self._loop, "destroy", None)
        if destroy is not None:
            destroy()
        # 0.9 has no `destroy`: its loop closes its descriptors when nobody refers to it.
        del self._timer, self._refresh, self._loop
