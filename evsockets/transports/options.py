"""The settings of a StreamContext as socket options (setsockopt)."""

from __future__ import annotations

import _socket
import errno
import os
import socket
import struct

from ..configuration import StreamContext
from .stream import is_tcp

_IP = (_socket.AF_INET, _socket.AF_INET6)


def set_options(sock: _socket.socket, context: StreamContext, *, server: bool) -> None:
    """Set every option of `context` that `sock` knows; before it is bound, connected or listens.

    Raises OSError where the system refuses.
    """
    # The window scale is negotiated from the buffer sizes, so they come before the connection.
    _set_buffer_sizes(sock, context)
    if sock.family in _IP:
        _set_ip_options(sock, context, server)
    _set_given(sock, context)


def _set_ip_options(sock: _socket.socket, context: StreamContext, server: bool) -> None:
    level = _socket.SOL_SOCKET
    if _reuse_address(sock, context, server):
        sock.setsockopt(level, _socket.SO_REUSEADDR, 1)
    if context.reuse_port:
        sock.setsockopt(level, _socket.SO_REUSEPORT, 1)
    if context.ipv6_only is not None and sock.family == _socket.AF_INET6:
        sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, context.ipv6_only)
    if is_tcp(sock):
        if context.no_delay:
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        if context.tcp_keepalive is not False:
            _set_keepalive(sock, context.tcp_keepalive)
    else:
        _set_datagram_options(sock, context)


def adjust_options(sock: _socket.socket, context: StreamContext) -> None:
    """Set those options of `context` that can still be set on a socket opened outside the library.

    Raises OSError where the system refuses.
    """
    _set_buffer_sizes(sock, context)
    if is_tcp(sock):
        # A listener's clients start with its options: off has to be said, too.
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, context.no_delay)
        if context.tcp_keepalive is not False:
            _set_keepalive(sock, context.tcp_keepalive)
    elif sock.type == _socket.SOCK_DGRAM and sock.family in _IP:
        _set_datagram_options(sock, context)
    _set_given(sock, context)


def _set_given(sock: _socket.socket, context: StreamContext) -> None:
    """Set the `options`. Raises OSError naming the one that is refused."""
    for option in context.options:
        try:
            sock.setsockopt(*option)
            continue
        except OSError as error:
            number = error.errno or errno.EINVAL
        raise OSError(number, f"{os.strerror(number)}: the socket option {option}")


def _set_buffer_sizes(sock: _socket.socket, context: StreamContext) -> None:
    level = _socket.SOL_SOCKET
    if context.receive_buffer_size is not None:
        sock.setsockopt(level, _socket.SO_RCVBUF, context.receive_buffer_size)
    if context.send_buffer_size is not None:
        sock.setsockopt(level, _socket.SO_SNDBUF, context.send_buffer_size)


def _reuse_address(sock: _socket.socket, context: StreamContext, server: bool) -> bool:
    if context.reuse_address is not None:
        return context.reuse_address
    # On Linux two datagram sockets with this option may hold one port, and the newer steals the datagrams.
    return server and (is_tcp(sock) or bool(context.multicast_groups))


def _set_keepalive(sock: _socket.socket, value: bool | float | tuple[float, float, int]) -> None:
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
    if value is True:
        return
    numbers = value if isinstance(value, tuple) else (value,)
    idle = "TCP_KEEPIDLE" if hasattr(_socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"
    for name, number in zip((idle, "TCP_KEEPINTVL", "TCP_KEEPCNT"), numbers, strict=False):
        sock.setsockopt(_socket.IPPROTO_TCP, getattr(_socket, name), int(number))


def _set_datagram_options(sock: _socket.socket, context: StreamContext) -> None:
    if context.broadcast:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_BROADCAST, 1)
    if sock.family == _socket.AF_INET:
        if context.multicast_interface is not None:
            interface = _interface_v4(context.multicast_interface)
            request = struct.pack("4s4si", b"", *interface)
            sock.setsockopt(_socket.IPPROTO_IP, _socket.IP_MULTICAST_IF, request)
        if context.multicast_ttl is not None:
            sock.setsockopt(_socket.IPPROTO_IP, _socket.IP_MULTICAST_TTL, context.multicast_ttl)
        if context.multicast_loop is not None:
            sock.setsockopt(_socket.IPPROTO_IP, _socket.IP_MULTICAST_LOOP, context.multicast_loop)
        return
    level = _socket.IPPROTO_IPV6
    if context.multicast_interface is not None:
        sock.setsockopt(level, _socket.IPV6_MULTICAST_IF, _interface_v6(context.multicast_interface))
    if context.multicast_ttl is not None:
        sock.setsockopt(level, _socket.IPV6_MULTICAST_HOPS, context.multicast_ttl)
    if context.multicast_loop is not None:
        sock.setsockopt(level, _socket.IPV6_MULTICAST_LOOP, context.multicast_loop)


def join_groups(sock: _socket.socket, context: StreamContext) -> None:
    """Join the multicast groups of `context` that are of the socket's family. Raises OSError."""
    for group in context.multicast_groups:
        if ":" in group and sock.family == _socket.AF_INET6:
            base, _, zone = group.partition("%")
            index = _interface_v6(zone or context.multicast_interface or 0)
            packed = _socket.inet_pton(_socket.AF_INET6, base)
            sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_JOIN_GROUP, packed + struct.pack("I", index))
        elif ":" not in group and sock.family == _socket.AF_INET:
            packed = _socket.inet_pton(_socket.AF_INET, group)
            request = struct.pack("4s4si", packed, *_interface_v4(context.multicast_interface))
            sock.setsockopt(_socket.IPPROTO_IP, _socket.IP_ADD_MEMBERSHIP, request)


def _interface_v4(interface: str | int | None) -> tuple[bytes, int]:
    """Return (address, index) as struct ip_mreqn has them; the system chooses for b"" and 0."""
    if interface is None or isinstance(interface, int):
        return b"", interface or 0
    try:
        return _socket.inet_pton(_socket.AF_INET, interface), 0
    except OSError:
        return b"", socket.if_nametoindex(interface)


def _interface_v6(interface: str | int) -> int:
    if isinstance(interface, int):
        return interface
    return int(interface) if interface.isdecimal() else socket.if_nametoindex(interface)
