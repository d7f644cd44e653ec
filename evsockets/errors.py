"""Every exception the library raises of its own."""

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

    They can be pickled: all but `socket`, and a cause that cannot be pickled becomes its repr.
    """

    def __reduce__(self) -> Any:
        state = {name: value for name, value in self.__dict__.items() if name != "__notes__"}
        if "socket" in state:
            state["socket"] = None
        return _restored, (type(self), self.args, state, sendable(self.__cause__))


def _restored(
    kind: type[EvSocketsError], args: tuple[Any, ...], state: dict[str, Any], cause: BaseException | None
) -> EvSocketsError:
    """What was pickled."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    error.__cause__ = cause
    return error


class AddressError(EvSocketsError, ValueError):
    """An address that cannot be understood; the message says what is wrong with it."""


class EngineError(EvSocketsError):
    """An engine misbehaves or cannot be used."""


class EngineUnavailableError(EngineError):
    """No engine asked for can be used; the message lists each candidate, why, and what to install."""


class UnknownSocketError(EvSocketsError, LookupError):
    """The socket is not in this bag."""


class MailboxFullError(EvSocketsError):
    """A mailbox holds as many items as it may."""


class MailboxClosedError(EvSocketsError):
    """A mailbox is closed: nothing can be put, or nothing is left to be taken."""

    #: Whether a conversation that does not catch it ends as one that returns.
    _ends_conversation = False


class NetworkSocketError(EvSocketsError):
    """Something went wrong on one socket.

    `socket` is the socket (filled in by the executor where the raiser left it out), `address` its
    address, `errno` the system's number, all None when unknown. An OSError behind it is the `__cause__`.
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
    """No connection came about (or a server could not listen).

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
    """The TLS handshake failed, or was asked for where none is possible."""


class DisconnectedError(NetworkSocketError):
    """The peer ended or reset the connection while an operation was pending.

    `clean`: it ended in order, where no frame had begun.
    """

    def __init__(self, message: str = "", *, clean: bool = False, **details: Unpack[ErrorKeywords]) -> None:
        super().__init__(message, **details)
        self.clean = clean


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
        **details: Unpack[ErrorKeywords],
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
    """A time-out passed inside a conversation.

    `when` is the stage: `TimeoutStage.IO`, or `TimeoutStage.SCOPE` of a `timeout()` block; `phase` is what
    the socket did, in the words of `TimeoutEvent.phase`.
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
    """A conversation was cancelled, closed or replaced before it returned: an outcome of `fan_out`."""


class WorkerLostError(EvSocketsError):
    """A worker process ended before its work was done."""
