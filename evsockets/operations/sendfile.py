"""Send the bytes of an open file with sendfile(2)."""

from __future__ import annotations

import _socket
import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core import outbox
from ..core.failure import socket_error
from ..core.operation import Operation
from ..engines.base import WRITE
from ..errors import SendError
from ..transports.stream import NO_SIGNAL, SEND_SIZE

if TYPE_CHECKING:
    from ..core.channel import Channel

_COPIED = 64 * 1024
# More follows at once: the head does not travel alone. See send(2); Linux has it.
_MORE: int = NO_SIGNAL | getattr(_socket, "MSG_MORE", 0)


def can_send_files() -> bool:
    """Whether `SendFileOperation` can be used: on Linux, if SIGPIPE is ignored, as it is in Python by
    default. sendfile(2) causes SIGPIPE when the peer has closed, and has no flag against it."""
    return sys.platform == "linux" and signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN


class SendFileOperation(Operation):
    """Sends `head`, then the bytes of `descriptor`, an open regular file, from `start` to before `stop`, over
    a connection without TLS.

    `done()` is called once, when all is sent or the socket ends; `position` is the offset reached. The caller
    closes the descriptor. A file that is shorter than `stop` gives a SendError. There is no WRITE event. One
    object serves one socket.
    """

    __slots__ = ("_done", "_head", "descriptor", "position", "stop", "then")

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
        head: bytes = b"",
    ) -> None:
        self.descriptor = descriptor
        self.position = start
        self.stop = stop
        self.then = then
        self._done = done
        self._head = head

    def start(self, channel: Channel) -> Operation | None:
        return self.step(channel, WRITE)

    def step(self, channel: Channel, mask: int) -> Operation | None:
        if self._head or self.position < self.stop:
            if not outbox.is_empty(channel):
                return self
            try:
                if channel.transport.failure is not None:
                    raise channel.transport.failure
                if not self._send_head(channel) or (self.position < self.stop and not self._send(channel)):
                    return self
            except BlockingIOError:
                return self
            except OSError as error:
                outbox.send_failed(channel, error)
        self._abandon(channel)
        return self.then

    def _send_head(self, channel: Channel) -> bool:
        """Whether the kernel has taken all of it."""
        if self._head:
            sent = channel.transport.sock.send(self._head, _MORE)
            self._head = self._head[sent:]
            outbox.sent(channel, sent)
        return not self._head

    def _send(self, channel: Channel) -> bool:
        """Whether the kernel has taken the last byte of the file; a SendError if there is none to be sent."""
        size = min(self.stop - self.position, SEND_SIZE)
        try:
            sent = os.sendfile(channel.transport.fileno(), self.descriptor, self.position, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            # A file system from which the kernel does not send.
            chunk = os.pread(self.descriptor, min(size, _COPIED), self.position)
            sent = channel.transport.send(chunk) if chunk else 0
            if chunk and not sent:
                return False
        if not sent:
            raise socket_error(SendError, channel, "the file has shrunk while it was sent", "writing")
        self.position += sent
        outbox.sent(channel, sent)
        return self.position >= self.stop

    def _abandon(self, channel: Channel) -> None:
        done, self._done = self._done, None
        if done is not None:
            done()

    def __repr__(self) -> str:
        return f"<SendFileOperation up to {self.stop}>"
