"""Adopting sockets that were opened outside the library, and checks of their kind."""

from __future__ import annotations

import _socket
import errno
import sys
from typing import Any

from .._unpatched import original

_FAMILIES = (_socket.AF_UNIX, _socket.AF_INET, _socket.AF_INET6)
_MPTCP, _UDP_LITE = 262, 136
_POLLIN = 1
# Streams and datagrams that are something else (SCTP, ICMP) have the same type, and a protocol of their own.
_PROTOCOLS = {
    _socket.SOCK_STREAM: (0, _socket.IPPROTO_TCP, _MPTCP),
    _socket.SOCK_DGRAM: (0, _socket.IPPROTO_UDP, _UDP_LITE),
}


def adopt(sock: Any, *, server: bool = False) -> _socket.socket:
    """Take over an open socket object, which is detached; return it non-blocking.

    A client's must be connected, a server's listening or, for datagrams, bound. The descriptor is checked,
    not the object's class. Raises TypeError, saying what to do instead, for any other socket, TLS sockets
    above all, and OSError for a closed one; `sock` is then unchanged.
    """
    if hasattr(sock, "do_handshake"):  # ssl's, gevent's and pyOpenSSL's
        raise TypeError(
            f"from_socket() cannot take over the TLS of {sock!r}, and what is written would leave in plain "
            "text: adopt the socket before it is wrapped, with a tls:// address or a TlsHandshakeOperation"
        )
    gevents = getattr(sys.modules.get("gevent.socket"), "socket", ())
    if not isinstance(sock, (_socket.socket, gevents)):  # what only behaves like one may change the bytes
        raise TypeError(
            f"from_socket() takes a socket.socket, got {sock!r}; of a descriptor: socket.socket(fileno=...)"
        )
    if sock.fileno() < 0:
        raise OSError(errno.EBADF, "the socket is closed")
    taken = adopt_descriptor(sock.fileno(), server=server)
    sock.detach()
    return taken


def adopt_descriptor(number: int, *, server: bool = False) -> _socket.socket:
    """Take over an open descriptor; see `adopt`."""
    taken = _socket.socket(-1, -1, -1, number)
    try:
        reason = _why_not(taken, server)
        if reason is not None:
            kind = "server" if server else "client"
            raise TypeError(f"descriptor {number} cannot be adopted as a {kind}: {reason}")
        taken.setblocking(False)
    except BaseException:
        taken.detach()
        raise
    return taken


def is_listening(sock: _socket.socket) -> bool:
    """Return whether `sock` is a stream socket that listens."""
    return sock.type == _socket.SOCK_STREAM and bool(
        sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN)
    )


def _why_not(sock: _socket.socket, server: bool) -> str | None:
    """What keeps an open descriptor from being a client's or a server's, and the cure; None: nothing."""
    if sock.family not in _FAMILIES or sock.proto not in _PROTOCOLS.get(sock.type, ()):
        return (
            f"it is a socket of family {sock.family}, type {sock.type}, protocol {sock.proto}; "
            "only tcp, udp and unix (streams and datagrams) can be used"
        )
    stream = sock.type == _socket.SOCK_STREAM
    if not server:
        if is_listening(sock):
            return "it is listening: use ServerSocket.from_socket()"
        if not _has_peer(sock):
            return "it is not connected: wait for its connect(), or give add_socket() an address instead"
    elif stream and not is_listening(sock):
        if _has_peer(sock):
            return "it is not listening but connected: use ClientSocket.from_socket()"
        return "it is not listening: call its listen() first"
    elif not stream and _has_peer(sock):
        return "it is connected to one peer: use ClientSocket.from_socket()"
    elif not stream and not _is_bound(sock):
        return "it is not bound: call its bind() first"
    return None


def _has_peer(sock: _socket.socket) -> bool:
    """Whether it is connected, or was: after the peer's reset a stream has no peer name any more, but it is
    readable, and reading it gives the error."""
    try:
        sock.getpeername()
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
    else:
        return True
    if sock.type != _socket.SOCK_STREAM:
        return False
    poller = original("select", "poll")()
    poller.register(sock.fileno(), _POLLIN)
    return any(bits & _POLLIN for _, bits in poller.poll(0))


def _is_bound(sock: _socket.socket) -> bool:
    name = sock.getsockname()
    return bool(name) if sock.family == _socket.AF_UNIX else name[1] != 0
