"""For every event type a small run in which it fires on one socket, without threads or real peers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

from evsockets import (
    EventType,
    FixedLengthFramePicker,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.wire import Log, add, pair, tcp_pair

KINDS = (
    "INITIALIZE", "CONNECTED", "WRITE", "READ", "OOB", "ACCEPT", "DATA_ALERT", "TIMEOUT", "EXCEPTION",
    "DISCONNECTED", "FINALIZE",
)  # fmt: skip


#: Every event up to and with the one of that kind which a `Scene` shows.
UP_TO = {
    "INITIALIZE": ["INITIALIZE"],
    "CONNECTED": ["INITIALIZE", "CONNECTED"],
    "WRITE": ["INITIALIZE", "CONNECTED", "WRITE"],
    "READ": ["INITIALIZE", "CONNECTED", "WRITE", "READ"],
    "OOB": ["INITIALIZE", "CONNECTED", "OOB"],
    "ACCEPT": ["INITIALIZE", "CONNECTED", "ACCEPT"],
    "DATA_ALERT": ["INITIALIZE", "CONNECTED", "DATA_ALERT"],
    "TIMEOUT": ["INITIALIZE", "CONNECTED", "TIMEOUT"],
    "EXCEPTION": ["INITIALIZE", "CONNECTED", "EXCEPTION"],
    "DISCONNECTED": ["INITIALIZE", "CONNECTED", "WRITE", "READ", "DISCONNECTED"],
    "FINALIZE": ["INITIALIZE", "CONNECTED", "WRITE", "READ", "DISCONNECTED", "FINALIZE"],
}


def rest_after(kind: str) -> list[str]:
    """What follows when the life ends in that event, whatever ends it."""
    if kind == "FINALIZE":
        return []
    return ["FINALIZE"] if kind in ("INITIALIZE", "DISCONNECTED") else ["DISCONNECTED", "FINALIZE"]


def end(event: Any) -> None:
    """A server and an idle connection go on by themselves; everything else ends without help."""
    if event.socket.is_server or event.type is EventType.DATA_ALERT:
        event.cancel_operation()


class Scene:
    """One socket whose life shows an event of `kind`; `callback` is called with it."""

    def __init__(self, executor: RequestExecutor, kind: str, stack: contextlib.ExitStack) -> None:
        self.executor = executor
        self.kind = kind
        self.log = Log()
        self.socket: Any = None
        self._stack = stack

    def prepare(self, callback: Callable[[Any], Any], **more: Any) -> Log:
        """Add the socket; `more` are keywords of `add_socket`."""
        kind = self.kind
        on = {kind: callback}
        if kind == "ACCEPT":
            self.socket = ServerSocket()

            self.log = add(
                self.executor, "tcp://127.0.0.1:0", ReadOperation(), socket=self.socket,
                on={"CONNECTED": self.knock, **on}, **more,
            )  # fmt: skip
            self.log.metadata.io_timeout = None
            return self.log
        self.socket, theirs = tcp_pair() if kind == "OOB" else pair()
        self._stack.enter_context(theirs)
        self.peer = theirs
        operation: Any = ReadOperation(FixedLengthFramePicker(2))
        if kind == "OOB":
            theirs.send(b"!", socket.MSG_OOB)
            theirs.sendall(b"xy")
        elif kind == "DATA_ALERT":
            theirs.sendall(b"xy")
            operation = NullOperation()
            more["keep_alive"] = True
        elif kind == "TIMEOUT":
            more["io_timeout"] = 0.02
        elif kind == "EXCEPTION":
            theirs.close()
        else:
            theirs.sendall(b"xy")
            operation = WriteOperation(b"request", then=operation)
        self.log = add(self.executor, None, operation, socket=self.socket, on=on, **more)
        return self.log

    def knock(self, event: Any) -> None:
        """A client for the server that `event` tells of."""
        self._stack.enter_context(socket.create_connection(event.metadata.local_address))

    def received(self) -> bytes:
        """What the peer got until the end."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while chunk := self.peer.recv(65536):
                data += chunk
        return data


@contextlib.contextmanager
def scene(executor: RequestExecutor, kind: str) -> Iterator[Scene]:
    """A `Scene` whose peers are closed at the end."""
    with contextlib.ExitStack() as stack:
        yield Scene(executor, kind, stack)
