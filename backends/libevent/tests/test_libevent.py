"""What is libevent's own about the libevent engine: its methods, signals, forks, and what it may keep."""

from __future__ import annotations

import ctypes
import errno
import functools
import gc
import operator
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

from evsockets import Configuration, RequestExecutor
from evsockets.engines import READ, WRITE, available_engines, create_engine
from evsockets.errors import EngineUnavailableError, UnsupportedOperationError
from evsockets.testing.engines import alarm
from evsockets_libevent import LibeventEngine
from evsockets_libevent import engine as module
from support.growth import keeps_nothing
from support.optional import library

VARIANTS = LibeventEngine.variants()


@pytest.mark.parametrize("variant", VARIANTS)
def test_is_found_by_name(variant: str) -> None:
    assert available_engines()[f"libevent:{variant}"] is None
    with create_engine(f"libevent:{variant}") as engine:
        assert isinstance(engine, LibeventEngine)
        assert engine.backend == variant and engine.binding.startswith("libevent 2.")
        with pytest.raises(UnsupportedOperationError):
            engine.fileno()


def test_is_taken_where_it_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVSOCKETS_ENGINE", raising=False)
    for wanted in (("libevent", "selectors"), ("nowhere", "libevent:poll")):
        with RequestExecutor(configuration=Configuration(preferred_engines=wanted)) as executor:
            assert executor.engine.name == "libevent"


def test_unknown_method_names_the_known() -> None:
    with pytest.raises(ValueError, match="epoll, epoll-changelist, poll, select"):
        LibeventEngine("iocp")
    with pytest.raises(EngineUnavailableError, match="did you mean 'epoll'"):
        create_engine("libevent:epol")


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_missing", "no library; install libevent")
    with pytest.raises(EngineUnavailableError, match="install libevent"):
        create_engine("libevent")


def test_the_build_says_what_to_install(tmp_path: Path) -> None:
    library("Cython")
    folder = Path(__file__).parent.parent
    command = [
        sys.executable,
        "setup.py",
        "-q",
        "build_ext",
        f"--build-lib={tmp_path}",
        f"--build-temp={tmp_path}",
    ]
    for change in ({"PATH": str(tmp_path)}, {"PKG_CONFIG_LIBDIR": str(tmp_path)}):
        done = subprocess.run(command, cwd=folder, env=os.environ | change, capture_output=True, text=True)
        assert done.returncode
        for name in ("libevent-dev ", "libevent-devel ", "brew install libevent "):
            assert name in done.stderr, done.stderr


def test_select_refuses_what_would_abort_the_process() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    try:
        with LibeventEngine("select") as engine, socket.socket() as sock:
            os.dup2(sock.fileno(), 1_024)
            try:
                with pytest.raises(OSError, match="below 1024") as caught:
                    engine.watch(1_024, READ, None)
                assert caught.value.errno == errno.EMFILE
            finally:
                os.close(1_024)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_child_uses_it_without_disturbing_the_parent(variant: str) -> None:
    left, right = socket.socketpair()
    with left, right, LibeventEngine(variant) as engine:
        engine.watch(left.fileno(), READ, "token")
        right.send(b"x")
        for leave in ("close", "forget", "drop"):
            child = os.fork()
            if not child:
                status = 1
                try:
                    good = engine.poll(1) == [("token", READ)]
                    if leave == "close":
                        engine.close()
                    elif leave == "forget":
                        engine.watch(left.fileno(), 0, None)
                        good = good and engine.poll(0) == []
                    else:
                        engine._loop = None  # type: ignore[assignment]
                    status = 0 if good else 1
                finally:
                    os._exit(status)
            assert os.waitpid(child, 0)[1] == 0
            assert engine.poll(1) == [("token", READ)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_closed_without_being_forgotten_vanishes(variant: str) -> None:
    """As it does with epoll: nobody is told of it, and a wait lasts."""
    left, right = socket.socketpair()
    other, others = socket.socketpair()
    with right, other, others, LibeventEngine(variant) as engine:
        engine.watch(left.fileno(), READ | WRITE, "closed")
        engine.watch(other.fileno(), READ, "kept")
        assert engine.poll(1) == [("closed", WRITE)]
        left.close()
        others.send(b"x")
        assert [engine.poll(0.01) for _ in range(3)][-1] == [("kept", READ)]
        other.recv(1)
        begin = time.monotonic()
        told = [engine.poll(0.1) for _ in range(2)]
        assert told == [[], []] and time.monotonic() - begin >= 0.1


def test_another_thread_is_refused_while_one_waits() -> None:
    left, right = socket.socketpair()
    with left, right, LibeventEngine() as engine:
        engine.watch(left.fileno(), READ, "token")
        batches: list[object] = []
        thread = threading.Thread(target=lambda: batches.append(engine.poll(60)))
        thread.start()
        try:
            until = time.monotonic() + 20
            with pytest.raises(RuntimeError, match="another thread"):
                while time.monotonic() < until:  # it waits soon
                    engine.watch(left.fileno(), READ, "token")
            with pytest.raises(RuntimeError, match="another thread"):
                engine.close()
        finally:
            right.send(b"x")
            thread.join()
        assert batches == [[("token", READ)]]


def test_whoever_had_the_wake_up_descriptor_is_told() -> None:
    theirs, told = socket.socketpair()
    with theirs, told, LibeventEngine() as engine:
        told.setblocking(False)
        before = signal.set_wakeup_fd(told.fileno())
        try:
            with alarm(lambda *_: None, 0.02):
                assert engine.poll(60) == []
        finally:
            assert signal.set_wakeup_fd(before) == told.fileno()
        assert set(theirs.recv(100)) == {signal.SIGALRM}


def test_a_circle_through_a_token_is_collected() -> None:
    left, right = socket.socketpair()
    with left, right:
        engine = LibeventEngine()
        gone = weakref.ref(engine)
        engine.watch(left.fileno(), READ, [engine])
        descriptors = len(os.listdir("/dev/fd"))
        del engine
        gc.collect()
        assert gone() is None
        assert len(os.listdir("/dev/fd")) < descriptors


@pytest.mark.parametrize("variant", VARIANTS)
def test_events_and_watches_leave_nothing(variant: str) -> None:
    pairs = [socket.socketpair() for _ in range(50)]
    with LibeventEngine(variant) as engine:

        def events(count: int) -> None:
            for left, right in pairs:
                engine.watch(left.fileno(), READ | WRITE, object())
                engine.watch(right.fileno(), WRITE, object())
            while count > 0:
                batch = engine.poll(20)
                assert batch
                count -= len(batch)
            for left, right in pairs:
                engine.watch(left.fileno(), 0, None)
                engine.watch(right.fileno(), 0, None)

        def watches(count: int) -> None:
            number = pairs[0][0].fileno()
            for _ in range(count):
                engine.watch(number, READ | WRITE, object())
                engine.watch(number, 0, None)

        keeps_nothing(events, 1_000_000)
        keeps_nothing(watches, 100_000)
    for pair in pairs:
        for sock in pair:
            sock.close()


def test_a_signal_handler_may_close_it_as_a_poll_begins() -> None:
    engine = LibeventEngine()
    raise_signal = ctypes.CDLL(None)["raise"]
    raise_signal.restype = functools.partial(operator.add, 0.0)
    # Its conversion runs nothing of Python's that would see the signal.
    raising = staticmethod(functools.partial(raise_signal, int(signal.SIGUSR1)))
    seconds: Any = type("Seconds", (), {"__float__": raising})()
    before = signal.signal(signal.SIGUSR1, lambda *_: engine.close())
    try:
        with pytest.raises(RuntimeError, match="closed"):
            engine.poll(seconds)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_program_in_which_threads_have_other_numbers() -> None:
    """gevent's patching gives the main thread a number of its own: a signal still ends the wait."""
    code = (
        "import signal, threading\n"
        "threading.main_thread()._ident += 1\n"
        "from evsockets_libevent.engine import LibeventEngine\n"
        "heard = []\n"
        "signal.signal(signal.SIGALRM, lambda *_: heard.append(1))\n"
        "engine = LibeventEngine()\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.2)\n"
        "engine.poll(50)\n"
        "assert heard\n"
        "threading.main_thread()._ident -= 1\n"  # or its end waits for ever
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=40)
