"""Many sockets at once: one executor, frames, TLS, time-outs and events, on interchangeable engines."""

from . import _build as _build  # first: it chooses where the others are imported from

# Then the core: where they are compiled, its classes refer to each other.
from .core import channel as _channel  # noqa: F401

# isort: split
from .address import get_transports
from .channel import Channel
from .configuration import WAIT_FOREVER, Configuration, StreamContext
from .context import ExecutionContext
from .conversations.conversation import Conversation
from .conversations.mailbox import Mailbox
from .conversations.operation import ConversationOperation
from .core.operation import Operation
from .drain import DrainReport
from .engines.base import READ, WRITE, Engine
from .engines.discovery import available_engines, create_engine
from .errors import (
    AcceptError,
    AddressError,
    ConnectionFailedError,
    ConversationEndedError,
    DisconnectedError,
    EngineError,
    EngineUnavailableError,
    EvSocketsError,
    FrameError,
    HandlerError,
    MailboxClosedError,
    MailboxFullError,
    NetworkSocketError,
    ReceiveError,
    SendError,
    SlowTransferError,
    SocketTimeoutError,
    TlsHandshakeError,
    TransferError,
    UnknownSocketError,
    UnmanagedSocketError,
    UnsupportedOperationError,
    WorkerLostError,
)
from .event_types import EventType, TimeoutStage
from .events import (
    AcceptEvent,
    DataAlertEvent,
    Event,
    IoEvent,
    ReadEvent,
    SocketExceptionEvent,
    TimeoutEvent,
    WriteEvent,
)
from .executor import RequestExecutor
from .factory import AsyncSocketFactory
from .frames import (
    AcceptedFrame,
    BatchFramePicker,
    EmptyFrame,
    EmptyFramePicker,
    EndOfStreamFramePicker,
    FixedLengthFramePicker,
    Frame,
    FrameBatch,
    FramePicker,
    Inbox,
    LengthPrefixedFramePicker,
    LineFramePicker,
    MarkerFramePicker,
    NetstringFramePicker,
    PartialFrame,
    RawFramePicker,
    RegexFramePicker,
    RespFramePicker,
    VarintPrefixedFramePicker,
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
from .operations.datagrams import DatagramOperation
from .operations.delay import DelayedOperation
from .operations.duplex import ReadWriteOperation
from .operations.handshake import TlsHandshakeOperation
from .operations.null import NullOperation
from .operations.read import ReadOperation
from .operations.shutdown import ShutdownWriteOperation
from .operations.write import WriteOperation
from .serving.serve import serve
from .socket_bag import SocketBag
from .sockets import (
    AcceptedSocket,
    ClientSocket,
    DatagramClientSocket,
    PersistentClientSocket,
    ServerSocket,
    SocketType,
)
from .targets.fan_out import fan_out, fan_out_async
from .targets.outcomes import Outcome, Target
from .timer import Timer
from .watching.dump import dump_on_signal
from .watching.explain import explain
from .watching.metrics import PrometheusEventHandler
from .watching.timeline import Timeline

__version__ = "0.1.0"

__all__ = [
    "READ",
    "WAIT_FOREVER",
    "WRITE",
    "AcceptError",
    "AcceptEvent",
    "AcceptedFrame",
    "AcceptedSocket",
    "AddressError",
    "AsyncSocketFactory",
    "BatchFramePicker",
    "CallbackEventHandler",
    "Channel",
    "ClientSocket",
    "Configuration",
    "ConnectionFailedError",
    "ConstantLimitationSolver",
    "Conversation",
    "ConversationEndedError",
    "ConversationOperation",
    "DataAlertEvent",
    "DatagramClientSocket",
    "DatagramOperation",
    "DelayedOperation",
    "DisconnectedError",
    "DrainReport",
    "EmptyFrame",
    "EmptyFramePicker",
    "EndOfStreamFramePicker",
    "Engine",
    "EngineError",
    "EngineUnavailableError",
    "EvSocketsError",
    "Event",
    "EventMultiHandler",
    "EventType",
    "ExecutionContext",
    "FixedLengthFramePicker",
    "Frame",
    "FrameBatch",
    "FrameError",
    "FramePicker",
    "HandlerError",
    "Inbox",
    "IoEvent",
    "LengthPrefixedFramePicker",
    "LimitationDecision",
    "LimitationSolver",
    "LineFramePicker",
    "Mailbox",
    "MailboxClosedError",
    "MailboxFullError",
    "MarkerFramePicker",
    "NetstringFramePicker",
    "NetworkSocketError",
    "NoLimitationSolver",
    "NullOperation",
    "Operation",
    "Outcome",
    "PartialFrame",
    "PersistentClientSocket",
    "PrometheusEventHandler",
    "RawFramePicker",
    "ReadEvent",
    "ReadOperation",
    "ReadWriteOperation",
    "ReceiveError",
    "RegexFramePicker",
    "RemoveFinishedSocketsEventHandler",
    "RequestExecutor",
    "RespFramePicker",
    "SendError",
    "ServerSocket",
    "ShutdownWriteOperation",
    "SignalEventHandler",
    "SlowTransferError",
    "SocketBag",
    "SocketExceptionEvent",
    "SocketMetadata",
    "SocketTimeoutError",
    "SocketType",
    "StreamContext",
    "Target",
    "Timeline",
    "TimeoutEvent",
    "TimeoutStage",
    "Timer",
    "TlsDataFlushEventHandler",
    "TlsHandshakeError",
    "TlsHandshakeOperation",
    "TransferError",
    "UnknownSocketError",
    "UnmanagedSocketError",
    "UnsupportedOperationError",
    "VarintPrefixedFramePicker",
    "WorkerLostError",
    "WriteEvent",
    "WriteOperation",
    "available_engines",
    "create_engine",
    "dump_on_signal",
    "explain",
    "fan_out",
    "fan_out_async",
    "get_transports",
    "serve",
]
