"""A server's datagram, which of its addresses it was sent to (IP_PKTINFO), and the way back to the sender."""

from __future__ import annotations

import _socket
import functools
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from ..address import SockAddr
from ..recycled import recycled
from .base import Transport

if TYPE_CHECKING:
    from typing import Protocol

    from .stream import Data

    class Server(Protocol):
        """The transport of a datagram server."""

        sock: _socket.socket

        def send_to(self, data: Data, sockaddr: SockAddr, asked: Asked | None = None) -> int: ...


IP_PKTINFO = 8  # from <linux/in.h>; Python has it since 3.12


class Asked(NamedTuple):
    """One of a wildcard server's addresses: as text, with its scope, and as sendmsg takes it for a source."""

    host: str
    scope: int
    control: list[tuple[int, int, bytes]]

    def sockaddr(self, port: int) -> SockAddr:
        """As `socket` gives it."""
        return (self.host, port, 0, self.scope) if ":" in self.host else (self.host, port)


@functools.lru_cache(maxsize=256)  # a machine has few
def asked_of(level: int, kind: int, info: bytes, mapped: bool) -> Asked | None:
    """What struct in_pktinfo or in6_pktinfo says; see ip(7), ipv6(7). `mapped` is how an IPv6 socket writes
    an IPv4 address."""
    if level == _socket.IPPROTO_IP:
        # The address to answer from, which is another one if a group was asked, then the one asked; the first
        # is missing from what came before the option was set.
        own = info[4:8] if any(info[4:8]) else info[8:12]
        host = ("::ffff:" if mapped else "") + _socket.inet_ntop(_socket.AF_INET, own)
        # Without the interface: the way back is for the routing to find.
        return Asked(host, 0, [(level, kind, bytes(4) + own + bytes(4))])
    if info[0] == 0xFF:  # a group
        return None
    index = struct.unpack("I", info[16:20])[0] if info[0] == 0xFE and info[1] & 0xC0 == 0x80 else 0
    host = _socket.inet_ntop(_socket.AF_INET6, info[:16])
    return Asked(host, index, [(level, kind, info[:16] + struct.pack("I", index))])


class Datagram:
    """`remote` is the other side's raw address, `asked` which of the server's addresses it was sent to, or is
    sent from; None where there is but one. An answer's `data` may be what gives several."""

    __slots__ = ("asked", "data", "remote")

    def __init__(self, data: Any, remote: SockAddr, asked: Asked | None = None) -> None:
        self.data = data
        self.remote = remote
        self.asked = asked

    def answered(self, data: Any) -> Datagram:
        """What answers it with `data`."""
        answer = Datagram.__new__(Datagram)
        answer.data = data
        answer.remote = self.remote
        answer.asked = self.asked
        return answer


recycled(Datagram)


class DatagramReply(Transport):
    """One datagram a server received, and the way back to its sender. The descriptor is the server's.

    `recv` gives the datagram once, then b"" with `at_end` true; `send` answers.
    """

    __slots__ = ("_datagram", "_read", "_server", "at_end")

    datagram = True
    shared = True
    closed = False

    _datagram: Datagram
    _read: bool
    _server: Server

    def fileno(self) -> int:
        """Return -1: there is no descriptor of its own."""
        return -1

    def recv(self) -> bytes:
        """Return the datagram, then b"" for the end."""
        self.at_end = self._read
        self._read = True
        return b"" if self.at_end else self._datagram.data

    def send(self, data: Data) -> int:
        """Answer with one datagram; return its length, or -1 if not possible now. Raises OSError."""
        return self._server.send_to(data, self._datagram.remote, self._datagram.asked)

    def close(self) -> None:
        """Do nothing: the server's socket stays open."""

    abort = close


def reply_to(server: Server, datagram: Datagram) -> DatagramReply:
    """The transport of who has sent `datagram` to `server`."""
    reply = DatagramReply.__new__(DatagramReply)
    reply.sock = server.sock
    reply._server = server
    reply._datagram = datagram
    reply._read = reply.at_end = False
    return reply
