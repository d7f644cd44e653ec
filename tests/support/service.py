"""A server in the executor under test, and plain blocking peers for it.

Loopback connects and small sends never wait for the server's process, so a peer made in the server's
CONNECTED handler may be read after the run.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    Event,
    EventType,
    MarkerFramePicker,
    Operation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    UnsupportedOperationError,
    WriteOperation,
)
from support.clients import Recorder

LINE = MarkerFramePicker(None, b"\n")
#: What a client that asks once and gets its answer is told.
CLIENT = ["INITIALIZE", "CONNECTED", "WRITE", "READ", "DISCONNECTED", "FINALIZE"]


def echo(event: Any) -> None:
    """A READ handler: answer with what came, then end."""
    event.next_is_write(event.frame.data)


class Service:
    """A listener that ends after `clients` of its clients have ended.

    `first()` makes each client's first operation (default: read a line); `handler` gets the clients'
    events besides the recorder; `started(event)` is the listener's CONNECTED.
    """

    def __init__(
        self,
        executor: RequestExecutor,
        address: str | None = "tcp://127.0.0.1:0",
        *,
        clients: int = 1,
        first: Callable[[], Operation] | None = None,
        handler: Any = None,
        started: Callable[[Event], object] | None = None,
        server: ServerSocket | None = None,
        client_metadata: dict[str, Any] | None = None,
        **metadata: Any,
    ) -> None:
        self.executor = executor
        self.server = ServerSocket() if server is None else server
        self.listening = Recorder()
        self.talking = Recorder()
        self.accepted: list[Any] = []
        self.local: Any = None
        self._left = clients
        self._first = first or (lambda: ReadOperation(LINE))
        self._handler = handler if handler is not None else {EventType.READ: echo}
        self._started = started
        self._client_metadata = client_metadata or {}
        if address is not None:
            metadata["address"] = address
        self.metadata = executor.socket_bag.add_socket(
            self.server, ReadOperation(), handler=self._on_server, **metadata
        )

    def _on_server(self, event: Any) -> None:
        self.listening(event)
        if event.type is EventType.CONNECTED:
            self.local = event.metadata.local_address
            if self._started is not None:
                self._started(event)
        elif event.type is EventType.ACCEPT:
            self.accepted.append(event)
            self.executor.socket_bag.add_socket(
                event.client_socket, self._first(), handler=self._on_client, **self._client_metadata
            )

    def _on_client(self, event: Any) -> None:
        self.talking(event)
        if callable(self._handler):
            self._handler(event)
        elif event.type in self._handler:
            self._handler[event.type](event)
        if event.type is EventType.FINALIZE:
            self._left -= 1
            if self._left == 0:
                self.server.close()


def ask(
    executor: RequestExecutor, address: str, operation: Operation, handler: Any = None, **metadata: Any
) -> Recorder:
    """A client of the library; what it saw."""
    events = Recorder()

    def tell(event: Any) -> None:
        events(event)
        if handler is not None:
            handler(event)

    executor.socket_bag.add_socket(ClientSocket(), operation, handler=tell, address=address, **metadata)
    return events


class Peers(list[socket.socket]):
    """Blocking peers, closed together."""

    def stream(self, address: Any, data: bytes = b"", family: int = socket.AF_INET) -> socket.socket:
        peer = socket.socket(family)
        self.append(peer)
        peer.settimeout(10)
        peer.connect(address)
        if data:
            peer.sendall(data)
        return peer

    def datagram(self, address: Any, *data: bytes, family: int = socket.AF_INET) -> socket.socket:
        peer = socket.socket(family, socket.SOCK_DGRAM)
        self.append(peer)
        peer.settimeout(10)
        if family == socket.AF_UNIX:
            peer.bind("")
        for one in data:
            peer.sendto(one, address)
        return peer

    def datagram_server(self) -> tuple[socket.socket, str]:
        """A peer with a port of its own, and its address."""
        peer = self.datagram(None)
        peer.bind(("127.0.0.1", 0))
        return peer, f"udp://127.0.0.1:{peer.getsockname()[1]}"

    def __enter__(self) -> Peers:
        return self

    def __exit__(self, *exception: object) -> None:
        for peer in self:
            peer.close()


def conversation(executor: RequestExecutor, host: str = "127.0.0.1") -> tuple[Service, Recorder]:
    """A server and its client, which knows it as `host`, in one executor."""
    events = Recorder()

    def started(event: Any) -> None:
        executor.socket_bag.add_socket(
            ClientSocket(), WriteOperation(b"hello\n", then=ReadOperation(LINE)), handler=events,
            address=f"tcp://{host}:{event.metadata.local_address[1]}",
        )  # fmt: skip

    return Service(executor, started=started), events


def count_polls(executor: RequestExecutor, monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """The time-out of every poll of the executor's engine from now on."""
    polls: list[float | None] = []
    poll = executor.engine.poll

    def counting(timeout: float | None) -> Any:
        polls.append(timeout)
        return poll(timeout)

    monkeypatch.setattr(executor.engine, "poll", counting)
    return polls


def needs_descriptor(executor: RequestExecutor) -> int:
    """The engine's descriptor; a test that cannot do without is skipped."""
    try:
        return executor.fileno()
    except UnsupportedOperationError:
        pytest.skip(f"{executor.engine.name} has no descriptor")
