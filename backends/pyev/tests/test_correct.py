"""What pyev 0.9 got wrong, or died of."""

from __future__ import annotations

import ctypes
import functools
import gc
import io
import operator
import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.growth import keeps_nothing
from support.optional import library

pyev = library("pyev")

NAN = float("nan")


def ignore(watcher: Any, revents: int) -> None:
    pass


def alone(code: str) -> str:
    """The output of a program in a process of its own, which must end in order."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "faulthandler", "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(Path(pyev.__file__).parent.parent)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- exceptions and signals


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("flags", [0, 1, 2])
def test_what_a_callback_raises_comes_out_of_start(loop: Any, error: type[BaseException], flags: int) -> None:
    """What was pending beside it stays so, in its order, and is invoked by the next start."""
    told: list[int] = []

    def callback(watcher: Any, revents: int) -> None:
        told.append(watcher.data)
        if watcher.data == 2:
            raise error("mine")

    watchers = [loop.timer(0.0, 0.0, callback, number) for number in range(5)]
    for watcher in watchers:
        watcher.feed(pyev.EV_CUSTOM)
    with pytest.raises(error, match="mine") as caught:
        loop.start(flags)
    assert caught.traceback[-1].name == "callback" and loop.depth == 0
    assert told in ([0, 1, 2], [4, 3, 2]) and loop.pending == 2
    loop.start(flags)
    assert told in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0])


def test_debug_off_tells_the_hook_and_goes_on(loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append((what.exc_type, what.object)))
    loop.debug = False

    def bad(watcher: Any, revents: int) -> None:
        raise watcher.data

    first, second = (
        loop.timer(0.0, 0.0, bad, ValueError("x")),
        loop.timer(0.01, 0.0, bad, KeyboardInterrupt()),
    )
    first.start()
    second.start()
    with pytest.raises(KeyboardInterrupt):
        loop.start()
    assert told == [(ValueError, bad)]


@pytest.mark.parametrize("which", ["loop", "scheduler", "embedded", "invoke", "nested"])
def test_exceptions_come_out_from_everywhere(loop: Any, which: str) -> None:
    def bad(*_: Any) -> Any:
        raise LookupError

    inner = pyev.Loop()
    timer, embed = inner.timer(0.0, 0.0, bad), loop.embed(inner)
    if which == "loop":
        loop.callback = bad
        idle = loop.idle(ignore)
        idle.start()
    elif which == "scheduler":
        calls: list[int] = []
        scheduler = loop.scheduler(
            lambda _, now: now if not calls.append(1) and len(calls) < 2 else bad(), ignore
        )
        scheduler.start()
    elif which == "embedded":
        left, right = socket.socketpair()
        right.send(b"x")
        watcher = inner.io(left, pyev.EV_READ, bad)
        watcher.start()
        embed.start()
    elif which == "invoke":
        timer.feed(pyev.EV_TIMER)
        with pytest.raises(LookupError):
            inner.invoke()
        return
    else:
        timer.start()
        idle = loop.idle(lambda *_: inner.start())
        idle.start()
    with pytest.raises(LookupError):
        loop.start()
    if which == "scheduler":
        assert not scheduler.active
    if which == "embedded":
        embed.stop()
        watcher.stop()
        left.close()
        right.close()


@pytest.mark.parametrize("result", [NAN, 0.0, "soon", None])
def test_a_scheduler_that_says_nonsense_is_stopped(loop: Any, result: object) -> None:
    scheduler = loop.scheduler(lambda _, now: result, ignore)
    with pytest.raises((ValueError, TypeError)):
        scheduler.start()
    assert not scheduler.active


@pytest.mark.parametrize(
    "run", [lambda loop: loop.start(), lambda loop: loop.poll(60)], ids=["start", "poll"]
)
def test_ctrl_c_gets_out(loop: Any, run: Callable[[Any], Any]) -> None:
    keeper = loop.timer(60.0, 0.0, ignore)
    keeper.start()
    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    killer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT))
    killer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run(loop)
        killer.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert keeper.active and loop.poll(0) == []


@pytest.mark.parametrize("flags", [0, pyev.EVFLAG_SIGNALFD])
def test_pythons_own_handler_is_back_after_stop(flags: int) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        loop = pyev.Loop(flags)
        watchers = [loop.signal(signal.SIGUSR1, lambda w, _: w.data.append(1), []) for _ in range(2)]
        for watcher in watchers:
            watcher.start()
        signal.raise_signal(signal.SIGUSR1)
        loop.start(pyev.EVRUN_NOWAIT)
        loop.start(pyev.EVRUN_NOWAIT)
        assert not heard and [watcher.data for watcher in watchers] == [[1], [1]]
        watchers[0].stop()
        signal.raise_signal(signal.SIGUSR1)
        loop.start(pyev.EVRUN_NOWAIT)
        assert not heard
        del watcher, watchers  # freed is stopped
        loop.destroy()
        signal.raise_signal(signal.SIGUSR1)
        assert heard == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_handler_set_meanwhile_stays(loop: Any) -> None:
    watcher = loop.signal(signal.SIGUSR2, ignore)
    watcher.start()
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: heard.append(number))
    watcher.stop()
    signal.raise_signal(signal.SIGUSR2)
    signal.signal(signal.SIGUSR2, before)
    assert heard == [signal.SIGUSR2]


def test_one_signal_on_two_loops_is_an_error(loop: Any) -> None:
    other = pyev.Loop()
    first, second = loop.signal(signal.SIGUSR1, ignore), other.signal(signal.SIGUSR1, ignore)
    first.start()
    with pytest.raises(pyev.Error, match="another loop"):
        second.start()
    first.stop()
    second.start()
    second.stop()
    with pytest.raises(pyev.Error, match="default loop"):
        loop.signal(signal.SIGCHLD, ignore).start()


# ---- lives


def test_a_watcher_that_refers_to_itself_is_collected(loop: Any) -> None:
    def make() -> weakref.ref[Any]:
        watcher = loop.timer(60.0, 0.0, ignore)
        watcher.data, watcher.callback = watcher, lambda *_: watcher
        watcher.start()
        return weakref.ref(watcher)

    gone = make()
    gc.collect()
    assert gone() is None and loop.start() is False


def test_a_loop_and_its_watchers_in_one_cycle() -> None:
    loop = pyev.Loop()
    loop.data = [loop.timer(60.0, 0.0, ignore), loop.async_(ignore), loop.signal(signal.SIGUSR1, ignore)]
    for watcher in loop.data:
        watcher.start()
    gone = weakref.ref(loop), weakref.ref(watcher)
    del loop, watcher
    gc.collect()
    assert gone[0]() is None and gone[1]() is None


def test_a_watcher_used_after_its_loop() -> None:
    loop = pyev.Loop()
    watchers = [
        loop.io(0, pyev.EV_READ, ignore), loop.timer(1.0, 0.0, ignore), loop.periodic(1.0, 0.0, ignore),
        loop.scheduler(lambda _, now: now + 9, ignore), loop.signal(signal.SIGUSR1, ignore),
        loop.stat("/", 0.0, ignore), loop.idle(ignore), loop.prepare(ignore), loop.check(ignore),
        loop.embed(pyev.Loop()), loop.fork(ignore), loop.async_(ignore),
    ]  # fmt: skip
    for watcher in watchers:
        watcher.start()
        watcher.feed(pyev.EV_CUSTOM)
    loop.destroy()
    loop.destroy()
    for watcher in watchers:
        assert watcher.loop is loop and not watcher.active and not watcher.pending
        for use in (watcher.start, watcher.stop, watcher.clear, lambda each=watcher: each.feed(1)):
            with pytest.raises(pyev.Error):
                use()
    with pytest.raises(pyev.Error):
        watchers[-1].send()
    for use in (
        loop.start,
        loop.poll,
        loop.now,
        loop.fileno,
        loop.reset,
        lambda: loop.timer(1.0, 0.0, ignore),
    ):
        with pytest.raises(pyev.Error):
            use()
    assert "destroyed" in repr(loop)


def test_an_embedded_loop_goes_first(loop: Any) -> None:
    inner = pyev.Loop()
    embed = loop.embed(inner)
    embed.start()
    with pytest.raises(pyev.Error, match="already"):
        loop.embed(inner).start()
    inner.destroy()
    assert not embed.active
    with pytest.raises(pyev.Error):
        embed.start()
    loop.start(pyev.EVRUN_NOWAIT)


def test_a_running_loop_is_not_destroyed(loop: Any) -> None:
    timer = loop.timer(0.0, 0.0, lambda *_: loop.destroy())
    timer.start()
    with pytest.raises(pyev.Error, match="running"):
        loop.start()


def test_a_callback_may_drop_everything() -> None:
    loop = pyev.Loop()
    held = [loop.timer(0.0, 0.0, lambda *_: held.clear()) for _ in range(3)]
    for each in held:
        each.start()
    del each
    loop.start()
    assert not held


def test_a_watcher_is_made_once(loop: Any) -> None:
    timer = loop.timer(1.0, 0.0, ignore)
    with pytest.raises(pyev.Error):
        timer.__init__(1.0, 0.0, loop, ignore)
    with pytest.raises(pyev.Error):
        loop.__init__()
    with pytest.raises(pyev.Error):
        pyev.Timer.__new__(pyev.Timer).start()
    with pytest.raises(TypeError):
        pyev.Watcher()
    with pytest.raises(TypeError):
        pyev.Timer(1.0, 0.0, None, ignore)


# ---- threads and forks


def test_a_thread_that_uses_a_waiting_loop_is_refused(loop: Any) -> None:
    timer, wake = loop.timer(60.0, 0.0, ignore), loop.async_(lambda *_: loop.stop())
    ready = threading.Event()
    prepare = loop.prepare(lambda *_: ready.set())
    for watcher in (timer, wake, prepare):
        watcher.start()
    waiter = threading.Thread(target=loop.start)
    waiter.start()
    ready.wait(30)
    until = time.monotonic() + 30
    refused = 0
    while not refused and time.monotonic() < until:  # from the hook to the wait are some instructions
        try:
            loop.now()
        except pyev.Error:
            refused = 1
    for use in (
        loop.start,
        loop.stop,
        loop.destroy,
        timer.stop,
        timer.remaining,
        loop.poll,
        lambda: loop.timer(1, 0, ignore),
    ):
        with pytest.raises(pyev.Error, match="another thread"):
            use()
    wake.send()
    waiter.join(30)
    assert refused and not waiter.is_alive()


def test_other_threads_run_during_the_wait(loop: Any) -> None:
    counted: list[int] = []
    threading.Thread(target=lambda: counted.extend(range(1000))).start()
    assert loop.poll(0.1) == [] and len(counted) == 1000


@pytest.mark.parametrize("flags", [0, pyev.EVFLAG_FORKCHECK])
def test_a_fork_and_reset(flags: int) -> None:
    out = alone(f"""
        import os, pyev, socket
        loop = pyev.Loop({flags})
        before, (left, right) = loop.fileno(), socket.socketpair()
        io = loop.io(left, pyev.EV_READ, lambda w, r: (print("read", flush=True), left.recv(9), w.stop()))
        fork = loop.fork(lambda w, r: (print("fork", flush=True), w.stop()))
        io.start()
        loop.start(pyev.EVRUN_NOWAIT)
        fork.start()
        pid = os.fork()
        if not pid:
            if not {flags}:
                loop.reset()
            queue = loop.fileno()
            loop.start(pyev.EVRUN_NOWAIT)
            right.send(b"x")
            loop.start(pyev.EVRUN_ONCE)
            os._exit(os.readlink(f"/proc/self/fd/{{queue}}") != "anon_inode:[eventpoll]")
        print(os.waitpid(pid, 0)[1], flush=True)
        fork.stop()
        right.send(b"y")
        loop.start()
    """)
    assert out.split() == ["fork", "read", "0", "read"]


# ---- arguments


@pytest.mark.parametrize(
    "make",
    [
        lambda loop: loop.io(-1, pyev.EV_READ, ignore),
        lambda loop: loop.timer(NAN, 0.0, ignore),
        lambda loop: loop.timer(0.0, NAN, ignore),
        lambda loop: loop.timer(-1.0, 0.0, ignore),
        lambda loop: loop.timer(0.0, -1.0, ignore),
        lambda loop: setattr(loop.timer(0.0, 0.0, ignore), "repeat", -1.0),
        lambda loop: loop.periodic(NAN, 0.0, ignore),
        lambda loop: loop.periodic(-1.0, 0.0, ignore),
        lambda loop: loop.periodic(0.0, -1.0, ignore),
        lambda loop: loop.periodic(float("inf"), 1.0, ignore),
        lambda loop: setattr(loop.periodic(0.0, 1.0, ignore), "interval", NAN),
        lambda loop: loop.stat("/", NAN, ignore),
        lambda loop: loop.stat("/\0", 0.0, ignore),
        lambda loop: loop.signal(0, ignore),
        lambda loop: loop.signal(1000, ignore),
        lambda loop: pyev.default_loop().child(-1, False, ignore),
        lambda loop: pyev.Loop(io_interval=NAN),
        lambda loop: setattr(loop, "timeout_interval", -1.0),
        lambda loop: loop.poll(NAN),
        lambda loop: loop.poll(-1),
        lambda loop: pyev.sleep(NAN),
        lambda loop: pyev.feed_signal(-1),
    ],
)
def test_bad_values_are_value_errors(loop: Any, make: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError):
        make(loop)


def test_bad_masks_and_flags_are_errors(loop: Any) -> None:
    for use in (lambda: loop.io(0, 4, ignore), lambda: loop.start(8), lambda: loop.stop(9)):
        with pytest.raises(pyev.Error):
            use()
    with pytest.raises(pyev.Error, match="default loop"):
        loop.child(0, False, ignore)
    with pytest.raises(TypeError):
        loop.timer(0.0, 0.0, None)


@pytest.mark.parametrize("flags", [0, pyev.EVBACKEND_POLL])
def test_out_of_descriptors_is_an_oserror(flags: int) -> None:
    held = pyev.Loop()
    watchers = [held.async_(ignore), held.signal(signal.SIGUSR1, ignore)]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = os.dup(0)
    os.close(used)
    resource.setrlimit(resource.RLIMIT_NOFILE, (used, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many"):
            pyev.Loop(flags)
        for watcher in watchers:
            with pytest.raises(OSError, match="Too many"):
                watcher.start()
        held.reset()
        with pytest.raises(OSError, match="Too many"):
            held.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for watcher in watchers:
        watcher.start()
        watcher.stop()
    held.start()


def test_a_refused_wait_is_an_oserror() -> None:
    out = alone("""
        import os, pyev
        loop = pyev.Loop()
        timer = loop.timer(60.0, 0.0, print)
        timer.start()
        os.close(loop.fileno())
        for run in (loop.start, loop.poll, lambda: loop.poll(0)):
            try:
                run()
            except OSError as error:
                print(error.errno)
        os.dup2(0, loop.fileno())
    """)
    assert out.split() == ["9"] * 3


def test_a_closed_descriptor_is_an_oserror(loop: Any) -> None:
    number = os.dup(0)
    watcher = loop.io(number, pyev.EV_READ, ignore)
    os.close(number)
    with pytest.raises(OSError, match="Bad file"):
        watcher.start()
    assert not watcher.active


def test_a_watcher_the_system_refuses_is_stopped(loop: Any) -> None:
    left, right = socket.socketpair()
    with left, right:
        watcher = loop.io(left, pyev.EV_READ, ignore)
        watcher.start()
        watcher.feed(pyev.EV_ERROR)
        with pytest.raises(pyev.Error, match="refused"):
            loop.start(pyev.EVRUN_NOWAIT)
        assert not watcher.active
        other = loop.timer(0.0, 0.0, ignore, "fired")
        for timeout in (0, 60):
            watcher.start()
            loop.poll(0)
            watcher.feed(pyev.EV_ERROR)
            other.feed(pyev.EV_TIMER)
            with pytest.raises(pyev.Error, match="refused") as caught:
                loop.poll(timeout)
            assert caught.value.watchers == [watcher] and not watcher.active
            assert caught.value.events == [("fired", pyev.EV_TIMER)]
        assert pyev.Error().watchers == pyev.Error().events == ()


@pytest.mark.parametrize("flags", [0, pyev.EVBACKEND_POLL, pyev.EVBACKEND_SELECT])
def test_a_file_is_ready(flags: int, tmp_path: Path) -> None:
    """epoll takes no files, which are always ready: libev says so by itself."""
    loop = pyev.Loop(flags)
    with (tmp_path / "file").open("wb") as file:
        watcher = loop.io(file, pyev.EV_WRITE, ignore, "file")
        watcher.start()
        assert loop.poll(60) == [("file", pyev.EV_WRITE)]


@pytest.mark.parametrize("flags", [0, pyev.EVBACKEND_POLL, pyev.EVBACKEND_SELECT])
def test_a_descriptor_closed_after_start_is_no_abort(flags: int) -> None:
    """By `poll` it vanishes, as it does with epoll; `start` says so."""
    out = alone(f"""
        import os, pyev
        loop = pyev.Loop({flags})
        numbers = [os.dup(0) for _ in range(3)]
        watchers = [loop.io(number, pyev.EV_READ, print) for number in numbers]
        for watcher, number in zip(watchers, numbers):
            watcher.start()
            os.close(number)
        print(loop.poll(0.01), [watcher.active for watcher in watchers])
        number = os.dup(0)
        watcher = loop.io(number, pyev.EV_READ, print)
        watcher.start()
        os.close(number)
        try:
            loop.start(pyev.EVRUN_NOWAIT)
        except pyev.Error as error:
            print("refused" in str(error), watcher.active)
    """)
    assert out == "[] [False, False, False]\nTrue False\n"


def test_the_loops_own_descriptor_closed_by_somebody_else_is_an_oserror() -> None:
    out = alone("""
        import os, pyev
        loop = pyev.Loop()
        os.dup2(0, loop.fileno())
        watcher = loop.io(0, pyev.EV_READ, print)
        watcher.start()
        for run in (loop.poll, lambda: loop.poll(0), loop.start):
            try:
                run()
            except OSError as error:
                print(error.errno, loop.depth)
    """)
    assert out.split() == ["9", "0"] * 3


def test_stat_owns_its_path(loop: Any, tmp_path: Path) -> None:
    watcher = loop.stat(str(tmp_path / ("a" * 100)), 0.1, lambda w, _: loop.stop())
    watcher.start()
    gc.collect()
    [str(number) * 50 for number in range(10_000)]
    (tmp_path / ("a" * 100)).write_text("x")
    guard = loop.timer(10.0, 0.0, lambda *_: loop.stop())
    guard.start()
    loop.start()
    assert watcher.current.nlink == 1 and guard.active


# ---- children


def test_subprocess_keeps_its_children_while_no_child_is_watched() -> None:
    out = alone("""
        import pyev, signal, subprocess, sys
        loop = pyev.default_loop()
        program = [sys.executable, "-c", "raise SystemExit(3)"]
        ended = subprocess.Popen(program)
        timer = loop.timer(0.3, 0.0, lambda w, r: None)
        timer.start()
        loop.start()
        print(ended.wait())
        status = []
        child = subprocess.Popen(program)
        watcher = loop.child(child.pid, False, lambda w, r: (status.append(w.rstatus >> 8), w.stop()))
        watcher.start()
        loop.start()
        print(*status)
        child.returncode = status[0]
        print(subprocess.run(program).returncode, signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL)
        loop.destroy()
        print(subprocess.run(program).returncode, pyev.default_loop() is not loop)
    """)
    assert out.split() == ["3", "3", "3", "True", "3", "True"]


def test_a_child_that_had_ended_before() -> None:
    out = alone("""
        import os, pyev
        loop = pyev.default_loop()
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os._exit(5)
        os.close(writer)
        os.read(reader, 1)
        child = loop.child(pid, False, lambda w, r: (print(w.rstatus >> 8), w.stop()))
        child.start()
        loop.start()
    """)
    assert out.split() == ["5"]


# ---- what was added


def test_poll_collects(loop: Any) -> None:
    left, right = socket.socketpair()
    with left, right:
        io_, timer = loop.io(left, 3, ignore, "io"), loop.timer(0.0, 0.0, ignore, "timer")
        io_.start()
        timer.start()
        right.send(b"x")
        assert sorted(loop.poll()) == [("io", 3), ("timer", pyev.EV_TIMER)]
        timer.feed(pyev.EV_CUSTOM)
        assert ("timer", pyev.EV_CUSTOM) in loop.poll(60)
        io_.stop()
    begin = time.monotonic()
    assert loop.poll(0.05) == [] and time.monotonic() - begin >= 0.049
    assert loop.poll(0.01) == [] and loop.start() is False


def test_poll_tells_the_data_it_has_now(loop: Any) -> None:
    """What was told last is told again only if it is the same, and not kept when the data changes."""
    left, right = socket.socketpair()
    with left, right:
        token: set[int] = set()
        gone = weakref.ref(token)
        watcher = loop.io(left, 3, ignore, token)
        del token
        watcher.start()
        assert [mask for _, mask in loop.poll(60)] == [2]
        right.send(b"x")
        assert [mask for _, mask in loop.poll(60)] == [3] == [mask for _, mask in loop.poll(60)]
        watcher.data = "other"
        assert gone() is None and loop.poll(60) == [("other", 3)]
        watcher.watch(pyev.EV_READ, "third")
        assert loop.poll(60) == [("third", 1)] and (watcher.data, watcher.events) == ("third", 1)
        watcher.stop()
        watcher.watch(pyev.EV_WRITE, "fourth")
        assert loop.poll(60) == [("fourth", 2)]
        number = os.dup(0)
        bad = loop.io(number, 1, ignore, "before")
        os.close(number)
        with pytest.raises(OSError, match="Bad file"):
            bad.watch(3, "after")
        assert (bad.data, bad.events, bad.active) == ("before", 1, False)
        with pytest.raises(pyev.Error, match="mask"):
            watcher.watch(4, None)
        watcher.stop()


def test_a_failed_callback_beside_a_poll_tells_what_fired_then(loop: Any) -> None:
    """What a failure leaves pending is told with its own bits, whatever the poll before told."""
    left, right = socket.socketpair()
    with left, right:
        right.send(b"x")
        io_ = loop.io(left, 3, ignore, "io")
        io_.start()
        assert loop.poll(60) == [("io", 3)]
        io_.watch(pyev.EV_WRITE, "io")
        first = loop.timer(0.0, 0.0, lambda *_: 1 / 0, priority=pyev.EV_MAXPRI)
        first.start()
        with pytest.raises(ZeroDivisionError):
            loop.start()
        assert {*loop.poll(60)} == {("io", 2)}
        io_.stop()


def test_a_poll_waits_its_own_time(loop: Any) -> None:
    """Its timer stays armed between polls: longer and shorter ones, and `start` between them."""
    left, right = socket.socketpair()
    with left, right:
        watcher = loop.io(left, pyev.EV_WRITE, ignore)
        watcher.start()
        assert loop.poll(0.03)
        watcher.stop()
        loop.poll(0)  # libev takes a stopped watcher's descriptor out of epoll when it is told of it
        begin = time.monotonic()
        assert loop.poll(0.1) == [] and time.monotonic() - begin >= 0.099
        watcher.start()
        assert loop.poll(60)
        watcher.stop()
        assert loop.start() is False and loop.poll(0) == []
        begin = time.monotonic()
        assert loop.poll(0.02) == [] and 0.019 <= time.monotonic() - begin


@pytest.mark.parametrize("backend", [pyev.EVBACKEND_POLL, pyev.EVBACKEND_SELECT])
def test_fileno_where_there_is_one(loop: Any, backend: int) -> None:
    with pytest.raises(io.UnsupportedOperation):
        pyev.Loop(backend).fileno()
    if loop.backend == pyev.EVBACKEND_EPOLL:
        left, right = socket.socketpair()
        with left, right:
            watcher = loop.io(left, pyev.EV_READ, ignore)
            watcher.start()
            loop.start(pyev.EVRUN_NOWAIT)
            told = Path(f"/proc/self/fdinfo/{loop.fileno()}").read_text()
            assert left.fileno() in [
                int(line.split()[1]) for line in told.splitlines() if line.startswith("tfd:")
            ]
            watcher.stop()


def test_weak_references(loop: Any) -> None:
    watcher = loop.timer(1.0, 0.0, ignore)
    assert weakref.ref(watcher)() is watcher and weakref.ref(loop)() is loop


# ---- growth


KINDS: dict[str, Callable[[Any], Any]] = {
    "io": lambda loop: loop.io(0, pyev.EV_READ, ignore),
    "timer": lambda loop: loop.timer(1.0, 0.0, ignore),
    "periodic": lambda loop: loop.periodic(1.0, 0.0, ignore),
    "scheduler": lambda loop: loop.scheduler(lambda _, now: now + 9, ignore),
    "signal": lambda loop: loop.signal(signal.SIGUSR1, ignore),
    "child": lambda loop: pyev.default_loop().child(0, False, ignore),
    "stat": lambda loop: loop.stat("/nowhere", 0.0, ignore),
    "idle": lambda loop: loop.idle(ignore),
    "prepare": lambda loop: loop.prepare(ignore),
    "check": lambda loop: loop.check(ignore),
    "embed": lambda loop: loop.embed(loop.data),
    "fork": lambda loop: loop.fork(ignore),
    "async": lambda loop: loop.async_(ignore),
}


@pytest.mark.parametrize("kind", KINDS)
def test_watchers_made_and_freed_do_not_grow(loop: Any, kind: str) -> None:
    make = KINDS[kind]
    loop.data = pyev.Loop()

    def watchers(count: int) -> None:
        for number in range(count):
            make(loop).start()
            if number % 10 == 0 and kind != "embed":  # which would stay embedded until it is collected
                watcher = make(loop)
                watcher.data = watcher.callback = lambda *_, watcher=watcher: watcher  # in a circle with it
                watcher.start()
            if number % 1000 == 0 and kind not in ("idle", "child"):
                loop.start(pyev.EVRUN_NOWAIT)

    keeps_nothing(watchers, 100_000)


@pytest.mark.parametrize("collected", [False, True], ids=["called", "collected"])
def test_a_million_events_do_not_grow(loop: Any, collected: bool) -> None:
    pairs = [socket.socketpair() for _ in range(50)]
    watchers = [loop.io(left, pyev.EV_WRITE, ignore, left) for left, _ in pairs]
    for watcher in watchers:
        watcher.start()

    def events(count: int) -> None:
        for _ in range(count // 50):
            if collected:
                assert len(loop.poll(60)) == 50
            else:
                loop.start(pyev.EVRUN_NOWAIT)
        for watcher in watchers:
            watcher.watch(pyev.EV_WRITE, object())

    keeps_nothing(events, 1_000_000)
    for watcher, pair in zip(watchers, pairs, strict=True):
        watcher.stop()
        for each in pair:
            each.close()


def test_a_signal_handler_may_destroy_it_as_a_poll_begins() -> None:
    loop = pyev.Loop()
    raise_signal = ctypes.CDLL(None)["raise"]
    raise_signal.restype = functools.partial(operator.add, 0.05)
    # Its conversion runs nothing of Python's that would see the signal.
    raising = staticmethod(functools.partial(raise_signal, int(signal.SIGUSR1)))
    seconds: Any = type("Seconds", (), {"__float__": raising})()
    before = signal.signal(signal.SIGUSR1, lambda *_: loop.destroy())
    try:
        with pytest.raises(pyev.Error, match="destroyed"):
            loop.poll(seconds)
    finally:
        signal.signal(signal.SIGUSR1, before)
