"""Hand-written peers on plain blocking sockets, and a log of what one socket's handlers were told."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from evsockets import ClientSocket, ConversationOperation, EventType, Operation, RequestExecutor
from support.machine import until

#: Seconds after which a peer gives up, so that a broken test ends.
PATIENCE = 60.0


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


@contextlib.contextmanager
def listening(scheme: str = "tcp") -> Iterator[tuple[socket.socket, str]]:
    """A plain listener on loopback that nobody accepts from, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"


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


def by_name(on: Any) -> Callable[[Any], object]:
    """A handler of every event: `on` is one, or has one by the name (or type) of each event it takes."""
    if callable(on):
        return on  # type: ignore[no-any-return]
    callbacks = {getattr(kind, "name", kind): callback for kind, callback in on.items()}
    return lambda event: callbacks[event.type.name](event) if event.type.name in callbacks else None


class Log:
    """A handler that keeps every event it is told, and what tests compare of them."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.metadata: Any = None

    def __call__(self, event: Any) -> None:
        self.events.append(event)

    def handler(self, on: Any = None, oob: bool = False) -> dict[Any, Any]:
        """A mapping that logs everything (urgent bytes only with `oob`) and then asks `on`, a callable or
        callables by the event's name."""
        oob = oob or (not callable(on) and "OOB" in (on or {}))
        then = by_name(on or {})
        return {kind: [self, then] for kind in EventType if oob or kind is not EventType.OOB}

    @property
    def names(self) -> list[str]:
        return [event.type.name for event in self.events]

    def names_of(self, socket: object) -> list[str]:
        """Of a log of several sockets, the events of this one."""
        return [event.type.name for event in self.events if event.socket is socket]

    def of(self, kind: EventType | str) -> list[Any]:
        return [event for event in self.events if kind in (event.type, event.type.name)]

    @property
    def frames(self) -> list[bytes]:
        return [event.frame.data for event in self.of("READ")]

    @property
    def errors(self) -> list[Any]:
        return [event.exception for event in self.of("EXCEPTION")]

    @property
    def error(self) -> Any:
        """The one exception there was."""
        assert len(self.errors) == 1, self.errors
        return self.errors[0]

    @property
    def timeouts(self) -> list[tuple[str, str]]:
        return [(event.when.name, event.phase) for event in self.of("TIMEOUT")]


#: An operation, or the coroutine function of a conversation.
Said = Operation | Callable[..., Coroutine[Any, Any, Any]]


def operation_of(said: Said) -> Operation:
    return said if isinstance(said, Operation) else ConversationOperation(said)


def add(
    executor: RequestExecutor,
    address: str | None,
    operation: Said,
    *,
    socket: Any = None,
    on: Any = None,
    oob: bool = False,
    log: Log | None = None,
    **metadata: Any,
) -> Log:
    """Add a socket with a `Log` as its handler."""
    log = Log() if log is None else log
    if address is not None:
        metadata["address"] = address
    metadata = {"io_timeout": PATIENCE, "connection_timeout": PATIENCE, **metadata}
    log.metadata = executor.socket_bag.add_socket(
        ClientSocket() if socket is None else socket,
        operation_of(operation),
        handler=log.handler(on, oob),
        **metadata,
    )
    return log


def talk(executor: RequestExecutor, address: str | None, operation: Said, **more: Any) -> Log:
    """`add` one socket and run to the end."""
    log = add(executor, address, operation, **more)
    executor.execute_request()
    return log


def turns_until(executor: RequestExecutor, done: Callable[[], object], wait: float = 0.01) -> None:
    """Take turns of a run, each waiting for so long at most, until `done()`; it must not end before."""
    for _ in until(done):
        assert executor.turn(wait), "the run has ended before"


def turns_to_the_end(executor: RequestExecutor, wait: float = PATIENCE) -> None:
    """Take turns of a run, each waiting for so long at most, to its end."""
    for _ in until(lambda: not executor.turn(wait), "the run's end"):
        pass


#: The fixture `secure`.
Secure = Callable[..., tuple[Log, list[Any]]]


def pair() -> tuple[ClientSocket, socket.socket]:
    """An adopted client and its peer, a blocking socket with a time-out."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)
    return ClientSocket.from_socket(ours), theirs


def tcp_pair(receive_buffer: int = 65_536) -> tuple[ClientSocket, socket.socket]:
    """As `pair`, over TCP; the peer's kernel keeps about `receive_buffer` bytes for it. Ours keeps a fixed
    number: one that tunes it may take more by itself some real time later."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    theirs.settimeout(PATIENCE)
    return ClientSocket.from_socket(ours), theirs
