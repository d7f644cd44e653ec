"""What handlers and other user code raise, in every event."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    Configuration,
    DelayedOperation,
    DisconnectedError,
    FixedLengthFramePicker,
    FramePicker,
    HandlerError,
    NetworkSocketError,
    Operation,
    ReadOperation,
    RequestExecutor,
    WriteOperation,
)
from support.command import run_python
from support.scenes import KINDS, UP_TO, rest_after, scene
from support.wire import add, pair, talk


class Boom(Exception):
    pass


class Halt(BaseException):
    pass


def raising(error: BaseException) -> Any:
    def handler(event: Any) -> None:
        raise error

    return handler


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("EXCEPTION", "FINALIZE")])
def test_library_error_in_every_event(executor: RequestExecutor, kind: str) -> None:
    error = NetworkSocketError("mine")
    with scene(executor, kind) as one:
        log = one.prepare(raising(error))
        executor.execute_request()
        assert log.names == UP_TO[kind] + ["EXCEPTION"] + rest_after(kind)
        assert log.error is error
        assert error.socket is one.socket
    assert log.metadata.request_complete


@pytest.mark.parametrize("kind", ["EXCEPTION", "FINALIZE"])
def test_library_error_where_it_is_like_any_other(executor: RequestExecutor, kind: str) -> None:
    error = NetworkSocketError("mine")
    with scene(executor, kind) as one:
        log = one.prepare(raising(error))
        with pytest.raises(NetworkSocketError) as caught:
            executor.execute_request()
        assert caught.value is error
        assert log.names == UP_TO[kind] + rest_after(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error_type", [Boom, Halt, KeyboardInterrupt])
def test_other_exception_in_every_event(executor: RequestExecutor, kind: str, error_type: Any) -> None:
    error = error_type("bug")
    silent, theirs = pair()
    waiting, others = pair()
    with theirs, others, scene(executor, kind) as one:
        other = add(executor, None, ReadOperation(), socket=silent)
        log = one.prepare(raising(error))
        unstarted = add(executor, None, ReadOperation(), socket=waiting)
        with pytest.raises(error_type) as caught:
            executor.execute_request()
        assert caught.value is error
        assert log.names == UP_TO[kind] + rest_after(kind)
        assert other.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
        assert not executor.is_executing
        for metadata in (log.metadata, other.metadata, unstarted.metadata):
            assert metadata.request_complete
        waiting.close()
        # The engine is as good as before.
        ours, peer = pair()
        with peer:
            peer.sendall(b"!")
            assert talk(executor, None, ReadOperation(), socket=ours).frames == [b"!"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("known", [False, True])
def test_isolated(engine: str, kind: str, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    error = NetworkSocketError("mine") if known else Boom("bug")
    silent, theirs = pair()
    with RequestExecutor(engine, configuration=Configuration(isolate_handler_errors=True)) as executor:
        with theirs, scene(executor, kind) as one:
            log = one.prepare(raising(error))
            theirs.sendall(b"!")
            other = add(executor, None, ReadOperation(), socket=silent)
            executor.execute_request()
            assert other.frames == [b"!"]
            assert other.names[-2:] == ["DISCONNECTED", "FINALIZE"]
    if kind in ("EXCEPTION", "FINALIZE"):
        assert log.names == UP_TO[kind] + rest_after(kind)
        assert [item.exc_value for item in unraisable] == [error]
        return
    assert log.names == UP_TO[kind] + ["EXCEPTION"] + rest_after(kind)
    if known:
        assert log.error is error
    else:
        assert type(log.error) is HandlerError
        assert log.error.__cause__ is error
        assert log.error.socket is one.socket
    assert unraisable == []


def test_the_number_of_a_handlers_own_failure_is_not_the_sockets(engine: str) -> None:
    error = FileNotFoundError(2, "no such file")
    with RequestExecutor(engine, configuration=Configuration(isolate_handler_errors=True)) as executor:
        with scene(executor, "CONNECTED") as one:
            log = one.prepare(raising(error))
            executor.execute_request()
    assert type(log.error) is HandlerError and log.error.__cause__ is error
    assert log.error.errno is None


def test_isolation_is_for_exceptions_only(engine: str) -> None:
    with RequestExecutor(engine, configuration=Configuration(isolate_handler_errors=True)) as executor:
        with scene(executor, "READ") as one:
            one.prepare(raising(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                executor.execute_request()


def test_later_exceptions_are_notes(executor: RequestExecutor) -> None:
    first = Boom("first")
    silent, theirs = pair()
    with theirs, scene(executor, "READ") as one:
        on = {"DISCONNECTED": raising(Boom("second")), "FINALIZE": raising(Boom("third"))}
        other = add(executor, None, ReadOperation(), socket=silent, on=on)
        one.prepare(raising(first))
        with pytest.raises(Boom) as caught:
            executor.execute_request()
    assert caught.value is first
    assert [re.findall("second|third", note) for note in first.__notes__] == [["second"], ["third"]]
    assert other.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


def test_exceptions_on_the_way_out_of_a_stop(executor: RequestExecutor) -> None:
    logs = []
    peers = []
    for n in range(3):
        ours, theirs = pair()
        peers.append(theirs)
        on = {"DISCONNECTED": raising(Boom(str(n)))}
        if n == 2:
            on["CONNECTED"] = lambda event: executor.stop_request()
        logs.append(add(executor, None, ReadOperation(), socket=ours, on=on))
    with pytest.raises(Boom) as caught:
        executor.execute_request()
    assert len(caught.value.__notes__) == 2
    for log, theirs in zip(logs, peers, strict=True):
        assert log.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
        theirs.close()


class BadPicker(FramePicker):
    def pick(self, inbox: Any, ended: bool) -> Any:
        raise Boom("picker")


class BadStart(Operation):
    def start(self, channel: Any) -> Any:
        raise Boom("start")


class BadStep(Operation):
    def step(self, channel: Any, mask: int) -> Any:
        raise Boom("step")


def bad_data() -> Any:
    yield b"one"
    raise Boom("data")


def bad_pending(*args: Any) -> Any:
    raise Boom("pending")


OTHER_CODE = {
    "picker": lambda: ReadOperation(BadPicker()),
    "start": BadStart,
    "step": BadStep,
    "iterator": lambda: WriteOperation(bad_data()),
    "pending": lambda: DelayedOperation(ReadOperation(), bad_pending),
}


@pytest.mark.parametrize("where", OTHER_CODE)
@pytest.mark.parametrize("isolated", [False, True])
def test_other_user_code(engine: str, where: str, isolated: bool) -> None:
    configuration = Configuration(isolate_handler_errors=isolated)
    ours, theirs = pair()
    silent, others = pair()
    with RequestExecutor(engine, configuration=configuration) as executor, theirs, others:
        theirs.sendall(b"!")
        others.sendall(b"!")
        other = add(executor, None, ReadOperation(FixedLengthFramePicker(1)), socket=silent)
        log = add(executor, None, OTHER_CODE[where](), socket=ours)
        if isolated:
            executor.execute_request()
            assert isinstance(log.error.__cause__, Boom)
            assert other.frames == [b"!"]
        else:
            with pytest.raises(Boom):
                executor.execute_request()
            assert log.errors == []
    for one in (log, other):
        assert one.names[:2] == ["INITIALIZE", "CONNECTED"]
        assert one.names[-2:] == ["DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize("isolated", [False, True])
def test_exception_in_a_threadsafe_callback(engine: str, isolated: bool) -> None:
    with RequestExecutor(engine, configuration=Configuration(isolate_handler_errors=isolated)) as executor:
        ours, theirs = pair()
        with theirs:
            log = add(executor, None, ReadOperation(), socket=ours)
            executor.call_soon_threadsafe(raising(Boom("callback")), None)
            with pytest.raises(Boom):
                executor.execute_request()
        assert log.metadata.request_complete
        assert log.names in ([], ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"])
        ours.close()


def test_misuse_in_a_handler_is_the_handlers_exception(executor: RequestExecutor) -> None:
    with scene(executor, "READ") as one:
        log = one.prepare(lambda event: event.executor.execute_request())
        with pytest.raises(RuntimeError):
            executor.execute_request()
        assert log.names[-2:] == ["DISCONNECTED", "FINALIZE"]
    with scene(executor, "READ") as one:
        log = one.prepare(lambda event: event.next_is("no operation"))
        with pytest.raises(TypeError):
            executor.execute_request()
        assert log.names[-2:] == ["DISCONNECTED", "FINALIZE"]


def test_a_reraised_error_keeps_its_socket(executor: RequestExecutor) -> None:
    """An error raised by one socket's handler for another one is told where it was raised."""
    ours, theirs = pair()
    other, others = pair()
    error = NetworkSocketError("about the other", socket=other)
    with theirs, others:
        theirs.sendall(b"!")
        others.sendall(b"!")
        log = add(executor, None, ReadOperation(), socket=ours, on={"READ": raising(error)})
        fine = add(executor, None, ReadOperation(), socket=other)
        executor.execute_request()
    assert log.error is error
    assert fine.errors == []


BUGS_EVERYWHERE = """
import socket, sys
from evsockets import ClientSocket, Configuration, EventType, ReadOperation, RequestExecutor

def bug(event):
    raise ZeroDivisionError(event.type.name)

with RequestExecutor(sys.argv[1], configuration=Configuration(isolate_handler_errors=True)) as executor:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"!")
    executor.socket_bag.add_socket(
        ClientSocket.from_socket(ours), ReadOperation(),
        handler={EventType.READ: bug, EventType.EXCEPTION: bug, EventType.FINALIZE: bug},
    )
    executor.execute_request()
    theirs.close()
print("survived")
"""


def test_isolated_bugs_reach_the_interpreters_own_hook(engine: str) -> None:
    """It is picky about its argument, and prints each bug with its traceback."""
    done = run_python(BUGS_EVERYWHERE, engine)
    assert (done.returncode, done.stdout) == (0, "survived\n"), done.stderr
    assert "ZeroDivisionError: EXCEPTION\n" in done.stderr and "ZeroDivisionError: FINALIZE\n" in done.stderr
    assert done.stderr.count("in bug") >= 2 and "raised_by_an_event_handler" in done.stderr


def refused(port: int) -> dict[str, Any]:
    return {"socket": ClientSocket(), "address": f"tcp://127.0.0.1:{port}"}


def ended(port: int) -> dict[str, Any]:
    ours, theirs = pair()
    theirs.close()
    return {"socket": ours, "address": None}


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (refused, "EXCEPTION"), (refused, "FINALIZE"), (ended, "EXCEPTION"), (ended, "DISCONNECTED"),
        (ended, "FINALIZE"),
    ],
)  # fmt: skip
def test_bugs_on_the_way_out_of_a_failed_life(
    engine: str, unused_port: int, kind: str, fault: Any, isolated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure does not swallow what the handlers raise that are told of it."""
    hooked: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: hooked.append(args.exc_value))
    error = Boom("bug")
    configuration = Configuration(isolate_handler_errors=isolated)
    with RequestExecutor(engine, configuration=configuration) as executor:
        log = add(
            executor, operation=ReadOperation(FixedLengthFramePicker(5)), on={kind: raising(error)},
            **fault(unused_port),
        )  # fmt: skip
        if isolated:
            executor.execute_request()
        else:
            with pytest.raises(Boom) as caught:
                executor.execute_request()
            assert caught.value is error
    assert log.names[-1] == "FINALIZE" and log.metadata.request_complete
    if not isolated:
        assert hooked == []
    elif kind == "DISCONNECTED":
        assert [type(one) for one in log.errors] == [DisconnectedError, HandlerError] and hooked == []
    else:
        assert hooked == [error]


def test_a_bug_in_the_end_is_a_note_on_the_bug_before(executor: RequestExecutor, unused_port: int) -> None:
    on = {"EXCEPTION": raising(Boom("first")), "FINALIZE": raising(Boom("second"))}
    add(executor, operation=ReadOperation(), on=on, **refused(unused_port))
    with pytest.raises(Boom, match="first") as caught:
        executor.execute_request()
    assert any("second" in note for note in caught.value.__notes__)


def test_an_iterators_bug_counts_though_the_peer_is_gone(executor: RequestExecutor) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"what came before is sent"
        raise Boom("bug")

    ours, theirs = pair()
    theirs.close()
    log = add(executor, None, WriteOperation(chunks()), socket=ours)
    with pytest.raises(Boom, match="bug"):
        executor.execute_request()
    assert log.names == ["INITIALIZE", "CONNECTED", "WRITE", "DISCONNECTED", "FINALIZE"]
