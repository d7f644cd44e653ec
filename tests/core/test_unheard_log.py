"""Errors and time-outs that no handler hears are logged; nothing else is."""

from __future__ import annotations

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
from support.conversation import (
    READ_LINE,
    Conversation,
    Talk,
    closes,
    ends,
    fixed,
    gets,
    resets,
    sends,
    turns,
)
from support.memory import MemoryEngine
from support.stage import unanswered
from support.wire import hang_up, listening, peer, quietly, read_to_end, tls_script


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


def unheard(
    executor: RequestExecutor, operation: Any, *, client: Any = None, handler: Any = None, **more: Any
) -> None:
    """A life that nobody hears, or `handler`."""
    executor.socket_bag.add_socket(client or ClientSocket(), operation, handler=handler, **more)
    executor.execute_request()


# ---- what is logged ----------------------------------------------------------------------------------


def test_a_refused_connection(
    executor: RequestExecutor, unused_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"tcp://127.0.0.1:{unused_port}"
    unheard(executor, ReadOperation(), address=address)
    the_warning(caplog, address, "connecting", "ConnectionFailedError", "Connection refused")


def test_a_name_that_is_not_found(caplog: pytest.LogCaptureFixture) -> None:
    def nowhere(*_: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with RequestExecutor(resolver=nowhere) as executor:
        unheard(executor, ReadOperation(), address="tcp://nowhere.test:80")
    the_warning(caplog, "tcp://nowhere.test:80", "resolving", "Name or service not known")


def test_no_address(executor: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    unheard(executor, ReadOperation())
    the_warning(caplog, "ClientSocket", "connecting", "no address")


@pytest.mark.parametrize("trusted", [True, False])
def test_tls(ca: Authority, caplog: pytest.LogCaptureFixture, trusted: bool) -> None:
    """A refused certificate, and TLS that ends without its end: that is no clean goodbye, though it comes
    where no frame had begun."""
    context = server_side(ca) if trusted else server_side(ca, ca.wrong_host)
    with (
        RequestExecutor() as executor,
        peer(quietly(tls_script(context, hang_up if trusted else read_to_end))) as server,
    ):
        address = server.url("tls", "localhost")
        unheard(executor, READ_LINE, address=address, stream_context={"ca_file": ca.ca_file})
    refused = "handshaking", "TlsHandshakeError", "certificate"
    the_warning(caplog, address, *(("reading", "DisconnectedError") if trusted else refused))


def test_a_server_that_cannot_listen(executor: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    with listening() as (_, address):
        unheard(executor, ReadOperation(), client=ServerSocket(), address=address)
    the_warning(caplog, address, "listening", "Address already in use")


def test_a_connection_that_does_not_come_about(
    executor: RequestExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    with unanswered() as address:
        unheard(executor, READ_LINE, address=address, connection_timeout=5)
    the_warning(caplog, address, "connecting", "TIMEOUT", "CONNECTION")


def cancels(one: Conversation) -> bool:
    one.client.close()
    return True


def stops(one: Conversation) -> bool:
    one.executor.stop_request()
    return True


X = WriteOperation(b"x", then=READ_LINE)
LIVES: list[tuple[Any, list[Any], dict[str, Any], tuple[str, ...]]] = [
    # an operation, what its peer does, settings, and what the warning says
    (X, [gets(b"x"), resets], {}, ("reading", "DisconnectedError")),
    (READ_LINE, [sends(b"half a li"), ends], {}, ("reading", "FrameError")),
    (WriteOperation(b"hello"), [closes], {}, ("writing", "DisconnectedError")),
    (READ_LINE, [], {"io_timeout": 3}, ("reading", "TIMEOUT", "IO")),
    (READ_LINE, [], {"request_timeout": 3}, ("reading", "TIMEOUT", "REQUEST")),
    (NullOperation(), [], {"idle_timeout": 3, "keep_alive": True}, ("idle", "TIMEOUT", "IDLE")),
    # what is not told: a clean goodbye, an exchange, the end of a raw read, one that is cancelled or stopped
    (READ_LINE, [closes], {}, ()),
    (X, [gets(b"x"), sends(b"answer\n")], {}, ()),
    (ReadOperation(), [closes], {}, ()),
    (READ_LINE, [turns(1), cancels], {}, ()),
    (READ_LINE, [turns(1), stops], {}, ()),
]


@pytest.mark.parametrize(("operation", "steps", "settings", "parts"), LIVES)
def test_what_is_logged(
    talk: Talk, caplog: pytest.LogCaptureFixture, operation: Any, steps: Any, settings: Any, parts: Any
) -> None:
    talk.begin(operation, *steps, handler=None, **settings)
    talk.run()
    if parts:
        the_warning(caplog, "unix://", *parts)
    else:
        assert logged(caplog) == []


@pytest.mark.parametrize(("how", "clean"), [(closes, True), (resets, False)])
def test_a_goodbye_says_whether_it_is_clean(talk: Talk, how: Any, clean: bool) -> None:
    one = talk(X, gets(b"x"), how, told=["WRITE", DisconnectedError], sent=b"x")
    assert one.error.clean is clean


def test_a_clients_name_forges_no_line(executor: RequestExecutor, caplog: pytest.LogCaptureFixture) -> None:
    """A unix client chooses what it is called."""
    name = f"evsockets-{os.getpid()}"

    def started(event: Any) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.bind(b"\0\x1b[31m\nCRITICAL: " + name.encode())
            client.connect(b"\0" + name.encode())
            client.send(b"half a li")

    def accept(event: Any) -> None:
        event.executor.socket_bag.add_socket(event.client_socket, READ_LINE)
        event.cancel_operation()

    on = {EventType.CONNECTED: started, EventType.ACCEPT: accept}
    unheard(executor, ReadOperation(), client=ServerSocket(), handler=on, address=f"unix://@{name}")
    the_warning(caplog, "FrameError", "CRITICAL", r"\x1b[31m\n")
    assert logged(caplog)[0].getMessage().isprintable()


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


def an_error_and_a_time_out(talk: Talk, handler: Any, where: str) -> None:
    if where == "global" and handler is not None:
        talk.executor.with_event_handler(handler)
        handler = None
    talk.begin(WriteOperation(b"x"), closes, handler=handler)
    talk.begin(READ_LINE, handler=handler, io_timeout=3)
    talk.run()


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.levelname for record in logged(caplog)]


@pytest.mark.parametrize("where", ["own", "global"])
@pytest.mark.parametrize("who", HEARS)
def test_what_hears(talk: Talk, caplog: pytest.LogCaptureFixture, who: str, where: str) -> None:
    an_error_and_a_time_out(talk, HEARS[who](), where)
    assert logged(caplog) == []


@pytest.mark.parametrize("where", ["own", "global"])
@pytest.mark.parametrize("who", WATCHES)
def test_what_only_watches(talk: Talk, caplog: pytest.LogCaptureFixture, who: str, where: str) -> None:
    an_error_and_a_time_out(talk, WATCHES[who](), where)
    assert levels(caplog) == ["WARNING", "WARNING"]


def test_one_hears_and_another_watches(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    talk.executor.with_event_handler(Watching())
    talk.executor.with_event_handler(on_both(ignore))
    an_error_and_a_time_out(talk, Watching(), "own")
    assert logged(caplog) == []


def test_each_event_for_itself(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    an_error_and_a_time_out(talk, {EventType.EXCEPTION: ignore}, "own")
    the_warning(caplog, "TIMEOUT")


def test_a_handler_taken_away(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    handler = CallbackEventHandler(on_both(ignore))
    an_error_and_a_time_out(talk, handler, "own")
    assert logged(caplog) == []
    handler.remove_all()
    an_error_and_a_time_out(talk, handler, "own")
    assert levels(caplog) == ["WARNING", "WARNING"]


# ---- blinker -----------------------------------------------------------------------------------------


@pytest.fixture
def signals() -> Any:
    from blinker import Namespace

    return Namespace()


@pytest.mark.parametrize("given", ["itself", "in a mapping", "in another"])
@pytest.mark.parametrize("sender", ["any", "this", "another", "none"])
def test_signals_are_heard_by_their_receivers(
    talk: Talk, caplog: pytest.LogCaptureFixture, signals: Any, sender: str, given: str
) -> None:
    handler: Any = SignalEventHandler(signals)
    told: list[Any] = []

    def receive(_: Any, event: Any) -> None:
        told.append(event)

    senders = {"this": talk.executor, "another": object()}
    for kind in BOTH if sender != "none" else (EventType.READ, EventType.FINALIZE):
        if sender in senders:
            signals.signal(kind.value).connect(receive, sender=senders[sender])
        else:
            signals.signal(kind.value).connect(receive)
    if given != "itself":
        handler = on_both(handler) if given == "in a mapping" else EventMultiHandler([handler])
    an_error_and_a_time_out(talk, handler, "global")
    heard = sender in ("any", "this")
    assert levels(caplog) == ([] if heard else ["WARNING", "WARNING"])
    assert [event.type for event in told if event.type in BOTH] == (list(BOTH) if heard else [])


# ---- bugs of handlers --------------------------------------------------------------------------------


def buggy(event: Any) -> None:
    raise ZeroDivisionError("a bug")


@pytest.fixture
def isolating() -> Iterator[Talk]:
    isolating = Configuration(isolate_handler_errors=True)
    with RequestExecutor(MemoryEngine(), configuration=isolating) as executor:
        yield Talk(executor)


@pytest.mark.parametrize("event", ["INITIALIZE", "CONNECTED", "READ", "WRITE", "DISCONNECTED", "TIMEOUT"])
def test_an_isolated_bug_is_an_error_with_its_traceback(
    isolating: Talk, caplog: pytest.LogCaptureFixture, event: str
) -> None:
    operation = {"WRITE": WriteOperation(b"x"), "TIMEOUT": fixed(100)}.get(event, READ_LINE)
    isolating.begin(operation, sends(b"line\n"), handler={EventType[event]: buggy}, io_timeout=3)
    isolating.run()
    (record,) = logged(caplog)
    assert (record.name, record.levelname) == ("evsockets", "ERROR")
    where = "ClientSocket" if event == "INITIALIZE" else "unix://"
    assert where in record.getMessage() and "ZeroDivisionError" in record.getMessage()
    assert record.exc_info is not None and isinstance(record.exc_info[1], ZeroDivisionError)
    assert "in buggy" in caplog.text and 'raise ZeroDivisionError("a bug")' in caplog.text


def test_an_isolated_bug_that_is_heard(isolating: Talk, caplog: pytest.LogCaptureFixture) -> None:
    one = isolating.begin(READ_LINE, sends(b"line\n"), on={"READ": buggy})
    isolating.run()
    assert len(one.errors) == 1 and logged(caplog) == []


def test_a_bug_that_ends_the_run_is_raised_and_not_logged(
    talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    talk.begin(READ_LINE, sends(b"line\n"), handler={EventType.READ: buggy})
    with pytest.raises(ZeroDivisionError):
        talk.run()
    assert logged(caplog) == []
