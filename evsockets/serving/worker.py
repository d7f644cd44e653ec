"""The worker process: it serves from a socket of its parent, and drains or stops when the parent says so."""

from __future__ import annotations

import _socket
import contextlib
import pickle
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from .._unpatched import original
from ..drain import DrainReport
from ..executor import RequestExecutor
from ..pickles import sendable

#: What the parent says to a worker: end in good order, or at once. Its own end says the first.
DRAIN, STOP = b"d", b"s"

#: `job(listener, ready)` serves from the listening socket `listener`, calls `ready(executor, local_address)`
#: when it accepts, and returns how its clients ended. It is sent to workers, and so is importable.
Job = Callable[[socket.socket, Callable[[RequestExecutor, Any], None]], DrainReport]


def main(
    job: bytes, listener: socket.socket, control: socket.socket, drain_timeout: float | None
) -> None:
    """Run the pickled Job `job` in this process, which was started for it.

    Messages to the parent go through `control` as pickled pairs: ("ready", local address), ("ended",
    report), ("failed", exception).
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # of a terminal: the parent is told as well, and tells us
    link = _Link(control, drain_timeout)
    try:
        report = pickle.loads(job)(listener, link.ready)
        report.aborted = [(repr(socket), why) for socket, why in report.aborted]
    except BaseException as error:
        link.tell("failed", sendable(error))
        sys.exit(1)
    link.tell("ended", report)


class _Link:
    """The connection to the parent."""

    def __init__(self, control: socket.socket, drain_timeout: float | None) -> None:
        # Not the socket of a patched gevent: another thread waits for it than that of the hub.
        self._control = _socket.socket(fileno=control.detach())
        self._control.setblocking(True)
        self._drain_timeout = drain_timeout
        self._executor: RequestExecutor | None = None
        self._told = b""
        original("_thread", "start_new_thread")(self._listen, ())

    def ready(self, executor: RequestExecutor, local_address: Any) -> None:
        """It is accepted from the listener."""
        self._executor = executor
        self.tell("ready", local_address)
        if self._told:
            self._obey()

    def tell(self, what: str, value: Any) -> None:
        """Say something to the parent, if it is there."""
        message = pickle.dumps((what, value))
        with contextlib.suppress(OSError):
            self._control.sendall(struct.pack(">I", len(message)) + message)

    def _listen(self) -> None:
        told = b"x"
        while told:
            try:
                told = self._control.recv(1)
            except OSError:
                told = b""
            self._told = told or DRAIN
            if self._executor is not None:
                self._obey()

    def _obey(self) -> None:
        assert self._executor is not None
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            if self._told == STOP:
                self._executor.stop_request()
            else:
                self._executor.drain(self._drain_timeout)
