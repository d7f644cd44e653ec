"""Sockets for the tests of transports, closed when a test is over."""

from __future__ import annotations

import _socket
import errno
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from evsockets.address import parse_address, sockaddr_of
from evsockets.configuration import StreamContext
from evsockets.transports.listener import open_client_socket, open_server
from support.tls import VERSIONS
from support.transports import DEFAULT, Open, wait


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is to be closed when the test is over."""
    with ExitStack() as made:
        yield made


@pytest.fixture
def serve(stack: ExitStack) -> Open:
    """`serve(url, context)` is a listening socket."""

    def open_it(text: str, context: StreamContext = DEFAULT) -> _socket.socket:
        address = parse_address(text, server=True)
        if address.path is not None:
            sock = open_server(address, socket.AF_UNIX, sockaddr_of(address.path), context)
        else:
            assert address.host is not None
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            sock = open_server(address, family, (address.host, address.port), context)
        stack.callback(sock.close)
        return sock

    return open_it


@pytest.fixture
def connect(stack: ExitStack) -> Callable[..., _socket.socket]:
    """`connect(listener, context)` is a connected client's socket."""

    def open_it(server: _socket.socket, context: StreamContext = DEFAULT) -> _socket.socket:
        sock = open_client_socket(server.family, server.type, context)
        stack.callback(sock.close)
        if sock.connect_ex(server.getsockname()) == errno.EINPROGRESS:
            wait(sock, select.POLLOUT)
        return sock

    return open_it


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """Of TLS."""
    name: str = request.param
    return name
