"""What users may import from `evsockets`, and that each name says what it is."""

from __future__ import annotations

import enum
import inspect

import pytest

import evsockets
from support.command import run_python

AREAS = {
    "running": "RequestExecutor SocketBag SocketMetadata ExecutionContext Configuration StreamContext "
    "WAIT_FOREVER DrainReport Timer",
    "watching": "explain dump_on_signal Timeline PrometheusEventHandler",
    "sockets": "AsyncSocketFactory SocketType ClientSocket PersistentClientSocket ServerSocket "
    "AcceptedSocket DatagramClientSocket",
    "operations": "Operation ReadOperation WriteOperation ReadWriteOperation TlsHandshakeOperation "
    "ShutdownWriteOperation DelayedOperation NullOperation DatagramOperation",
    "sequential style": "Conversation ConversationOperation Mailbox fan_out fan_out_async Target "
    "Outcome serve",
    "frames": "Frame PartialFrame EmptyFrame AcceptedFrame Inbox FramePicker RawFramePicker EmptyFramePicker "
    "FixedLengthFramePicker MarkerFramePicker LengthPrefixedFramePicker EndOfStreamFramePicker "
    "BatchFramePicker FrameBatch LineFramePicker RegexFramePicker NetstringFramePicker "
    "VarintPrefixedFramePicker RespFramePicker",
    "events": "EventType Event IoEvent ReadEvent WriteEvent AcceptEvent DataAlertEvent TimeoutEvent "
    "TimeoutStage SocketExceptionEvent",
    "handlers": "CallbackEventHandler EventMultiHandler RemoveFinishedSocketsEventHandler "
    "TlsDataFlushEventHandler SignalEventHandler",
    "limits": "LimitationSolver LimitationDecision NoLimitationSolver ConstantLimitationSolver",
    "engines": "Engine READ WRITE available_engines create_engine get_transports Channel",
    "errors": "EvSocketsError AddressError EngineError EngineUnavailableError UnknownSocketError "
    "NetworkSocketError ConnectionFailedError TlsHandshakeError DisconnectedError AcceptError FrameError "
    "MailboxFullError MailboxClosedError ConversationEndedError "
    "UnmanagedSocketError UnsupportedOperationError HandlerError TransferError SendError ReceiveError "
    "SlowTransferError SocketTimeoutError WorkerLostError",
}
NAMES = [name for area in AREAS.values() for name in area.split()]


@pytest.mark.parametrize("name", NAMES)
def test_importable_and_announced(name: str) -> None:
    assert hasattr(evsockets, name)
    assert name in evsockets.__all__


def test_all_holds_nothing_else() -> None:
    assert len(set(evsockets.__all__)) == len(evsockets.__all__)
    assert sorted(set(evsockets.__all__) - set(NAMES) - {"__version__"}) == []


def public_things() -> dict[str, object]:
    things = {}
    for name in NAMES:
        thing = getattr(evsockets, name, None)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            things[name] = thing
    return things


@pytest.mark.parametrize("name", sorted(public_things()))
def test_docstrings(name: str) -> None:
    thing = public_things()[name]
    # A class that inherits its docstring says nothing of itself.
    own = thing.__dict__.get("__doc__") if inspect.isclass(thing) else thing.__doc__
    assert own, f"{name} has no docstring"
    if not inspect.isclass(thing) or issubclass(thing, enum.Enum | BaseException):
        return
    for member, value in vars(thing).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if member.startswith("_") or not inspect.isfunction(function):
            continue
        inherited = any(getattr(getattr(base, member, None), "__doc__", None) for base in thing.__mro__[1:])
        # A property may have its docstring without its function.
        assert value.__doc__ or function.__doc__ or inherited, f"{name}.{member} has no docstring"


def test_error_family() -> None:
    e = evsockets
    parents = {
        e.AddressError: (e.EvSocketsError, ValueError),
        e.EngineUnavailableError: (e.EngineError,),
        e.UnknownSocketError: (e.EvSocketsError, LookupError),
        e.ConnectionFailedError: (e.NetworkSocketError,),
        e.TlsHandshakeError: (e.ConnectionFailedError,),
        e.DisconnectedError: (e.NetworkSocketError,),
        e.AcceptError: (e.NetworkSocketError,),
        e.FrameError: (e.NetworkSocketError,),
        e.UnmanagedSocketError: (e.NetworkSocketError,),
        e.UnsupportedOperationError: (e.NetworkSocketError,),
        e.HandlerError: (e.NetworkSocketError,),
        e.SendError: (e.TransferError,),
        e.ReceiveError: (e.TransferError,),
        e.SlowTransferError: (e.TransferError,),
        e.TransferError: (e.NetworkSocketError,),
        e.SocketTimeoutError: (e.NetworkSocketError, TimeoutError),
        e.NetworkSocketError: (e.EvSocketsError,),
    }
    for error, bases in parents.items():
        assert issubclass(error, bases)


def test_constants() -> None:
    assert evsockets.WAIT_FOREVER is None
    assert (evsockets.READ, evsockets.WRITE) == (1, 2)
    values = {kind.name: kind.value for kind in evsockets.EventType}
    names = "INITIALIZE CONNECTED ACCEPT READ OOB WRITE DATA_ALERT DISCONNECTED FINALIZE TIMEOUT EXCEPTION"
    assert list(values) == names.split()
    assert values["INITIALIZE"] == "socket.event.initialize"
    assert all(value.startswith("socket.event.") for value in values.values())
    transports = ["tcp", "tls", "ssl", "tlsv1.2", "tlsv1.3", "udp", "unix", "udg"]
    assert evsockets.get_transports() == transports


#: What few programs need, and what costs much: loaded where it is used.
HEAVY = """
asyncio concurrent.futures multiprocessing subprocess email http html xml urllib.parse ipaddress json csv
pickle difflib random logging traceback tempfile pathlib zipfile importlib.metadata importlib.util
ssl threading string base64 evsockets.transports.tls evsockets.transports.tls_context
gevent pyev rich trustme blinker prometheus_client httptools socksio distributed pytest
evsockets.http evsockets.testing evsockets.targets.gathering evsockets.targets.shards
evsockets.serving.service evsockets.serving.workers evsockets.watching.timeline_picture
evsockets.cli.rounds evsockets.cli.outputs evsockets.cli.file_service
""".split()


@pytest.mark.parametrize(
    ("package", "more"), [("evsockets", "argparse dataclasses inspect evsockets.cli"), ("evsockets.cli", "")]
)
def test_importing_is_light(package: str, more: str) -> None:
    """No extra, no other loop and nothing that one kind of program needs comes along with the package, and
    with the command line nothing that one command needs."""
    done = run_python(
        f"import sys; before = set(sys.modules); import {package}; print(*{{*sys.modules}} - before)"
    )
    assert done.stdout, done.stderr
    assert set(done.stdout.split()) & {*HEAVY, *more.split()} == set()
