"""Bytes over a connected stream socket: tcp and unix."""

from __future__ import annotations

import _socket
import array
import fcntl
import sys

from ..errors import UnsupportedOperationError
from .base import Transport

# Larger reads are slower: the interpreter allocates the whole buffer and then shrinks it.
RECEIVE_SIZE = 65536
# What one send is given: the kernel goes on for as long as the peer takes it away, others waiting.
SEND_SIZE = 1024 * 1024

# From <asm/sockios.h> and <sys/sockio.h>; Python does not export it.
_SIOCATMARK = 0x8905 if sys.platform == "linux" else 0x40047307

Data = bytes | bytearray | memoryview


class StreamTransport(Transport):
    """Move bytes through a connected, non-blocking stream socket.

    What the methods return None, 0 or False for cannot be done now: try again when the socket is ready in the
    direction of the call, or in that of `wants` if it is not 0. An OSError passes through as it is.
    """

    __slots__ = ()

    @property
    def supports_urgent(self) -> bool:
        """Whether out-of-band data can be sent."""
        return is_tcp(self.sock)

    def recv(self) -> bytes | None:
        """Return up to 64 KiB; b"" at the end of the stream, None if there is nothing now."""
        try:
            return self.sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return None

    def send(self, data: Data) -> int:
        """Return how many bytes of `data` were taken, 0 if none can be now."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    def flush(self) -> bool:
        """Pass on what `send` kept; return whether nothing is left."""
        return True

    def shutdown_write(self) -> bool:
        """End our direction, the other stays open; return False if that cannot be done now."""
        self.sock.shutdown(_socket.SHUT_WR)
        return True

    def send_oob(self, data: Data) -> int:
        """Send one urgent byte; return 1, or 0 if that cannot be done now.

        Raises UnsupportedOperationError for any other length and for what is not TCP.
        """
        if not self.supports_urgent:
            raise UnsupportedOperationError("out-of-band data needs a tcp connection")
        if len(data) != 1:
            raise UnsupportedOperationError(f"out-of-band data is one byte per send, not {len(data)}")
        try:
            return self.sock.send(data, _socket.MSG_OOB)
        except BlockingIOError:
            return 0

    def at_mark(self) -> bool:
        """Return whether the next byte is urgent; it comes in line where SO_OOBINLINE is set.

        No `recv` reads past the bytes before it.
        """
        flag = array.array("i", [0])
        fcntl.ioctl(self.sock.fileno(), _SIOCATMARK, flag, True)
        return flag[0] != 0


def is_tcp(sock: _socket.socket) -> bool:
    """Return whether `sock` is a TCP socket."""
    return sock.family != _socket.AF_UNIX and sock.type == _socket.SOCK_STREAM
