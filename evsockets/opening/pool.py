"""Connections that outlive a request: kept by their socket, or in the process-wide pool."""

from __future__ import annotations

import _socket
import atexit
import os
from typing import TYPE_CHECKING, Any

from .._unpatched import original
from ..configuration import tls_settings_of
from ..frames.inbox import Inbox
from ..sockets import PersistentClientSocket, Socket

if TYPE_CHECKING:
    from ..address import Address
    from ..core.channel import Channel
    from ..settings import Settings

# How often a pooled TLS connection is read for its end; one that has still more to say is not silent.
_LOOKS = 64


class Connection:
    """An open connection between two lives: transport, unread bytes, and what it was opened for."""

    __slots__ = ("ended", "inbox", "owner", "pool_key", "remote", "tls", "transport")

    def __init__(self, channel: Channel, transport: Any) -> None:
        self.transport = transport
        self.inbox = channel.inbox
        self.ended = channel.ended
        # What it was opened for; kept alive by a handler in mid-life: what it is now.
        address, settings = channel.opened_for, channel.opened_with
        if settings is None:
            address, settings = channel.metadata._parsed, channel.metadata._settings
        self.pool_key = _key_of(channel.socket, address, settings)
        self.remote = channel.remote
        self.tls = channel.tls
        self.owner: Socket | None = None  # the pooled connection's last user

    def carry(self, channel: Channel) -> None:
        """Be the connection of `channel`."""
        channel.ended = self.ended
        channel.set_transport(self.transport)
        channel.inbox = self.inbox
        channel.remote = self.remote
        channel.tls = self.tls

    def is_fresh(self) -> bool:
        """Whether it is open and silent: neither its end nor a byte has come. Never blocks."""
        if self.ended or len(self.inbox):
            return False
        try:
            if self.tls is None:
                self.transport.sock.recv(1, _socket.MSG_PEEK)
                return False
            # Session tickets and the like are records without data: None, and what follows them counts.
            for _ in range(_LOOKS):
                if self.transport.recv() is not None:
                    return False
                self.transport.sock.recv(1, _socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def leave_pool(self) -> bool:
        """Take it out of the pool; whether it was there, and not with another thread already."""
        with _lock:
            waiting = _pool.get(self.pool_key, {})
            if self not in waiting:
                return False
            del waiting[self]
            if not waiting:
                del _pool[self.pool_key]
            if self.owner is not None and self.owner._connection is self:
                self.owner._connection = None
            self.owner = None
            return True

    def close(self) -> None:
        """Close it in an orderly way."""
        self.leave_pool()
        self.transport.close()


_pool: dict[Any, dict[Connection, None]] = {}
_lock = original("_thread", "allocate_lock")()


def _key_of(socket: Socket, address: Address | None, settings: Settings) -> Any:
    """What must be equal for an open connection to serve another life."""
    context = settings.stream_context
    made: Any = None
    if address is not None and address.is_tls:
        made = tls_settings_of(context)
    elif address is not None and address.is_datagram:
        made = context.connect_datagrams
    if address is not None and not address.is_datagram and context.proxy is not None:
        made = (made, context.proxy)
    key = socket.key if isinstance(socket, PersistentClientSocket) else None
    return (None if address is None else address.text, made, key)


def keep(channel: Channel, transport: Any) -> None:
    """The connection of a forgotten socket stays open, for the next life of its socket or in the pool."""
    connection = Connection(channel, transport)
    channel.inbox = Inbox()
    socket = channel.socket
    if socket._persistent:
        with _lock:
            connection.owner = socket
            _pool.setdefault(connection.pool_key, {})[connection] = None
    else:
        channel.loop.kept_sockets[id(socket)] = socket
    socket._connection = connection


def left_open(channel: Channel) -> Connection | None:
    """The connection an earlier life of this socket left, or one from the pool, if it can serve this one."""
    socket = channel.socket
    address = channel.opened_for = channel.metadata._parsed
    settings = channel.opened_with = channel.metadata._settings
    connection, socket._connection = socket._connection, None
    pooled = socket._persistent
    if connection is None and not pooled:
        return None
    channel.loop.kept_sockets.pop(id(socket), None)
    key = _key_of(socket, address, settings)
    while connection is not None or (pooled and (connection := _newest(key)) is not None):
        if not pooled or connection.leave_pool():
            fresh = connection.is_fresh() if pooled else not connection.transport.closed
            if fresh and connection.pool_key == key:
                return connection
            connection.close()
        connection = None
    return None


def _newest(key: Any) -> Connection | None:
    with _lock:
        return next(reversed(_pool.get(key, {})), None)


def _all() -> list[Connection]:
    return [connection for waiting in _pool.values() for connection in waiting]


def _close_all() -> None:
    """At the interpreter's end: an orderly end for the peers, and no descriptor left open."""
    for connection in _all():
        connection.close()


def _forked() -> None:
    """In a forked child: the connections are its parent's, so it lets go without telling the peers."""
    global _lock
    _lock = original("_thread", "allocate_lock")()  # another thread may have held it
    for connection in _all():
        connection.leave_pool()
        connection.transport.sock.close()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
