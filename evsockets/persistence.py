"""Connections that outlive a request: kept by their socket, or in the process-wide pool."""

from __future__ import annotations

import _socket
import atexit
import os
from typing import TYPE_CHECKING, Any

from ._unpatched import original

if TYPE_CHECKING:
    from .frames.inbox import Inbox
    from .sockets import Socket


class Connection:
    """An open connection between two lives: transport, unread bytes, and what it was opened for."""

    __slots__ = ("ended", "inbox", "owner", "remote", "settings", "tls", "transport")

    def __init__(
        self, transport: Any, inbox: Inbox, ended: bool, settings: Any, remote: Any, tls: Any
    ) -> None:
        self.transport = transport
        self.inbox = inbox
        self.ended = ended
        self.settings = settings
        self.remote = remote
        self.tls = tls
        self.owner: Socket | None = None  # the pooled connection's last user

    def is_fresh(self) -> bool:
        """Whether it is open and silent: neither its end nor a byte has come. Never blocks."""
        if self.ended or len(self.inbox):
            return False
        try:
            if self.tls is None:
                self.transport.sock.recv(1, _socket.MSG_PEEK)
                return False
            # Session tickets and the like are records without data: None, and the connection is good.
            return self.transport.recv() is None
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Close it in an orderly way."""
        discard(self)
        self.transport.close()

    def leave_pool(self) -> bool:
        """Take this very connection out of the pool; whether it was there."""
        return discard(self)


_pool: dict[Any, list[Connection]] = {}
_lock = original("_thread", "allocate_lock")()


def put(key: Any, connection: Connection) -> None:
    """Leave a connection in the pool."""
    with _lock:
        _pool.setdefault(key, []).append(connection)


def take(key: Any) -> Connection | None:
    """Take a living connection out of the pool; stale ones met on the way are closed."""
    while True:
        with _lock:
            waiting = _pool.get(key)
            if not waiting:
                return None
            connection = waiting.pop()
            if not waiting:
                del _pool[key]
            _disown(connection)
        if connection.is_fresh():
            return connection
        connection.close()


def discard(connection: Connection) -> bool:
    """Take this very connection out of the pool, wherever it lies; whether it was there."""
    with _lock:
        for key, waiting in _pool.items():
            if connection in waiting:
                waiting.remove(connection)
                if not waiting:
                    del _pool[key]
                _disown(connection)
                return True
    return False


def _close_all() -> None:
    """At the interpreter's end: an orderly end for the peers, and no descriptor left open."""
    for waiting in list(_pool.values()):
        for connection in list(waiting):
            connection.close()


def _forked() -> None:
    """In a forked child: the connections are its parent's, so it lets go without telling the peers."""
    global _lock
    _lock = original("_thread", "allocate_lock")()  # another thread may have held it
    for waiting in _pool.values():
        for connection in waiting:
            _disown(connection)
            connection.transport.sock.close()
    _pool.clear()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _disown(connection: Connection) -> None:
    if connection.owner is not None and connection.owner._connection is connection:
        connection.owner._connection = None
    connection.owner = None
