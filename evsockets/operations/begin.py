"""What a life begins with: a connection left open, a descriptor taken over, or one to be made."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING, Any

from ..address import Address, address_url, public_address
from ..errors import ConnectionFailedError
from ..persistence import take
from ..sockets import AcceptedSocket, DatagramClientSocket, PersistentClientSocket
from ..transports.datagram import DatagramReply, DatagramTransport
from ..transports.options import adjust_options
from ..transports.stream import StreamTransport
from .base import Operation
from .connect import Connect
from .flush import BEGIN
from .handshake import TlsHandshakeOperation
from .listen import Listen

if TYPE_CHECKING:
    from ..channel import Channel
    from ..channel.state import State
    from ..configuration import StreamContext
    from ..persistence import Connection


def connection_settings(channel: State) -> Any:
    """What must be equal for an open connection to serve another life."""
    metadata = channel.metadata
    address = metadata._parsed
    tls = metadata._settings.stream_context.tls_settings if address is not None and address.is_tls else None
    key = channel.socket.key if isinstance(channel.socket, PersistentClientSocket) else None
    return (None if address is None else address.text, tls, key)


def begin_life(channel: Channel) -> Operation:
    """The operation that leads this channel to CONNECTED."""
    socket = channel.socket
    if socket._connection is not None or channel.metadata._keep_alive:
        connection = _left_open(channel)
        if connection is not None:
            return _reuse(channel, connection)
    address = channel.metadata._parsed
    if socket._adopted is not None:
        sock, socket._adopted = socket._adopted, None
        if socket.is_server:
            return Listen(address, sock)
        return _adopt(channel, sock, address)
    if isinstance(socket, AcceptedSocket | DatagramClientSocket):
        if isinstance(socket, DatagramClientSocket):
            return _datagram_client(channel, socket)
        raise ConnectionFailedError(f"{socket!r} cannot be opened again")
    if address is None:
        raise ConnectionFailedError("no address: give add_socket() one, or set it in INITIALIZE")
    return Listen(address, None) if socket.is_server else Connect(address)


def _left_open(channel: Channel) -> Connection | None:
    """The connection an earlier life of this socket left, or one from the pool, if it can serve this one."""
    socket = channel.socket
    settings = channel.settings = connection_settings(channel)
    connection, socket._connection = socket._connection, None
    persistent = isinstance(socket, PersistentClientSocket)
    if connection is not None:
        channel.executor.let_go(socket)
        reusable = connection.settings == settings and not connection.transport.closed
        if persistent:
            reusable = connection.leave_pool() and connection.is_fresh() and reusable
        if reusable:
            return connection
        connection.close()
    return take(settings) if persistent else None


def name_peer(channel: Channel, socket: AcceptedSocket | DatagramClientSocket) -> None:
    """An accepted client's remote address, and its URL in the listener's scheme."""
    assert socket._listener is not None
    family = _family(socket._remote)
    channel.remote = public_address(family, socket._remote)
    if channel.metadata._address is None:
        parsed = socket._listener.metadata._parsed
        if parsed is not None and parsed.scheme != "fd":
            scheme = parsed.scheme
        elif isinstance(socket, DatagramClientSocket):
            scheme = "udg" if family == _socket.AF_UNIX else "udp"
        else:
            scheme = "unix" if family == _socket.AF_UNIX else "tcp"
        channel.metadata._address = address_url(scheme, family, socket._remote)


def _family(sockaddr: Any) -> int:
    if isinstance(sockaddr, tuple):
        return _socket.AF_INET if len(sockaddr) == 2 else _socket.AF_INET6
    return _socket.AF_UNIX


def _reuse(channel: Channel, connection: Connection) -> Operation:
    channel.use(connection.transport)
    channel.inbox = connection.inbox
    channel.ended = connection.ended
    channel.remote = connection.remote
    channel.tls = connection.tls
    channel.connected_now()
    return Reused()


class Reused(Operation):
    """A connection left open by an earlier life: no CONNECTED, straight to the first operation."""

    __slots__ = ()

    def start(self, channel: Channel) -> Operation | None:
        channel.become(channel.release_held())
        return self

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return self


def _adopt(channel: Channel, sock: Any, address: Address | None) -> Operation:
    socket = channel.socket
    family = sock.family
    context = channel.metadata._settings.stream_context
    usual = channel.executor.client_settings.stream_context
    if not isinstance(socket, AcceptedSocket) or context is not usual:
        _adjust(channel, sock, context)  # an accepted one begins with its listener's, unless given its own
    if isinstance(socket, AcceptedSocket):
        listener = socket._listener
        assert listener is not None
        parsed = listener.metadata._parsed
        tls = parsed is not None and parsed.is_tls
        # The URL is made when somebody asks for it: most servers have many clients and never do.
        channel.remote = public_address(family, socket._remote) if socket._remote else None
    else:
        tls = address is not None and address.is_tls
        if channel.metadata._address is None:
            scheme = "unix" if family == _socket.AF_UNIX else "tcp"
            if sock.type == _socket.SOCK_DGRAM:
                scheme = "udg" if family == _socket.AF_UNIX else "udp"
            try:
                channel.metadata._address = address_url(scheme, family, sock.getpeername())
            except OSError as error:
                sock.close()
                raise ConnectionFailedError(
                    f"the adopted socket is not connected: {error}", errno=error.errno
                ) from error
    channel.use(DatagramTransport(sock) if sock.type == _socket.SOCK_DGRAM else StreamTransport(sock))
    return TlsHandshakeOperation(BEGIN) if tls and channel.plain is not None else BEGIN


def _adjust(channel: Channel, sock: Any, context: StreamContext) -> None:
    try:
        adjust_options(sock, context)
    except OSError as error:
        sock.close()
        raise ConnectionFailedError(
            f"{channel.metadata.address}: {error.strerror} (errno {error.errno}) while connecting",
            errno=error.errno,
        ) from error


def _datagram_client(channel: Channel, socket: DatagramClientSocket) -> Operation:
    listener = socket._listener
    assert listener is not None
    server = listener.transport
    if server is None:
        raise ConnectionFailedError("the datagram server this client came from is closed")
    remote = socket._remote
    channel.remote = remote if type(remote) is tuple else public_address(_socket.AF_UNIX, remote)
    channel.local = listener.local
    channel.transport = DatagramReply(server, socket._data, remote)
    return BEGIN
