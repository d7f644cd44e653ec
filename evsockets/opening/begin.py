"""Chooses how a socket opens: a kept connection, an adopted descriptor, or resolving and what follows it."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING, Any

from ..address import Address, address_url
from ..core import start
from ..core.failure import socket_error
from ..core.operation import Stepper
from ..errors import ConnectionFailedError
from ..operations.handshake import TlsHandshakeOperation
from ..sockets import AcceptedSocket, DatagramClientSocket
from ..transports.datagram import DatagramTransport
from ..transports.options import adjust_options
from ..transports.packet_info import reply_to
from ..transports.stream import StreamTransport
from . import pool
from .connect import Connect
from .listen import listen, listen_on
from .proxy_protocol import after_header
from .resolve import Resolve, Then
from .tunnel import through

if TYPE_CHECKING:
    from ..core.channel import Channel


def begin(channel: Channel) -> None:
    """Lead `channel`, whose INITIALIZE has been, to its connection."""
    connection, metadata = None, channel.metadata
    if channel.socket._connection is not None or metadata._keep_alive:
        connection = pool.left_open(channel)
    if connection is not None:
        connection.carry(channel)
        start.opened(channel, reused=True)
    else:
        start.open_by(channel, _opener(channel))


def _opener(channel: Channel) -> Stepper | None:
    """What leads to CONNECTED; None: the transport is usable already."""
    socket, metadata = channel.socket, channel.metadata
    address = metadata._parsed
    if socket._adopted is not None:
        return _adopt(channel, socket._adopted, address)
    if socket._leaves_by_itself:  # it came to a server
        if isinstance(socket, DatagramClientSocket):
            _reply(channel, socket)
            return None
        raise ConnectionFailedError(f"{socket!r} cannot be opened again")
    if address is None:
        why = "no address; give add_socket() one, or set it in INITIALIZE"
        raise socket_error(ConnectionFailedError, channel, why, channel.phase_name())
    then: Then = Connect
    if socket.is_server:
        then = listen
    elif (proxy := metadata._settings.stream_context.proxy) is not None:
        return through(channel, address, proxy)
    return Resolve(address, then) if address.fixed is None else then(channel, address, [address.fixed])


def _adopt(channel: Channel, sock: Any, address: Address | None) -> Stepper | None:
    """Begin over an open descriptor: an accepted client's, or one that somebody else has opened. It is closed
    with `socket` until the transport has it."""
    socket, metadata = channel.socket, channel.metadata
    family, datagram = sock.family, sock.type == _socket.SOCK_DGRAM
    context = metadata._settings.stream_context
    # An accepted one begins with its listener's options, unless it was given its own.
    if not isinstance(socket, AcceptedSocket) or context is not channel.loop.client_settings.stream_context:
        try:
            adjust_options(sock, context)
        except OSError as error:
            phase = "listening" if socket.is_server else "connecting"
            raise socket_error(ConnectionFailedError, channel, error, phase) from error
    if socket.is_server:
        socket._adopted = None
        listen_on(channel, address, sock, adopted=True)
        return None
    if isinstance(socket, AcceptedSocket):
        assert socket._listener is not None
        address = socket._listener.metadata._parsed
        # The URL is made when somebody asks for it: most servers have many clients and never do.
    elif metadata._address is None:
        unix = family == _socket.AF_UNIX
        scheme = ("udg" if unix else "udp") if datagram else ("unix" if unix else "tcp")
        try:
            metadata._address = address_url(scheme, family, sock.getpeername())
        except OSError as error:
            why = f"the adopted socket is not connected: {error}"
            raise socket_error(ConnectionFailedError, channel, why, cause=error) from error
    socket._adopted = None
    channel.set_transport((DatagramTransport if datagram else StreamTransport)(sock))
    then = TlsHandshakeOperation() if address is not None and address.is_tls and not datagram else None
    return after_header(channel, then) if isinstance(socket, AcceptedSocket) else then


def _reply(channel: Channel, socket: DatagramClientSocket) -> None:
    """Begin over the descriptor of the datagram server that `socket` came to."""
    listener = socket._listener
    assert listener is not None and socket._datagram is not None
    server = listener.transport
    if server is None:
        raise ConnectionFailedError("the datagram server this client came from is closed")
    datagram = socket._datagram
    channel.local = listener.local
    if datagram.asked is not None and isinstance(listener.local, tuple):
        channel.local = datagram.asked.sockaddr(listener.local[1])
    channel.set_transport(reply_to(server, datagram))
