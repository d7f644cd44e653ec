"""Builds the errors of sockets, whose messages name address, reason, errno and phase."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import (
    DisconnectedError,
    EngineError,
    FrameError,
    HandlerError,
    NetworkSocketError,
    ReceiveError,
    SendError,
    TlsHandshakeError,
)
from ..frames.base import Frame, PartialFrame
from ..transports.base import is_tls_error

if TYPE_CHECKING:
    from .channel import Channel

E = TypeVar("E", bound=NetworkSocketError)

# What is raised of a connection that failed.
_KINDS: dict[str, type[NetworkSocketError]] = {
    "handshaking": TlsHandshakeError,
    "reading": ReceiveError,
    "writing": SendError,
}
_LOST = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ESHUTDOWN, errno.ENOTCONN})


def reason(error: BaseException) -> str:
    """What `error` says, with its number if it has one of the system's."""
    number = errno_of(error)
    text = getattr(error, "strerror", None) or str(error)
    what, semicolon, cure = text.partition("; ")
    return text if number is None else f"{what} (errno {number}){semicolon}{cure}"


def errno_of(error: BaseException | None) -> int | None:
    """The system's number of `error`; None for TLS's own and for what is no OSError."""
    if not isinstance(error, OSError) or is_tls_error(error):
        return None
    return error.errno


def network_error(
    kind: type[E], address: str | None, why: str | BaseException, phase: str | None = None, *,
    cause: BaseException | None = None, **details: Any,
) -> E:  # fmt: skip
    """`kind` saying that `why` happened at `address`, or on a socket without one, while `phase`, and what to
    do about it, where `why` has that behind a semicolon; an exception is its cause, too."""
    cause = why if isinstance(why, BaseException) else cause
    place = address or repr(details.get("socket"))
    what, semicolon, cure = (why if isinstance(why, str) else reason(why)).partition("; ")
    text = f"{place}: {what}{'' if phase is None else f' while {phase}'}{semicolon}{cure}"
    if cause is not None:
        details.setdefault("errno", errno_of(cause))
    made = kind(text, address=address, **details)
    made.__cause__ = cause
    return made


def socket_error(
    kind: type[E], channel: Channel, why: str | BaseException, phase: str | None = None, **details: Any
) -> E:
    """The same of the socket `channel` runs."""
    return network_error(kind, channel.metadata.address, why, phase, socket=channel.socket, **details)


def io_error(
    channel: Channel, error: OSError, kind: type[NetworkSocketError], phase: str
) -> NetworkSocketError:
    """The library's error for `error` met while `phase`: `kind`, unless the connection is gone."""
    lost = errno_of(error) in _LOST and not channel.transport.datagram
    return socket_error(DisconnectedError if lost else kind, channel, error, phase)


def broken(channel: Channel) -> NetworkSocketError:
    """Why nothing can be sent any more, when what had arrived has been delivered or nobody reads it: the
    peer's own word if it left one (a TLS alert)."""
    transport = channel.transport
    return io_error(channel, transport.give_up(), _KINDS[transport.phase], transport.phase)


def place(channel: Channel, error: NetworkSocketError) -> None:
    """Fill in what its raiser left out."""
    if error.socket is None:
        error.socket = channel.socket
    if error.address is None:
        error.address = channel.metadata.address
        if error._unplaced:
            error.args = (f"{error.address}: {error} while {channel.phase_name()}",)
    if isinstance(error, FrameError) and error.picker is None:  # of a picker of a user's own
        reads = getattr(channel.operation, "_reads", None)  # of both directions
        error.picker = getattr(reads[0] if reads else channel.operation, "picker", None)
        if error.partial is None:
            inbox = channel.inbox
            error.partial = PartialFrame(Frame(inbox.peek(len(inbox)), inbox.remote_address))


def isolated(channel: Channel, error: BaseException) -> NetworkSocketError:
    """What user code has raised as an error of this socket alone. What ends the run is raised."""
    if isinstance(error, NetworkSocketError):
        return error
    if isinstance(error, Exception) and type(error) is not EngineError:
        if channel.loop.configuration.isolate_handler_errors:
            return handler_error(channel, error)
    raise error


def handler_error(channel: Channel, bug: Exception) -> HandlerError:
    """A bug of a handler, or of the conversation, as an error of its socket alone."""
    who = "a handler" if channel.stepper is None else channel.stepper._raiser
    why = f"{who} raised {bug!r}"
    # No errno: an OSError that was met elsewhere says nothing of this connection.
    return socket_error(HandlerError, channel, why, cause=bug, errno=None)
