"""Recorded peers, and traces of the executor's events: the same on every engine.

A recording has the steps of the other side of a connection; a thread plays it over loopback. A trace holds
every event of every named socket with its comparable attributes.
"""

from __future__ import annotations

import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from ..core.operation import Operation
from ..event_types import EventType
from ..executor import RequestExecutor
from ..operations.read import ReadOperation
from ..sockets import ClientSocket, ServerSocket

_LONG = 30.0  # seconds after which a peer gives up

Step = tuple[str] | tuple[str, bytes]
"""A peer's steps: ("receive", data), just that comes; ("send", data); ("send apart", data), byte by byte;
("urgent", byte); ("end",), no more from us; ("wait",), until the other side ends; ("reset",)."""


class Trace:
    """A handler that notes every event of the sockets it knows by name; `lives` holds the notes."""

    def __init__(self) -> None:
        self.lives: dict[str, list[tuple[Any, ...]]] = {}
        self._names: dict[Any, str] = {}

    def name(self, socket: Any, name: str) -> None:
        """Note `socket`'s events under `name` from now on."""
        self._names[socket] = name

    def __call__(self, event: Any) -> None:
        name = self._names.get(event.socket)
        if name is None:
            return
        entry: tuple[Any, ...] = (event.type.name,)
        if event.type is EventType.READ:
            entry += (event.frame.data, type(event.operation.picker).__name__)
        elif event.type is EventType.OOB:
            entry += (event.frame.data,)
        elif event.type is EventType.TIMEOUT:
            entry += (event.when.name, event.phase)
        elif event.type is EventType.EXCEPTION:
            entry += (type(event.exception).__name__, event.exception.errno)
        elif event.type is EventType.DATA_ALERT:
            entry += (event.attempt,)
        elif event.type is EventType.FINALIZE:
            metadata = event.metadata
            entry += (metadata.bytes_received, metadata.bytes_sent, metadata.request_complete)
        self.lives.setdefault(name, []).append(entry)


class Stage:
    """An executor, its trace, and peers that play recordings, in a `with` statement that joins them.

    `folder` is a directory for its time.
    """

    def __init__(self, executor: RequestExecutor) -> None:
        self.executor = executor
        self.trace = Trace()
        self.left = 0  # clients that have not ended
        self.servers: list[ServerSocket] = []
        self._players: list[_Player] = []
        self._holders: list[socket.socket] = []
        self._folder = tempfile.TemporaryDirectory(prefix="evsockets-")
        self.folder = Path(self._folder.name)
        executor.with_event_handler(self.trace)

    def client(
        self, name: str, address: str, operation: Operation, handler: Any = None, **metadata: Any
    ) -> ClientSocket:
        """Add a client socket; when the last one has ended, the servers end."""
        client = ClientSocket()
        self.trace.name(client, name)
        self.left += 1
        own = dict(handler or {})
        last = own.pop(EventType.FINALIZE, None)

        def ended(event: Any) -> None:
            if last is not None:
                last(event)
            self.left -= 1
            if not self.left:
                for server in self.servers:
                    server.close()

        own[EventType.FINALIZE] = ended
        self.executor.socket_bag.add_socket(client, operation, handler=own, address=address, **metadata)
        return client

    def server(
        self,
        address: str,
        started: Callable[[Any], object],
        handler: Any,
        first: Callable[[], Operation] = ReadOperation,
        **metadata: Any,
    ) -> None:
        """Add a server in the same executor; `started(event)` adds its clients, `handler` serves them."""
        server = ServerSocket()
        self.trace.name(server, f"server {address.partition(':')[0]}")
        self.servers.append(server)

        def accept(event: Any) -> None:
            self.executor.socket_bag.add_socket(event.client_socket, first(), handler=handler)

        self.executor.socket_bag.add_socket(
            server,
            ReadOperation(),
            address=address,
            handler={EventType.CONNECTED: started, EventType.ACCEPT: accept},
            **metadata,
        )

    def peer(self, *steps: Step, clients: int = 1) -> str:
        """The address of a listener that plays the recording to each of so many clients, in turn."""
        player = _Player(steps, clients)
        self._players.append(player)
        player.start()
        return "tcp://127.0.0.1:%d" % player.listener.getsockname()[1]

    def refusing(self, scheme: str) -> str:
        """A "tcp" or "udp" address that refuses, reserved until the end of the stage."""
        kind = socket.SOCK_STREAM if scheme == "tcp" else socket.SOCK_DGRAM
        holder = socket.socket(socket.AF_INET, kind)
        self._holders.append(holder)
        holder.bind(("127.0.0.1", 0))
        if scheme == "udp":
            holder.connect(holder.getsockname())  # others' datagrams find nobody
        return "%s://127.0.0.1:%d" % (scheme, holder.getsockname()[1])

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for holder in self._holders:
            holder.close()
        for player in self._players:
            if kind is not None:
                player.listener.close()
            player.join(_LONG)
            player.listener.close()
        self._folder.cleanup()
        if kind is None:
            for player in self._players:
                if player.failure is not None:
                    raise AssertionError("a recorded peer met something else") from player.failure


class _Player(threading.Thread):
    """Plays one recording, in a thread of its own, on blocking sockets."""

    def __init__(self, steps: Iterable[Step], clients: int) -> None:
        super().__init__(name="recorded peer", daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(_LONG)
        self.failure: BaseException | None = None
        self._steps = list(steps)
        self._clients = clients

    def run(self) -> None:
        try:
            for _ in range(self._clients):
                connection, _ = self.listener.accept()
                with connection:
                    connection.settimeout(_LONG)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for step in self._steps:
                        self._play(connection, *step)
        except BaseException as error:
            self.failure = error

    def _play(self, connection: socket.socket, verb: str, data: bytes = b"") -> None:
        if verb == "receive":
            got = b""
            while len(got) < len(data):
                chunk = connection.recv(min(65_536, len(data) - len(got)))
                assert chunk, f"the end came after {len(got)} of {len(data)} bytes"
                got += chunk
            assert got == data, f"{got[:100]!r} came, not {data[:100]!r}"
        elif verb == "send":
            connection.sendall(data)
        elif verb == "send apart":
            for byte in data:
                connection.sendall(bytes([byte]))
        elif verb == "urgent":
            connection.send(data, socket.MSG_OOB)
        elif verb == "end":
            connection.shutdown(socket.SHUT_WR)
        elif verb == "wait":
            try:
                while connection.recv(65_536):
                    pass
            except ConnectionResetError:
                pass  # bytes of ours lay unread there
        elif verb == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            raise ValueError(f"no step {verb!r}")
