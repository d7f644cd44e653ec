"""A server in the executor under test, and plain blocking peers for it.

Loopback connects and small sends never wait for the server's process, so a peer made in the server's
CONNECTED handler may be read after the run.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from evsockets import (
    DatagramClientSocket,
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
from support.wire import PATIENCE, Log, add, by_name, read_to_end

LINE = MarkerFramePicker(None, b"\n")
#: What a client that asks once and gets its answer is told.
CLIENT = ["INITIALIZE", "CONNECTED", "WRITE", "READ", "DISCONNECTED", "FINALIZE"]


def echo(event: Any) -> None:
    """A READ handler: answer with what came, then end."""
    event.next_is_write(event.frame.data)


class Peers(list[socket.socket]):
    """Blocking peers, closed together."""

    def _made(self, address: Any, kind: socket.SocketKind) -> socket.socket:
        unix = isinstance(address, str)
        six = not unix and address is not None and len(address) == 4
        family = socket.AF_UNIX if unix else socket.AF_INET6 if six else socket.AF_INET
        peer = socket.socket(family, kind)
        self.append(peer)
        peer.settimeout(10)
        return peer

    def stream(self, address: Any, data: bytes = b"") -> socket.socket:
        """A peer connected to `address`, as a listener's metadata has it, that has sent `data`."""
        peer = self._made(address, socket.SOCK_STREAM)
        peer.connect("\0" + address[1:] if isinstance(address, str) and address[0] == "@" else address)
        if data:
            peer.sendall(data)
        return peer

    def datagram(self, address: Any, *data: bytes) -> socket.socket:
        """A peer, bound where it must have a name, that has sent `data` to `address`."""
        peer = self._made(address, socket.SOCK_DGRAM)
        if peer.family == socket.AF_UNIX:
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


class Service:
    """A listener that ends after `clients` of its clients have ended (default: as many as there are).

    When it listens, a peer connects for each of `says` and says that (datagrams: one peer sends them all),
    then a client of the same executor does each of `asks`, with the metadata `asking`; `peers` and `asked`
    have them. `first()` makes each served client's first operation (default: read a line, or a datagram),
    and what it reads is answered with itself. `handler` gets the clients' events besides their log `talking`,
    `server_handler` the listener's besides `listening`: each a callable, or callables by the event's name.
    `started(event)` is the listener's CONNECTED, when all have come. Not `serves`: whom it accepts is not
    added.
    """

    def __init__(
        self,
        executor: RequestExecutor,
        address: str | None = "tcp://127.0.0.1:0",
        *,
        says: Iterable[bytes] = (),
        asks: Iterable[Operation] = (),
        asking: Mapping[str, Any] | None = None,
        host: str | None = None,
        first: Callable[[], Operation] | None = None,
        handler: Any = None,
        server_handler: Any = None,
        serves: bool = True,
        started: Callable[[Event], object] | None = None,
        server: ServerSocket | None = None,
        clients: int | None = None,
        client_metadata: Mapping[str, Any] | None = None,
        peers: Peers | None = None,
        **metadata: Any,
    ) -> None:
        self.executor = executor
        self.server = ServerSocket() if server is None else server
        self.listening = Log()
        self.talking = Log()
        self.accepted: list[Any] = []
        self.asked: list[Log] = []
        self.peers = Peers() if peers is None else peers
        self.local: Any = None
        self._scheme = "tcp" if address is None else address.partition(":")[0]
        self._host = host
        self._says, self._asks, self._asking = list(says), list(asks), asking or {}
        self._left = max(1, len(self._says) + len(self._asks)) if clients is None else clients
        self._first = first
        self._handler = by_name({"READ": echo} if handler is None else handler)
        self._server_handler = by_name(server_handler or {})
        self._serves = serves
        self._started = started
        self._client_metadata = client_metadata or {}
        if address is not None:
            metadata["address"] = address
        self.metadata = executor.socket_bag.add_socket(
            self.server, ReadOperation(), handler=self._on_server, **metadata
        )

    @property
    def port(self) -> int:
        return int(self.local[1])

    def url(self, host: str | None = None) -> str:
        """Where it listens, as a client says it (`host` instead of its own)."""
        if isinstance(self.local, str):
            return f"{self._scheme}://{self.local}"
        secret = self._scheme.startswith(("tls", "ssl"))
        host = host or self._host or ("localhost" if secret else self.local[0])
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{self.local[1]}"

    def execute(self) -> Service:
        """A run to its end."""
        self.executor.execute_request()
        return self

    def listen(self) -> Service:
        """A run that is begun, and its turns until this listens."""
        self.executor.start_request()
        until = time.monotonic() + PATIENCE
        while self.local is None:
            assert time.monotonic() < until, "it does not listen"
            self.executor.turn(0.01)
        return self

    def answers(self) -> list[bytes]:
        """What each peer has got until the end."""
        return [read_to_end(peer) for peer in self.peers]

    def come(self, data: bytes = b"") -> socket.socket:
        """One more peer, which says `data`."""
        return self.peers.stream(self.local, data)

    def ask(self, operation: Operation, **metadata: Any) -> Log:
        """One more client of the same executor."""
        asked = add(self.executor, operation=operation, **{"address": self.url(), **self._asking, **metadata})
        self.asked.append(asked)
        return asked

    def _on_server(self, event: Any) -> None:
        self.listening(event)
        if event.type is EventType.CONNECTED:
            self.local = event.metadata.local_address
            self._all_come()
            if self._started is not None:
                self._started(event)
        elif event.type is EventType.ACCEPT:
            self.accepted.append(event)
            if self._serves:
                self._serve(event.client_socket)
        self._server_handler(event)

    def _all_come(self) -> None:
        if self._says and self._scheme in ("udp", "udg"):
            self.peers.datagram(self.local, *self._says)
        else:
            for data in self._says:
                self.come(data)
        for operation in self._asks:
            self.ask(operation)

    def _serve(self, client: Any) -> None:
        if self._first is not None:
            first = self._first()
        else:
            first = ReadOperation(None if isinstance(client, DatagramClientSocket) else LINE)
        self.executor.socket_bag.add_socket(client, first, handler=self._on_client, **self._client_metadata)

    def _on_client(self, event: Any) -> None:
        self.talking(event)
        self._handler(event)
        if event.type is EventType.FINALIZE:
            self._left -= 1
            if self._left == 0:
                self.server.close()


Serve = Callable[..., Service]


def conversation(executor: RequestExecutor, host: str = "127.0.0.1") -> tuple[Service, Log]:
    """A server and its client, which knows it as `host`, in one executor."""
    asks = [WriteOperation(b"hello\n", then=ReadOperation(LINE))]
    client = Log()
    return Service(executor, asks=asks, asking={"log": client}, host=host), client


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
