"""The TLS handshake: before CONNECTED on `tls://`, or in mid-stream (STARTTLS)."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from ..engines.base import READ
from ..errors import TlsHandshakeError
from ..sockets import AcceptedSocket
from ..transports.tls import TlsTransport
from ..transports.tls_context import client_context, server_context, server_name
from .base import Operation

if TYPE_CHECKING:
    from ..channel import Channel


class TlsHandshakeOperation(Operation):
    """STARTTLS on an open connection; the side is the socket's kind (accepted: server).

    `next_operation` starts when it is done. `context`: an ssl.SSLContext instead of the stream
    context's settings. `server_hostname`: the name to verify. `allow_leftover`: a client that has
    received bytes before the handshake fails (command injection) unless this is true. A second
    handshake, or a failing one, is a TlsHandshakeError.
    """

    __slots__ = ("allow_leftover", "context", "next_operation", "server_hostname")

    interest = READ
    phase = "handshaking"

    def __init__(
        self,
        next_operation: Operation | None = None,
        *,
        context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        allow_leftover: bool = False,
    ) -> None:
        if next_operation is not None and not isinstance(next_operation, Operation):
            raise TypeError(f"next_operation must be an operation, got {next_operation!r}")
        if context is not None and not hasattr(context, "wrap_bio"):  # gevent has a class of its own
            raise TypeError(f"context must be an ssl.SSLContext, got {context!r}")
        self.next_operation = next_operation
        self.context = context
        self.server_hostname = server_hostname
        self.allow_leftover = allow_leftover

    def start(self, channel: Channel) -> Operation | None:
        address = channel.metadata.address
        transport = channel.transport
        if transport.datagram:
            raise TlsHandshakeError(f"{address}: TLS needs a stream, not datagrams", address=address)
        if channel.tls is not None:
            raise TlsHandshakeError(f"{address}: this connection has TLS already", address=address)
        server = isinstance(channel.socket, AcceptedSocket)
        received = b""
        if channel.inbox:
            if server:
                received = channel.inbox.take(len(channel.inbox))
            elif not self.allow_leftover:
                raise TlsHandshakeError(
                    f"{address}: {len(channel.inbox)} bytes came before the handshake (command injection?) "
                    "while handshaking; allow_leftover=True keeps them",
                    address=address,
                )
        settings = channel.metadata._settings.stream_context
        listener = channel.socket._listener if isinstance(channel.socket, AcceptedSocket) else None
        shared = settings if listener is None else listener.metadata._settings.stream_context
        if settings == channel.executor.client_settings.stream_context:
            settings = shared
        try:
            if self.context is not None:
                context = self.context
            elif listener is not None:
                own = settings.tls is not None or settings.certificate is not None
                context = server_context(settings if own else shared, listener.metadata._parsed)
            else:
                context = client_context(settings, channel.metadata._parsed)
            name: Any = None
            if not server:
                name = self.server_hostname or server_name(settings, channel.metadata._parsed)
            channel.use(
                TlsTransport(
                    transport.sock,
                    context,
                    server_side=server,
                    server_hostname=name,
                    require_close_notify=settings.require_close_notify,
                    received=received,
                )
            )
        except (ValueError, OSError) as error:
            raise TlsHandshakeError(f"{address}: {error} while handshaking", address=address) from error
        return self.step(channel, READ)

    def step(self, channel: Channel, mask: int) -> Operation | None:
        transport = channel.transport
        try:
            if not transport.handshake():
                return self
        except OSError as error:
            address = channel.metadata.address
            raise TlsHandshakeError(
                f"{address}: {_reason(error)} while handshaking",
                attempts=[(channel.remote_address(), error)],
                address=address,
                errno=None if isinstance(error, ssl.SSLError) else error.errno,
            ) from error
        channel.tls = transport.info()
        return self.next_operation

    def __repr__(self) -> str:
        return f"<TlsHandshakeOperation then {self.next_operation!r}>"


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the peer's certificate was refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    return f"{error.strerror or error} (errno {error.errno})"
