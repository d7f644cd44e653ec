"""Wakes a waiting engine from another thread or a signal handler: a descriptor others write to."""

from __future__ import annotations

import _socket
import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from .engines.base import READ, Engine


class Waker:
    """`wake()` may be called from anywhere, takes no lock, and coalesces."""

    __slots__ = ("_reader", "_writer", "engine", "operation", "signalled")

    plain = heed = False  # as other tokens have it: nothing here could want something else
    channel = None  # what a step raises is nobody's in particular

    def __init__(self, engine: Engine) -> None:
        self._reader, self._writer = _socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self.engine = engine
        self.operation = self  # the engine's tokens all have an operation to step
        self.signalled = False
        try:
            engine.watch(self._reader.fileno(), READ, self)
        except BaseException:
            self._reader.close()
            self._writer.close()
            raise

    def wake(self) -> None:
        """Make a waiting (or the next) poll return."""
        if not self.signalled:
            self.signalled = True
            try:
                self._writer.send(b"\0")
            except (BlockingIOError, InterruptedError):
                pass  # a full pipe wakes as well
            except OSError:
                if self._writer.fileno() >= 0:
                    raise

    @contextlib.contextmanager
    def woken_by_signals(self) -> Iterator[None]:
        """Have every signal wake the engine, in the main thread and if nobody else has claimed that: one
        that comes just before the engine waits would interrupt nothing, and its handler would not run.
        Not an engine that `notices_signals` by itself."""
        if getattr(self.engine, "notices_signals", False):
            yield
            return
        number = self._writer.fileno()
        try:
            before = signal.set_wakeup_fd(number, warn_on_full_buffer=False)
        except ValueError:  # not the main thread
            before = number = -1
        if before != -1:
            signal.set_wakeup_fd(before)
            number = -1
        try:
            yield
        finally:
            if number != -1:
                signal.set_wakeup_fd(-1)

    def step(self, token: Any, mask: int) -> Waker:
        """Take the wake-up. The flag falls last: falling first, it would be raised again by a wake-up whose
        byte is taken here, and every later one would then be kept back. What a wake-up before the fall was
        for is looked at later in the same turn."""
        try:
            while len(self._reader.recv(256)) == 256:
                pass
        except (BlockingIOError, InterruptedError):
            pass
        finally:
            self.signalled = False
        return self

    def close(self) -> None:
        """Forget and close both ends."""
        try:
            if self._reader.fileno() >= 0:
                self.engine.watch(self._reader.fileno(), 0, self)
        except RuntimeError:  # the engine was closed before
            pass
        finally:
            self._reader.close()
            self._writer.close()
