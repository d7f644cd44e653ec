"""The ways to libev over a module called pyev: ours, and pyev 0.9."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Sequence
from functools import partial
from typing import Any

from evsockets.engines.base import READ, WRITE

from .binding import NOTHING, Batch, Plain

_BOTH = READ | WRITE


class Pyev:
    """Our pyev, which collects what fired in C."""

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
        except OSError:
            raise
        except Exception as error:
            raise ValueError(f"the kernel refuses libev's back end {variant!r}") from error
        found = self._loop.backend
        self.backend = next(
            (name for name, flag in self._FLAGS.items() if getattr(self._pyev, flag, 0) == found), str(found)
        )
        self._prepare()

    def _prepare(self) -> None:
        self.poll = self._loop.poll
        self.refusal = self._pyev.Error
        if self.backend in ("epoll", "kqueue"):
            self._loop.fileno()  # from now on it notices where somebody else closes that

    def watcher(self, fd: int) -> Any:
        return self._loop.io(fd, READ, operator.is_)  # never called

    def start(self, watcher: Any, interest: int, token: Any) -> None:
        watcher.watch(interest, token)

    def stop(self, watcher: Any) -> Any:
        watcher.stop()
        token, watcher.data = watcher.data, None
        return token

    def fileno(self) -> int | None:
        return self._loop.fileno() if self.backend in ("epoll", "kqueue") else None

    def close(self) -> None:
        del self.poll
        self._loop.destroy()


class GenuinePyev(Plain, Pyev):
    """pyev 0.9: `Loop`, `Io`, `Timer`."""

    def __init__(self, variant: str | None) -> None:
        Pyev.__init__(self, variant)
        Plain.__init__(self)

    def _prepare(self) -> None:
        self._once, self._nowait = self._pyev.EVRUN_ONCE, self._pyev.EVRUN_NOWAIT
        self._fired: dict[Any, int] = {}
        self._timer = self._loop.timer(0.0, 0.0, operator.is_)  # any callable in C will do
        self._refresh = getattr(self._loop, "update", None) or partial(self._loop.now, True)

    def watcher(self, fd: int) -> Any:
        return self._loop.io(fd, READ, self._fired.__setitem__, NOTHING)

    def begin(self, watcher: Any, interest: int, token: Any) -> None:
        """See `Plain`."""
        watcher.set(watcher.fd, interest)
        watcher.data = (token,)
        watcher.start()

    def end(self, watcher: Any) -> Any:
        """See `Plain`."""
        watcher.stop()
        return watcher.data[0]

    def arm(self, seconds: float) -> None:
        """See `Plain`."""
        self._timer.stop()
        self._refresh()
        self._timer.set(seconds, 0.0)
        self._timer.start()

    def run_once(self) -> Batch:
        """See `Plain`."""
        return self._run(self._once)

    def run_now(self) -> Batch:
        """See `Plain`."""
        return self._run(self._nowait)

    def _run(self, flags: int) -> Batch:
        fired = self._fired
        fired.clear()
        self._loop.start(flags)
        batch = [(watcher.data[0], events & watcher.events & _BOTH) for watcher, events in fired.items()]
        fired.clear()  # watchers hold their tokens
        return batch

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
