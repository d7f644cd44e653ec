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
    """A loop of its own. Watchers are opaque; `run_*` return what fired, each token once."""

    name: str
    backend: str

    @classmethod
    def variants(cls) -> Sequence[str]: ...
    def __init__(self, variant: str | None) -> None: ...
    def start(self, fd: int, interest: int, token: Any) -> Any: ...
    def stop(self, watcher: Any) -> None: ...
    def arm(self, seconds: float) -> None: ...
    def run_once(self) -> Batch: ...
    def run_now(self) -> Batch: ...
    def fileno(self) -> int | None: ...
    def close(self) -> None: ...


_PYEV_NAMES = ("Loop", "EVRUN_ONCE", "EVRUN_NOWAIT", "recommended_backends")


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

    @classmethod
    def variants(cls) -> Sequence[str]:
        core = importlib.import_module("gevent.libev.corecext")
        ours = {theirs: name for name, theirs in cls._FLAGS.items()}
        # What libev itself recommends. Its io_uring (4.33) is not among that, and aborted the process in the
        # engine contract (an assertion about too many changes at once; seen with signals, too).
        names = [ours.get(name, name) for name in core.recommended_backends()]
        return sorted(names, key=lambda name: name not in ("epoll", "kqueue"))  # libev's own choice first

    def __init__(self, variant: str | None) -> None:
        core = importlib.import_module("gevent.libev.corecext")
        try:
            flags = None if variant is None else self._FLAGS.get(variant, variant)
            self._loop = core.loop(flags=flags, default=False)
        except SystemError as error:
            raise ValueError(f"the kernel refuses libev's back end {variant!r}") from error
        found = self._loop.backend
        self.backend = {theirs: name for name, theirs in self._FLAGS.items()}.get(found, found)
        self._fired: Batch = []
        self._masks: dict[int, int] = {}  # duplex watchers only: descriptor to what fired
        self._duplex: dict[int, Any] = {}
        self._timer: Any = None

    def start(self, fd: int, interest: int, token: Any) -> Any:
        watcher = self._loop.io(fd, interest)
        if interest == _BOTH:
            self._duplex[fd] = token
            watcher.start(partial(self._masks.__setitem__, fd), pass_events=True)
        else:
            watcher.start(self._fired.append, (token, interest))
        return watcher

    def stop(self, watcher: Any) -> None:
        watcher.stop()
        self._duplex.pop(watcher.fd, None)

    def arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self._loop.timer(seconds)
        self._timer.start(dict, update=True)  # any callable in C will do

    def run_once(self) -> Batch:
        self._fired.clear()
        self._masks.clear()
        self._loop.run(False, True)
        return self._take()

    def run_now(self) -> Batch:
        self._fired.clear()
        self._masks.clear()
        self._loop.run(True)
        return self._take()

    def _take(self) -> Batch:
        batch = self._fired.copy()
        for fd, events in self._masks.items():
            batch.append((self._duplex[fd], events & _BOTH))
        return batch

    def fileno(self) -> int | None:
        return self._loop.fileno() if self.backend in ("epoll", "kqueue") else None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.stop()
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
        supported = pyev.recommended_backends()  # not io_uring: see GeventCore
        return [name for name, flag in cls._FLAGS.items() if getattr(pyev, flag, 0) & supported]

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

    def start(self, fd: int, interest: int, token: Any) -> Any:
        watcher = self._loop.io(fd, interest, self._fired.__setitem__, (token,))
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
