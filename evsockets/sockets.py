"""The sockets of users: thin handles, run by an executor's channel."""

from __future__ import annotations

import enum
import socket as _stdlib
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Self

from .address import address_url, public_address
from .core.states import Phase
from .transports.adopted import adopt

if TYPE_CHECKING:
    from .address import Address
    from .core.channel import Channel
    from .opening.pool import Connection
    from .transports.packet_info import Datagram
    from .typing import SocketAddress


class SocketType(enum.Enum):
    """The kinds of socket that `AsyncSocketFactory.create_socket` makes."""

    CLIENT = "client"
    SERVER = "server"


class Socket:
    """The base of all kinds. Only an executor opens a socket."""

    __slots__ = ("__weakref__", "_adopted", "_channel", "_connection")

    is_server = False
    _leaves_by_itself = False  # the bag, after FINALIZE
    _persistent = False  # its connection comes from the pool, and goes back there

    def __init__(self) -> None:
        self._channel: Channel | None = None  # while in a bag; when the life is over, its Snapshot
        self._connection: Connection | None = None  # left open by an earlier life
        self._adopted: Any = None  # an open descriptor to begin with

    @property
    def is_client(self) -> bool:
        """Whether the socket has one peer (all but servers)."""
        return not self.is_server

    @property
    def is_connected(self) -> bool:
        """Whether a connection is established (a server: listening)."""
        channel = self._channel
        return (channel is not None and channel.connected) or self._connection is not None

    def fileno(self) -> int:
        """The descriptor, -1 without one."""
        if self._connection is not None:
            return int(self._connection.transport.fileno())
        if self._channel is not None and self._channel.transport is not None:
            return int(self._channel.transport.fileno())
        return self._adopted.fileno() if self._adopted is not None else -1

    def close(self) -> None:
        """End a running socket as `event.cancel_operation()` does; close the connection of an idle, forgotten
        or not yet started one. RuntimeError outside of the executor's thread."""
        channel = self._channel
        if channel is not None:
            channel.loop.check_thread()
            if not channel.complete and channel.phase is not Phase.WAITING:
                channel.cancel()
                if not channel.loop.executing:
                    channel.loop.end_cancelled()
                return
        self._drop()

    def _drop(self) -> None:
        """Close the connection or descriptor kept for its next life."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._adopted is not None:
            self._adopted.close()
            self._adopted = None

    def _peer(self) -> SocketAddress:
        """The address of a server's client; None for any other socket."""
        return None

    def _peer_url(self) -> str | None:
        """The URL of a server's client, made when it is first asked for, since most never are."""
        return None

    def _returned(self, task: object) -> None:
        """The conversation `task` has returned."""

    def _raised(self, task: object, error: BaseException) -> None:
        """The conversation `task` has raised `error`, which is handled when this returns."""

    def _over(self) -> None:
        """Its life is over, and every handler has been told."""

    def __repr__(self) -> str:
        channel = self._channel
        if channel is not None:
            does = "" if channel.operation is None else f" {channel.operation!r}"
            return f"<{type(self).__name__} {channel.address or '-'} {channel.phase.value}{does}>"
        state = "open" if self._connection is not None or self._adopted is not None else "closed"
        return f"<{type(self).__name__} {state}>"


class ClientSocket(Socket):
    """A connection to one peer, or a datagram socket bound to one."""

    __slots__ = ()

    @classmethod
    def from_socket(cls, sock: _stdlib.socket) -> Self:
        """Adopt a connected `socket.socket` (tcp, udp or unix), which is detached.

        TypeError, saying what to do instead, for a listening or unconnected one, and for a TLS socket, whose
        encryption would be lost. OSError for a closed one.
        """
        client = cls()
        client._adopted = adopt(sock)
        return client


class PersistentClientSocket(ClientSocket):
    """A client socket that takes its connection from the process-wide pool for (address, TLS settings,
    proxy, `key`), and returns it there when it is forgotten."""

    __slots__ = ("key",)

    _persistent = True

    def __init__(self, key: Hashable = None) -> None:
        super().__init__()
        try:
            hash(key)
        except TypeError:
            raise TypeError(f"the pool's key must be hashable, got {key!r}") from None
        self.key = key


class ServerSocket(Socket):
    """A listening socket, with an ACCEPT event for each client."""

    __slots__ = ()

    is_server = True

    @classmethod
    def from_socket(cls, sock: _stdlib.socket) -> Self:
        """Adopt a listening `socket.socket` (tcp or unix; or a bound datagram one), which is detached.

        TypeError, saying what to do instead, for any other kind, such as a connected or a TLS socket (adopt
        that before it is wrapped, with a tls:// address). OSError for a closed one.
        """
        server = cls()
        server._adopted = adopt(sock, server=True)
        return server


class _ServersClient(Socket):
    """A client that came to a server."""

    __slots__ = ("_listener", "_remote")

    _leaves_by_itself = True

    def __init__(self, remote: Any = None, listener: Channel | None = None) -> None:
        super().__init__()
        self._remote = remote
        self._listener = listener

    def _peer(self) -> SocketAddress:
        """Its address as `socket` gives it, a unix path as text."""
        return public_peer(self._remote)

    def _peer_url(self) -> str | None:
        """Its URL in the listener's scheme."""
        assert self._listener is not None
        return url_of_client(type(self), self._remote, self._listener.metadata._parsed)


class AcceptedSocket(_ServersClient):
    """A client that a stream server accepted. It can be added again only after `forget_socket`."""

    __slots__ = ()

    def __init__(self, sock: Any = None, remote: Any = None, listener: Channel | None = None) -> None:
        super().__init__(remote, listener)
        self._adopted = sock


class DatagramClientSocket(_ServersClient):
    """One datagram that a server received: a read gives it, a write goes to its sender. Added once only."""

    __slots__ = ("_datagram",)

    def __init__(self, datagram: Datagram | None = None, listener: Channel | None = None) -> None:
        super().__init__(None if datagram is None else datagram.remote or None, listener)
        self._datagram = datagram


def public_peer(remote: Any) -> SocketAddress:
    """A peer's raw address as users see it: of an unnamed unix socket None."""
    return remote if type(remote) is tuple else public_address(_stdlib.AF_UNIX, remote)


def url_of_client(kind: type[Socket], remote: Any, listens_at: Address | None) -> str:
    """The URL of a client of this kind, with address `remote`, of the listener at `listens_at`."""
    family = _family(remote)
    unix = family == _stdlib.AF_UNIX
    # Of another family than the listener's is who came through a proxy.
    if listens_at is not None and listens_at.scheme != "fd" and unix == (listens_at.path is not None):
        scheme = listens_at.written_scheme
    elif issubclass(kind, DatagramClientSocket):
        scheme = "udg" if unix else "udp"
    else:
        scheme = "unix" if unix else "tcp"
    return address_url(scheme, family, remote)


def _family(sockaddr: Any) -> int:
    if isinstance(sockaddr, tuple):
        return _stdlib.AF_INET if len(sockaddr) == 2 else _stdlib.AF_INET6
    return _stdlib.AF_UNIX
