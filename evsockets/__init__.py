"""Many sockets at once: one executor, frames, TLS, time-outs and events, on interchangeable engines."""

from .address import get_transports
from .channel import Channel
from .configuration import WAIT_FOREVER, Configuration, StreamContext
from .context import ExecutionContext
from .drain import DrainReport
from .engines.base import READ, WRITE, Engine
from .engines.discovery import available_engines, create_engine
from .errors import (
    AcceptError,
    AddressError,
    ConnectionFailedError,
    DisconnectedError,
    EngineError,
    EngineUnavailableError,
    EvSocketsError,
    FrameError,
    HandlerError,
    NetworkSocketError,
    ReceiveError,
    SendError,
    SlowTransferError,
    TlsHandshakeError,
    TransferError,
    UnknownSocketError,
    UnmanagedSocketError,
    UnsupportedOperationError,
)
from .events import (
    AcceptEvent,
    DataAlertEvent,
    Event,
    EventType,
    IoEvent,
    ReadEvent,
    SocketExceptionEvent,
    TimeoutEvent,
    TimeoutStage,
    WriteEvent,
)
from .executor import RequestExecutor
from .factory import AsyncSocketFactory
from .frames import (
    AcceptedFrame,
    EmptyFrame,
    EmptyFramePicker,
    EndOfStreamFramePicker,
    FixedLengthFramePicker,
    Frame,
    FramePicker,
    Inbox,
    LengthPrefixedFramePicker,
    MarkerFramePicker,
    PartialFrame,
    RawFramePicker,
)
from .handlers import (
    CallbackEventHandler,
    EventMultiHandler,
    RemoveFinishedSocketsEventHandler,
    SignalEventHandler,
    TlsDataFlushEventHandler,
)
from .limits import ConstantLimitationSolver, LimitationDecision, LimitationSolver, NoLimitationSolver
from .metadata import SocketMetadata
from .operations import (
    DelayedOperation,
    NullOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    ShutdownWriteOperation,
    TlsHandshakeOperation,
    WriteOperation,
)
from .socket_bag import SocketBag
from .sockets import (
    AcceptedSocket,
    ClientSocket,
    DatagramClientSocket,
    PersistentClientSocket,
    ServerSocket,
    SocketType,
)

__version__ = "0.1.0"

__all__ = [name for name in dir() if name[0] != "_" and name[0].isupper()] + [
    "available_engines",
    "create_engine",
    "get_transports",
]
