"""A server in a thread of its own that greets and answers lines, and who talks to it, or to many of it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

from evsockets import (
    EventType,
    MarkerFramePicker,
    Outcome,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
    fan_out,
)
from evsockets.targets.handles import FanOut

LINE = MarkerFramePicker(None, b"\n")
GREETING = b"hello\n"


class Greeter:
    """Each client gets a greeting, and each line back in capitals, but for three: nothing answers `wait`,
    `reset` is answered with a reset, `bye` with the end."""

    def __init__(self, executor: RequestExecutor, listening: threading.Event) -> None:
        self.url = ""
        self.port = 0
        self.now = 0  # how many clients it has
        self._executor = executor
        self._listening = listening

    def serve(self, address: str, **metadata: Any) -> None:
        """Listen there, in the run."""
        handler = {EventType.CONNECTED: self._connected, EventType.ACCEPT: self._accepted}
        self._scheme = address.partition(":")[0]
        self._executor.socket_bag.add_socket(
            ServerSocket(), ReadOperation(), address=address, handler=handler, **metadata
        )

    def _connected(self, event: Any) -> None:
        self.port = event.metadata.local_address[1]
        host = "127.0.0.1" if self._scheme == "tcp" else "localhost"
        self.url = f"{self._scheme}://{host}:{self.port}"
        self._listening.set()

    def _accepted(self, event: Any) -> None:
        handler = {
            EventType.CONNECTED: self._came, EventType.READ: _answer, EventType.FINALIZE: self._left,
            EventType.EXCEPTION: lambda event: None,
        }  # fmt: skip
        event.executor.socket_bag.add_socket(
            event.client_socket, WriteOperation(GREETING, then=ReadOperation(LINE)), handler=handler
        )

    def _came(self, event: Any) -> None:
        self.now += 1

    def _left(self, event: Any) -> None:
        self.now -= 1


def _answer(event: Any) -> None:
    line = event.frame.data
    if line == b"wait\n":
        event.next_is_read(LINE)
    elif line == b"reset\n":
        _reset(event.socket)
        event.cancel_operation()
    elif line != b"bye\n":
        event.next_is_write(line.upper(), then=ReadOperation(LINE))


def _reset(client: Any) -> None:
    sock = socket.socket(fileno=client.fileno())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.detach()


@contextlib.contextmanager
def greeter(address: str = "tcp://127.0.0.1:0", **metadata: Any) -> Iterator[Greeter]:
    """A `Greeter` at work, until the block ends."""
    with RequestExecutor("selectors") as executor:
        listening = threading.Event()
        made = Greeter(executor, listening)
        made.serve(address, **metadata)
        thread = threading.Thread(target=executor.execute_request)
        thread.start()
        try:
            assert listening.wait(20)
            yield made
        finally:
            if executor.is_executing:
                executor.stop_request()
            thread.join()


async def hello(talk: Any) -> bytes:
    """The greeting."""
    return bytes((await talk.read(LINE)).data)


async def ask(talk: Any, line: bytes = b"ask\n") -> bytes:
    """The answer to `line`."""
    await talk.read(LINE)
    await talk.write(line)
    return bytes((await talk.read(LINE)).data)


async def wait(talk: Any) -> bytes:
    """Wait for what never comes."""
    return await ask(talk, b"wait\n")


class Fan:
    """Fan-outs on one engine whose targets are a greeter's, if they are not said."""

    def __init__(self, engine: str, server: Greeter) -> None:
        self.engine = engine
        self.server = server
        self.url = server.url

    def __call__(self, function: Any, targets: Any = 1, **settings: Any) -> FanOut[Any]:
        """`fan_out` to `targets`, or to the greeter so many times."""
        if isinstance(targets, int):
            targets = [self.url] * targets
        return fan_out(function, targets, **{"engine": self.engine, **settings})

    def one(self, function: Any, *targets: Any, **settings: Any) -> Outcome[Any]:
        """The only outcome there is, of one target."""
        (outcome,) = self(function, targets or 1, **settings)
        return outcome
