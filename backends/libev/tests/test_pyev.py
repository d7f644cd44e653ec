"""The pyev binding keeps the contract: on the real pyev where one can be imported, else on a stand-in.

The stand-in has what pyev 0.9 documents, as it documents it, and nothing else: no `destroy`, no `fileno`, a
loop that keeps its own time until told to look at the clock.
"""

from __future__ import annotations

import importlib.util
import select
import socket
import sys
import time
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from evsockets.engines import READ, available_engines
from evsockets.testing import EngineContract
from evsockets_libev import LibevEngine


class Error(Exception):
    """`pyev.Error`."""


class Loop:
    """A loop, on poll(2) whatever it says."""

    def __init__(self, flags: int = 0, callback: Any = None, data: Any = None) -> None:
        if flags & ~7:
            raise Error("could not create Loop, bad 'flags'?")
        self.backend = flags or 4
        self.callback, self.data = callback, data
        self._now = time.monotonic()
        self._watchers: dict[Watcher, None] = {}

    def now(self) -> float:
        return self._now

    def update(self) -> None:
        self._now = time.monotonic()

    def io(self, fd: int, events: int, callback: Any, data: Any = None, priority: int = 0) -> Io:
        return Io(fd, events, self, callback, data, priority)

    def timer(self, after: float, repeat: float, callback: Any, data: Any = None, priority: int = 0) -> Timer:
        return Timer(after, repeat, self, callback, data, priority)

    def start(self, flags: int = 0) -> bool:
        """One iteration (`EVRUN_ONCE`: it waits, `EVRUN_NOWAIT`: it does not)."""
        assert flags in (1, 2), "the engine asks for single iterations only"
        poller = select.poll()
        watchers = {each.fd: each for each in self._watchers if isinstance(each, Io)}
        timers = [each for each in self._watchers if isinstance(each, Timer)]
        for fd, each in watchers.items():
            poller.register(fd, (select.POLLIN, select.POLLOUT, 5)[each.events - 1])
        due = min((each.due for each in timers), default=None)
        wait = None if due is None else max(due - self._now, 0) * 1000
        found = poller.poll(0 if flags == 1 else wait)
        self._now = time.monotonic()
        for fd, bits in found:
            if bits & ~5:
                bits = 5
            revents = (bits & 1) | (bits & 4) >> 1
            if revents & watchers[fd].events:
                watchers[fd].callback(watchers[fd], revents)
        for each in timers:
            if each.due <= self._now:
                each.stop()
                each.callback(each, 256)
        return bool(self._watchers)


class Watcher:
    def __init__(self, loop: Loop, callback: Callable[..., Any], data: Any, priority: int) -> None:
        if not callable(callback):
            raise TypeError("a callable is required")
        self.loop, self.callback, self.data, self.priority = loop, callback, data, priority

    @property
    def active(self) -> bool:
        return self in self.loop._watchers

    def start(self) -> None:
        self.loop._watchers[self] = None

    def stop(self) -> None:
        self.loop._watchers.pop(self, None)


class Io(Watcher):
    def __init__(
        self, fd: int, events: int, loop: Loop, callback: Any, data: Any = None, priority: int = 0
    ) -> None:
        super().__init__(loop, callback, data, priority)
        self.set(fd, events)

    def set(self, fd: int, events: int) -> None:
        if self.active:
            raise Error("you cannot set a watcher while it is active")
        if events & ~3:
            raise Error("illegal event mask")
        self.fd, self.events = fd, events


class Timer(Watcher):
    def __init__(
        self, after: float, repeat: float, loop: Loop, callback: Any, data: Any = None, priority: int = 0
    ) -> None:
        super().__init__(loop, callback, data, priority)
        self.set(after, repeat)

    def set(self, after: float, repeat: float) -> None:
        if self.active:
            raise Error("you cannot set a watcher while it is active")
        self.after, self.repeat = after, repeat

    def start(self) -> None:
        self.due = self.loop._now + self.after  # as stale as the loop's time
        super().start()


STAND_IN = SimpleNamespace(
    Loop=Loop,
    Io=Io,
    Timer=Timer,
    Error=Error,
    EVRUN_NOWAIT=1,
    EVRUN_ONCE=2,
    EVBACKEND_SELECT=1,
    EVBACKEND_POLL=2,
    EVBACKEND_EPOLL=4,
    EVBACKEND_KQUEUE=8,
    supported_backends=lambda: 7,
    recommended_backends=lambda: 7,
    abi_version=lambda: (4, 33),
)
REAL = importlib.util.find_spec("pyev") is not None


def on_pyev(variant: str | None = None) -> LibevEngine:
    """The engine on pyev."""
    if REAL:
        return LibevEngine(variant)
    with patch.dict(sys.modules, {"pyev": STAND_IN}):
        return LibevEngine(variant)


class TestPyev(EngineContract):
    def make_engine(self) -> LibevEngine:
        engine = on_pyev()
        assert engine.binding == "pyev"
        return engine


@pytest.mark.parametrize("variant", ["epoll", "poll", "select"])
def test_back_ends_are_chosen_by_flag(variant: str) -> None:
    with on_pyev(variant) as engine:
        assert engine.backend == variant


def test_pyev_is_preferred_wherever_engines_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    if not REAL:
        monkeypatch.setitem(sys.modules, "pyev", STAND_IN)
    known = available_engines()
    assert known["libev"] is None and known["libev:epoll"] is None and known["libev:poll"] is None
    with LibevEngine() as engine:
        assert engine.binding == "pyev"


@pytest.mark.skipif(REAL, reason="the real loop takes no weak references; the contract counts descriptors")
def test_a_loop_without_destroy_is_let_go() -> None:
    """pyev 0.9 closes its descriptors when the last reference to the loop goes."""
    engine = on_pyev()
    loop = weakref.ref(engine._loop._loop)
    left, right = socket.socketpair()
    with left, right:
        engine.watch(left.fileno(), READ, "token")
        engine.poll(0)
        engine.close()
        assert loop() is None
