"""Errors and time-outs that no handler hears are logged; nothing else is."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evsockets import (
    CallbackEventHandler,
    ClientSocket,
    Configuration,
    DisconnectedError,
    EventMultiHandler,
    EventType,
    FixedLengthFramePicker,
    MarkerFramePicker,
    NullOperation,
    ReadOperation,
    RemoveFinishedSocketsEventHandler,
    RequestExecutor,
    ServerSocket,
    SignalEventHandler,
    TlsDataFlushEventHandler,
    WriteOperation,
)
from support.certificates import Authority, server_side
from support.wire import hang_up, pair, peer, quietly, read_to_end, reset, tls_script

LINE = ReadOperation(MarkerFramePicker(None, b"\n"))


@pytest.fixture(autouse=True)
def everything_counts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "evsockets")


def logged(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name.partition(".")[0] == "evsockets"]


def the_warning(caplog: pytest.LogCaptureFixture, *parts: str) -> None:
    """One WARNING and nothing else, with all of `parts` in it."""
    (record,) = logged(caplog)
    assert (record.name, record.levelname) == ("evsockets", "WARNING")
    for part in parts:
        assert part in record.getMessage()
    assert record.exc_info is None


def add(
    executor: RequestExecutor, operation: Any, *, client: Any = None, handler: Any = None, **more: Any
) -> None:
    executor.socket_bag.add_socket(client or ClientSocket(), operation, handler=handler, **more)


# ---- what is logged ----------------------------------------------------------------------------------


def test_a_refused_connection(
    executor: RequestExecutor, unused_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"tcp://127.0.0.1:{unused_port}"
    add(executor, ReadOperation(), address=address)
    executor.execute_request()
    the_warning(caplog, address, "connecting", "ConnectionFailedError", "Connection refused")


def test_a_name_that_is_not_found(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    def nowhere(*_: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with RequestExecutor(engine, resolver=nowhere) as executor:
        add(executor, ReadOperation(), address="tcp://nowhere.test:80")
        executor.execute_request()
    the_warning(caplog, "tcp://nowhere.test:80", "resolving", "Name or service not known")


def test_no_address(executor: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    add(executor, ReadOperation())
    executor.execute_request()
    the_warning(caplog, "ClientSocket", "connecting", "no address")


def test_a_refused_certificate(
    executor: RequestExecutor, ca: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with peer(quietly(tls_script(server_side(ca, ca.wrong_host), read_to_end))) as server:
        address = server.url("tls", "localhost")
        add(executor, ReadOperation(), address=address, stream_context={"ca_file": ca.ca_file})
        executor.execute_request()
    the_warning(caplog, address, "handshaking", "TlsHandshakeError", "certificate")


def test_a_reset(executor: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    with peer(lambda sock: (sock.recv(1), reset(sock))) as server:
        add(executor, WriteOperation(b"x", then=LINE), address=server.url())
        executor.execute_request()
    the_warning(caplog, server.url(), "reading", "DisconnectedError")


def test_an_end_inside_a_frame(executor: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"half a li")
        theirs.shutdown(socket.SHUT_WR)
        add(executor, LINE, client=ours)
        executor.execute_request()
    the_warning(caplog, "unix://", "reading", "FrameError")


def test_a_write_to_nobody(executor: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = pair()
    theirs.close()
    add(executor, WriteOperation(b"hello"), client=ours)
    executor.execute_request()
    the_warning(caplog, "unix://", "writing", "DisconnectedError")


def test_tls_that_ends_without_its_end(
    executor: RequestExecutor, ca: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """That is no clean goodbye, though it comes where no frame had begun."""
    with peer(tls_script(server_side(ca), hang_up)) as server:
        address = server.url("tls", "localhost")
        add(executor, LINE, address=address, stream_context={"ca_file": ca.ca_file})
        executor.execute_request()
    the_warning(caplog, address, "reading", "DisconnectedError")


def test_a_server_that_cannot_listen(executor: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = "tcp://127.0.0.1:%d" % other.getsockname()[1]
        add(executor, ReadOperation(), client=ServerSocket(), address=address)
        executor.execute_request()
    the_warning(caplog, address, "listening", "Address already in use")


@pytest.mark.parametrize(
    ("stage", "phase", "operation", "settings"),
    [
        ("IO", "reading", LINE, {"io_timeout": 0.01}),
        ("REQUEST", "reading", LINE, {"request_timeout": 0.01}),
        ("IDLE", "idle", NullOperation(), {"idle_timeout": 0.01, "keep_alive": True}),
    ],
)
def test_time_outs(
    executor: RequestExecutor, caplog: pytest.LogCaptureFixture,
    stage: str, phase: str, operation: Any, settings: dict[str, Any],
) -> None:  # fmt: skip
    ours, theirs = pair()
    with theirs:
        add(executor, operation, client=ours, **settings)
        executor.execute_request()
    the_warning(caplog, "unix://", phase, "TIMEOUT", stage)


def test_a_connection_that_does_not_come_about(
    executor: RequestExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        address = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
        add(executor, LINE, address=address, connection_timeout=0.05)
        executor.execute_request()
    the_warning(caplog, address, "connecting", "TIMEOUT", "CONNECTION")


def test_a_clients_name_forges_no_line(executor: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    """A unix client chooses what it is called."""
    name = f"evsockets-{os.getpid()}"

    def started(event: Any) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.bind(b"\0\x1b[31m\nCRITICAL: " + name.encode())
            client.connect(b"\0" + name.encode())
            client.send(b"half a li")

    def accept(event: Any) -> None:
        add(event.executor, LINE, client=event.client_socket)
        event.cancel_operation()

    on = {EventType.CONNECTED: started, EventType.ACCEPT: accept}
    add(executor, ReadOperation(), client=ServerSocket(), handler=on, address=f"unix://@{name}")
    executor.execute_request()
    the_warning(caplog, "FrameError", "CRITICAL", r"\x1b[31m\n")
    assert logged(caplog)[0].getMessage().isprintable()


# ---- what is not -------------------------------------------------------------------------------------


def test_a_clean_goodbye(executor: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    errors: list[Any] = []
    for handler in (None, {EventType.EXCEPTION: lambda event: errors.append(event.exception)}):
        ours, theirs = pair()
        theirs.sendall(b"a line\n")
        theirs.close()

        def on_read(event: Any) -> None:
            event.next_is(LINE)

        add(executor, LINE, client=ours, handler={EventType.READ: on_read, **(handler or {})})
        executor.execute_request()
    assert logged(caplog) == []
    assert isinstance(errors[0], DisconnectedError) and errors[0].clean


def test_a_goodbye_that_is_not_clean_says_so(executor: RequestExecutor) -> None:
    errors: list[Any] = []
    with peer(lambda sock: (sock.recv(1), reset(sock))) as server:
        on = {EventType.EXCEPTION: lambda event: errors.append(event.exception)}
        add(executor, WriteOperation(b"x", then=LINE), address=server.url(), handler=on)
        executor.execute_request()
    assert isinstance(errors[0], DisconnectedError) and not errors[0].clean


def test_ordinary_lives(executor: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    """A whole exchange, a raw read at the end, a cancelled and a stopped socket, at any level."""
    with peer(lambda sock: (sock.recv(1), sock.sendall(b"answer\n"))) as server:
        add(executor, WriteOperation(b"x", then=LINE), address=server.url())
        executor.execute_request()
    ended, theirs = pair()
    theirs.close()
    add(executor, ReadOperation(), client=ended)
    cancelled, left = pair()
    add(executor, LINE, client=cancelled, handler={EventType.CONNECTED: lambda e: e.cancel_operation()})
    stopped, right = pair()
    add(executor, LINE, client=stopped)
    executor.call_soon_threadsafe(executor.call_soon_threadsafe, executor.stop_request)
    with left, right:
        executor.execute_request()
    assert logged(caplog) == []


# ---- who hears ---------------------------------------------------------------------------------------


def ignore(event: Any) -> None:
    """Hears."""


class Hearing:
    def __call__(self, event: Any) -> None:
        pass

    def method(self, event: Any) -> None:
        pass


class Watching(Hearing):
    watches = True


class PickyHearing(Hearing):
    listens_to = ("EXCEPTION", "TIMEOUT")


class DeafHearing(Hearing):
    listens_to = ("READ",)


BOTH = (EventType.EXCEPTION, EventType.TIMEOUT)


def on_both(callback: Any) -> dict[EventType, Any]:
    return dict.fromkeys(BOTH, callback)


def watching_function(event: Any) -> None:
    pass


watching_function.watches = True  # type: ignore[attr-defined]

HEARS: dict[str, Callable[[], Any]] = {
    "a mapping": lambda: on_both(ignore),
    "a list in a mapping": lambda: on_both([Watching(), ignore]),
    "a callable": lambda: ignore,
    "an object": Hearing,
    "a method": lambda: Hearing().method,
    "what says what it listens to": PickyHearing,
    "callbacks": lambda: CallbackEventHandler(on_both(ignore)),
    "one of several": lambda: EventMultiHandler([Watching(), {}, on_both(ignore)]),
    "nested": lambda: EventMultiHandler([EventMultiHandler([CallbackEventHandler(on_both(ignore))])]),
    "the inner one": lambda: RemoveFinishedSocketsEventHandler(TlsDataFlushEventHandler(on_both(ignore))),
}
WATCHES: dict[str, Callable[[], Any]] = {
    "nobody": lambda: None,
    "others": lambda: {EventType.READ: ignore, EventType.DISCONNECTED: ignore},
    "what listens to others": DeafHearing,
    "a watcher": Watching,
    "a watching function": lambda: watching_function,
    "a watcher's method": lambda: Watching().method,
    "a watcher in a mapping": lambda: on_both(Watching()),
    "a watcher's method in a list": lambda: on_both([Watching().method]),
    "callbacks that watch": lambda: CallbackEventHandler(on_both([Watching(), watching_function])),
    "several watchers": lambda: EventMultiHandler([Watching(), on_both(Watching())]),
    "the inner one watches": lambda: RemoveFinishedSocketsEventHandler(Watching()),
    "nothing inside": lambda: TlsDataFlushEventHandler(RemoveFinishedSocketsEventHandler()),
    "an empty one": EventMultiHandler,
}


def an_error_and_a_time_out(executor: RequestExecutor, handler: Any, where: str) -> None:
    if where == "global" and handler is not None:
        executor.with_event_handler(handler)
        handler = None
    failing, theirs = pair()
    theirs.close()
    add(executor, WriteOperation(b"x"), client=failing, handler=handler)
    silent, theirs = pair()
    with theirs:
        add(executor, LINE, client=silent, handler=handler, io_timeout=0.01)
        executor.execute_request()


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.levelname for record in logged(caplog)]


@pytest.mark.parametrize("where", ["own", "global"])
@pytest.mark.parametrize("who", HEARS)
def test_what_hears(
    executor: RequestExecutor, caplog: pytest.LogCaptureFixture, who: str, where: str
) -> None:
    an_error_and_a_time_out(executor, HEARS[who](), where)
    assert logged(caplog) == []


@pytest.mark.parametrize("where", ["own", "global"])
@pytest.mark.parametrize("who", WATCHES)
def test_what_only_watches(
    executor: RequestExecutor, caplog: pytest.LogCaptureFixture, who: str, where: str
) -> None:
    an_error_and_a_time_out(executor, WATCHES[who](), where)
    assert levels(caplog) == ["WARNING", "WARNING"]


def test_one_hears_and_another_watches(executor: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    executor.with_event_handler(Watching())
    executor.with_event_handler(on_both(ignore))
    an_error_and_a_time_out(executor, Watching(), "own")
    assert logged(caplog) == []


def test_each_event_for_itself(executor: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    an_error_and_a_time_out(executor, {EventType.EXCEPTION: ignore}, "own")
    the_warning(caplog, "TIMEOUT")


def test_a_handler_taken_away(executor: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    handler = CallbackEventHandler(on_both(ignore))
    an_error_and_a_time_out(executor, handler, "own")
    assert logged(caplog) == []
    handler.remove_all()
    an_error_and_a_time_out(executor, handler, "own")
    assert levels(caplog) == ["WARNING", "WARNING"]


# ---- blinker -----------------------------------------------------------------------------------------


@pytest.fixture
def signals() -> Any:
    from blinker import Namespace

    return Namespace()


@pytest.mark.parametrize("given", ["itself", "in a mapping", "in another"])
@pytest.mark.parametrize("sender", ["any", "this", "another", "none"])
def test_signals_are_heard_by_their_receivers(
    executor: RequestExecutor, caplog: pytest.LogCaptureFixture, signals: Any, sender: str, given: str
) -> None:
    handler: Any = SignalEventHandler(signals)
    told: list[Any] = []

    def receive(_: Any, event: Any) -> None:
        told.append(event)

    senders = {"this": executor, "another": object()}
    for kind in BOTH if sender != "none" else (EventType.READ, EventType.FINALIZE):
        if sender in senders:
            signals.signal(kind.value).connect(receive, sender=senders[sender])
        else:
            signals.signal(kind.value).connect(receive)
    if given != "itself":
        handler = on_both(handler) if given == "in a mapping" else EventMultiHandler([handler])
    an_error_and_a_time_out(executor, handler, "global")
    heard = sender in ("any", "this")
    assert levels(caplog) == ([] if heard else ["WARNING", "WARNING"])
    assert [event.type for event in told if event.type in BOTH] == (list(BOTH) if heard else [])


# ---- bugs of handlers --------------------------------------------------------------------------------


def buggy(event: Any) -> None:
    raise ZeroDivisionError("a bug")


@pytest.fixture
def isolating(engine: str) -> Iterator[RequestExecutor]:
    with RequestExecutor(engine, configuration=Configuration(isolate_handler_errors=True)) as executor:
        yield executor


@pytest.mark.parametrize("event", ["INITIALIZE", "CONNECTED", "READ", "WRITE", "DISCONNECTED", "TIMEOUT"])
def test_an_isolated_bug_is_an_error_with_its_traceback(
    isolating: RequestExecutor, caplog: pytest.LogCaptureFixture, event: str
) -> None:
    ours, theirs = pair()
    theirs.sendall(b"line\n")
    operation: Any = WriteOperation(b"x") if event == "WRITE" else LINE
    if event == "TIMEOUT":
        operation = ReadOperation(FixedLengthFramePicker(100))
    with theirs:
        add(isolating, operation, client=ours, handler={EventType[event]: buggy}, io_timeout=0.01)
        isolating.execute_request()
    (record,) = logged(caplog)
    assert (record.name, record.levelname) == ("evsockets", "ERROR")
    where = "ClientSocket" if event == "INITIALIZE" else "unix://"
    assert where in record.getMessage() and "ZeroDivisionError" in record.getMessage()
    assert record.exc_info is not None and isinstance(record.exc_info[1], ZeroDivisionError)
    assert "in buggy" in caplog.text and 'raise ZeroDivisionError("a bug")' in caplog.text


def test_an_isolated_bug_that_is_heard(isolating: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = pair()
    theirs.sendall(b"line\n")
    heard: list[Any] = []
    on = {EventType.READ: buggy, EventType.EXCEPTION: lambda event: heard.append(event.exception)}
    with theirs:
        add(isolating, LINE, client=ours, handler=on)
        isolating.execute_request()
    assert len(heard) == 1 and logged(caplog) == []


def test_a_bug_that_ends_the_run_is_raised_and_not_logged(
    executor: RequestExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = pair()
    theirs.sendall(b"line\n")
    with theirs:
        add(executor, LINE, client=ours, handler={EventType.READ: buggy})
        with pytest.raises(ZeroDivisionError):
            executor.execute_request()
    assert logged(caplog) == []
