"""TLS transports without an engine, both ends in one thread."""

from __future__ import annotations

import _socket
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from evsockets.address import parse_address
from evsockets.configuration import StreamContext
from evsockets.engines.base import READ, WRITE
from evsockets.transports.tls import TlsTransport
from evsockets.transports.tls_context import client_context, server_context
from support.certificates import Authority
from support.transports import pair

VERSIONS = ["TLSv1.2", "TLSv1.3"]


def contexts(
    ca: Authority, version: str | None = None, client: dict[str, Any] | None = None, **server: Any
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client's and a server's, of one TLS version or of any, with these settings besides the usual ones."""
    scheme = "tls" if version is None else version.lower()
    address = parse_address(f"{scheme}://localhost:443")
    leaf = ca.server
    server = {"certificate": leaf.certificate, "private_key": leaf.private_key, **server}
    return (
        client_context(StreamContext(**{"ca_file": ca.ca_file, **(client or {})}), address),
        server_context(StreamContext(**server), address),
    )


def ends(
    stack: ExitStack, made: tuple[ssl.SSLContext, ssl.SSLContext], *, tiny: bool = False, **settings: Any
) -> tuple[TlsTransport, TlsTransport]:
    """A client and its server, connected, before the handshake; with `tiny` buffers for sending."""
    near, far = pair(stack)
    if tiny:
        for sock in (near, far):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    return (
        TlsTransport(near, made[0], server_side=False, server_hostname="localhost", **settings),
        TlsTransport(far, made[1], server_side=True, **settings),
    )


def one_end(stack: ExitStack, ca: Authority, *, server_side: bool) -> tuple[TlsTransport, _socket.socket]:
    """A client or a server, and the raw socket at the other end."""
    near, far = pair(stack)
    name = None if server_side else "localhost"
    made = contexts(ca)[server_side]
    return TlsTransport(near, made, server_side=server_side, server_hostname=name), far


def shake(*transports: TlsTransport) -> None:
    """Handshake to the end; no step may wait for a direction that is ready without going on."""
    waiting = list(transports)
    for _ in range(10_000):
        for transport in list(waiting):
            if transport.handshake():
                assert transport.wants == 0
                if transport.unflushed:  # our last part, which would leave with the first bytes written
                    assert transport.flush()
                assert not transport.unflushed
                waiting.remove(transport)
            else:
                assert transport.wants in (READ, WRITE)
                assert (transport.wants == WRITE) == bool(transport.unflushed)
        if not waiting:
            return
    raise AssertionError("the handshake does not end")


def joined(
    stack: ExitStack, made: tuple[ssl.SSLContext, ssl.SSLContext], **more: Any
) -> tuple[TlsTransport, TlsTransport]:
    """`ends` after their handshake."""
    both = ends(stack, made, **more)
    shake(*both)
    return both


def take_tickets(client: TlsTransport) -> None:
    """Read the session tickets that came with the handshake."""
    for _ in range(100):
        if client.recv() is None:
            return
    raise AssertionError("more than tickets came")


def move(sender: TlsTransport, receiver: TlsTransport, data: bytes) -> bytes:
    """Send `data` and receive all of it, in one thread."""
    view, received = memoryview(data), []
    missing = len(data)
    for _ in range(1_000_000):
        if view:
            view = view[sender.send(view) :]
        elif sender.unflushed:
            sender.flush()
        part = receiver.recv()
        if part:
            assert len(part) <= 65_536
            received.append(part)
            missing -= len(part)
        assert part != b""
        if missing <= 0 and not view:
            break
    return b"".join(received)


class Far:
    """The other end of a TLS connection, step by step, on a blocking socket."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, *, server_side: bool) -> None:
        self._sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server_side else "localhost"
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=name
        )

    def flight(self) -> bytes:
        """What the handshake has to say next."""
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    def listen(self) -> None:
        received = self._sock.recv(65536)
        assert received, "the end came without close_notify"
        self.incoming.write(received)

    def send(self) -> None:
        self._sock.sendall(self.outgoing.read())

    def call(self, step: Callable[[], Any]) -> Any:
        """What `step()` of `tls` gives, when what it needs has been said and heard."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.send()
                self.listen()
