"""Send the bytes of an open file with sendfile(2)."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core import outbox, speed
from ..core.failure import socket_error
from ..core.operation import Operation
from ..engines.base import WRITE
from ..errors import SendError
from ..transports.stream import SEND_SIZE

if TYPE_CHECKING:
    from ..core.channel import Channel

_COPIED = 64 * 1024


def can_send_files() -> bool:
    """Whether `SendFileOperation` can be used: on Linux, if SIGPIPE is ignored, as it is in Python by
    default. sendfile(2) causes SIGPIPE when the peer has closed, and has no flag against it."""
    return sys.platform == "linux" and signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN


class SendFileOperation(Operation):
    """Sends the bytes of `descriptor`, an open regular file, from `start` to before `stop`, over a connection
    without TLS.

    `done()` is called once, when all is sent or the socket ends; `position` is the offset reached. The caller
    closes the descriptor. A file that is shorter than `stop` gives a SendError. There is no WRITE event. One
    object serves one socket.
    """

    __slots__ = ("_done", "descriptor", "position", "stop", "then")

    interest = WRITE
    _phase = "writing"
    _replaceable = False

    def __init__(
        self,
        descriptor: int,
        start: int,
        stop: int,
        then: Operation | None = None,
        done: Callable[[], object] | None = None,
    ) -> None:
        self.descriptor = descriptor
        self.position = start
        self.stop = stop
        self.then = then
        self._done = done

    def start(self, channel: Channel) -> Operation | None:
        return self.step(channel, WRITE)

    def step(self, channel: Channel, mask: int) -> Operation | None:
        if self.position < self.stop and not self._is_lost(channel):
            if not outbox.flush(channel):
                return self
            try:
                sent = self._send(channel)
            except BlockingIOError:
                return self
            except OSError as error:
                outbox.send_failed(channel, error)
                self._abandon(channel)
                return self.then
            if not sent:
                raise socket_error(SendError, channel, "the file has shrunk while it was sent", "writing")
            self.position += sent
            channel.bytes_sent += sent
            channel.io_start = channel.loop.turn_time
            if channel.speeds:
                speed.sample(channel)
            if self.position < self.stop:
                return self
        self._abandon(channel)
        return self.then

    def _is_lost(self, channel: Channel) -> bool:
        """Whether nothing can be sent any more; raised, unless there is something to be read before."""
        failure = channel.transport.failure
        if failure is None:
            return False
        outbox.send_failed(channel, failure)
        return True

    def _send(self, channel: Channel) -> int:
        """How many bytes were taken; 0 if the file has none there."""
        size = min(self.stop - self.position, SEND_SIZE)
        try:
            return os.sendfile(channel.transport.fileno(), self.descriptor, self.position, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
        # A file system from which the kernel does not send.
        chunk = os.pread(self.descriptor, min(size, _COPIED), self.position)
        sent: int = channel.transport.send(chunk) if chunk else 0
        if chunk and not sent:
            raise BlockingIOError
        return sent

    def _abandon(self, channel: Channel) -> None:
        done, self._done = self._done, None
        if done is not None:
            done()

    def __repr__(self) -> str:
        return f"<SendFileOperation up to {self.stop}>"
