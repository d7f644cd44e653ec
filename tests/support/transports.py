"""Raw sockets without an engine, for tests of transports."""

from __future__ import annotations

import _socket
import select
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from evsockets.configuration import StreamContext
from evsockets.transports.adopted import adopt
from evsockets.transports.listener import Listener

#: Milliseconds after which a test hangs.
LIMIT = 60_000
DEFAULT = StreamContext()
#: What the fixture `serve` is: a listener at an address.
Open = Callable[[str, StreamContext], _socket.socket]


def wait(transport: Any, event: int = select.POLLIN) -> None:
    """Until the descriptor is ready for `event`."""
    poll = select.poll()
    poll.register(transport.fileno(), event)
    assert poll.poll(LIMIT)


def pair(stack: ExitStack, kind: int = socket.SOCK_STREAM) -> tuple[_socket.socket, _socket.socket]:
    """Two connected sockets as transports want them, closed with `stack`."""
    near, far = (adopt(end) for end in socket.socketpair(socket.AF_UNIX, kind))
    stack.callback(near.close)
    stack.callback(far.close)
    return near, far


def accepted(listener: _socket.socket) -> tuple[_socket.socket, Any]:
    """The socket and the address of the client that waits."""
    client = Listener(listener).accept()
    assert client is not None
    return client
