"""The PROXY protocol for servers, versions 1 and 2: who a client is that came through a load balancer.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
"""

from __future__ import annotations

import _socket
import os
from typing import TYPE_CHECKING

from ..core.failure import socket_error
from ..core.operation import Stepper
from ..errors import ConnectionFailedError
from ..proxies import is_trusted
from .preamble import Dialogue, Preamble, Refused

if TYPE_CHECKING:
    from ..core.channel import Channel
    from ..frames.inbox import Inbox
    from ..typing import SocketAddress

_LINE = b"PROXY "
_LONGEST_LINE = 107
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_HEAD = len(_SIGNATURE) + 4
#: Bytes that may follow version 2's head: addresses (216 at most) and what else the proxy tells.
LONGEST = 16_384
_FAMILIES = {"TCP4": _socket.AF_INET, "TCP6": _socket.AF_INET6}


def after_header(channel: Channel, then: Stepper | None) -> Stepper | None:
    """What comes before `then` where the listener of `channel`, an accepted client, has `proxy_protocol`.

    ConnectionFailedError for a peer that is not trusted.
    """
    listener = channel.socket._listener  # type: ignore[attr-defined]
    trusted = listener.metadata._settings.stream_context.proxy_protocol
    if trusted is False:
        return then
    if not is_trusted(trusted, channel.remote):
        raise socket_error(ConnectionFailedError, channel, "the peer is no proxy to be trusted", "connecting")
    return Preamble("the peer", _hear_header(channel), then)


def _hear_header(channel: Channel) -> Dialogue:
    (remote,) = yield "send a PROXY header", b"", _take
    if remote is not None:
        channel.remote = channel.socket._remote = remote  # type: ignore[attr-defined]
        if channel.metadata._parsed is None:
            channel.metadata._address = None  # named again when it is asked for


def _take(inbox: Inbox, ended: bool) -> tuple[SocketAddress] | None:
    try:
        told = take_header(inbox)
        if told is None and ended:
            raise ValueError(f"the connection ended after {len(inbox)} bytes of it")
    except ValueError as error:
        raise Refused(f"sends no PROXY header: {error}") from error
    return told


def take_header(inbox: Inbox) -> tuple[SocketAddress] | None:
    """Take a header out of `inbox`: the client's address, in which None stands for the connection's own; None
    while the header is not whole. ValueError for what is none."""
    head = inbox.peek(_HEAD)
    if head[:1] == b"\r":
        return _take_binary(inbox, head)
    if head[: len(_LINE)] != _LINE[: len(head)]:
        raise ValueError(f"the connection begins with {head!r}")
    end = inbox.find(b"\r\n")
    if end < 0 and len(inbox) < _LONGEST_LINE:
        return None
    if not 0 < end <= _LONGEST_LINE - 2:
        raise ValueError(f"its line has more than {_LONGEST_LINE} bytes")
    line = inbox.take(end)
    inbox.drop(2)
    try:
        return (_told(line.decode("ascii").split(" ")),)
    except (OSError, ValueError, IndexError) as error:
        raise ValueError(f"malformed: {line!r}") from error


def _told(words: list[str]) -> SocketAddress:
    if words[1] == "UNKNOWN":
        return None
    _, name, source, destination, *ports = words
    family = _FAMILIES.get(name)
    if family is None:
        raise ValueError(f"unknown family {name}")
    for host in (source, destination):
        _socket.inet_pton(family, host)
    if len(ports) != 2 or not all(port == str(int(port)) and 0 <= int(port) < 65_536 for port in ports):
        raise ValueError(f"ports {ports}")
    return _address(family, _socket.inet_pton(family, source), int(ports[0]))


def _address(family: int, packed: bytes, port: int) -> SocketAddress:
    host = _socket.inet_ntop(family, packed)
    return (host, port) if family == _socket.AF_INET else (host, port, 0, 0)


def _take_binary(inbox: Inbox, head: bytes) -> tuple[SocketAddress] | None:
    if head[: len(_SIGNATURE)] != _SIGNATURE[: len(head)]:
        raise ValueError(f"the connection begins with {head!r}")
    if len(head) < _HEAD:
        return None
    version, command = divmod(head[12], 16)
    family, transport = divmod(head[13], 16)
    size = int.from_bytes(head[14:16], "big")
    if version != 2 or command > 1 or family > 3 or transport > 2:
        raise ValueError(f"malformed: {head!r}")
    if size > LONGEST:
        raise ValueError(f"{size} bytes are announced, of {LONGEST} at most")
    if len(inbox) < _HEAD + size:
        return None
    inbox.drop(_HEAD)
    data = inbox.take(size)
    if not command or not family or not transport:  # the proxy's own connection, or one it knows nothing of
        return (None,)
    if size < (12, 36, 216)[family - 1]:
        raise ValueError(f"{size} bytes are too few for the addresses")
    if family == 1:
        return (_address(_socket.AF_INET, data[:4], int.from_bytes(data[8:10], "big")),)
    if family == 2:
        return (_address(_socket.AF_INET6, data[:16], int.from_bytes(data[32:34], "big")),)
    path = data[:108]
    name = path[:1].replace(b"\0", b"@") + path[1:].rstrip(b"\0")
    return (os.fsdecode(name) if name != b"@" else None,)
