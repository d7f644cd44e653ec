"""Opens a listener on the first of its addresses, and starts the operation that serves it."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING, Any

from ..address import Address
from ..core.failure import socket_error
from ..errors import ConnectionFailedError
from ..operations.accept import Accept, AcceptDatagrams
from ..operations.datagrams import DatagramOperation, ServeDatagrams
from ..transports.datagram import server_datagram
from ..transports.listener import Listener, open_server
from .resolver import Candidate

if TYPE_CHECKING:
    from ..core.channel import Channel


def listen(channel: Channel, address: Address, candidates: list[Candidate]) -> None:
    """Listen at the first of `candidates` where that is possible."""
    for family, sockaddr in candidates:
        try:
            sock = open_server(address, family, sockaddr, channel.metadata._settings.stream_context)
        except OSError as error:
            failure = error.with_traceback(None)  # which would refer back to here
        else:
            listen_on(channel, address, sock, adopted=address.scheme == "fd")
            return
    tried = [(address.text, failure)]
    raise socket_error(ConnectionFailedError, channel, failure, "listening", attempts=tried)


def listen_on(channel: Channel, address: Address | None, sock: Any, *, adopted: bool) -> None:
    """Accept from `sock`, which listens; `adopted`: others may hold it, too."""
    datagram = sock.type == _socket.SOCK_DGRAM
    channel.set_transport(server_datagram(sock) if datagram else Listener(sock))  # closed by what fails here
    context = channel.metadata._settings.stream_context
    first = channel.operation
    if isinstance(first, DatagramOperation):
        if not datagram:  # fd://, which tells nothing before
            first._misplaced(f"{channel.address} carries a stream, and is added with ReadOperation()")
        channel.operation = ServeDatagrams(adopted, first)
    else:
        channel.operation = (AcceptDatagrams if datagram else Accept)(adopted)
    if datagram and context.proxy_protocol:
        why = "proxy_protocol is for streams: the sender of a datagram is told by no header"
        raise socket_error(ConnectionFailedError, channel, why, "listening")
    if address is not None and address.is_tls and not datagram:
        try:  # a missing certificate is told here, not to the first client
            from ..transports.tls_context import server_context

            server_context(context, address)
        except (ValueError, OSError, ImportError) as error:
            raise socket_error(ConnectionFailedError, channel, error, "listening") from error
    channel.local_address()
