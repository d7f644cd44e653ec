"""Opens the sockets of clients and servers, listens, and accepts a server's clients."""

from __future__ import annotations

import _socket
import contextlib
import errno
import operator
import os
import sys
from collections.abc import Callable
from typing import Any

from ..address import Address, SockAddr, numeric_address, sockaddr_of
from ..configuration import StreamContext
from ..validation import parse_bind
from .adopted import adopt_descriptor
from .base import Transport
from .options import adjust_options, join_groups, set_options
from .unix_file import UnixSocketFile, remove_stale

# Spares the system call that would make a new socket non-blocking; where missing, one is made.
_NONBLOCK = getattr(_socket, "SOCK_NONBLOCK", 0)
_STREAM = _socket.SOCK_STREAM
_INTERNET = frozenset({_socket.AF_INET, _socket.AF_INET6})


def open_client_socket(family: int, type: int, context: StreamContext) -> _socket.socket:
    """Return a new non-blocking client socket with the options of `context`, bound if it asks for that.

    Unix datagram sockets are always bound, so that they can be answered. A path bound to is treated as a
    server's is. Raises OSError.
    """
    if context._usual and type == _STREAM and family in _INTERNET:  # most clients
        opened: _socket.socket = open_stream(family, context.no_delay)
        return opened
    own: SockAddr = None if context.bind_to is None else _bind_address(family, context)
    if own is None and type == _socket.SOCK_DGRAM:
        if family == _socket.AF_UNIX:
            own = "" if sys.platform == "linux" else None  # the system chooses an abstract name
        elif not context.connect_datagrams:
            # Connecting would give it a port; it is known from the beginning this way, too.
            own = ("::" if family == _socket.AF_INET6 else "0.0.0.0", 0)
    return _open_bound(family, type, context, own, server=False)


def open_server(address: Address, family: int, sockaddr: SockAddr, context: StreamContext) -> _socket.socket:
    """Return a non-blocking socket bound to `sockaddr`, listening if `address` is a stream's.

    A unix path's stale socket file is replaced; one in use and any other kind of file are not. Closing the
    socket removes the file if it is still the same, unless `unlink_socket` is off. For `fd://N`, `family` and
    `sockaddr` mean nothing: the descriptor, which must be listening or a datagram socket, is taken over.
    Raises OSError.
    """
    if address.scheme != "fd":
        type = _STREAM if address.is_stream else _socket.SOCK_DGRAM
        return _open_bound(family, type, context, sockaddr, server=True)
    sock = _open_descriptor(address.port or 0)
    try:
        adjust_options(sock, context)
    except BaseException:
        sock.close()
        raise
    return sock


def _open_bound(
    family: int, type: int, context: StreamContext, own: SockAddr, *, server: bool
) -> _socket.socket:
    """A new socket with the options of `context`, bound to `own` unless that is None; a server's listens."""
    path = own if family == _socket.AF_UNIX and isinstance(own, str) and own else None
    if path is not None:
        remove_stale(path)
    sock = _new(family, type) if path is None else _new(family, type, _UnixBound)
    try:
        set_options(sock, context, server=server)
        if own is not None:
            sock.bind(own)
        if isinstance(sock, _UnixBound) and path is not None and context.unlink_socket:
            sock.file = UnixSocketFile(path)
        if type == _socket.SOCK_DGRAM:
            join_groups(sock, context)
        elif server:
            sock.listen(context.backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _open_descriptor(number: int) -> _socket.socket:
    try:
        return adopt_descriptor(number, server=True)
    except TypeError as error:
        raise OSError(errno.EINVAL, str(error)) from error
    except OSError as error:
        if error.errno == errno.EBADF:
            cure = f"nobody has passed {number} on: pass_fds= of subprocess does, or systemd (3 on)"
        elif error.errno == errno.ENOTSOCK:
            cure = f"give a socket that listens in place of {number}"
        else:
            raise
        raise OSError(error.errno, f"{error.strerror}; {cure}") from error


class _UnixBound(_socket.socket):
    """A unix socket bound to a path; closing it removes the file."""

    file: UnixSocketFile | None = None

    def close(self) -> None:
        """Remove the file first: a server that takes the path over meanwhile must keep its own."""
        self.remove_file()
        super().close()

    def remove_file(self) -> None:
        """Remove the path: no client can connect any more. Open connections stay."""
        if self.file is not None:
            self.file.remove()
            self.file = None


class Listener(Transport):
    """Accept connections on a listening, non-blocking socket."""

    __slots__ = ()

    def withdraw(self) -> None:
        """Refuse further clients while the queue is worked off, where the system can: a unix server's file is
        removed."""
        if isinstance(self.sock, _UnixBound):
            self.sock.remove_file()

    def accept(self) -> tuple[_socket.socket, SockAddr] | None:
        """Return the next client's non-blocking socket and raw address, None if the queue is empty.

        Where the system does so (Linux), the client starts with the listener's options. Raises OSError.
        """
        return (accept_stream if self.sock.family in _INTERNET else _accept)(self.sock)


def _open(family: int, no_delay: bool) -> _socket.socket:
    """Return a new TCP socket of a client. Raises OSError."""
    sock = _new(family, _STREAM)
    try:
        if no_delay:
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _accept(listener: Any) -> tuple[_socket.socket, SockAddr] | None:
    """See `Listener.accept`."""
    held: list[tuple[int, SockAddr]] = []
    try:
        # One call in C: a signal handler that raises comes before it or finds the descriptor here.
        held += map(operator.call, (listener._accept,))
        fd, sockaddr = held[0]
        sock = _socket.socket(listener.family, _STREAM, listener.proto, fd)
    except BlockingIOError:
        return None
    except BaseException:
        if held:
            os.close(held[0][0])
        raise
    try:
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock, sockaddr


open_stream: Callable[[int, bool], Any] = _open
accept_stream: Callable[[Any], tuple[Any, SockAddr] | None] = _accept
with contextlib.suppress(ImportError):  # the same for TCP, by the descriptor and in C
    from .._native import accept_stream, open_stream  # type: ignore[import-not-found, no-redef, unused-ignore]


def _new(family: int, type: int, kind: type[_socket.socket] = _socket.socket) -> _socket.socket:
    sock = kind(family, type | _NONBLOCK)
    if not _NONBLOCK:
        sock.setblocking(False)
    return sock


def _bind_address(family: int, context: StreamContext) -> SockAddr:
    wanted = parse_bind(context.bind_to)
    if isinstance(wanted, str):
        if family != _socket.AF_UNIX:
            raise OSError(errno.EAFNOSUPPORT, f"bind_to {wanted!r} is for unix sockets")
        return sockaddr_of(wanted)
    host, port = wanted
    if host in ("", "localhost"):
        local = {("", 4): "0.0.0.0", ("", 6): "::", ("localhost", 4): "127.0.0.1", ("localhost", 6): "::1"}
        host = local[host, 6 if family == _socket.AF_INET6 else 4]
    found = numeric_address(host, port)
    if found is None or found[0] != family:
        raise OSError(errno.EAFNOSUPPORT, f"bind_to {host!r} is of another address family")
    return found[1]
