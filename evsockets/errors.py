"""Every exception the library raises of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .frames.base import FramePicker, PartialFrame


class EvSocketsError(Exception):
    """Base of all errors of this library."""


class AddressError(EvSocketsError, ValueError):
    """An address that cannot be understood; the message says what is wrong with it."""


class EngineError(EvSocketsError):
    """An engine misbehaves or cannot be used."""


class EngineUnavailableError(EngineError):
    """No engine asked for can be used; the message lists each candidate, why, and what to install."""


class UnknownSocketError(EvSocketsError, LookupError):
    """The socket is not in this bag."""


class NetworkSocketError(EvSocketsError):
    """Something went wrong on one socket.

    `socket` is the socket (filled in by the executor where the raiser left it out), `address` its
    address, `errno` the system's number, all None when unknown. An OSError behind it is the `__cause__`.
    """

    #: Raised by the library where it could not know the socket: the executor adds address and phase.
    _unplaced = False

    def __init__(
        self, message: str = "", *, socket: Any = None, address: str | None = None, errno: int | None = None
    ) -> None:
        super().__init__(message)
        self.socket = socket
        self.address = address
        self.errno = errno


class ConnectionFailedError(NetworkSocketError):
    """No connection came about (or a server could not listen).

    `attempts` holds every `(address, OSError)` tried, in order; the last one is the cause.
    """

    def __init__(
        self, message: str = "", *, attempts: Sequence[tuple[Any, OSError]] = (), **details: Any
    ) -> None:
        super().__init__(message, **details)
        self.attempts = list(attempts)


class TlsHandshakeError(ConnectionFailedError):
    """The TLS handshake failed, or was asked for where none is possible."""


class DisconnectedError(NetworkSocketError):
    """The peer ended or reset the connection while an operation was pending."""


class AcceptError(NetworkSocketError):
    """A server cannot accept for now; it goes on by itself."""


class FrameError(NetworkSocketError):
    """Received bytes make no frame: over the limit, or the stream ended inside one.

    `picker` is the frame picker, `partial` a `PartialFrame` with what had arrived (or None).
    """

    def __init__(
        self,
        message: str = "",
        *,
        picker: FramePicker | None = None,
        partial: PartialFrame | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.picker = picker
        self.partial = partial


class UnmanagedSocketError(NetworkSocketError):
    """Data kept arriving on an idle connection and no handler took it."""


class UnsupportedOperationError(NetworkSocketError):
    """This transport or engine cannot do what was asked."""


class HandlerError(NetworkSocketError):
    """A handler's own exception, isolated to its socket; the exception is the `__cause__`."""


class TransferError(NetworkSocketError):
    """Sending or receiving failed."""


class SendError(TransferError):
    """Sending failed for a reason other than a lost connection."""


class ReceiveError(TransferError):
    """Receiving failed for a reason other than a lost connection."""


class SlowTransferError(TransferError):
    """Fewer bytes than the minimum moved: `direction` ("receive" or "send"), `speed` (bytes/s measured)
    and `duration` (the seconds it was measured over)."""

    def __init__(
        self,
        message: str = "",
        *,
        direction: str = "receive",
        speed: float = 0.0,
        duration: float = 0.0,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.direction = direction
        self.speed = speed
        self.duration = duration
