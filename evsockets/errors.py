"""The exceptions of the library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .event_types import TimeoutStage
from .pickles import sendable

if TYPE_CHECKING:
    from typing import Literal, Unpack

    from .frames.base import FramePicker, PartialFrame
    from .sockets import Socket
    from .typing import ErrorKeywords, SocketAddress, TimeoutPhase


class EvSocketsError(Exception):
    """Base of all errors of this library.

    They can be pickled, without `socket`; a cause that cannot be pickled becomes its repr.
    """

    def __reduce__(self) -> Any:
        state = dict(self.__dict__)
        if isinstance(self, NetworkSocketError):
            state.update(socket=None, errno=self.errno)  # an OSError too has it in no __dict__
        cause = self.__cause__
        return _restored, (type(self), self.args, state, sendable(cause), self.__suppress_context__)


def _restored(
    kind: type[EvSocketsError],
    args: tuple[Any, ...],
    state: dict[str, Any],
    cause: BaseException | None,
    suppress_context: bool,
) -> EvSocketsError:
    """What was pickled."""
    error = kind.__new__(kind, *args)
    error.args = args
    for name, value in state.items():
        setattr(error, name, value)
    error.__cause__ = cause
    error.__suppress_context__ = suppress_context
    return error


class AddressError(EvSocketsError, ValueError):
    """A malformed address; the message says what is wrong with it."""


class EngineError(EvSocketsError):
    """An engine failed, broke a promise or cannot be used."""


class EngineUnavailableError(EngineError):
    """No candidate engine can be used; the message lists each, with the reason and what to install."""


class UnknownSocketError(EvSocketsError, LookupError):
    """The socket is not in this bag."""


class MailboxFullError(EvSocketsError):
    """A mailbox has reached its limit."""


class MailboxClosedError(EvSocketsError):
    """A mailbox is closed: it takes no items, or has none left."""

    #: Whether a conversation that does not catch it ends as one that returns.
    _ends_conversation = False


class NetworkSocketError(EvSocketsError):
    """An error of one socket.

    `socket` is the socket (set by the executor if it is not given), `address` its address, `errno` the
    system's error number, each None if unknown. The OSError that caused it, if any, is the `__cause__`.
    """

    #: Raised by the library where it could not know the socket: the executor adds address and phase.
    _unplaced = False

    def __init__(
        self,
        message: str = "",
        *,
        socket: Socket | None = None,
        address: str | None = None,
        errno: int | None = None,
    ) -> None:
        super().__init__(message)
        self.socket = socket
        self.address = address
        self.errno = errno


class ConnectionFailedError(NetworkSocketError):
    """A connection could not be made, or a server could not listen.

    `attempts` holds every `(address, OSError)` tried, in order; the last one is the cause.
    """

    def __init__(
        self,
        message: str = "",
        *,
        attempts: Sequence[tuple[SocketAddress, OSError]] = (),
        **details: Unpack[ErrorKeywords],
    ) -> None:
        super().__init__(message, **details)
        self.attempts = list(attempts)


class TlsHandshakeError(ConnectionFailedError):
    """The TLS handshake failed, or is not possible on this connection."""


class DisconnectedError(NetworkSocketError):
    """The peer ended or reset the connection while an operation was pending.

    `clean`: the peer ended the stream in order, between two frames.
    """

    def __init__(self, message: str = "", *, clean: bool = False, **details: Unpack[ErrorKeywords]) -> None:
        super().__init__(message, **details)
        self.clean = clean


class AcceptError(NetworkSocketError):
    """A server cannot accept at present; it resumes by itself."""


class FrameError(NetworkSocketError):
    """Received bytes form no frame: it is malformed or over the limit, or the stream ended inside it.

    `picker` is the frame picker, `partial` a `PartialFrame` with what had arrived (or None).
    """

    def __init__(
        self,
        message: str = "",
        *,
        picker: FramePicker | None = None,
        partial: PartialFrame | None = None,
        **details: Unpack[ErrorKeywords],
    ) -> None:
        super().__init__(message, **details)
        self.picker = picker
        self.partial = partial


class UnmanagedSocketError(NetworkSocketError):
    """Data kept arriving on an idle connection, and no handler named an operation to read it."""


class UnsupportedOperationError(NetworkSocketError):
    """The transport or engine does not support the operation."""


class HandlerError(NetworkSocketError):
    """An exception of a handler, isolated to its socket; the exception is the `__cause__`."""


class TransferError(NetworkSocketError):
    """Sending or receiving failed."""


class SendError(TransferError):
    """Sending failed for a reason other than a lost connection."""


class ReceiveError(TransferError):
    """Receiving failed for a reason other than a lost connection."""


class SlowTransferError(TransferError):
    """The transfer was slower than the minimum: `direction` ("receive" or "send"), `speed` (the measured
    bytes/s) and `duration` (the seconds over which it was measured)."""

    def __init__(
        self,
        message: str = "",
        *,
        direction: Literal["receive", "send"] = "receive",
        speed: float = 0.0,
        duration: float = 0.0,
        **details: Unpack[ErrorKeywords],
    ) -> None:
        super().__init__(message, **details)
        self.direction = direction
        self.speed = speed
        self.duration = duration


class SocketTimeoutError(NetworkSocketError, TimeoutError):
    """A time-out passed inside a conversation, or is the error of an outcome.

    `when` is the stage: `TimeoutStage.IO`, `TimeoutStage.SCOPE` for a `timeout()` block, or in an outcome any
    other; `phase` is what the socket was doing, a value of `TimeoutEvent.phase`.
    """

    #: Whether TIMEOUT is what is told of it, if nobody catches it.
    _is_told_as_timeout = False
    #: `phase` in more words, where it has some.
    _doing = ""

    def __init__(
        self,
        message: str = "",
        *,
        when: TimeoutStage = TimeoutStage.IO,
        phase: TimeoutPhase | Literal[""] = "",
        **details: Unpack[ErrorKeywords],
    ) -> None:
        super().__init__(message, **details)
        self.when = when
        self.phase = phase


class ConversationEndedError(EvSocketsError):
    """The error of an outcome whose conversation was cancelled, closed or replaced before it returned."""


class WorkerLostError(EvSocketsError):
    """A worker process ended before its work was done."""
