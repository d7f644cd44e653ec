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
from support.conversation import Talk, closes, sends
from support.life import END, USUAL
from support.memory import MemoryEngine
from support.scenes import KINDS, UP_TO, rest_after, scene
from support.stage import PatientEngine
from support.wire import add, pair
from support.wire import talk as hold

ISOLATED = Configuration(isolate_handler_errors=True)


class Boom(Exception):
    pass


class Halt(BaseException):
    pass


def raising(error: BaseException) -> Any:
    def handler(event: Any) -> None:
        raise error

    return handler


@pytest.fixture
def isolating() -> Iterator[RequestExecutor]:
    with RequestExecutor(PatientEngine(look=True), configuration=ISOLATED) as executor:
        yield executor


@pytest.fixture(params=[False, True])
def isolated(request: pytest.FixtureRequest) -> bool:
    """Whether the executor isolates errors of handlers."""
    return bool(request.param)


@pytest.fixture
def either(isolated: bool) -> Iterator[Talk]:
    """Conversations in memory, of an executor that isolates errors of handlers, and of one that does not."""
    with RequestExecutor(MemoryEngine(), configuration=ISOLATED if isolated else None) as executor:
        yield Talk(executor)


@pytest.fixture
def hooked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the interpreter's hook for exceptions that nobody can be told of gets."""
    got: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: got.append(args.exc_value))
    return got


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
        assert other.names == [*USUAL, *END]
        assert not executor.is_executing
        for metadata in (log.metadata, other.metadata, unstarted.metadata):
            assert metadata.request_complete
        waiting.close()
        # The engine is as good as before.
        ours, peer = pair()
        with peer:
            peer.sendall(b"!")
            assert hold(executor, None, ReadOperation(), socket=ours).frames == [b"!"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error_type", [Boom, NetworkSocketError, FileNotFoundError])
def test_isolated(isolating: RequestExecutor, kind: str, error_type: Any, hooked: list[Any]) -> None:
    """The number of a handler's own failure is not the socket's."""
    error = error_type(2, "no such file") if error_type is FileNotFoundError else error_type("mine")
    silent, theirs = pair()
    with theirs, scene(isolating, kind) as one:
        log = one.prepare(raising(error))
        theirs.sendall(b"!")
        other = add(isolating, None, ReadOperation(), socket=silent)
        isolating.execute_request()
    assert other.names == [*USUAL, "READ", *END]
    if kind in ("EXCEPTION", "FINALIZE"):
        assert log.names == UP_TO[kind] + rest_after(kind)
        assert hooked == [error]
        return
    assert log.names == UP_TO[kind] + ["EXCEPTION"] + rest_after(kind)
    if isinstance(error, NetworkSocketError):
        assert log.error is error
    else:
        assert type(log.error) is HandlerError and log.error.errno is None
        assert log.error.__cause__ is error and log.error.socket is one.socket
    assert hooked == []


def test_isolation_is_for_exceptions_only(isolating: RequestExecutor) -> None:
    with scene(isolating, "READ") as one:
        one.prepare(raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            isolating.execute_request()


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
    assert other.names == [*USUAL, *END]


def test_exceptions_on_the_way_out_of_a_stop(talk: Talk) -> None:
    stop = {"CONNECTED": lambda event: talk.executor.stop_request()}
    all_of_them = [
        talk.begin(ReadOperation(), on={"DISCONNECTED": raising(Boom(str(n))), **(stop if n == 2 else {})})
        for n in range(3)
    ]
    with pytest.raises(Boom) as caught:
        talk.run()
    assert len(caught.value.__notes__) == 2
    for one in all_of_them:
        one.check()


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
def test_other_user_code(either: Talk, where: str, isolated: bool) -> None:
    other = either.begin(ReadOperation(FixedLengthFramePicker(1)), sends(b"!"))
    one = either.begin(OTHER_CODE[where](), sends(b"!"))
    if isolated:
        either.run()
        assert isinstance(one.error.__cause__, Boom)
        other.check([b"!"])
    else:
        with pytest.raises(Boom):
            either.run()
        assert one.errors == []
    for each in (one, other):
        assert (each.names[:2], each.names[-2:]) == (USUAL, END)


def test_exception_in_a_threadsafe_callback(either: Talk) -> None:
    one = either.begin(ReadOperation())
    either.executor.call_soon_threadsafe(raising(Boom("callback")), None)
    with pytest.raises(Boom):
        either.run()
    assert one.metadata.request_complete and one.names in ([], [*USUAL, *END])
    either.close()


@pytest.mark.parametrize(
    ("misuse", "error"),
    [
        (lambda event: event.executor.execute_request(), RuntimeError),
        (lambda event: event.next_is("no operation"), TypeError),
    ],
)
def test_misuse_in_a_handler_is_the_handlers_exception(talk: Talk, misuse: Any, error: Any) -> None:
    with pytest.raises(error):
        talk(ReadOperation(), sends(b"!"), told=[b"!"], on={"READ": misuse})


def test_a_reraised_error_keeps_its_socket(talk: Talk) -> None:
    """An error raised by one socket's handler for another one is told where it was raised."""
    fine = talk.begin(ReadOperation(), sends(b"!"))
    error = NetworkSocketError("about the other", socket=fine.client)
    one = talk(ReadOperation(), sends(b"!"), told=[b"!", NetworkSocketError], on={"READ": raising(error)})
    assert one.error is error and error.socket is fine.client
    fine.check([b"!"])


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


def test_isolated_bugs_reach_the_interpreters_own_hook() -> None:
    """It is picky about its argument, and prints each bug with its traceback."""
    done = run_python(BUGS_EVERYWHERE, "selectors")
    assert (done.returncode, done.stdout) == (0, "survived\n"), done.stderr
    assert "ZeroDivisionError: EXCEPTION\n" in done.stderr and "ZeroDivisionError: FINALIZE\n" in done.stderr
    assert done.stderr.count("in bug") >= 2 and "raised_by_an_event_handler" in done.stderr


def refused(port: int) -> dict[str, Any]:
    return {"socket": ClientSocket(), "address": f"tcp://127.0.0.1:{port}"}


def ended(port: int) -> dict[str, Any]:
    ours, theirs = pair()
    theirs.close()
    return {"socket": ours, "address": None}


@pytest.mark.parametrize(
    ("fault", "kind"), [
        ("refused", "EXCEPTION"), ("refused", "FINALIZE"), ("ended", "EXCEPTION"), ("ended", "DISCONNECTED"),
        ("ended", "FINALIZE"),
    ],
)  # fmt: skip
def test_bugs_on_the_way_out_of_a_failed_life(
    either: Talk, fault: str, kind: str, isolated: bool, hooked: list[Any]
) -> None:
    """A failure does not swallow what the handlers raise that are told of it."""
    error = Boom("bug")
    reading = ReadOperation(FixedLengthFramePicker(5))
    if fault == "refused":
        log = add(either.executor, None, reading, on={kind: raising(error)})  # without an address
    else:
        log = either.begin(reading, closes, on={kind: raising(error)})
    if isolated:
        either.run()
    else:
        with pytest.raises(Boom) as caught:
            either.run()
        assert caught.value is error
    assert log.names[-1] == "FINALIZE" and log.metadata.request_complete
    if isolated and kind == "DISCONNECTED":
        assert [type(one) for one in log.errors] == [DisconnectedError, HandlerError] and hooked == []
    else:
        assert hooked == [error] * isolated


def test_a_bug_in_the_end_is_a_note_on_the_bug_before(executor: RequestExecutor) -> None:
    on = {"EXCEPTION": raising(Boom("first")), "FINALIZE": raising(Boom("second"))}
    with pytest.raises(Boom, match="first") as caught:
        hold(executor, None, ReadOperation(), on=on)
    assert any("second" in note for note in caught.value.__notes__)


def test_an_iterators_bug_counts_though_the_peer_is_gone(talk: Talk) -> None:
    one = talk.begin(WriteOperation(bad_data()))
    one.close_peer()
    with pytest.raises(Boom, match="data"):
        talk.run()
    assert one.names == [*USUAL, "WRITE", *END]
