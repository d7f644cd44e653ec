"""The engine contract as tests: every promise of `evsockets.engines.base`, under its number.

    class TestMine(EngineContract):
        def make_engine(self):
            return MyEngine()

Run it with pytest. Call `pytest.skip` in `make_engine` if the engine cannot run here. Timing tests assert
lower bounds on every sample, and upper ones only relative to the same wait, so a slow machine fails none.
"""

from __future__ import annotations

import errno
import gc
import math
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from ..engines.base import READ, WRITE, Engine, WatchError
from ..errors import EngineError, UnsupportedOperationError
from .refusal import CannotRefuse, elsewhere, refuse

BOTH = READ | WRITE
LONG = 5.0
"""Seconds no wait here may ever really take."""
SHORT = 0.05
MANY = 5_000


class Opaque:
    """A token that may be handed round and nothing else."""

    def __init__(self, label: object = "") -> None:
        self.label = label

    def __repr__(self) -> str:
        return f"<token {self.label}>"

    def __call__(self, *args: object, **named: object) -> object:
        raise AssertionError(f"{self!r} was called")

    def __hash__(self) -> int:
        raise AssertionError(f"{self!r} was hashed")

    def __bool__(self) -> bool:
        raise AssertionError(f"{self!r} was asked for its truth")

    def __eq__(self, other: object) -> bool:
        raise AssertionError(f"{self!r} was compared")

    def __lt__(self, other: object) -> bool:
        raise AssertionError(f"{self!r} was ordered")


def fill(sock: socket.socket) -> int:
    """Send until the kernel takes no more; return the number of bytes it took."""
    sent = 0
    with _non_blocking(sock):
        for _ in range(1_000_000):
            try:
                sent += sock.send(bytes(65_536))
            except BlockingIOError:
                return sent
    raise AssertionError("the kernel takes everything")


def drain(sock: socket.socket) -> int:
    """Receive until nothing is left; return the number of bytes."""
    received = 0
    with _non_blocking(sock):
        for _ in range(1_000_000):
            try:
                data = sock.recv(65_536)
            except BlockingIOError:
                return received
            if not data:
                return received
            received += len(data)
    raise AssertionError("bytes without end")


@contextmanager
def _non_blocking(sock: socket.socket) -> Iterator[None]:
    before = sock.gettimeout()
    sock.setblocking(False)
    try:
        yield
    finally:
        sock.settimeout(before)


class alarm:
    """`with alarm(handler, after):` calls `handler` by SIGALRM `after` seconds from now, and again so long
    after it has returned, or a second after it has raised.

    Not while the block is entered or left: what `handler` raised there would leave the alarm on. An alarm
    that was set before, such as a test's time limit, still rings in the block, and is set again after it.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], Any], after: float) -> None:
        if threading.current_thread() is not threading.main_thread():
            pytest.skip("signals need the main thread")
        self._handler = handler
        self._after = after

    def _ring(self, number: int, frame: FrameType | None) -> None:
        _set_alarm(1.0)  # first of all: what is raised here is to leave the block undisturbed
        codes = [outer.f_code for outer, _ in traceback.walk_stack(frame)]
        if alarm.__exit__.__code__ in codes:
            return
        if alarm.__enter__.__code__ not in codes:
            if time.monotonic() > self._limit and callable(self._before):
                self._before(number, frame)
            self._handler(number, frame)
        _set_alarm(self._after)

    def __enter__(self) -> None:
        self._left = signal.setitimer(signal.ITIMER_REAL, 0)
        self._limit = time.monotonic() + (self._left[0] or math.inf)
        self._before = signal.signal(signal.SIGALRM, self._ring)
        _set_alarm(self._after)

    def __exit__(self, *exception: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)
        signal.setitimer(signal.ITIMER_REAL, *self._left)


def _set_alarm(seconds: float) -> None:
    # Again and again until it is heard: CPython 3.12 may lose sight of a signal.
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)


def raise_descriptor_limit(wanted: int) -> None:
    """Lift the soft limit to the hard one; skip the test if that leaves fewer than `wanted`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            pytest.skip(f"cannot raise the limit of {soft} descriptors")
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip(f"this machine allows {hard} descriptors, not {wanted}")


def refuse_or_skip(call: str, number: int, **where: int) -> None:
    """`refuse`; the test is skipped where the system takes no filters."""
    try:
        refuse(call, number, **where)
    except CannotRefuse as reason:
        pytest.skip(str(reason))


class EngineContract:
    """A pytest class: subclass it and define `make_engine` to test every promise on an engine."""

    engine: Engine
    engine_name: str | None = None
    """The engine's name in results and for `--engines`; None: its own name."""

    def make_engine(self) -> Engine:
        """Return a new engine; called several times in one test."""
        raise NotImplementedError("a subclass of EngineContract gives make_engine(self)")

    # -- help ---------------------------------------------------------------------------------------

    def setup_method(self) -> None:
        self._open: list[Any] = []
        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.engine = self.make_engine()
        assert isinstance(self.engine, Engine), f"make_engine returned {self.engine!r}, not an Engine"
        self._open.append(self.engine)

    def teardown_method(self) -> None:
        for each in self._open:
            each.close()
        self._open.clear()
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        """A connected pair, closed after the test (after the engine)."""
        left, right = socket.socketpair()
        self._open += left, right
        return left, right

    def _second_engine(self) -> Engine:
        other = self.make_engine()
        self._open.insert(0, other)
        return other

    def _seen(self, *wanted: object, engine: Engine | None = None, polls: int = 20) -> dict[int, int]:
        """Poll until all `wanted` tokens came; return `{id(token): mask}` of everything that came."""
        engine = engine or self.engine
        found: dict[int, int] = {}
        for _ in range(polls):
            for token, mask in engine.poll(SHORT):
                found[id(token)] = found.get(id(token), 0) | mask
            if all(id(token) in found for token in wanted):
                return found
        raise AssertionError(f"not reported: {[each for each in wanted if id(each) not in found]}")

    def _silent(self, engine: Engine | None = None) -> None:
        """Nothing is ready: neither at once nor after a moment."""
        engine = engine or self.engine
        for timeout in (0, 0, 0.01):
            batch = engine.poll(timeout)
            assert batch == [], f"nothing is ready, yet {batch} came"

    def _wait_out(self, seconds: float, engine: Engine | None = None) -> int:
        """Poll until `seconds` have passed, nothing being ready; return the number of polls it took."""
        engine = engine or self.engine
        end = time.monotonic() + seconds
        for count in range(1, 100_000):
            assert engine.poll(max(end - time.monotonic(), 0)) == []
            if time.monotonic() >= end:
                return count
        raise AssertionError(f"more than 100 000 wake-ups in {seconds} s")

    # -- the promises --------------------------------------------------------------------------------

    def test_01_level_triggered(self) -> None:
        left, right = self._pair()
        token = Opaque()
        self.engine.watch(left.fileno(), READ, token)
        right.send(b"xy")
        for _ in range(3):
            assert self._seen(token) == {id(token): READ}
        left.recv(1)
        assert self._seen(token) == {id(token): READ}
        left.recv(1)
        self._silent()

    def test_01_level_triggered_for_writing(self) -> None:
        left, right = self._pair()
        token = Opaque()
        self.engine.watch(left.fileno(), WRITE, token)
        for _ in range(3):
            assert self._seen(token) == {id(token): WRITE}
        fill(left)
        self._silent()
        drain(right)
        assert self._seen(token) == {id(token): WRITE}

    @pytest.mark.parametrize("interest", [READ, WRITE, BOTH])
    def test_02_once_per_poll_and_within_the_interest(self, interest: int) -> None:
        tokens = [Opaque(number) for number in range(8)]
        for token in tokens:
            left, right = self._pair()
            right.send(b"x")
            self.engine.watch(left.fileno(), interest, token)
        for _ in range(10):
            batch = self.engine.poll(SHORT)
            ids = [id(token) for token, _ in batch]
            assert len(ids) == len(set(ids))
            for _, mask in batch:
                assert type(mask) is int and mask and mask & ~interest == 0
        assert self._seen(*tokens) == {id(token): interest for token in tokens}

    def test_02_both_reports_only_what_is_ready(self) -> None:
        left, right = self._pair()
        token = Opaque()
        self.engine.watch(left.fileno(), BOTH, token)
        assert self._seen(token) == {id(token): WRITE}
        fill(left)
        self._silent()
        right.send(b"x")
        assert self._seen(token) == {id(token): READ}

    @pytest.mark.parametrize("interest", [READ, WRITE, BOTH])
    def test_03_hang_up_is_what_was_asked_for(self, interest: int) -> None:
        left, right = self._pair()
        token = Opaque()
        self.engine.watch(left.fileno(), interest, token)
        right.close()
        assert self._seen(token) == {id(token): interest}
        assert self._seen(token) == {id(token): interest}

    @pytest.mark.parametrize("interest", [READ, WRITE, BOTH])
    def test_03_error_is_what_was_asked_for(self, interest: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            peer, _ = server.accept()
        self._open += [client, peer]
        token = Opaque()
        self.engine.watch(client.fileno(), interest, token)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()  # resets
        for _ in range(20):
            if self._seen(token)[id(token)] == interest:
                return
        raise AssertionError("a reset connection is not reported as everything asked for")

    def test_03_refused_connect_is_writable(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
        client = socket.socket()
        self._open.append(client)
        client.setblocking(False)
        client.connect_ex(address)
        token = Opaque()
        self.engine.watch(client.fileno(), WRITE, token)
        assert self._seen(token) == {id(token): WRITE}

    def test_03_hang_up_without_interest_does_not_spin(self) -> None:
        left, right = self._pair()
        self.engine.watch(left.fileno(), BOTH, Opaque())
        self.engine.poll(SHORT)
        right.send(b"x")
        right.close()
        self.engine.poll(SHORT)
        self.engine.watch(left.fileno(), 0, None)
        began, busy = time.monotonic(), time.process_time()
        assert self._wait_out(0.3) <= 10
        assert time.process_time() - busy < 0.5 * (time.monotonic() - began)

    def test_04_watch_replaces_interest_and_token(self) -> None:
        left, right = self._pair()
        first, second, third = Opaque(1), Opaque(2), Opaque(3)
        right.send(b"x")
        self.engine.watch(left.fileno(), READ, first)
        assert self._seen(first) == {id(first): READ}
        self.engine.watch(left.fileno(), READ, second)
        assert self._seen(second) == {id(second): READ}
        self.engine.watch(left.fileno(), WRITE, third)
        assert self._seen(third) == {id(third): WRITE}
        self.engine.watch(left.fileno(), BOTH, first)
        assert self._seen(first) == {id(first): BOTH}
        self.engine.watch(left.fileno(), READ, first)
        self.engine.watch(left.fileno(), READ, first)
        assert self._seen(first) == {id(first): READ}
        left.recv(1)
        self._silent()

    def test_05_forgetting_the_unknown_is_silent(self) -> None:
        left, right = self._pair()
        self.engine.watch(left.fileno(), 0, Opaque())
        self.engine.watch(left.fileno(), READ, Opaque())
        for _ in range(2):
            self.engine.watch(left.fileno(), 0, None)
        number = right.fileno()
        self.engine.watch(number, READ, Opaque())
        right.close()
        for _ in range(2):
            self.engine.watch(number, 0, None)
        self._silent()

    def test_05_forgotten_after_closing_with_a_copy_left(self) -> None:
        left, right = self._pair()
        number = left.fileno()
        copy = left.dup()
        self._open.append(copy)
        self.engine.watch(number, READ, Opaque())
        self.engine.poll(0)
        left.close()
        self.engine.watch(number, 0, None)
        right.send(b"x")
        assert self._wait_out(0.2) <= 10

    @pytest.mark.parametrize("poll_between", [False, True])
    def test_06_a_number_used_again_reports_its_new_token(self, poll_between: bool) -> None:
        left, right = self._pair()
        other, other_right = self._pair()
        old, new = Opaque("old"), Opaque("new")
        self.engine.watch(left.fileno(), READ, old)
        right.send(b"x")
        assert self._seen(old) == {id(old): READ}
        self.engine.watch(left.fileno(), 0, None)
        os.dup2(other.fileno(), left.fileno())
        if poll_between:
            self._silent()
        self.engine.watch(left.fileno(), READ, new)
        self._silent()
        other_right.send(b"x")
        assert self._seen(new) == {id(new): READ}

    def test_06_reused_within_one_batch(self) -> None:
        # The whole batch is taken first, as the core does; then one descriptor is closed and its number
        # goes to a newcomer, before the next poll.
        left, right = self._pair()
        bystander, bystander_right = self._pair()
        old, new, third = Opaque("old"), Opaque("new"), Opaque("third")
        self.engine.watch(left.fileno(), BOTH, old)
        self.engine.watch(bystander.fileno(), READ, third)
        right.send(b"x")
        bystander_right.send(b"x")
        self._seen(old, third)
        for _ in range(50):
            number = left.fileno()
            self.engine.watch(number, 0, None)
            left.close()
            left, right = self._pair()
            assert number in (left.fileno(), right.fileno())
            if left.fileno() != number:
                left, right = right, left
            self.engine.watch(number, READ, new)
            batch = self.engine.poll(0)
            assert all(token is third and mask == READ for token, mask in batch), batch
            right.send(b"x")
            assert self._seen(new, third) == {id(new): READ, id(third): READ}

    def test_07_poll_zero_never_blocks(self) -> None:
        left, _ = self._pair()
        self.engine.watch(left.fileno(), READ, Opaque())
        ended = threading.Event()

        def end_it() -> None:
            if not ended.wait(LONG):
                os.kill(os.getpid(), signal.SIGKILL)

        guard = threading.Thread(target=end_it)
        guard.start()
        try:
            for _ in range(100):
                assert self.engine.poll(0) == []
        finally:
            ended.set()
            guard.join()

    def test_07_poll_zero_finds_what_is_ready(self) -> None:
        left, right = self._pair()
        token = Opaque()
        right.send(b"x")
        for _ in range(20):
            self.engine.watch(left.fileno(), READ, token)
            batch = self.engine.poll(0)
            assert [(id(each), mask) for each, mask in batch] == [(id(token), READ)]
            self.engine.watch(left.fileno(), 0, None)
            assert self.engine.poll(0) == []

    def test_07_poll_none_blocks_until_something_is_ready(self) -> None:
        left, right = self._pair()
        token = Opaque()
        self.engine.watch(left.fileno(), READ, token)
        sent_at: list[float] = []

        def send() -> None:
            sent_at.append(time.monotonic())
            right.send(b"x")

        timer = threading.Timer(SHORT, send)
        timer.start()
        try:
            batch: list[tuple[Any, int]] = []
            for _ in range(20):
                batch = self.engine.poll(None)
                if batch:
                    break
            assert [(id(each), mask) for each, mask in batch] == [(id(token), READ)]
            assert sent_at and time.monotonic() >= sent_at[0]
        finally:
            timer.join()

    def test_07_an_idle_second_wakes_up_rarely(self) -> None:
        left, _ = self._pair()
        self.engine.watch(left.fileno(), READ, Opaque())
        began, busy = time.monotonic(), time.process_time()
        assert self._wait_out(1.0) <= 10
        assert time.process_time() - busy < 0.5 * (time.monotonic() - began)

    def test_07_many_small_waits_do_not_spin(self) -> None:
        left, _ = self._pair()
        self.engine.watch(left.fileno(), READ, Opaque())
        self.engine.poll(LONG / 100)
        for seconds in (0.001, 0.0001, 0.01, 0.02):
            assert self._wait_out(seconds) <= 10

    def test_07_waits_after_the_caller_was_busy(self) -> None:
        # A loop that keeps its own clock must not count the caller's time as waiting.
        left, _ = self._pair()
        self.engine.watch(left.fileno(), READ, Opaque())
        self.engine.poll(0)
        until = time.monotonic() + 0.2
        while time.monotonic() < until:
            math.sqrt(2)
        assert self._wait_out(0.1) <= 10

    @pytest.mark.parametrize("timeout", [60, 3_600, 86_400])
    def test_07_long_timeouts_are_taken(self, timeout: int) -> None:
        left, right = self._pair()
        token = Opaque()
        self.engine.watch(left.fileno(), READ, token)
        right.send(b"x")
        for _ in range(20):
            if self.engine.poll(timeout):
                return
        raise AssertionError("a ready descriptor was not reported")

    def test_08_nothing_watched_still_sleeps(self) -> None:
        assert self.engine.poll(0) == []
        assert self._wait_out(0.2) <= 10
        left, _ = self._pair()
        self.engine.watch(left.fileno(), WRITE, Opaque())
        self.engine.poll(0)
        self.engine.watch(left.fileno(), 0, None)
        assert self._wait_out(0.2) <= 10

    @pytest.mark.parametrize("timeout", [LONG, None])
    @pytest.mark.parametrize("watching", [False, True])
    def test_09_keyboard_interrupt_gets_out(self, timeout: float | None, watching: bool) -> None:
        left, right = self._pair()
        token = Opaque()
        if watching:
            self.engine.watch(left.fileno(), READ, token)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt), alarm(signal.default_int_handler, SHORT):
            for _ in range(20):
                self.engine.poll(timeout)
        assert time.monotonic() - began < LONG
        self.engine.watch(left.fileno(), READ, token)
        self._silent()
        right.send(b"x")
        assert self._seen(token) == {id(token): READ}

    def test_09_raised_before_the_wait_begins(self) -> None:
        left, right = self._pair()
        token = Opaque()
        self.engine.watch(left.fileno(), BOTH, token)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
                self.engine.poll(LONG)
        finally:
            signal.signal(signal.SIGINT, before)
        right.send(b"x")
        assert self._seen(token)[id(token)] & WRITE

    def test_09_interrupts_under_load_lose_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # What a library reports as unraisable (an interrupt inside its own callback) is an interrupt that
        # was lost, which this test allows; no event may be.
        monkeypatch.setattr(sys, "unraisablehook", lambda report: None)
        left, right = self._pair()
        duplex, _ = self._pair()
        token, other = Opaque(), Opaque()
        self.engine.watch(left.fileno(), READ, token)
        self.engine.watch(duplex.fileno(), BOTH, other)
        right.send(b"x")
        interrupts = 0
        rung: list[int] = []

        def interrupt(number: int, frame: FrameType | None) -> None:
            rung.append(number)
            raise KeyboardInterrupt

        for _ in range(20):
            rung.clear()
            try:
                with alarm(interrupt, 0.001):
                    self._poll_until(rung)
            except KeyboardInterrupt:
                interrupts += 1
            assert self._seen(token, other) == {id(token): READ, id(other): WRITE}
        assert interrupts

    def _poll_until(self, told: list[int]) -> None:
        # Not within the `try`: in CPython, what a signal handler raises as a `while` loop starts anew leaves
        # the blocks of the loop's own function without being caught. Not for ever: CPython 3.12 may lose
        # sight of a signal until something asks for it (its `eval_breaker` is not computed atomically).
        end = time.monotonic() + LONG
        while not told and time.monotonic() < end:
            self.engine.poll(LONG)

    def test_09_interrupted_at_any_line(self) -> None:
        # At every line of the engine's own modules, one after the other. The call in which it comes may
        # be done or not; made again it works, and nothing of another descriptor is lost.
        code = getattr(type(self.engine).poll, "__code__", None)
        if code is None:
            pytest.skip("what is compiled cannot be interrupted at its lines")
        file = code.co_filename
        place = os.path.dirname(file) + os.sep if os.path.exists(file) else file
        own = os.path.dirname(os.path.dirname(__file__)) + os.sep + "testing" + os.sep
        for number in range(1, 1000):
            with self.make_engine() as engine:
                if not self._interrupted_at(number, engine, place, own):
                    return

    def _interrupted_at(self, number: int, engine: Engine, place: str, other: str) -> bool:
        """Whether there is such a line."""
        left = number

        def at_line(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal left
            if event == "line":
                left -= 1
                if not left:
                    raise KeyboardInterrupt
            return at_line

        def at_call(frame: FrameType, event: str, arg: Any) -> Any:
            file = frame.f_code.co_filename
            return at_line if file.startswith(place) and not file.startswith(other) else None

        kept, changed, closed = (socket.socketpair() for _ in range(3))
        tokens = [Opaque(name) for name in ("kept", "changed", "closed", "fresh")]
        engine.poll(0)
        engine.watch(kept[0].fileno(), READ, tokens[0])
        # No finalizer of another test's engine in between: Python keeps what is raised there to itself.
        collecting = gc.isenabled()
        gc.disable()
        before = sys.gettrace()
        sys.settrace(at_call)
        try:
            engine.watch(changed[0].fileno(), READ, tokens[1])
            engine.watch(closed[0].fileno(), WRITE, tokens[2])
            engine.poll(0)
            engine.watch(changed[0].fileno(), BOTH, tokens[1])
            engine.poll(0.01)
            engine.watch(closed[0].fileno(), 0, None)
            engine.poll(0)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
            if collecting:
                gc.enable()
        engine.watch(closed[0].fileno(), 0, None)
        for sock in closed:
            sock.close()
        fresh = socket.socketpair()  # which has the numbers of the one just closed
        engine.watch(changed[0].fileno(), READ, tokens[1])
        engine.watch(fresh[0].fileno(), READ, tokens[3])
        for pair in (kept, changed, fresh):
            pair[1].send(b"x")
        seen: dict[int, int] = {}
        for _ in range(10):
            for token, mask in engine.poll(LONG):
                seen[id(token)] = mask
            if len(seen) == 3:
                break
        assert seen == {id(token): READ for token in (tokens[0], tokens[1], tokens[3])}, f"line {number}"
        for pair in (kept, changed, fresh):
            engine.watch(pair[0].fileno(), 0, None)
            for sock in pair:
                sock.close()
        assert engine.poll(0) == [], f"line {number}"
        return left <= 0

    def test_09_a_signal_that_does_not_raise_loses_nothing(self) -> None:
        left, right = self._pair()
        token = Opaque()
        self.engine.watch(left.fileno(), READ, token)
        calls: list[int] = []

        def handler(number: int, frame: FrameType | None) -> None:
            calls.append(number)
            if len(calls) == 3:
                right.send(b"x")

        with alarm(handler, 0.02):
            for _ in range(100):
                if self.engine.poll(LONG):
                    break
        assert len(calls) >= 3
        assert self._seen(token) == {id(token): READ}

    @pytest.mark.parametrize("interest", [0, READ, WRITE, BOTH])
    def test_10_a_negative_descriptor_is_an_os_error(self, interest: int) -> None:
        with pytest.raises(OSError):
            self.engine.watch(-1, interest, Opaque())
        self._silent()

    @pytest.mark.parametrize("interest", [READ, WRITE, BOTH])
    def test_10_a_closed_descriptor_is_an_os_error(self, interest: int) -> None:
        left, _ = self._pair()
        good, good_right = self._pair()
        token = Opaque()
        self.engine.watch(good.fileno(), READ, token)
        number = left.fileno()
        left.close()
        for bad in (number, 1_000_000_000):
            with pytest.raises(OSError):
                self.engine.watch(bad, interest, Opaque())
        self._silent()
        good_right.send(b"x")
        assert self._seen(token) == {id(token): READ}
        # The number is good again, and nothing of the failed attempt is left.
        os.dup2(good.fileno(), number)
        try:
            assert self._seen(token) == {id(token): READ}
        finally:
            os.close(number)

    def test_11_close_twice_and_nothing_after(self) -> None:
        left, right = self._pair()
        self.engine.watch(left.fileno(), READ, Opaque())
        self.engine.poll(0)
        self.engine.close()
        self.engine.close()
        for interest in (0, READ):
            with pytest.raises(RuntimeError):
                self.engine.watch(left.fileno(), interest, Opaque())
        for timeout in (0, SHORT, None):
            with pytest.raises(RuntimeError):
                self.engine.poll(timeout)
        right.send(b"x")
        assert left.recv(1) == b"x", "closing an engine leaves descriptors alone"

    def test_11_nothing_is_left_open(self) -> None:
        def descriptors() -> int:
            return len(os.listdir("/dev/fd"))

        self.make_engine().close()
        left, _ = self._pair()
        before = descriptors()
        for _ in range(10):
            engine = self.make_engine()
            engine.watch(left.fileno(), BOTH, Opaque())
            engine.poll(0)
            engine.close()
        assert descriptors() <= before

    @pytest.mark.parametrize("token", [None, 0, [], Opaque()])
    def test_12_tokens_are_opaque(self, token: object) -> None:
        left, right = self._pair()
        right.send(b"x")
        for interest in (READ, WRITE, BOTH, READ):
            self.engine.watch(left.fileno(), interest, token)
            self.engine.watch(left.fileno(), interest, token)
            batch = self.engine.poll(SHORT)
            assert len(batch) == 1 and batch[0][0] is token and batch[0][1] == interest
        self.engine.watch(left.fileno(), 0, token)
        self._silent()

    def test_12_one_token_may_serve_two_descriptors(self) -> None:
        token = Opaque()
        for _ in range(2):
            left, right = self._pair()
            right.send(b"x")
            self.engine.watch(left.fileno(), READ, token)
        counts = [len(self.engine.poll(SHORT)) for _ in range(10)]
        assert max(counts) == 2

    def test_13_every_ready_one_is_seen(self) -> None:
        tokens = [Opaque(number) for number in range(200)]
        for token in tokens:
            left, right = self._pair()
            right.send(b"x")
            self.engine.watch(left.fileno(), READ, token)
        self._seen(*tokens, polls=len(tokens))

    def test_14_more_than_select_takes(self) -> None:
        raise_descriptor_limit(MANY + 500)
        pairs = [socket.socketpair() for _ in range(MANY // 2)]
        self._open += [each for both in pairs for each in both]
        tokens = [Opaque(number) for number in range(MANY)]
        ends = [end for both in pairs for end in both]
        assert max(end.fileno() for end in ends) > 1024
        try:
            for end, token in zip(ends, tokens, strict=True):
                self.engine.watch(end.fileno(), READ, token)
        except OSError as error:
            pytest.skip(f"this engine's multiplexer has a limit: {error}")
        self._silent()
        last, last_right = tokens[-1], pairs[-1][0]
        last_right.send(b"x")
        assert self._seen(last) == {id(last): READ}
        for end in ends:
            end.send(b"x")
        assert self._seen(*tokens, polls=MANY) == {id(token): READ for token in tokens}
        for end in ends:
            self.engine.watch(end.fileno(), 0, None)
        self._silent()

    def test_15_two_engines_do_not_disturb_each_other(self) -> None:
        other = self._second_engine()
        left, right = self._pair()
        one, two = Opaque(1), Opaque(2)
        self.engine.watch(left.fileno(), READ, one)
        other.watch(left.fileno(), BOTH, two)
        assert self._seen(two, engine=other) == {id(two): WRITE}
        self._silent()
        right.send(b"x")
        assert self._seen(one) == {id(one): READ}
        assert self._seen(two, engine=other) == {id(two): BOTH}
        other.watch(left.fileno(), 0, None)
        self._silent(other)
        assert self._seen(one) == {id(one): READ}
        other.close()
        assert self._seen(one) == {id(one): READ}

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOMEM])
    @pytest.mark.parametrize("interest", [READ, WRITE, BOTH])
    @pytest.mark.parametrize("known", [False, True])
    def test_16_refused_is_never_silent(self, number: int, interest: int, known: bool) -> None:
        """The kernel refuses one descriptor: as a new one, or when its interest changes."""
        left, right = self._pair()
        good, good_right = self._pair()
        other, token = Opaque("good"), Opaque("refused")

        def there() -> None:
            with self.make_engine() as engine:
                if known:
                    engine.watch(left.fileno(), BOTH & ~interest or READ, Opaque("before"))
                engine.poll(0)
                refuse_or_skip("epoll_ctl", number, argument=2, equals=left.fileno())
                engine.watch(good.fileno(), READ, other)
                right.send(b"x")
                told: OSError | None = None
                began = time.monotonic()
                try:
                    engine.watch(left.fileno(), interest, token)
                    for timeout in (LONG, 0, 0):
                        engine.poll(timeout)
                except OSError as error:
                    told = error
                assert time.monotonic() - began < LONG, "told only when something else had happened"
                good_right.send(b"x")
                if told is None:  # an engine that asks the kernel for no place
                    assert self._seen(token, other, engine=engine)[id(token)] & interest
                    return
                assert told.errno == number
                if isinstance(told, WatchError):
                    assert [id(each) for each in told.tokens] == [id(token)]
                assert self._seen(other, engine=engine)[id(other)] == READ
                engine.watch(left.fileno(), 0, None)
                good.recv(1)
                self._silent(engine)

        elsewhere(there)

    @pytest.mark.parametrize("interest", [READ, WRITE, BOTH])
    @pytest.mark.parametrize("replaced", [False, True])
    @pytest.mark.parametrize("ready", [False, True])
    def test_17_tokens_are_let_go(self, interest: int, replaced: bool, ready: bool) -> None:
        left, right = self._pair()
        if ready:
            right.send(b"x")
        else:
            fill(left)
        token = Opaque()
        remembered = weakref.ref(token)
        self.engine.watch(left.fileno(), interest, token)
        self.engine.poll(SHORT)
        self.engine.watch(left.fileno(), interest if replaced else 0, Opaque("next") if replaced else None)
        del token
        self.engine.poll(0)
        if remembered() is not None:
            gc.collect()
        assert remembered() is None, "a token that was dropped is still held after a poll"

    def test_18_a_refused_wait_gets_out_of_poll(self) -> None:
        left, right = self._pair()
        token = Opaque()

        def there() -> None:
            with self.make_engine() as engine:
                engine.watch(left.fileno(), READ, token)
                engine.poll(0)
                for call, argument in (("epoll_wait", 3), ("epoll_pwait", 3), ("poll", 2)):
                    refuse_or_skip(call, errno.ENOMEM, argument=argument, above=10)  # waits, not looks
                    refuse_or_skip(call, errno.ENOMEM, argument=argument, equals=0xFFFFFFFF)  # for ever
                for _ in range(20):
                    began = time.monotonic()
                    try:
                        assert engine.poll(10 * SHORT) == []
                    except (OSError, EngineError) as error:
                        cause = error if isinstance(error, OSError) else error.__cause__
                        assert isinstance(cause, OSError) and cause.errno == errno.ENOMEM
                        break
                    if time.monotonic() - began >= 5 * SHORT:
                        pytest.skip("this engine waits by a call that is not refused here")
                else:
                    raise AssertionError("a wait that fails is taken for one that found nothing")
                right.send(b"x")
                for _ in range(20):
                    if batch := engine.poll(0):
                        break
                assert [(id(each), mask) for each, mask in batch] == [(id(token), READ)]

        elsewhere(there)

    # -- what is optional ----------------------------------------------------------------------------

    def test_fileno_is_readable_when_poll_would_return_something(self) -> None:
        try:
            number = self.engine.fileno()
        except UnsupportedOperationError:
            pytest.skip("the engine has no descriptor of its own")

        def readable() -> bool:
            return bool(select.select([number], [], [], 0)[0])

        left, right = self._pair()
        token = Opaque()
        assert not readable()
        right.send(b"x")
        for interest in (READ, WRITE, BOTH):
            self.engine.watch(left.fileno(), interest, token)  # after the last poll
            assert readable()
            assert self._seen(token) == {id(token): interest}
            assert readable(), "level-triggered, too"
        self.engine.watch(left.fileno(), READ, token)
        left.recv(1)
        for _ in range(3):  # a host must come to rest
            assert self.engine.poll(0) == []
        assert not readable()
        right.send(b"x")
        assert readable()
        self.engine.watch(left.fileno(), 0, None)
        for _ in range(3):
            assert self.engine.poll(0) == []
        assert not readable()
        assert self.engine.fileno() == number

    def test_name_and_availability(self) -> None:
        kind = type(self.engine)
        assert isinstance(self.engine.name, str) and ":" not in self.engine.name
        assert getattr(kind, "available", lambda: None)() is None

    def test_state_machine(self) -> None:
        """Random calls against a model that is a dict: descriptor to (interest, token)."""
        pytest.importorskip("hypothesis")
        from .engine_machine import run_engine_machine

        run_engine_machine(self.make_engine)
