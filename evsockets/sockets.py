"""The sockets a user holds: thin handles whose life is run by an executor's channel."""

from __future__ import annotations

import enum
import socket as _stdlib
from typing import TYPE_CHECKING, Any

from .transports.listener import adopt

if TYPE_CHECKING:
    from .channel import Channel
    from .persistence import Connection


class SocketType(enum.Enum):
    """What `AsyncSocketFactory.create_socket` makes."""

    CLIENT = "client"
    SERVER = "server"


class Socket:
    """What all kinds share. A socket is opened by an executor, never by itself."""

    __slots__ = ("__weakref__", "_adopted", "_channel", "_connection")

    is_server = False
    persistent = False

    def __init__(self) -> None:
        self._channel: Channel | None = None  # while in a bag
        self._connection: Connection | None = None  # left open by an earlier life
        self._adopted: Any = None  # an open descriptor to begin with

    @property
    def is_client(self) -> bool:
        """Whether it talks to one peer (everything but a server)."""
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
        """End a running socket as `event.cancel_operation()` does; close an idle, forgotten or not yet
        started connection. To be called in the executor's thread (RuntimeError otherwise)."""
        channel = self._channel
        if channel is not None:
            channel.executor.check_thread()
            if not channel.complete and channel.started:
                channel.cancel()
                channel.executor.attend_soon()
                return
        self.drop()

    def drop(self) -> None:
        """Close what it holds for a life to come."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._adopted is not None:
            self._adopted.close()
            self._adopted = None

    def __repr__(self) -> str:
        channel = self._channel
        if channel is not None:
            return f"<{type(self).__name__} {channel.metadata.address or '-'} {channel.describe()}>"
        state = "open" if self._connection is not None or self._adopted is not None else "closed"
        return f"<{type(self).__name__} {state}>"


def _check_socket(sock: object) -> None:
    if not (hasattr(sock, "getsockopt") and hasattr(sock, "detach")):  # gevent has a class of its own
        raise TypeError(
            f"from_socket() takes a socket.socket, got {sock!r}; of a descriptor: socket.socket(fileno=...)"
        )


class ClientSocket(Socket):
    """A connection to one peer, or a datagram socket bound to one."""

    __slots__ = ()

    @classmethod
    def from_socket(cls, sock: _stdlib.socket) -> ClientSocket:
        """Adopt a connected `socket.socket`, which is detached; ValueError if it is listening."""
        _check_socket(sock)
        if sock.type == _stdlib.SOCK_STREAM and sock.getsockopt(_stdlib.SOL_SOCKET, _stdlib.SO_ACCEPTCONN):
            raise ValueError("the socket is listening: use ServerSocket.from_socket()")
        client = cls()
        client._adopted = adopt(sock)
        return client


class PersistentClientSocket(ClientSocket):
    """A client socket that takes its connection from, and when forgotten leaves it in, the process-wide
    pool for (address, TLS settings, `key`)."""

    __slots__ = ("key",)

    persistent = True

    def __init__(self, key: Any = None) -> None:
        super().__init__()
        try:
            hash(key)
        except TypeError:
            raise TypeError(f"the pool's key must be hashable, got {key!r}") from None
        self.key = key


class ServerSocket(Socket):
    """Listens; its ACCEPT events bring the clients."""

    __slots__ = ()

    is_server = True

    @classmethod
    def from_socket(cls, sock: _stdlib.socket) -> ServerSocket:
        """Adopt a listening `socket.socket` (or a bound datagram one), which is detached; ValueError if
        it does not listen."""
        _check_socket(sock)
        if sock.type == _stdlib.SOCK_STREAM and not sock.getsockopt(
            _stdlib.SOL_SOCKET, _stdlib.SO_ACCEPTCONN
        ):
            raise ValueError("the socket is not listening: call its listen() first")
        server = cls()
        server._adopted = adopt(sock)
        return server


class AcceptedSocket(Socket):
    """A client a stream server accepted. It lives again only over a connection that it was made to forget."""

    __slots__ = ("_listener", "_remote")

    def __init__(self, sock: Any = None, remote: Any = None, listener: Channel | None = None) -> None:
        super().__init__()
        self._adopted = sock
        self._remote = remote
        self._listener = listener


class DatagramClientSocket(Socket):
    """One datagram a server received: reading gives it, writing answers its sender. It lives once."""

    __slots__ = ("_data", "_listener", "_remote")

    def __init__(self, data: bytes = b"", remote: Any = None, listener: Channel | None = None) -> None:
        super().__init__()
        self._data = data
        self._remote = remote
        self._listener = listener
