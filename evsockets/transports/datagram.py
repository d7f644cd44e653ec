"""Datagrams: a connected client's, and a server's, which carries every peer on one socket."""

from __future__ import annotations

import _socket
import errno
import os

from ..address import SockAddr
from ..errors import UnsupportedOperationError
from .listener import Listener
from .stream import Data, StreamTransport

# No UDP datagram is larger; larger unix datagrams are reported as truncated.
DATAGRAM_SIZE = 65536


def _truncated() -> OSError:
    return OSError(errno.EMSGSIZE, f"a datagram of more than {DATAGRAM_SIZE} bytes was truncated")


def _checked(sock: _socket.socket) -> tuple[bytes, SockAddr]:
    data, _, flags, sender = sock.recvmsg(DATAGRAM_SIZE)
    if flags & _socket.MSG_TRUNC:
        raise _truncated()
    return data, sender


class DatagramTransport(StreamTransport):
    """Move whole datagrams through a connected, non-blocking datagram socket.

    As StreamTransport, but one `recv` is one datagram (b"" is an empty one, never an end), as is one `send`.
    """

    __slots__ = ()

    datagram = True

    def recv(self) -> bytes | None:
        """Return one datagram, None if there is none now.

        Raises OSError: EMSGSIZE for a truncated one (which is lost), ECONNREFUSED when the host said so.
        """
        try:
            if self.sock.family != _socket.AF_UNIX:  # no UDP datagram can be truncated
                return self.sock.recv(DATAGRAM_SIZE)
            return _checked(self.sock)[0]
        except BlockingIOError:
            return None

    def send(self, data: Data) -> int:
        """Send `data`, which may be empty, as one datagram; return its length, or -1 if not possible now."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return -1

    def shutdown_write(self) -> bool:
        """Raises UnsupportedOperationError: datagrams have no end of stream."""
        raise UnsupportedOperationError("datagrams have no end of stream to send")


class ServerDatagram(Listener):
    """Receive datagrams with their senders, and answer them, through one bound, non-blocking socket."""

    __slots__ = ()

    datagram = True

    def receive(self) -> tuple[bytes, SockAddr] | None:
        """Return the next `(datagram, sender's raw address)`, None if there is none now.

        An unbound unix sender's address is None. Raises OSError: EMSGSIZE for a truncated one, which is lost.
        """
        try:
            if self.sock.family != _socket.AF_UNIX:  # no UDP datagram can be truncated
                return self.sock.recvfrom(DATAGRAM_SIZE)
            return _checked(self.sock)
        except BlockingIOError:
            return None

    def send_to(self, data: Data, sockaddr: SockAddr) -> int:
        """Send `data`, which may be empty, to `sockaddr`; return its length, or -1 if not possible now.

        Raises OSError.
        """
        if not sockaddr:
            raise OSError(errno.EDESTADDRREQ, os.strerror(errno.EDESTADDRREQ))
        try:
            return self.sock.sendto(data, sockaddr)
        except BlockingIOError:
            return -1


class DatagramReply:
    """One datagram a server received, and the way back to its sender. The descriptor is the server's.

    `recv` gives the datagram once, then b"" with `at_end` true; `send` answers.
    """

    __slots__ = ("_data", "_remote", "_server", "at_end", "retry_at")

    datagram = True
    shared = True
    closed = False
    supports_urgent = False
    wants = 0
    pending = False
    unflushed = 0

    def __init__(self, server: ServerDatagram, data: bytes, remote: SockAddr) -> None:
        self._server = server
        self._data: bytes | None = data
        self._remote = remote
        self.at_end = False
        self.retry_at = 0.0  # when the channel sends again what was not taken

    @property
    def sock(self) -> _socket.socket:
        """The server's socket."""
        return self._server.sock

    def fileno(self) -> int:
        """Return -1: there is no descriptor of its own."""
        return -1

    def recv(self) -> bytes | None:
        """Return the datagram, then b"" for the end."""
        data, self._data = self._data, None
        if data is None:
            self.at_end = True
            return b""
        return data

    def send(self, data: Data) -> int:
        """Answer with one datagram; return its length, or -1 if not possible now. Raises OSError."""
        return self._server.send_to(data, self._remote)

    def flush(self) -> bool:
        """Return True: nothing is kept."""
        return True

    def shutdown_write(self) -> bool:
        """Raises UnsupportedOperationError: datagrams have no end of stream."""
        raise UnsupportedOperationError("datagrams have no end of stream to send")

    def send_oob(self, data: Data) -> int:
        """Raises UnsupportedOperationError: datagrams have no out-of-band data."""
        raise UnsupportedOperationError("out-of-band data needs a tcp connection")

    def close(self) -> None:
        """Do nothing: the server's socket stays open."""

    abort = close
