"""Wakes a waiting engine from another thread or a signal handler: a descriptor others write to."""

from __future__ import annotations

import _socket
import os
import signal
from functools import partial
from typing import Any

from .core.operation import Stepper
from .core.token import Token
from .engines.asking import failure, watch
from .engines.base import READ, Engine
from .errors import EngineError
from .transports.stream import NO_SIGNAL

_set_wakeup = partial(signal.set_wakeup_fd, warn_on_full_buffer=False)


class Waking(Stepper):
    """The stepper of the waker, which is not a socket of a user."""

    __slots__ = ()

    interest = READ

    def step(self, channel: Any, mask: int) -> Any:
        return channel.step(channel, mask)


WAKING = Waking()


class Waker(Token):
    """`wake()` may be called from any thread or signal handler, takes no lock, and coalesces.

    A wake-up is one byte on a socket pair. If the system refuses the byte (no buffers, no memory), the
    writer's half is shut down instead, which needs no buffer; `step` then makes a new pair with the same
    descriptor numbers.
    """

    __slots__ = ("_former", "_lost", "_reader", "_writer", "engine", "signalled")

    def __init__(self, engine: Engine) -> None:
        self._reader, self._writer = _pair()
        self.engine = engine
        self.stepper: Waking | None = WAKING
        self.watched = READ
        self.indirect = False
        self.signalled = False
        self._lost = False  # the reader is not watched, or the pair is only half renewed
        self._former: list[int] = []  # the signal wake-up descriptor that the writer has replaced
        try:
            self._watch()
        except BaseException:
            self._reader.close()
            self._writer.close()
            raise

    @property
    def channel(self) -> None:
        """None: an exception of its step belongs to no socket and ends the run."""
        return None

    def _watch(self) -> None:
        try:
            watch(self.engine, self._reader.fileno(), READ, self)
        except OSError as error:
            self.refused(error)

    def refused(self, error: OSError) -> None:
        """Without its wake-ups an executor cannot run."""
        self._lost = True
        raise EngineError(
            f"the engine {self.engine.name!r} cannot watch the descriptor that wakes it: {error}"
        ) from error

    def begin(self) -> None:
        """Begin a run: complete a wake-up that was interrupted at the end of the last run."""
        self.signalled = False
        if self._lost:
            self._renew()

    def wake(self) -> None:
        """Make a waiting (or the next) poll return. OSError if the descriptor is gone."""
        if not self.signalled:
            self.signalled = True
            try:
                self._writer.send(b"\0", NO_SIGNAL)
            except BlockingIOError:
                pass  # a full pipe wakes as well
            except OSError:
                self._wake_by_end_of_stream()
            except BaseException:
                self.signalled = False
                raise

    def _wake_by_end_of_stream(self) -> None:
        if self._writer.fileno() >= 0:
            try:
                self._writer.shutdown(_socket.SHUT_WR)
            except BaseException:
                self.signalled = False  # the next one tries anew
                raise

    def hear_signals(self) -> None:
        """Make the writer the process's signal wake-up descriptor, unless another one is set.

        A signal that comes just before the engine waits interrupts no system call, and its Python handler
        would not run until the wait ends. In the main thread only; an engine that `notices_signals` needs
        none of this.
        """
        if getattr(self.engine, "notices_signals", False):
            return
        try:
            # One call in C: no signal handler runs between setting the descriptor and noting the former one.
            self._former.extend(map(_set_wakeup, (self._writer.fileno(),)))
        except ValueError:  # not the main thread
            return
        if self._former[0] != -1:
            self.ignore_signals()

    def ignore_signals(self) -> None:
        """Restore the former signal wake-up descriptor. May be called again after an interruption."""
        if self._former:
            try:
                signal.set_wakeup_fd(self._former[0])
            except (OSError, ValueError):  # its owner has closed it meanwhile
                signal.set_wakeup_fd(-1)
            self._former.clear()

    def forked(self, engine: Engine) -> None:
        """In the child of a fork: send no byte, for it would wake the parent."""
        self.signalled = True
        self.engine = engine

    def step(self, token: Any, mask: int) -> Waking:
        """Read the wake-up byte, and reset `signalled` after it.

        Reset before, `signalled` could be set by a `wake` whose byte is then read here: no byte would be
        left, and every later `wake` would send none. A `wake` that comes before the reset needs no byte: the
        callbacks posted before it run in this turn.
        """
        try:
            while (size := len(self._reader.recv(256))) == 256:
                pass
            if not size:
                self._renew()
        except OSError:
            pass  # no byte, or the system refuses to give it; the engine then reports the reader again
        finally:
            self.signalled = False
        return WAKING

    def _renew(self) -> None:
        """After a wake-up by end of stream: make a new pair. The descriptors' numbers stay, because the
        process's signal wake-up descriptor may be one of them."""
        self._lost = True
        ours = self._reader.fileno(), self._writer.fileno()
        pair = _pair()
        try:
            watch(self.engine, ours[0], 0, self)
            for fresh, number in zip(pair, ours, strict=True):
                os.dup2(fresh.fileno(), number, inheritable=False)
        finally:
            for fresh in pair:
                fresh.close()
        self._watch()
        self._lost = False

    def close(self) -> None:
        """Stop watching, and close both ends."""
        try:
            if self._reader.fileno() >= 0:
                self.engine.watch(self._reader.fileno(), 0, self)
        except RuntimeError:  # the engine was closed before
            pass
        except Exception as error:
            raise failure(self.engine, "watch", error)
        finally:
            self._reader.close()
            self._writer.close()


def _pair() -> tuple[_socket.socket, _socket.socket]:
    reader, writer = _socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    return reader, writer
