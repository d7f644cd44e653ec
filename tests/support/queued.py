"""Peers in the kernel's queue of a listener, and every way to ask for a drain."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from evsockets import DrainReport, RequestExecutor
from support.certificates import Authority
from support.wire import PATIENCE, read_to_end

STREAMS = ["tcp", "tls", "unix", "abstract"]
DATAGRAMS = ["udp", "udg"]
#: From where drain() is called; each starts it only.
PLACES = ["handler", "thread", "signal"]


def begin_drain(executor: RequestExecutor, place: str, timeout: float | None) -> DrainReport:
    """Call `executor.drain(timeout)` from `place`; to be called in a handler, and done when it returns."""
    reports: list[DrainReport] = []

    def drain(*_: Any) -> None:
        reports.append(executor.drain(timeout))

    if place == "handler":
        drain()
    elif place == "thread":
        thread = threading.Thread(target=drain)
        thread.start()
        thread.join()
    else:
        before = signal.signal(signal.SIGUSR1, drain)
        try:
            signal.raise_signal(signal.SIGUSR1)
        finally:
            signal.signal(signal.SIGUSR1, before)
    return reports[0]


class Queued:
    """Peers of one kind of listener. `address` and `metadata` are the listener's.

    `come(local)` puts peers into its queue before it returns; each sends a line of its own and reads what
    comes until the end (a datagram: one). `answers()` is what each got, or its OSError.
    """

    def __init__(self, kind: str, ca: Authority, folder: Path, pool: ThreadPoolExecutor) -> None:
        self.kind = kind
        self.metadata: dict[str, Any] = {}
        self.address = {
            "unix": f"unix://{folder}/s",
            "abstract": f"unix://@evsockets-{folder.name}",
            "udg": f"udg://{folder}/d",
        }.get(kind, f"{kind}://127.0.0.1:0")
        if kind == "tls":
            leaf = ca.server
            self.metadata = {
                "stream_context": leaf.settings
            }
        self._ca = ca
        self._pool = pool
        self._futures: list[Future[bytes | OSError]] = []
        self.sockets: list[socket.socket] = []
        self.kept = socket.socket()
        self.kept.close()

    @property
    def is_stream(self) -> bool:
        return self.kind not in DATAGRAMS

    def lines(self) -> list[bytes]:
        """What the peers sent, in their order."""
        return [b"line %d\n" % number for number in range(len(self.sockets))]

    def listener(self) -> socket.socket:
        """A plain socket that listens (is bound) as one opened for `address` would; `kept` is another one's
        descriptor of it."""
        kind = socket.SOCK_STREAM if self.is_stream else socket.SOCK_DGRAM
        target = self.address.partition("://")[2]
        if self.kind in ("tcp", "tls", "udp"):
            made, where = socket.socket(socket.AF_INET, kind), ("127.0.0.1", 0)
        else:
            made = socket.socket(socket.AF_UNIX, kind)
            where = "\0" + target[1:] if target.startswith("@") else target
        made.bind(where)
        if self.is_stream:
            made.listen(64)
        self.kept = made.dup()
        return made

    def come(self, local: Any, count: int = 1) -> None:
        """`count` more peers; `local` is the listener's address."""
        for _ in range(count):
            family = socket.AF_INET if isinstance(local, tuple) else socket.AF_UNIX
            sock = socket.socket(family, socket.SOCK_STREAM if self.is_stream else socket.SOCK_DGRAM)
            self.sockets.append(sock)
            sock.settimeout(PATIENCE)
            if self.kind == "udg":
                sock.bind("")
            sock.connect("\0" + local[1:] if isinstance(local, str) and local.startswith("@") else local)
            line = self.lines()[-1]
            if self.kind != "tls":
                sock.sendall(line)
            if self.is_stream:
                self._futures.append(self._pool.submit(self._talk, sock, line))

    def _talk(self, sock: socket.socket, line: bytes) -> bytes | OSError:
        try:
            if self.kind == "tls":
                context = ssl.create_default_context(cafile=self._ca.ca_file)
                with context.wrap_socket(sock.dup(), server_hostname="localhost") as wrapped:
                    wrapped.settimeout(PATIENCE)
                    wrapped.sendall(line)
                    return read_to_end(wrapped)
            return read_to_end(sock)
        except OSError as error:
            return error

    def answers(self, most: int | None = None) -> list[bytes | OSError]:
        """What they got, the first `most` of them."""
        if not self.is_stream:
            return [sock.recv(65536) for sock in self.sockets[:most]]
        return [future.result(PATIENCE) for future in self._futures[:most]]


@contextlib.contextmanager
def queued(kind: str, ca: Authority, folder: Path) -> Iterator[Queued]:
    """`Queued`, its threads and sockets ended with the block."""
    with ThreadPoolExecutor(128) as pool:
        made = Queued(kind, ca, folder, pool)
        try:
            yield made
        finally:
            for sock in made.sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
    for sock in [*made.sockets, made.kept]:
        sock.close()


Queue = Callable[[str], Queued]
