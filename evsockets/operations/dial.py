"""What every way of connecting shares: the socket, what follows once it is connected, and the failure."""

from __future__ import annotations

import _socket
import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..address import Address, public_address
from ..errors import ConnectionFailedError
from ..transports.datagram import DatagramTransport
from ..transports.listener import open_client_socket
from ..transports.stream import StreamTransport
from .base import Operation
from .flush import BEGIN
from .handshake import TlsHandshakeOperation

if TYPE_CHECKING:
    from ..channel import Channel


def new_socket(channel: Channel, address: Address, family: int) -> Any:
    """A new socket for `channel`, with the options of its stream context. Raises OSError."""
    kind = _socket.SOCK_DGRAM if address.is_datagram else _socket.SOCK_STREAM
    return open_client_socket(family, kind, channel.metadata._settings.stream_context)


def connected(channel: Channel, address: Address, sock: Any, family: int, sockaddr: Any) -> Operation:
    """`sock` is connected: it carries the channel's bytes; the operation to go on with."""
    if family == _socket.AF_INET:
        channel.remote = sockaddr
    elif family == _socket.AF_INET6 and sockaddr[0].lower().startswith("fe80"):
        channel.remote = None  # ask the kernel: it knows the scope
    else:
        channel.remote = public_address(family, sockaddr)
    if address.is_datagram:
        channel.use(DatagramTransport(sock))
        return BEGIN
    channel.transport = StreamTransport(sock)
    channel.plain = sock
    channel.heed = False
    return TlsHandshakeOperation(BEGIN) if address.is_tls else BEGIN


def failed(
    address: Address, tried: Sequence[tuple[tuple[int, Any], OSError]], phase: str = "connecting"
) -> ConnectionFailedError:
    """The error after every attempt in `tried`, in order; the last one is its cause."""
    attempts = [(public_address(family, where), error) for (family, where), error in tried]
    cause = attempts[-1][1] if attempts else OSError(errno.EADDRNOTAVAIL, "the name has no address")
    number = cause.errno
    many = "" if len(attempts) < 2 else f" (tried {len(attempts)} addresses)"
    made = ConnectionFailedError(
        f"{address.text}: {cause.strerror or cause} (errno {number}) while {phase}{many}",
        attempts=attempts,
        address=address.text,
        errno=number,
    )
    made.__cause__ = cause
    return made
