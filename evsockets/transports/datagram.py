"""Datagrams: a connected client's, and a server's, which carries every peer on one socket."""

from __future__ import annotations

import _socket
import errno
import os
import sys
from collections.abc import Sequence
from typing import Any

from ..address import SockAddr
from .listener import Listener
from .packet_info import IP_PKTINFO, Asked, Datagram, asked_of
from .stream import NO_SIGNAL, Data, StreamTransport

try:
    from ._batches import Batches  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    Batches = None

_PACKET_INFO = frozenset(
    {(_socket.IPPROTO_IP, IP_PKTINFO), (_socket.IPPROTO_IPV6, getattr(_socket, "IPV6_PKTINFO", -1))}
)
_CONTROL_SIZE = 256  # room for what else a descriptor's former owner asked for
_INTERNET = (_socket.AF_INET, _socket.AF_INET6)
_WILDCARDS = ("0.0.0.0", "::", "::ffff:0.0.0.0")
# No UDP datagram is larger; larger unix datagrams are reported as truncated.
DATAGRAM_SIZE = 65536


def _truncated() -> OSError:
    return OSError(errno.EMSGSIZE, f"a datagram of more than {DATAGRAM_SIZE} bytes was truncated")


def checked_datagram(sock: _socket.socket) -> tuple[bytes, SockAddr]:
    """Receive one with its sender. Raises BlockingIOError if there is none, OSError if it was truncated."""
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
            return checked_datagram(self.sock)[0]
        except BlockingIOError:
            return None

    def send(self, data: Data) -> int:
        """Send `data`, which may be empty, as one datagram; return its length, or -1 if not possible now."""
        try:
            return self.sock.send(data, NO_SIGNAL)
        except BlockingIOError:
            return -1


class ServerDatagram(Listener):
    """Receive datagrams with their senders, and answer them, through one bound, non-blocking socket.

    `asked` is what the datagram received last was sent to, None where there is but one address.
    """

    __slots__ = ("_batches",)

    datagram = True
    asked: Asked | None = None

    def __init__(self, sock: _socket.socket) -> None:
        super().__init__(sock)
        self._batches = self._in_c()

    def _in_c(self, informed: bool = False, mapped: bool = False) -> Any:
        """What does with one system call what `receive_many` and `send_many` do, if it was built."""
        if Batches is None or self.sock.family not in _INTERNET or not isinstance(self.sock, _socket.socket):
            return None
        return Batches(self.sock, informed, mapped)

    def _receive_one(self) -> tuple[bytes, SockAddr]:
        """The next `(datagram, sender's raw address)`; an unbound unix sender's address is None.

        Raises BlockingIOError if there is none, OSError: EMSGSIZE for a truncated one, which is lost.
        """
        if self.sock.family != _socket.AF_UNIX:  # no UDP datagram can be truncated
            return self.sock.recvfrom(DATAGRAM_SIZE)
        return checked_datagram(self.sock)

    def receive_many(self, most: int) -> list[Datagram | OSError]:
        """Return up to `most` of what lies there, in order: datagrams, and what receiving one raises."""
        received: list[Datagram | OSError] = []
        if self._batches is not None:
            received = self._batches.receive(most)
            return received
        receive = self._receive_one
        for _ in range(most):
            try:
                data, remote = receive()
            except BlockingIOError:
                break
            except OSError as error:
                received.append(error.with_traceback(None))
            else:
                received.append(Datagram(data, remote, self.asked))
        return received

    def send_many(self, datagrams: Sequence[Datagram]) -> int:
        """Send them in order; return how many the system has taken. Raises OSError if the first one cannot be
        sent."""
        if self._batches is not None:
            taken: int = self._batches.send(datagrams)
            if taken >= 0:
                return taken
            datagrams = datagrams[:1]
        sent = 0
        for one in datagrams:
            try:
                if self.send_to(one.data, one.remote, one.asked) < 0:
                    break
            except OSError:
                if not sent:
                    raise
                break  # told when it is the first
            sent += 1
        return sent

    def send_to(self, data: Data, sockaddr: SockAddr, asked: Asked | None = None) -> int:
        """Send `data`, which may be empty, to `sockaddr` from the address `asked`; return its length, or -1
        if not possible now.

        Raises OSError.
        """
        if not sockaddr:
            raise OSError(errno.EDESTADDRREQ, os.strerror(errno.EDESTADDRREQ))
        if self._batches is not None:
            sent: int = self._batches.send_one(data, sockaddr)
            return sent
        try:
            return self.sock.sendto(data, NO_SIGNAL, sockaddr)
        except BlockingIOError:
            return -1


class WildcardDatagram(ServerDatagram):
    """A server on all addresses of the machine: it notes which one a datagram was sent to, and answers from
    there, for clients drop answers from another address (RFC 1122, 4.1.3.5)."""

    __slots__ = ("_mapped", "asked")

    def __init__(self, sock: _socket.socket) -> None:
        super().__init__(sock)
        self._mapped = sock.family == _socket.AF_INET6
        sock.setsockopt(_socket.IPPROTO_IP, IP_PKTINFO, 1)  # of IPv4 through an IPv6 socket, too
        if self._mapped:
            sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_RECVPKTINFO, 1)
        self.asked = None
        self._batches = self._in_c(True, self._mapped)

    def _receive_one(self) -> tuple[bytes, SockAddr]:
        """See `ServerDatagram._receive_one`; `asked` is set."""
        data, control, _, sender = self.sock.recvmsg(DATAGRAM_SIZE, _CONTROL_SIZE)
        self.asked = None
        for level, kind, info in control:  # of IPv4 through an IPv6 socket both come, IPv4's last
            if (level, kind) in _PACKET_INFO:
                self.asked = asked_of(level, kind, info, self._mapped)
        return data, sender

    def send_to(self, data: Data, sockaddr: SockAddr, asked: Asked | None = None) -> int:
        """See `ServerDatagram.send_to`."""
        if asked is not None:
            try:
                return self.sock.sendmsg([data], asked.control, NO_SIGNAL, sockaddr)
            except BlockingIOError:
                return -1
            except OSError as error:
                # It has gone meanwhile, or is a group's: the system chooses another.
                if error.errno not in (errno.EINVAL, errno.EADDRNOTAVAIL):
                    raise
        return super().send_to(data, sockaddr)


def server_datagram(sock: _socket.socket) -> ServerDatagram:
    """The transport for a bound datagram socket."""
    if sys.platform == "linux" and sock.family != _socket.AF_UNIX and sock.getsockname()[0] in _WILDCARDS:
        return WildcardDatagram(sock)
    return ServerDatagram(sock)
