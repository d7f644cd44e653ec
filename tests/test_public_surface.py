"""Public means public: what each class shows without an underscore is what the contract names, and no more.

A new public member belongs into the table here, into the contract and into the documentation, or gets an
underscore. Names that a class has from the standard library (object, Exception, Enum, Mapping) do not count.
What a class is made with may be read under the same name.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import pytest

import evsockets
import evsockets.testing
from evsockets import READ, Frame, LimitationDecision, RequestExecutor, engines, frames
from evsockets.engines import SelectorsEngine, TracingEngine, WatchError
from evsockets.transports.tls_info import TlsInfo
from support.optional import library

TIMES = "connection_timeout io_timeout idle_timeout request_timeout "
SPEEDS = "min_receive_speed min_receive_speed_duration min_send_speed min_send_speed_duration "
SOCKET = "is_server is_client is_connected fileno close "
OPERATION = "interest start step "
EVENT = "type socket executor metadata user_context context cancel_operation is_cancelled "
IO_EVENT = EVENT + ("next_operation next_is next_is_read next_is_write next_operation_not_required ")
SOLVER = "initialize decide finalize "
ENGINE = "name contract available variants watch poll close fileno "
ERROR = "socket address errno "

SURFACE = {
    # running
    "RequestExecutor": "engine socket_bag is_executing with_event_handler with_limitation_solver "
    "execute_request execute_request_async start_request turn patience fileno call_soon_threadsafe "
    "call_later stop_request drain close",
    "SocketBag": "add_socket remove_socket forget_socket has_socket get_operation set_operation "
    "get_metadata set_metadata reset_transfer_rate_counters",
    "SocketMetadata": TIMES + SPEEDS + "address user_context stream_context keep_alive request_complete "
    "connection_start_time connection_finish_time last_io_start_time bytes_sent bytes_received "
    "receive_speed send_speed remote_address local_address tls result unsent_bytes",
    "TlsInfo": "version cipher alpn_protocol peer_certificate peer_certificate_der",
    "ExecutionContext": "has set remove in_namespace",  # and a mapping's
    "Configuration": TIMES + SPEEDS + "preferred_engines stream_context isolate_handler_errors "
    "resolver_threads",
    "StreamContext": "bind_to backlog reuse_address reuse_port options connect_datagrams broadcast "
    "multicast_groups "
    "multicast_interface multicast_ttl multicast_loop no_delay tcp_keepalive ipv6_only "
    "receive_buffer_size send_buffer_size tls server_hostname alpn_protocols verify ca_file ca_data "
    "certificate "
    "private_key ciphers require_close_notify unlink_socket proxy proxy_protocol",
    "DrainReport": "finished closed_idle aborted",
    "Timer": "cancel due",
    # many at once
    "Target": "address args user_context metadata",
    "Outcome": "target address result value error ok attempts bytes_sent bytes_received tls remote_address "
    "times",
    # sockets
    "AsyncSocketFactory": "configuration create_socket create_request_executor",
    "SocketType": "CLIENT SERVER",
    "ClientSocket": SOCKET + "from_socket",
    "PersistentClientSocket": SOCKET + "from_socket key",
    "ServerSocket": SOCKET + "from_socket",
    "AcceptedSocket": SOCKET,
    "DatagramClientSocket": SOCKET,
    # operations
    "Operation": OPERATION,
    "ReadOperation": OPERATION + "picker",
    "WriteOperation": OPERATION + "data out_of_band then",
    "ReadWriteOperation": OPERATION + "read_first schedule",
    "TlsHandshakeOperation": OPERATION + "next_operation context server_hostname allow_leftover",
    "ShutdownWriteOperation": OPERATION + "then",
    "DelayedOperation": OPERATION + "operation pending args interval",
    "NullOperation": OPERATION,
    "DatagramOperation": OPERATION + "picker",
    "ConversationOperation": OPERATION + "function args kwargs",
    "Mailbox": "limit put put_threadsafe close",
    "Conversation": "do read write start_tls shutdown_write frames sleep timeout post unsent flushed cancel "
    "take put items "
    "socket metadata executor context user_context ended draining",
    "Channel": "recv send inbox socket metadata emit",
    # frames
    "Frame": "data remote_address",
    "PartialFrame": "data remote_address frame",
    "EmptyFrame": "data remote_address",
    "AcceptedFrame": "data remote_address client_socket",
    "Inbox": "find peek take drop remote_address",
    "FramePicker": "pick",
    "RawFramePicker": "pick",
    "EmptyFramePicker": "pick",
    "FixedLengthFramePicker": "pick length",
    "MarkerFramePicker": "pick start end case_sensitive max_length",
    "LengthPrefixedFramePicker": "pick size byteorder include_prefix max_length",
    "EndOfStreamFramePicker": "pick max_length",
    "BatchFramePicker": "pick picker most",
    "FrameBatch": "data remote_address frames",
    "LineFramePicker": "pick max_length keep_end",
    "NetstringFramePicker": "pick max_length",
    "VarintPrefixedFramePicker": "pick max_length include_prefix",
    "RegexFramePicker": "pick pattern max_length",
    "RespFramePicker": "pick max_length max_depth",
    "RespFrame": "data remote_address value",
    "RespError": ERROR,
    # events
    "EventType": "INITIALIZE CONNECTED ACCEPT READ OOB WRITE DATA_ALERT DISCONNECTED FINALIZE TIMEOUT "
    "EXCEPTION",
    "Event": EVENT,
    "IoEvent": IO_EVENT,
    "ReadEvent": IO_EVENT + "frame operation",
    "WriteEvent": IO_EVENT + "operation",
    "AcceptEvent": IO_EVENT + "frame client_socket remote_address",
    "DataAlertEvent": IO_EVENT + "attempt total_attempts",
    "TimeoutEvent": EVENT + "when phase enable_one_more_attempt",
    "TimeoutStage": "CONNECTION IO IDLE REQUEST SCOPE",
    "SocketExceptionEvent": EVENT + "exception",
    # handlers
    "CallbackEventHandler": "add_handler remove_handler remove_all remove_for_event",
    "EventMultiHandler": "add_handler remove_handler",
    "RemoveFinishedSocketsEventHandler": "",
    "TlsDataFlushEventHandler": "",
    "SignalEventHandler": "namespace",
    # watching
    "Timeline": "svg trace watches",
    "PrometheusEventHandler": "watches",
    # limits
    "LimitationSolver": SOLVER,
    "LimitationDecision": "OK PROCESS_SCHEDULED SKIP_CURRENT",
    "NoLimitationSolver": SOLVER,
    "ConstantLimitationSolver": SOLVER + "limit",
    # engines
    "Engine": ENGINE,
    "SelectorsEngine": ENGINE + "binding",
    "TracingEngine": ENGINE + "engine",
    "WatchError": "tokens about",
    # errors
    "EvSocketsError": "",
    "AddressError": "",
    "EngineError": "",
    "EngineUnavailableError": "",
    "UnknownSocketError": "",
    "ConversationEndedError": "",
    "WorkerLostError": "",
    "MailboxFullError": "",
    "MailboxClosedError": "",
    "NetworkSocketError": ERROR,
    "ConnectionFailedError": ERROR + "attempts",
    "TlsHandshakeError": ERROR + "attempts",
    "DisconnectedError": ERROR + "clean",
    "AcceptError": ERROR,
    "FrameError": ERROR + "picker partial",
    "UnmanagedSocketError": ERROR,
    "UnsupportedOperationError": ERROR,
    "HandlerError": ERROR,
    "TransferError": ERROR,
    "SendError": ERROR,
    "ReceiveError": ERROR,
    "SlowTransferError": ERROR + "direction speed duration",
    "SocketTimeoutError": "socket address when phase",
    # testing, whose pytest classes have a pytest class's own besides
    "EngineContract": "make_engine engine_name",
    "EngineEndToEnd": "make_engine engine_name",
    "PickerContract": "make_picker examples make_limited make_large ends_stream large_size",
    "PickerExample": "stream frames left",
    "LargeStream": "picker stream",
    "ScriptedEngine": ENGINE + "play call finished clock polls calls watched",
    "ManualClock": "now advance",
}


def classes() -> dict[str, type]:
    found: dict[str, type] = {"TlsInfo": TlsInfo}  # `metadata.tls`, which nobody makes
    for module in (evsockets, frames, engines, evsockets.testing):
        for name in module.__all__:
            if inspect.isclass(kind := getattr(module, name)):
                found[name] = kind
    return found


def is_pytests(name: str) -> bool:
    return name.startswith("test_") or name in ("setup_method", "teardown_method")


def public(kind: type, thing: object) -> set[str]:
    """What `thing`, a `kind` or the class itself, has without an underscore and of the library's own."""
    standard: set[str] = set()
    for base in kind.__mro__:
        if not base.__module__.startswith("evsockets"):
            standard.update(dir(base))
    return {name for name in dir(thing) if name[0] != "_" and name not in standard and not is_pytests(name)}


class OwnEngine(evsockets.Engine):
    def watch(self, fd: int, interest: int, token: Any) -> None: ...

    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        return []

    def close(self) -> None: ...


class OwnSolver(evsockets.LimitationSolver):
    def decide(self, *about: Any) -> LimitationDecision:
        return LimitationDecision.OK


@contextlib.contextmanager
def bag() -> Iterator[evsockets.SocketBag]:
    with RequestExecutor("selectors") as executor:
        yield executor.socket_bag


MADE: dict[str, Callable[[], Any]] = {
    "RequestExecutor": lambda: RequestExecutor("selectors"),
    "SocketBag": bag,
    "Engine": OwnEngine,
    "LimitationSolver": OwnSolver,
    "ConstantLimitationSolver": lambda: evsockets.ConstantLimitationSolver(1),
    "PartialFrame": lambda: evsockets.PartialFrame(Frame(b"")),
    "TracingEngine": lambda: TracingEngine(SelectorsEngine()),
    "Outcome": lambda: evsockets.Outcome(evsockets.Target("tcp://127.0.0.1:1")),
    "WatchError": lambda: WatchError(28, "no space", ()),
    "ScriptedEngine": lambda: evsockets.testing.ScriptedEngine([[(0, READ)]]),
}
"""How to make those whose instances hold more than their class shows, and that take something to be made."""


@contextlib.contextmanager
def one(name: str, kind: type) -> Iterator[Any]:
    made = MADE.get(name, kind)()
    with made if hasattr(made, "__exit__") else contextlib.nullcontext(made) as entered:
        yield entered


@pytest.mark.parametrize("name", sorted({*SURFACE, *classes()}))
def test_a_class_shows_what_the_contract_names(name: str) -> None:
    kind = classes()[name]
    shown = public(kind, kind)
    # Where instances have a dictionary, their own attributes count as well.
    if kind.__dictoffset__ and not issubclass(kind, Enum) and not getattr(kind, "_is_protocol", False):
        if name == "SignalEventHandler":
            library("blinker")
        with one(name, kind) as made:
            shown |= public(kind, made)
    assert shown == set(SURFACE[name].split())
