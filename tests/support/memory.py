"""Stream sockets without a kernel: pairs of them in memory, and the scripted engine that sees them ready."""

from __future__ import annotations

import errno
import itertools
import os
import socket

from evsockets import READ, WRITE, ClientSocket
from evsockets.testing.scripted import Readiness
from support.stage import PatientEngine

_numbers = itertools.count(1 << 20)  # no descriptor of this process is as high


class MemorySocket:
    """One end of a pair; it does what a non-blocking unix stream socket does.

    `room` is how many bytes may wait here to be received, `arrivals` are the sizes of what one send each
    has brought.
    """

    family = socket.AF_UNIX
    type = socket.SOCK_STREAM
    proto = 0

    def __init__(self) -> None:
        self.other = self
        self.room = 200_000
        self.arrivals: list[int] = []
        self._number = next(_numbers)
        self._arrived = bytearray()
        self._ended = False  # the other end sends no more
        self._gone = False  # the other end is closed
        self._reset = False  # and had not read everything
        self._shut = False  # this end sends no more

    def recv(self, size: int, flags: int = 0) -> bytes:
        self._check_open()
        if self._arrived:
            data = bytes(self._arrived[:size])
            if not flags & socket.MSG_PEEK:
                del self._arrived[:size]
            return data
        if self._reset:
            self._reset = False
            raise _error(errno.ECONNRESET)
        if not self._ended:
            raise _error(errno.EAGAIN)
        return b""

    def send(self, data: bytes | bytearray | memoryview, flags: int = 0) -> int:
        self._check_open()
        if self._gone or self._shut:
            raise _error(errno.EPIPE)
        other = self.other
        taken = memoryview(data)[: max(0, other.room - len(other._arrived))]
        if len(data) and not len(taken):
            raise _error(errno.EAGAIN)
        other._arrived += taken
        other.arrivals.append(len(taken))
        return len(taken)

    def shutdown(self, how: int) -> None:
        self._shut = self.other._ended = True

    def close(self) -> None:
        if self._number >= 0:
            self._number = -1
            self.other._ended = self.other._gone = True
            self.other._reset = bool(self._arrived)

    def reset(self) -> None:
        """Close as if something of the other end's lay unread."""
        self.close()
        self.other._reset = True

    def fileno(self) -> int:
        return self._number

    def getpeername(self) -> str:
        return ""

    getsockname = getpeername

    def setsockopt(self, *option: object) -> None:
        """No option changes what it does."""

    def ready(self) -> Readiness:
        """As an engine reports it."""
        readable = READ if self._arrived or self._ended or self._gone else 0
        writable = WRITE if self._gone or self._shut or len(self.other._arrived) < self.other.room else 0
        return self._number, readable | writable

    def _check_open(self) -> None:
        if self._number < 0:
            raise _error(errno.EBADF)


def unread(sock: MemorySocket) -> int:
    """How many bytes wait to be received; of a descriptor the kernel says it."""
    return len(sock._arrived)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class MemoryEngine(PatientEngine):
    """The scripted engine, its clock at 0, which sees its own memory sockets ready."""

    def __init__(self) -> None:
        super().__init__(look=True)
        self.clock.now = 0.0
        self._ends: list[MemorySocket] = []

    def pair(self) -> tuple[ClientSocket, MemorySocket]:
        """A client and its peer."""
        ours, theirs = MemorySocket(), MemorySocket()
        ours.other, theirs.other = theirs, ours
        self._ends.append(ours)
        client = ClientSocket()
        client._adopted = ours
        return client, theirs

    def _really_ready(self) -> list[Readiness]:
        ready = [end.ready() for end in self._ends if end.fileno() in self.watched]
        hidden = {number: self.watched.pop(number) for number, _ in ready}
        try:
            return ready + super()._really_ready()
        finally:
            self.watched.update(hidden)
