"""Peers that say something and are gone, while the other side still has bytes to send."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from evsockets import ClientSocket
from support.wire import PATIENCE, reset

KINDS = ["tcp", "unix"]


class Goodbye:
    """One connection: `client` for the executor, `theirs` for the test, `address` as the client's."""

    def __init__(self, kind: str, ours: socket.socket, theirs: socket.socket) -> None:
        self.kind = kind
        self.theirs = theirs
        self.address = "unix:///peer" if kind == "unix" else "tcp://127.0.0.1:%d" % theirs.getsockname()[1]
        self._number = ours.fileno()
        self.client = ClientSocket.from_socket(ours)
        theirs.settimeout(PATIENCE)

    def say(self, answer: bytes) -> None:
        """Send `answer` and hang up (over tcp with a reset, as a close with bytes unread is); return when the
        client's kernel has all of it."""
        self.theirs.sendall(answer)
        if self.kind == "tcp":
            reset(self.theirs)
        else:
            self.theirs.close()
        poll = select.poll()
        poll.register(self._number, 0)
        assert poll.poll(PATIENCE * 1000)  # POLLHUP is told unasked

    def when_connected(self, answer: bytes) -> dict[str, Any]:
        """Handlers that have it said as soon as CONNECTED comes."""
        return {"CONNECTED": lambda event: self.say(answer)}


@contextmanager
def goodbye(kind: str) -> Iterator[Goodbye]:
    """A connection by `kind`; its test end is closed with the block."""
    if kind == "unix":
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
    with theirs:
        yield Goodbye(kind, ours, theirs)
