"""The events that handlers get: their types, and a class for each set of attributes.

The `next_operation` of an I/O event is the operation that its socket runs next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._generic import Generic
from .core.operation import UNTOLD, Operation
from .event_types import EventType, TimeoutStage
from .frames.base import AcceptedFrame, FrameT_co
from .recycled import recycled
from .sockets import public_peer

if TYPE_CHECKING:
    from .channel import Channel as PublicChannel
    from .context import ExecutionContext
    from .core.channel import Channel
    from .executor import RequestExecutor
    from .frames.base import Frame, FramePicker
    from .metadata import SocketMetadata
    from .operations.write import WriteOperation
    from .sockets import AcceptedSocket, DatagramClientSocket, Socket
    from .typing import Data, SocketAddress, TimeoutPhase


# Read by these names they cost compiled code no look-up.
_ACCEPT, _READ, _WRITE, _UNTOLD = EventType.ACCEPT, EventType.READ, EventType.WRITE, UNTOLD


class Event:
    """An event of one socket."""

    __slots__ = ("_channel", "type")

    _channel: Channel  # no other class is a PublicChannel

    def __init__(self, type: EventType, channel: PublicChannel) -> None:
        self.type = type
        self._channel = channel  # type: ignore[assignment]

    @property
    def socket(self) -> Socket:
        """The event's socket."""
        return self._channel.socket

    @property
    def executor(self) -> RequestExecutor:
        """The executor running the socket."""
        return self._channel.loop.executor

    @property
    def metadata(self) -> SocketMetadata:
        """The socket's settings and counters; usable after the socket's end, too."""
        return self._channel.metadata

    @property
    def user_context(self) -> Any:
        """`metadata.user_context`, as it is now."""
        return self._channel.metadata.user_context

    @property
    def context(self) -> ExecutionContext:
        """The context of this run."""
        return self._channel.loop.context

    def cancel_operation(self) -> None:
        """End this socket when the event's other handlers have run: nothing more is sent, and only
        DISCONNECTED (if it was connected) and FINALIZE follow."""
        self._channel.loop.check_thread()
        self._channel.cancel()

    @property
    def is_cancelled(self) -> bool:
        """Whether the socket ends when the handlers have run."""
        return self._channel.cancelled

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.type.name} {self._detail()}{self._channel.socket!r}>"

    def _detail(self) -> str:
        """What a repr says besides, with a blank after it."""
        return ""


class IoEvent(Event):
    """An event whose handlers, until they return, can set the socket's next operation."""

    __slots__ = ()

    def __init__(self, type: EventType, channel: PublicChannel) -> None:
        self.type = type
        self._channel = channel  # type: ignore[assignment]
        self._channel.next = None

    @property
    def next_operation(self) -> Operation | None:
        """The socket's next operation, or None; None, too, when the handlers have returned. May be assigned
        (TypeError unless an operation); the last value is used."""
        named: Operation | None = self._channel.next
        return None if named is _UNTOLD else named

    @next_operation.setter
    def next_operation(self, operation: Operation | None) -> None:
        if operation is not None and not isinstance(operation, Operation):
            raise TypeError(f"next_operation must be an operation or None, got {operation!r}")
        if self._channel.next is not _UNTOLD:
            self._channel.next = operation

    def next_is_read(self, picker: FramePicker | None = None) -> None:
        """Read a frame next; without a picker the first bytes that arrive."""
        channel = self._channel
        operation = channel.loop.maker.read(picker)
        if channel.next is not _UNTOLD:
            channel.next = operation

    def next_is_write(self, data: Data | None = None, then: Operation | None = None) -> None:
        """Write `data` (bytes-like or an iterable of bytes-like) next, and after it do `then`."""
        channel = self._channel
        operation = channel.loop.maker.write(data, then)
        if channel.next is not _UNTOLD:
            channel.next = operation

    def next_is(self, operation: Operation) -> None:
        """Do `operation` next. TypeError if it is none."""
        if not isinstance(operation, Operation):
            raise TypeError(f"next_is() takes an operation, such as ReadOperation(), got {operation!r}")
        if self._channel.next is not _UNTOLD:
            self._channel.next = operation

    def next_operation_not_required(self) -> None:
        """Set no next operation: the request ends, or the connection idles."""
        if self._channel.next is not _UNTOLD:
            self._channel.next = None


class ReadEvent(IoEvent, Generic[FrameT_co]):
    """READ: a whole frame arrived. OOB: an out-of-band byte did."""

    __slots__ = ("frame", "operation")

    def __init__(self, channel: PublicChannel, frame: FrameT_co, operation: Operation | None) -> None:
        self.type = _READ
        self._channel = channel  # type: ignore[assignment]
        self._channel.next = None
        self.frame = frame
        self.operation = operation


class OutOfBandEvent(ReadEvent):
    """OOB: `frame` holds the out-of-band byte; `operation` goes on unless another one is set."""

    __slots__ = ()

    def __init__(self, channel: PublicChannel, frame: Frame, operation: Operation | None) -> None:
        self.type = EventType.OOB
        self._channel = channel  # type: ignore[assignment]  # told beside an operation, whose own next stays
        self.frame = frame
        self.operation = operation


class WriteEvent(IoEvent):
    """WRITE: a write is about to begin; `operation.data` may still be set."""

    __slots__ = ("operation",)

    def __init__(self, channel: PublicChannel, operation: WriteOperation) -> None:
        self.type = _WRITE
        self._channel = channel  # type: ignore[assignment]
        self._channel.next = operation._then
        self.operation = operation


class AcceptEvent(IoEvent):
    """ACCEPT: a client has connected (or sent a datagram); add `client_socket` to the bag to keep it."""

    __slots__ = ("_client", "_frame", "_remote")

    def __init__(self, channel: PublicChannel, client: AcceptedSocket | DatagramClientSocket) -> None:
        self.type = _ACCEPT
        self._channel = channel  # type: ignore[assignment]
        self._channel.next = None
        self._client = client
        self._frame: AcceptedFrame | None = None
        self._remote: Any = client._remote  # a PROXY header may change the client's own later

    @property
    def frame(self) -> AcceptedFrame:
        """The client's socket with its address, also as text."""
        if self._frame is None:
            self._frame = AcceptedFrame(self._client, self.remote_address)
        return self._frame

    @property
    def client_socket(self) -> AcceptedSocket | DatagramClientSocket:
        """The client's socket, not in the bag yet."""
        return self._client

    @property
    def remote_address(self) -> SocketAddress:
        """The client's address in the form of the module `socket`."""
        return public_peer(self._remote)


class DataAlertEvent(IoEvent):
    """DATA_ALERT: an idle connection has unread bytes; alert `attempt` of `total_attempts`."""

    __slots__ = ("attempt", "total_attempts")

    def __init__(self, channel: PublicChannel, attempt: int, total_attempts: int) -> None:
        super().__init__(EventType.DATA_ALERT, channel)
        self.attempt = attempt
        self.total_attempts = total_attempts


class TimeoutEvent(Event):
    """TIMEOUT: the time-out `when` passed while the socket was `phase`."""

    __slots__ = ("_doing", "_one_more", "phase", "when")

    def __init__(
        self, channel: PublicChannel, when: TimeoutStage, phase: TimeoutPhase, doing: str = ""
    ) -> None:
        super().__init__(EventType.TIMEOUT, channel)
        self.when = when
        self.phase = phase
        self._doing = doing or phase  # in the words of an error
        self._one_more = False

    def enable_one_more_attempt(self) -> None:
        """Go on: a connection is retried from INITIALIZE, any other time-out starts anew."""
        self._one_more = True

    def _detail(self) -> str:
        return f"{self.when.name} while {self.phase} "


class SocketExceptionEvent(Event):
    """EXCEPTION: `exception` ends the socket; a server goes on."""

    __slots__ = ("exception",)

    def __init__(self, channel: PublicChannel, exception: Exception) -> None:
        super().__init__(EventType.EXCEPTION, channel)
        self.exception = exception

    def _detail(self) -> str:
        return f"{self.exception!r} "


recycled(ReadEvent)
recycled(WriteEvent)
