"""The sockets that the workers of one server accept from."""

from __future__ import annotations

import socket
import sys
from typing import Any

from ..address import Address, parse_address
from ..configuration import StreamContext
from ..core.failure import network_error
from ..errors import ConnectionFailedError
from ..transports.listener import open_server
from .service_manager import passed_socket


def open_listeners(text: str, context: StreamContext, count: int) -> list[Any]:
    """The sockets from which `count` workers accept at the address `text`: for TCP on Linux one for each (the
    kernel distributes the clients, and a dead worker's accept queue stays for its successor), otherwise one
    for all. ConnectionFailedError if it cannot listen."""
    address = parse_address(text, server=True)
    try:
        family, sockaddr = _candidate(address)
        number = None if address.scheme == "fd" else passed_socket(family, sockaddr)
        if number is not None:
            address = parse_address(f"fd://{number}", server=True)
        apart = sys.platform == "linux" and address.scheme in ("tcp", "tls")
        if apart:
            context = context.__replace__(reuse_port=True)
        listeners = [open_server(address, family, sockaddr, context)]
        try:
            while apart and len(listeners) < count:
                listeners.append(open_server(address, family, listeners[0].getsockname(), context))
        except BaseException:
            for listener in listeners:
                listener.close()
            raise
    except OSError as error:
        raise network_error(
            ConnectionFailedError, text, error, "listening", attempts=[(text, error)]
        ) from error
    return listeners


def _candidate(address: Address) -> tuple[int, Any]:
    if address.fixed is not None:
        return address.fixed
    assert address.host is not None and address.port is not None
    kind = socket.SOCK_DGRAM if address.is_datagram else socket.SOCK_STREAM
    found = socket.getaddrinfo(address.host, address.port, type=kind, flags=socket.AI_PASSIVE)
    return found[0][0], found[0][4]
