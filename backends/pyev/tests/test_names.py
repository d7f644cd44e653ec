"""Every name that pyev 0.9 documents, in one table, each with what it does."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.optional import library

pyev = library("pyev")

CONSTANTS = """
    EVFLAG_AUTO EVFLAG_NOENV EVFLAG_FORKCHECK EVFLAG_NOINOTIFY EVFLAG_SIGNALFD EVFLAG_NOSIGMASK
    EVBACKEND_SELECT EVBACKEND_POLL EVBACKEND_EPOLL EVBACKEND_KQUEUE EVBACKEND_DEVPOLL EVBACKEND_PORT
    EVBACKEND_ALL EVBACKEND_MASK EVRUN_NOWAIT EVRUN_ONCE EVBREAK_ONE EVBREAK_ALL
    EV_READ EV_WRITE EV_IO EV_TIMER EV_PERIODIC EV_SIGNAL EV_CHILD EV_STAT EV_IDLE EV_PREPARE EV_CHECK
    EV_EMBED EV_FORK EV_ASYNC EV_CUSTOM EV_ERROR EV_MINPRI EV_MAXPRI
""".split()

Loop, Io, Timer = pyev.Loop, pyev.Io, pyev.Timer


def fires(loop: Any, make: Callable[..., Any], *rest: Any, trigger: Callable[[], Any] = lambda: None) -> int:
    """What a watcher made by `make(*rest, callback)` tells its callback."""
    told: list[int] = []

    def callback(watcher: Any, revents: int) -> None:
        told.append(revents)
        watcher.stop()
        loop.stop()

    watcher = make(*rest, callback)
    watcher.start()
    assert watcher.active and watcher.loop is loop and watcher.callback is callback
    trigger()
    guard = loop.timer(10.0, 0.0, lambda *_: loop.stop())
    guard.start()
    loop.start()
    assert not watcher.active and not watcher.pending
    return told[0]


def ignore(watcher: Any, revents: int) -> None:
    pass


# ---- functions


def t_default_loop(loop: Any) -> None:
    default = pyev.default_loop()
    assert default.default and pyev.default_loop(data=1) is default and not loop.default


def t_supported_backends(loop: Any) -> None:
    assert pyev.supported_backends() & pyev.recommended_backends() & loop.backend


def t_embeddable_backends(loop: Any) -> None:
    assert isinstance(pyev.embeddable_backends(), int)


def t_time(loop: Any) -> None:
    assert time.time() - 1 < pyev.time() < time.time() + 1


def t_sleep(loop: Any) -> None:
    begin = time.monotonic()
    pyev.sleep(0.01)
    assert time.monotonic() - begin >= 0.009


def t_feed_signal(loop: Any) -> None:
    assert (
        fires(loop, loop.signal, signal.SIGUSR2, trigger=lambda: pyev.feed_signal(signal.SIGUSR2))
        == pyev.EV_SIGNAL
    )


def t_version(loop: Any) -> None:
    major, _minor = pyev.abi_version()
    ours, libev = pyev.version()
    assert ours == pyev.__version__ and libev.startswith(f"{major}.")


# ---- the loop


def t_loop(loop: Any) -> None:
    other = Loop(pyev.EVFLAG_NOENV | pyev.EVBACKEND_POLL, None, "data", True, 0.5, 0.25)
    assert other.backend == pyev.EVBACKEND_POLL and other.data == "data" and other.callback is None
    assert other.debug is True and (other.io_interval, other.timeout_interval) == (0.5, 0.25)
    other.io_interval = other.timeout_interval = 0.0
    other.data = other
    with pytest.raises(pyev.Error):
        Loop(pyev.EVBACKEND_DEVPOLL)


def t_start_stop(loop: Any) -> None:
    depths: list[int] = []
    idle = loop.idle(lambda watcher, _: (depths.append(loop.depth), loop.stop(pyev.EVBREAK_ALL)))
    assert loop.start() is False and loop.depth == 0
    idle.start()
    assert loop.start() is True and depths == [1]
    before = loop.iteration
    assert loop.start(pyev.EVRUN_NOWAIT) is True and loop.iteration == before + 1
    assert loop.start(pyev.EVRUN_ONCE) is True and len(depths) == 3


def t_nested_stop(loop: Any) -> None:
    seen: list[int] = []

    def outer(watcher: Any, _: int) -> None:
        watcher.stop()
        inner.start()
        loop.start()
        seen.append(loop.depth)

    def within(watcher: Any, _: int) -> None:
        seen.append(loop.depth)
        watcher.stop()
        loop.stop(pyev.EVBREAK_ALL)

    keeper = loop.timer(60.0, 0.0, ignore)
    keeper.start()
    inner, first = loop.idle(within), loop.idle(outer)
    first.start()
    loop.start()
    assert seen == [2, 1]


def t_invoke_and_callback(loop: Any) -> None:
    called: list[object] = []
    loop.callback = lambda which: (called.append(which), which.invoke())
    told: list[int] = []
    timer = loop.timer(0.0, 0.0, lambda _, revents: told.append(revents))
    timer.start()
    loop.start()
    assert called == [loop] and told == [pyev.EV_TIMER]
    loop.callback = None
    timer.feed(pyev.EV_CUSTOM)
    assert loop.pending == 1 and timer.pending
    loop.invoke()
    assert loop.pending == 0 and told[1:] == [pyev.EV_CUSTOM]


def t_now_update(loop: Any) -> None:
    then = loop.now()
    pyev.sleep(0.01)
    assert loop.now() == then
    loop.update()
    assert loop.now() > then


def t_suspend_resume(loop: Any) -> None:
    timer = loop.timer(10.0, 0.0, ignore)
    moments = [time.monotonic()]
    loop.update()
    timer.start()
    loop.suspend()
    moments.append(time.monotonic())
    pyev.sleep(0.05)
    moments.append(time.monotonic())
    loop.resume()
    passed = 10.0 - timer.remaining()
    moments.append(time.monotonic())
    begin, suspended, resumed, end = moments
    assert passed < suspended - begin + end - resumed + 0.01  # what it slept does not count
    with pytest.raises(pyev.Error):
        loop.resume()


def t_ref_unref(loop: Any) -> None:
    timer = loop.timer(60.0, 0.0, ignore)
    timer.start()
    loop.unref()
    assert loop.start() is False
    loop.ref()
    timer.stop()


def t_verify_reset(loop: Any) -> None:
    loop.verify()
    loop.reset()
    loop.start(pyev.EVRUN_NOWAIT)
    loop.verify()


# ---- watchers


def t_watcher(loop: Any) -> None:
    told: list[tuple[object, int]] = []
    watcher = loop.timer(60.0, 0.0, lambda *args: told.append(args), "data", 1)
    assert (watcher.data, watcher.priority, watcher.active, watcher.pending) == ("data", 1, False, False)
    watcher.priority = 99
    assert watcher.priority == pyev.EV_MAXPRI
    watcher.priority = -99
    assert watcher.priority == pyev.EV_MINPRI
    watcher.start()
    watcher.start()
    with pytest.raises(pyev.Error):
        watcher.priority = 0
    with pytest.raises(pyev.Error):
        watcher.set(1.0, 0.0)
    watcher.feed(pyev.EV_CUSTOM)
    assert watcher.clear() == pyev.EV_CUSTOM and watcher.clear() == 0
    watcher.invoke(pyev.EV_CUSTOM)
    watcher.stop()
    assert told == [(watcher, pyev.EV_CUSTOM)]
    watcher.callback, watcher.data = ignore, None
    with pytest.raises(TypeError):
        watcher.callback = None
    with pytest.raises(AttributeError):
        watcher.loop = loop


def t_priorities(loop: Any) -> None:
    order: list[int] = []
    timers = [
        loop.timer(0.0, 0.0, lambda w, _: order.append(w.priority), None, each) for each in (-2, 0, 2, 1, -1)
    ]
    for timer in timers:
        timer.start()
    loop.start()
    assert order == [2, 1, 0, -1, -2]


def t_io(loop: Any) -> None:
    left, right = socket.socketpair()
    with left, right:
        assert fires(loop, loop.io, left, pyev.EV_WRITE) == pyev.EV_WRITE
        assert (
            fires(loop, loop.io, left.fileno(), pyev.EV_READ, trigger=lambda: right.send(b"x"))
            == pyev.EV_READ
        )
        watcher = Io(left, pyev.EV_READ, loop, ignore, data=1, priority=0)
        watcher.set(right, pyev.EV_READ | pyev.EV_WRITE)
        assert (watcher.fd, watcher.events) == (right.fileno(), pyev.EV_READ | pyev.EV_WRITE)


def t_timer(loop: Any) -> None:
    assert fires(loop, loop.timer, 0.0, 0.0) == pyev.EV_TIMER
    timer = Timer(5.0, 7.0, loop, ignore)
    assert timer.remaining() == 5.0 and timer.repeat == 7.0
    timer.set(6.0, 8.0)
    timer.repeat = 9.0
    timer.reset()
    assert timer.active and 8.9 < timer.remaining() <= 9.0
    timer.repeat = 0.0
    timer.reset()
    assert not timer.active


def t_periodic(loop: Any) -> None:
    assert fires(loop, loop.periodic, pyev.time() - 1.0, 0.0) == pyev.EV_PERIODIC
    periodic = pyev.Periodic(0.0, 3600.0, loop, ignore)
    periodic.start()
    assert periodic.at() % 3600.0 == 0.0 and periodic.at() > loop.now()
    periodic.interval, periodic.offset = 60.0, 1.0
    periodic.reset()
    assert periodic.at() % 60.0 == 1.0
    periodic.stop()
    periodic.set(2.0, 10.0)
    assert (periodic.offset, periodic.interval) == (2.0, 10.0)


def t_scheduler(loop: Any) -> None:
    assert fires(loop, loop.scheduler, lambda _, now: now) == pyev.EV_PERIODIC
    asked: list[object] = []
    scheduler = pyev.Scheduler(lambda watcher, now: (asked.append(watcher), now + 100.0)[1], loop, ignore)
    scheduler.start()
    at = scheduler.at()
    assert asked == [scheduler] and 99.0 < at - loop.now() < 101.0
    scheduler.scheduler = lambda _, now: now + 200.0
    scheduler.reset()
    assert scheduler.at() > at + 50.0 and callable(scheduler.scheduler)


def t_signal(loop: Any) -> None:
    assert (
        fires(loop, loop.signal, signal.SIGUSR1, trigger=lambda: os.kill(os.getpid(), signal.SIGUSR1)) == 1024
    )
    watcher = pyev.Signal(signal.SIGUSR1, loop, ignore)
    watcher.set(signal.SIGUSR2)
    assert watcher.signum == signal.SIGUSR2


def t_child(loop: Any) -> None:
    default = pyev.default_loop()
    pid = os.fork()
    if not pid:
        os._exit(7)
    seen: list[tuple[int, int]] = []

    def callback(watcher: Any, revents: int) -> None:
        assert revents == pyev.EV_CHILD
        seen.append((watcher.rpid, os.waitstatus_to_exitcode(watcher.rstatus)))
        watcher.stop()
        default.stop()

    child = default.child(pid, False, callback)
    assert child.pid == pid
    child.start()
    default.start()
    assert seen == [(pid, 7)]
    child.set(0, True)
    child.rpid = child.rstatus = 0
    assert (child.pid, child.rpid, child.rstatus) == (0, 0, 0)


def t_stat(loop: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    sizes: list[tuple[int, int]] = []
    extra = loop.stat(path, 0.1, lambda each, _: sizes.append((each.previous.size, each.current.size)))
    extra.start()
    assert fires(loop, loop.stat, path, 0.1, trigger=lambda: path.write_text("xyz")) == pyev.EV_STAT
    extra.stop()
    assert sizes in ([(1, 3)], [])
    watcher = pyev.Stat(str(path), 0.5, loop, ignore)
    watcher.stat()
    assert watcher.path == str(path) and watcher.interval == 0.5
    found = os.stat(path)
    assert isinstance(watcher.current, pyev.Statdata) and isinstance(watcher.previous, pyev.Statdata)
    for name in "dev rdev ino size nlink mode uid gid".split():
        assert getattr(watcher.current, name) == getattr(found, f"st_{name}")
    for name in "atime mtime ctime".split():
        assert getattr(watcher.current, name) == int(getattr(found, f"st_{name}"))
    path.unlink()
    watcher.stat()
    assert watcher.current.nlink == 0
    watcher.set(b"/", 0.0)
    assert watcher.path == b"/"


def t_idle(loop: Any) -> None:
    assert fires(loop, loop.idle) == pyev.EV_IDLE


def t_prepare_check(loop: Any) -> None:
    idle = loop.idle(ignore)
    idle.start()
    assert fires(loop, loop.prepare) == pyev.EV_PREPARE
    assert fires(loop, loop.check) == pyev.EV_CHECK


@pytest.mark.skipif(not pyev.Loop().backend & pyev.embeddable_backends(), reason="nothing to embed here")
def t_embed(loop: Any) -> None:
    inner = Loop()
    left, right = socket.socketpair()
    told: list[int] = []
    with left, right:
        io = inner.io(
            left, pyev.EV_READ, lambda w, revents: (told.append(revents), left.recv(9), loop.stop())
        )
        io.start()
        embed = loop.embed(inner)
        assert embed.other is inner and embed.callback is None
        embed.start()
        right.send(b"x")
        loop.start()
        assert told == [pyev.EV_READ]
        embed.stop()
        embed.callback = lambda watcher, revents: (told.append(revents), watcher.sweep())
        embed.set(inner)
        embed.start()
        right.send(b"x")
        loop.start()
        assert told == [pyev.EV_READ, pyev.EV_EMBED, pyev.EV_READ]
        right.send(b"x")
        assert loop.poll(60) == [(None, pyev.EV_EMBED)] == loop.poll(60)
        embed.callback = None
        assert loop.poll(60) == [] and told[3:] == [pyev.EV_READ]
        embed.stop()
        io.stop()


def t_fork(loop: Any) -> None:
    assert fires(loop, loop.fork, trigger=loop.reset) == pyev.EV_FORK


def t_async(loop: Any) -> None:
    watcher = pyev.Async(loop, ignore)
    watcher.start()
    assert not watcher.sent
    watcher.send()
    assert watcher.sent
    loop.start(pyev.EVRUN_NOWAIT)
    assert not watcher.sent
    assert type(getattr(loop, "async")(ignore)) is pyev.Async is type(loop.async_(ignore))


LOOP = "start stop invoke reset now update suspend resume ref unref verify".split()
COMMON = "start stop invoke clear feed active pending callback data priority loop".split()
TABLE: dict[Callable[..., None], list[str]] = {
    t_default_loop: ["default_loop", "Loop.default"],
    t_supported_backends: ["supported_backends", "recommended_backends", "Loop.backend"],
    t_embeddable_backends: ["embeddable_backends"],
    t_time: ["time"],
    t_sleep: ["sleep"],
    t_feed_signal: ["feed_signal"],
    t_version: ["version", "abi_version", "__version__"],
    t_loop: ["Loop", "Error", "Loop.data", "Loop.debug", "Loop.io_interval", "Loop.timeout_interval"],
    t_start_stop: ["Loop.start", "Loop.stop", "Loop.depth", "Loop.iteration"],
    t_nested_stop: ["Loop.stop"],
    t_invoke_and_callback: ["Loop.invoke", "Loop.callback", "Loop.pending"],
    t_now_update: ["Loop.now", "Loop.update"],
    t_suspend_resume: ["Loop.suspend", "Loop.resume"],
    t_ref_unref: ["Loop.ref", "Loop.unref"],
    t_verify_reset: ["Loop.verify", "Loop.reset"],
    t_watcher: [f"Timer.{name}" for name in COMMON],
    t_priorities: ["Timer.priority"],
    t_io: ["Loop.io", "Io", "Io.set", "Io.fd", "Io.events"],
    t_timer: ["Loop.timer", "Timer", "Timer.set", "Timer.reset", "Timer.remaining", "Timer.repeat"],
    t_periodic: ["Loop.periodic", "Periodic"]
    + [f"Periodic.{name}" for name in "set reset at offset interval".split()],
    t_scheduler: ["Loop.scheduler", "Scheduler", "Scheduler.reset", "Scheduler.at", "Scheduler.scheduler"],
    t_signal: ["Loop.signal", "Signal", "Signal.set", "Signal.signum"],
    t_child: ["Loop.child", "Child", "Child.set", "Child.pid", "Child.rpid", "Child.rstatus"],
    t_stat: ["Loop.stat", "Stat", "Statdata"]
    + [f"Stat.{name}" for name in "set stat path interval current previous".split()]
    + [f"Statdata.{name}" for name in "dev rdev ino size nlink mode uid gid atime mtime ctime".split()],
    t_idle: ["Loop.idle", "Idle"],
    t_prepare_check: ["Loop.prepare", "Prepare", "Loop.check", "Check"],
    t_embed: ["Loop.embed", "Embed", "Embed.set", "Embed.sweep", "Embed.other", "Embed.callback"],
    t_fork: ["Loop.fork", "Fork"],
    t_async: ["Loop.async", "Loop.async_", "Async", "Async.send", "Async.sent"],
}


@pytest.mark.parametrize("check", TABLE, ids=lambda check: check.__name__[2:])
def test_does_what_is_documented(check: Callable[..., None], loop: Any, tmp_path: Path) -> None:
    for mark in getattr(check, "pytestmark", ()):
        if mark.args[0]:
            pytest.skip(mark.kwargs["reason"])
    for name in TABLE[check]:
        owner: Any = pyev
        for part in name.split("."):
            owner = getattr(owner if not isinstance(owner, type) or owner is not Loop else loop, part)
    check(loop, tmp_path) if check is t_stat else check(loop)


def test_the_table_is_whole() -> None:
    """Nothing public is missing in the table but what was added."""
    told = {name for names in TABLE.values() for name in names} | set(CONSTANTS)
    added = {"Watcher", "EVBACKEND_LINUXAIO", "EVBACKEND_IOURING", "Loop.poll", "Loop.fileno", "Loop.destroy"}
    added |= {"Io.watch"}
    there = {name for name in dir(pyev) if not name.startswith("_")}
    for kind in [each for each in vars(pyev).values() if isinstance(each, type) and each is not pyev.Error]:
        common = set() if kind in (Loop, pyev.Watcher) else set(COMMON)
        own = {name for name in vars(kind) if not name.startswith("_")} - common
        there |= {f"{kind.__name__}.{name}" for name in own if kind is not pyev.Watcher}
    assert there - told == added
    assert {f"Loop.{name}" for name in LOOP} <= told
    functions = [name for name in told if "." not in name and callable(getattr(pyev, name))]
    functions = [name for name in functions if not isinstance(getattr(pyev, name), type)]
    classes = {name for name in told if isinstance(getattr(pyev, name, None), type)} - {"Statdata"}
    assert (len(functions), len(classes)) == (9, 15)
    assert len(CONSTANTS) == 36 and all(isinstance(getattr(pyev, name), int) for name in CONSTANTS)
