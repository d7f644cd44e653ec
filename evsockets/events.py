"""What handlers are told: the event types and one small class for each shape of event.

An event carries the next move: an I/O event's `next_operation` decides what its socket does next.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .channel import Channel
    from .context import ExecutionContext
    from .executor import RequestExecutor
    from .frames.base import AcceptedFrame, Frame, FramePicker
    from .metadata import SocketMetadata
    from .operations.base import Operation
    from .operations.write import WriteOperation
    from .sockets import AcceptedSocket, DatagramClientSocket, Socket


class EventType(enum.Enum):
    """Every kind of event; the values serve as names in other event systems."""

    INITIALIZE = "socket.event.initialize"
    CONNECTED = "socket.event.connected"
    ACCEPT = "socket.event.accept"
    READ = "socket.event.read"
    OOB = "socket.event.oob"
    WRITE = "socket.event.write"
    DATA_ALERT = "socket.event.data_alert"
    DISCONNECTED = "socket.event.disconnected"
    FINALIZE = "socket.event.finalize"
    TIMEOUT = "socket.event.timeout"
    EXCEPTION = "socket.event.exception"

    # Members are singletons: the identity hash saves a Python call in every look-up.
    __hash__ = object.__hash__


class TimeoutStage(enum.Enum):
    """Which time-out has passed."""

    CONNECTION = "connection"
    IO = "io"
    IDLE = "idle"
    REQUEST = "request"


class Event:
    """Something happened on one socket."""

    __slots__ = ("_channel", "type")

    _channel: Channel

    def __init__(self, type: EventType, channel: Any) -> None:
        self.type = type
        self._channel = channel

    @property
    def socket(self) -> Socket:
        """The socket it happened on."""
        return self._channel.socket

    @property
    def executor(self) -> RequestExecutor:
        """The executor running the socket."""
        return self._channel.executor

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
        return self._channel.executor.context

    def cancel_operation(self) -> None:
        """End this socket once the event's other handlers have run; nothing else is sent or reported
        but DISCONNECTED (if it was connected) and FINALIZE."""
        self._channel.executor.check_thread()
        self._channel.cancel()

    @property
    def is_cancelled(self) -> bool:
        """Whether the socket is to end once the handlers have run."""
        return self._channel.cancelled

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.type.name} {self._detail()}{self._channel.socket!r}>"

    def _detail(self) -> str:
        """What a repr says besides, with a blank after it."""
        return ""


class IoEvent(Event):
    """An event whose handler decides what the socket does next."""

    __slots__ = ("_next",)

    # Set by the operations package: an arrow from here to there would be the wrong way round.
    _operation: ClassVar[Any]
    _read_operation: ClassVar[Any]
    _write_operation: ClassVar[Any]

    def __init__(self, type: EventType, channel: Any) -> None:
        self.type = type
        self._channel = channel
        self._next: Operation | None = None

    @property
    def next_operation(self) -> Operation | None:
        """What the socket does next, None for nothing. May be assigned (TypeError for what is no
        operation); the last word counts."""
        override = self._channel.override  # of `SocketBag.set_operation`
        return self._next if override is None else override

    @next_operation.setter
    def next_operation(self, operation: Operation | None) -> None:
        if operation is not None and not isinstance(operation, self._operation):
            raise TypeError(f"next_operation must be an operation or None, got {operation!r}")
        self._next = operation
        self._channel.override = None

    def next_is_read(self, picker: FramePicker | None = None) -> None:
        """Read a frame next; without a picker whatever arrives first."""
        self._next = self._read_operation(picker)
        self._channel.override = None  # of `SocketBag.set_operation`: the last word counts

    def next_is_write(self, data: Any = None, then: Operation | None = None) -> None:
        """Write `data` (bytes-like or an iterable of bytes-like) next, and after it do `then`."""
        self._next = operation = self._write_operation(data)
        self._channel.override = None
        if then is not None:
            if isinstance(then, self._operation):
                operation._then = then  # what the constructor's keyword does, at a third of the price
            else:
                operation.then = then

    def next_is(self, operation: Operation) -> None:
        """Do `operation` next. TypeError if it is none."""
        if not isinstance(operation, self._operation):
            raise TypeError(f"next_is() takes an operation, such as ReadOperation(), got {operation!r}")
        self._next = operation
        self._channel.override = None

    def next_operation_not_required(self) -> None:
        """Forget what was set: the request ends, or the connection idles."""
        self._next = None
        self._channel.override = None


class ReadEvent(IoEvent):
    """READ: a whole frame arrived. OOB: an urgent byte did."""

    __slots__ = ("frame", "operation")

    # On the class: the most frequent events save a store each.
    type: EventType = EventType.READ

    def __init__(self, channel: Any, frame: Frame, operation: Operation | None) -> None:
        self._channel = channel
        self._next = None
        self.frame = frame
        self.operation = operation


class UrgentEvent(ReadEvent):
    """OOB: `frame` holds one urgent byte; `operation` is what goes on unless another one is set."""

    __slots__ = ()

    type = EventType.OOB


class WriteEvent(IoEvent):
    """WRITE: a write is about to begin; `operation.data` may still be set."""

    __slots__ = ("operation",)

    type: EventType = EventType.WRITE

    def __init__(self, channel: Any, operation: WriteOperation) -> None:
        self._channel = channel
        self._next = operation._then
        self.operation = operation


class AcceptEvent(IoEvent):
    """ACCEPT: a client came (or a datagram); add `client_socket` to the bag to keep it."""

    __slots__ = ("frame",)

    def __init__(self, channel: Any, frame: AcceptedFrame) -> None:
        super().__init__(EventType.ACCEPT, channel)
        self.frame = frame

    @property
    def client_socket(self) -> AcceptedSocket | DatagramClientSocket:
        """The client, not in the bag yet."""
        return self.frame.client_socket  # type: ignore[no-any-return]

    @property
    def remote_address(self) -> Any:
        """The client's address as `socket` gives it."""
        return self.frame.remote_address


class DataAlertEvent(IoEvent):
    """DATA_ALERT: bytes lie unread on an idle connection; alert `attempt` of `total_attempts`."""

    __slots__ = ("attempt", "total_attempts")

    def __init__(self, channel: Any, attempt: int, total_attempts: int) -> None:
        super().__init__(EventType.DATA_ALERT, channel)
        self.attempt = attempt
        self.total_attempts = total_attempts


class TimeoutEvent(Event):
    """TIMEOUT: the time-out `when` passed while the socket was `phase`."""

    __slots__ = ("_one_more", "phase", "when")

    def __init__(self, channel: Any, when: TimeoutStage, phase: str) -> None:
        super().__init__(EventType.TIMEOUT, channel)
        self.when = when
        self.phase = phase
        self._one_more = False

    def enable_one_more_attempt(self) -> None:
        """Go on: a connection is tried again from INITIALIZE, any other clock starts anew."""
        self._one_more = True

    def _detail(self) -> str:
        return f"{self.when.name} while {self.phase} "


class SocketExceptionEvent(Event):
    """EXCEPTION: `exception` ends the socket (on a server: it goes on)."""

    __slots__ = ("exception",)

    def __init__(self, channel: Any, exception: Exception) -> None:
        super().__init__(EventType.EXCEPTION, channel)
        self.exception = exception

    def _detail(self) -> str:
        return f"{self.exception!r} "
