"""Datagrams of an unconnected client, which sends to one address and accepts answers from any."""

from __future__ import annotations

import _socket

from ..address import SockAddr, public_address
from ..frames.inbox import Inbox
from .datagram import DATAGRAM_SIZE, DatagramTransport, checked_datagram
from .stream import NO_SIGNAL, Data


class UnconnectedDatagram(DatagramTransport):
    """As DatagramTransport, to `sockaddr` and from anybody; `inbox` is told whom each one came from."""

    __slots__ = ("_inbox", "_sockaddr")

    def __init__(self, sock: _socket.socket, sockaddr: SockAddr, inbox: Inbox) -> None:
        super().__init__(sock)
        self._sockaddr = sockaddr
        self._inbox = inbox

    def recv(self) -> bytes | None:
        """See `DatagramTransport.recv`; that nobody could take a datagram is not told by the system."""
        try:
            if self.sock.family != _socket.AF_UNIX:
                data, self._inbox.remote_address = self.sock.recvfrom(DATAGRAM_SIZE)
            else:
                data, sender = checked_datagram(self.sock)
                self._inbox.remote_address = public_address(_socket.AF_UNIX, sender)
        except BlockingIOError:
            return None
        return data

    def send(self, data: Data) -> int:
        """See `DatagramTransport.send`."""
        try:
            return self.sock.sendto(data, NO_SIGNAL, self._sockaddr)
        except BlockingIOError:
            return -1
