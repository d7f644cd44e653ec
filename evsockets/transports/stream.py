"""The transport of a connected stream socket: tcp and unix."""

from __future__ import annotations

import _socket
import array
import fcntl
import struct
import sys

from ..errors import UnsupportedOperationError
from .base import Transport

# Larger reads are slower: the interpreter allocates the whole buffer and then shrinks it.
RECEIVE_SIZE = 65536
# What one send is given: the kernel goes on for as long as the peer takes it away, others waiting.
SEND_SIZE = 1024 * 1024

# Whether the kernel tells how many bytes of a TCP connection the peer's has yet to acknowledge.
TELLS_ACKNOWLEDGED = sys.platform == "linux"
# A peer that has hung up is an error of its socket, not a SIGPIPE, which by default ends the process.
NO_SIGNAL: int = getattr(_socket, "MSG_NOSIGNAL", 0)

# From <asm/sockios.h> and <sys/sockio.h>; Python does not export it.
_SIOCATMARK = 0x8905 if sys.platform == "linux" else 0x40047307
# From <linux/sockios.h>, tcp(7): bytes in the send queue that are not acknowledged.
_SIOCOUTQ = 0x5411
# From <linux/tcp.h>: where tcpi_last_ack_recv lies in struct tcp_info, milliseconds in an unsigned int.
_LAST_ACK = struct.Struct("=56xI")
# Seconds; above the kernel's own tick, in which it measures them.
_TICK = 0.011

Data = bytes | bytearray | memoryview


class StreamTransport(Transport):
    """Move bytes through a connected, non-blocking stream socket.

    What the methods return None, 0 or False for cannot be done now: try again when the socket is ready in the
    direction of the call, or in that of `wants` if it is not 0. An OSError passes through as it is.
    """

    __slots__ = ("acknowledges",)

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock
        self.acknowledges = TELLS_ACKNOWLEDGED and is_tcp(sock)

    @property
    def supports_out_of_band(self) -> bool:
        """Whether out-of-band data can be sent."""
        return is_tcp(self.sock)

    def unacknowledged(self) -> int:
        """Return how many bytes the peer's kernel has yet to acknowledge, 0 where none can tell."""
        return send_queue(self.sock) or 0

    def since_acknowledged(self) -> float:
        """Return how many seconds ago, at the most, the peer's kernel acknowledged something; 0 if unknown.

        The answer to a keep-alive or to a window probe counts as well.
        """
        try:
            info = self.sock.getsockopt(_socket.IPPROTO_TCP, _socket.TCP_INFO, _LAST_ACK.size)
            milliseconds: int = _LAST_ACK.unpack(info)[0]
            return max(0.0, milliseconds / 1000 - _TICK)
        except (OSError, AttributeError, struct.error):
            return 0.0

    def recv(self) -> bytes | None:
        """Return up to 64 KiB; b"" at the end of the stream, None if there is nothing now."""
        try:
            return self.sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return None

    def send(self, data: Data) -> int:
        """Return how many bytes of `data` were taken, 0 if none can be now."""
        try:
            return self.sock.send(data, NO_SIGNAL)
        except BlockingIOError:
            return 0

    def flush(self) -> bool:
        """Pass on what `send` kept; return whether nothing is left."""
        return True

    def shutdown_write(self) -> bool:
        """End our direction, the other stays open; return False if that cannot be done now."""
        self.sock.shutdown(_socket.SHUT_WR)
        return True

    def send_out_of_band(self, data: Data) -> int:
        """Send one out-of-band byte; return 1, or 0 if that cannot be done now.

        Raises UnsupportedOperationError for any other length and for what is not TCP.
        """
        if not self.supports_out_of_band:
            raise UnsupportedOperationError("out-of-band data needs a tcp connection")
        if len(data) != 1:
            raise UnsupportedOperationError(f"out-of-band data is one byte per send, not {len(data)}")
        try:
            return self.sock.send(data, _socket.MSG_OOB | NO_SIGNAL)
        except BlockingIOError:
            return 0

    def at_mark(self) -> bool:
        """Return whether the next byte is out-of-band; it comes in line where SO_OOBINLINE is set.

        No `recv` reads past the bytes before it.
        """
        flag = array.array("i", [0])
        fcntl.ioctl(self.sock.fileno(), _SIOCATMARK, flag, True)
        return flag[0] != 0


def send_queue(sock: _socket.socket) -> int | None:
    """Return how many sent bytes the other end's kernel has not acknowledged, None where none can tell."""
    if sys.platform != "linux":
        return None
    count = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), _SIOCOUTQ, count, True)
    except (OSError, ValueError):  # closed behind our back, which the next receive or send will tell
        return None
    return count[0]


def is_tcp(sock: _socket.socket) -> bool:
    """Return whether `sock` is a TCP socket."""
    return sock.family != _socket.AF_UNIX and sock.type == _socket.SOCK_STREAM
