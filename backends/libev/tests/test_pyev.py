"""The binding to pyev 0.9 keeps the contract on a stand-in, and is used last.

The stand-in has what pyev 0.9 documents, as it documents it, and nothing else: no `destroy`, no `fileno`, a
loop that keeps its own time until told to look at the clock.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from evsockets.engines import READ, WRITE
from evsockets.testing import EngineContract
from evsockets_libev import LibevEngine, bindings
from support.optional import library


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
NAMED_GENUINE = {**vars(STAND_IN), "__version__": "0.9.0"}
CRASHES = sys.version_info >= (3, 12)


def on_pyev(variant: str | None = None) -> LibevEngine:
    """The engine on pyev 0.9's names."""
    alone = {"pyev": STAND_IN, "gevent.libev.corecext": None}
    with patch.dict(sys.modules, alone):
        return LibevEngine(variant)


class TestPyev(EngineContract):
    def make_engine(self) -> LibevEngine:
        engine = on_pyev()
        assert type(engine._loop) is bindings.GenuinePyev
        return engine


@pytest.mark.parametrize("variant", ["epoll", "poll", "select"])
def test_back_ends_are_chosen_by_flag(variant: str) -> None:
    with on_pyev(variant) as engine:
        assert engine.backend == variant


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


@pytest.mark.parametrize("interest", [READ, WRITE, READ | WRITE])
def test_nothing_of_a_batch_is_kept(interest: int) -> None:
    """A forgotten token goes at once, and not when the next poll clears what the last one told."""
    left, right = socket.socketpair()
    with left, right, on_pyev() as engine:
        right.send(b"x")
        token = Error()
        gone = weakref.ref(token)
        engine.watch(left.fileno(), interest, token)
        assert len(engine.poll(0)) == 1
        engine.watch(left.fileno(), 0, None)
        del token
        assert gone() is None


@pytest.mark.parametrize("version", ["0.9.0", "1.0.0"])
def test_a_pyev_that_does_not_collect_is_used_last(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    library("gevent.libev.corecext")
    monkeypatch.setitem(sys.modules, "pyev", SimpleNamespace(**{**NAMED_GENUINE, "__version__": version}))
    with LibevEngine() as engine:
        assert engine.binding == "gevent.libev.corecext"
        assert (engine.passed_over is not None) is (CRASHES and version == "0.9.0")


def test_a_genuine_one_is_used_only_where_it_does_not_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyev 0.9 gives libev Python's allocator; libev uses it without the lock, which Python 3.12 forbids."""
    monkeypatch.setitem(sys.modules, "pyev", SimpleNamespace(**NAMED_GENUINE))
    monkeypatch.setitem(sys.modules, "gevent.libev.corecext", None)
    if CRASHES:
        assert "pyev 0.9.0 crashes" in str(LibevEngine.available())
    else:
        with LibevEngine() as engine:
            assert engine.binding == "pyev" and engine.passed_over is None


@pytest.mark.skipif(not CRASHES, reason="a genuine pyev can be used here")
@pytest.mark.parametrize("alone", [False, True])
def test_the_list_of_engines_names_it(tmp_path: Path, alone: bool) -> None:
    """With another binding or without: who installed pyev for this engine sees why it does not run on it."""
    names = "Loop EVRUN_ONCE EVRUN_NOWAIT supported_backends abi_version".split()
    (tmp_path / "pyev.py").write_text("__version__ = '0.9.0'\n" + " = ".join(names) + " = None\n")
    if alone:
        (tmp_path / "gevent").mkdir()
        (tmp_path / "gevent" / "__init__.py").write_text("raise ImportError('no gevent here')\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    listed = subprocess.run(
        [sys.executable, "-m", "evsockets", "engines", "--json"],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    (entry,) = [one for one in json.loads(listed.stdout)["engines"] if one["name"] == "libev"]
    assert entry["usable"] is not alone
    assert "pyev 0.9.0 crashes Python 3.12" in (entry["problem"] if alone else entry["runs_on"])
