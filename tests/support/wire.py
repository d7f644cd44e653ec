"""Hand-written peers on plain blocking sockets, and a log of what one socket's handlers were told."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from evsockets import ClientSocket, EventType, Operation, RequestExecutor

#: Seconds after which a peer gives up, so that a broken test ends.
PATIENCE = 20.0


class Peer:
    """A server whose thread runs `script(sock)` for each of `count` clients, one after the other."""

    def __init__(
        self, script: Callable[[socket.socket], object], listener: socket.socket, count: int
    ) -> None:
        self.listener = listener
        self.name = listener.getsockname()
        self.results: list[Any] = []
        self.error: BaseException | None = None
        self._script = script
        self._count = count
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self.name[1])

    def url(self, scheme: str = "tcp", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}"

    def _run(self) -> None:
        try:
            for _ in range(self._count):
                sock, _ = self.listener.accept()
                with sock:
                    sock.settimeout(PATIENCE)
                    self.results.append(self._script(sock))
        except BaseException as error:
            self.error = error

    def wait(self) -> list[Any]:
        """What the script returned, once for each client."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the peer hangs"
        if self.error is not None:
            raise self.error
        return self.results


@contextlib.contextmanager
def peer(
    script: Callable[[socket.socket], object],
    *,
    count: int = 1,
    family: int = socket.AF_INET,
    bind: Any = ("127.0.0.1", 0),
    receive_buffer: int | None = None,
) -> Iterator[Peer]:
    """A `Peer` at work; at the end its thread is waited for, and what it raised is raised here."""
    with socket.socket(family) as listener:
        if receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        listener.bind(bind)
        listener.listen(16)
        listener.settimeout(PATIENCE)
        running = Peer(script, listener, count)
        yield running
        running.wait()


def read_to_end(sock: socket.socket) -> bytes:
    """Everything until the end of the stream."""
    return b"".join(iter(lambda: sock.recv(65536), b""))


def read_exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise EOFError(f"{len(data)} of {size} bytes")
        data += chunk
    return data


def answer(data: bytes) -> Callable[[socket.socket], object]:
    """A script that sends `data` and closes."""
    return lambda sock: sock.sendall(data)


def quietly(script: Callable[[Any], object]) -> Callable[[Any], object]:
    """A script whose client is expected to go away."""

    def run(sock: Any) -> object:
        try:
            return script(sock)
        except OSError as error:
            return error

    return run


def reset(sock: socket.socket) -> None:
    """Close with a reset instead of an end of stream."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def hang_up(sock: Any) -> None:
    """End a TLS connection without its close_notify."""
    socket.socket.shutdown(sock, socket.SHUT_RDWR)


def tls_script(
    context: ssl.SSLContext, script: Callable[[ssl.SSLSocket], object]
) -> Callable[[socket.socket], object]:
    """A script behind a TLS handshake as server."""

    def run(sock: socket.socket) -> object:
        with context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False) as wrapped:
            wrapped.settimeout(PATIENCE)
            return script(wrapped)

    return run


class Log:
    """What the handlers of one socket were told."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.metadata: Any = None

    def handler(
        self, on: Mapping[str, Callable[[Any], Any]] | None = None, oob: bool = False
    ) -> dict[Any, Any]:
        """A mapping that logs everything (urgent bytes only with `oob`) and then asks `on[name]`."""
        on = dict(on or {})
        types = [kind for kind in EventType if oob or kind is not EventType.OOB or "OOB" in on]
        result: dict[Any, Any] = {kind: [self.events.append] for kind in types}
        for name, callback in on.items():
            result[EventType[name]].append(callback)
        return result

    @property
    def names(self) -> list[str]:
        return [event.type.name for event in self.events]

    @property
    def frames(self) -> list[bytes]:
        return [event.frame.data for event in self.events if event.type is EventType.READ]

    @property
    def errors(self) -> list[Any]:
        return [event.exception for event in self.events if event.type is EventType.EXCEPTION]

    @property
    def error(self) -> Any:
        """The one exception there was."""
        assert len(self.errors) == 1, self.errors
        return self.errors[0]

    @property
    def timeouts(self) -> list[tuple[str, str]]:
        return [(event.when.name, event.phase) for event in self.events if event.type is EventType.TIMEOUT]


def add(
    executor: RequestExecutor,
    address: str | None,
    operation: Operation,
    *,
    socket: Any = None,
    on: Mapping[str, Callable[[Any], Any]] | None = None,
    oob: bool = False,
    **metadata: Any,
) -> Log:
    """Add a socket with a `Log` as its handler."""
    log = Log()
    if address is not None:
        metadata["address"] = address
    metadata = {"io_timeout": PATIENCE, "connection_timeout": PATIENCE, **metadata}
    log.metadata = executor.socket_bag.add_socket(
        ClientSocket() if socket is None else socket, operation, handler=log.handler(on, oob), **metadata
    )
    return log


def talk(executor: RequestExecutor, address: str | None, operation: Operation, **more: Any) -> Log:
    """`add` one socket and run to the end."""
    log = add(executor, address, operation, **more)
    executor.execute_request()
    return log


def pair() -> tuple[ClientSocket, socket.socket]:
    """An adopted client and its peer, a blocking socket with a time-out."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)
    return ClientSocket.from_socket(ours), theirs
