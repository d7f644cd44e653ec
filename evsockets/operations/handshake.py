"""The TLS handshake: before CONNECTED on `tls://`, or in mid-stream (STARTTLS)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core.failure import broken, reason, socket_error
from ..core.operation import Operation
from ..engines.base import READ
from ..errors import TlsHandshakeError
from ..sockets import AcceptedSocket
from ..transports.base import is_tls_error
from ..transports.broken import BrokenTransport
from ..validation import check_server_hostname

if TYPE_CHECKING:
    import ssl

    from ..core.channel import Channel


class TlsHandshakeOperation(Operation):
    """STARTTLS on an open connection: an accepted socket takes the server's side, others the client's.

    `next_operation` starts after the handshake. `context`: an ssl.SSLContext instead of the stream
    context's settings. `server_hostname`: the name to verify. `allow_leftover`: accept bytes that a client
    received before the handshake, which fail it by default, as an attacker could have injected them. A
    failed or a second handshake gives a TlsHandshakeError.
    """

    __slots__ = ("allow_leftover", "context", "next_operation", "server_hostname")

    interest = READ
    _phase = "handshaking"
    _replaceable = False
    _after_posts = True

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
        check_server_hostname(server_hostname)
        self.next_operation = next_operation
        self.context = context
        self.server_hostname = server_hostname
        self.allow_leftover = allow_leftover

    def start(self, channel: Channel) -> Operation | None:
        transport = channel.transport
        if transport.datagram:
            raise _refused(channel, "TLS needs a stream, not datagrams")
        if channel.tls is not None:
            raise _refused(channel, "this connection has TLS already")
        if transport.failure is not None:
            raise broken(channel)
        settings = channel.metadata._settings.stream_context
        listener = channel.socket._listener if isinstance(channel.socket, AcceptedSocket) else None
        if channel.inbox and listener is None and not self.allow_leftover:
            why = f"{len(channel.inbox)} bytes came before the handshake"
            parsed = channel.metadata._parsed
            if parsed is not None and parsed.is_tls:  # through a proxy
                why += ", as from a peer without TLS; tcp:// connects without"
            else:
                why += " (command injection?); allow_leftover=True keeps them"
            raise _refused(channel, why, "handshaking")
        received, name = b"", None
        try:
            # Here, because `ssl` takes long to import; where no descriptor is left it cannot be.
            from ..transports.tls import TlsTransport
            from ..transports.tls_context import client_context, server_context, server_name

            if listener is None:
                context = self.context or client_context(settings, channel.metadata._parsed)
                name = self.server_hostname or server_name(settings, channel.metadata._parsed)
            else:
                received = channel.inbox.take(len(channel.inbox))
                shared = listener.metadata._settings.stream_context
                if settings == channel.loop.client_settings.stream_context:
                    settings = shared
                own = settings.tls is not None or settings.certificate is not None
                context = self.context or server_context(
                    settings if own else shared, listener.metadata._parsed
                )
            transport = TlsTransport(
                transport.sock,
                context,
                server_side=listener is not None,
                server_hostname=name,
                require_close_notify=settings.require_close_notify,
                received=received,
            )
        except (ValueError, OSError, ImportError) as error:
            raise _refused(channel, str(error), "handshaking", cause=error) from error
        channel.set_transport(transport)
        channel.steps += (("handshaking", channel.loop.clock()),)
        return self.step(channel, READ)

    def step(self, channel: Channel, mask: int) -> Operation | None:
        transport = channel.transport
        try:
            if not transport.handshake():
                return self
        except OSError as error:
            channel.set_transport(BrokenTransport(transport, error, "handshaking"))
            # The list in no variable: the traceback would hold it, and it the error.
            raise _refused(
                channel,
                _reason(error),
                "handshaking",
                cause=error,
                attempts=[(channel.remote, error)],
            ) from error
        channel.tls = transport.info()
        return self.next_operation

    def _abandon(self, channel: Channel) -> None:
        """What goes on after half a handshake can only be told that."""
        unfinished = channel.tls is None and hasattr(channel.transport, "handshake")  # of a TlsTransport
        if unfinished and channel.task is not None:
            from ssl import SSLError

            why = SSLError("the handshake was broken off")
            channel.set_transport(BrokenTransport(channel.transport, why, "handshaking"))

    def __repr__(self) -> str:
        return f"<TlsHandshakeOperation then {self.next_operation!r}>"


def _refused(channel: Channel, why: str, phase: str | None = None, **details: Any) -> TlsHandshakeError:
    return socket_error(TlsHandshakeError, channel, why, phase, **details)


def _reason(error: OSError) -> str:
    if is_tls_error(error, "SSLCertVerificationError"):
        return f"the peer's certificate was refused: {error.verify_message.rstrip('.')}"  # type: ignore[attr-defined]
    if is_tls_error(error):
        return f"TLS failed: {error.reason or error}"  # type: ignore[attr-defined]
    return reason(error)
