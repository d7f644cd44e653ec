"""What comes next: `event.next_operation`, and `set_operation` in every state of a socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    DelayedOperation,
    EventType,
    FixedLengthFramePicker,
    NullOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    WriteOperation,
)
from support.scenes import KINDS, scene
from support.wire import add, pair, read_exactly, read_to_end, talk

ONE = FixedLengthFramePicker(1)
LIFE = ["INITIALIZE", "CONNECTED", "READ", "DISCONNECTED", "FINALIZE"]
LARGE = b"x" * 3_000_000


def after_a_read(executor: RequestExecutor, callback: Callable[[Any], Any]) -> socket.socket:
    """Another socket, in whose READ handler `callback` is called; its peer."""
    ours, theirs = pair()
    theirs.sendall(b"!")
    add(executor, None, ReadOperation(), socket=ours, on={"READ": callback})
    return theirs


def test_set_operation_shows_as_next_operation(executor: RequestExecutor) -> None:
    seen: list[Any] = []
    following = ReadOperation(ONE)

    def choose(event: Any) -> None:
        if event.frame.data == b"a":
            executor.socket_bag.set_operation(event.socket, following)

    executor.with_event_handler({EventType.READ: lambda event: seen.append(event.next_operation)})
    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"ab")
        log = talk(executor, None, ReadOperation(ONE), socket=ours, on={"READ": choose})
    assert log.frames == [b"a", b"b"]
    assert seen == [following, None]


@pytest.mark.parametrize("other", [True, False])
def test_an_assignment_is_a_last_word_too(executor: RequestExecutor, other: bool) -> None:
    def overrule(event: Any) -> None:
        event.next_operation = WriteOperation(b"last") if other else None

    executor.with_event_handler({EventType.READ: overrule})
    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"a")
        on = {"READ": lambda e: executor.socket_bag.set_operation(e.socket, WriteOperation(b"first"))}
        talk(executor, None, ReadOperation(), socket=ours, on=on)
        assert read_to_end(theirs) == (b"last" if other else b"")


@pytest.mark.parametrize("wrong", [5, "read", ReadOperation])
def test_only_operations_can_be_assigned(executor: RequestExecutor, wrong: Any) -> None:
    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"a")
        log = add(
            executor, None, ReadOperation(), socket=ours,
            on={"READ": lambda event: setattr(event, "next_operation", wrong)},
        )  # fmt: skip
        with pytest.raises(TypeError, match="next_operation"):
            executor.execute_request()
    assert log.names == LIFE


@pytest.mark.parametrize("where", ["start", "step"])
def test_an_operation_that_returns_no_operation(executor: RequestExecutor, where: str) -> None:
    class Wrong(Operation):
        def start(self, channel: Any) -> Any:
            return 5 if where == "start" else self

        def step(self, channel: Any, mask: int) -> Any:
            return 5

    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"a")
        log = add(executor, None, Wrong(), socket=ours)
        with pytest.raises(TypeError, match="an operation or None"):
            executor.execute_request()
    assert log.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
    assert log.metadata.request_complete


def test_from_a_callback(executor: RequestExecutor) -> None:
    """The socket that was looked at last is not one whose handler is running."""

    def replace() -> None:
        if log.metadata.bytes_received < 3:
            executor.call_soon_threadsafe(replace)
        else:
            executor.socket_bag.set_operation(ours, ReadOperation(FixedLengthFramePicker(3)))

    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"abc")
        log = add(executor, None, ReadOperation(FixedLengthFramePicker(4)), socket=ours, io_timeout=2)
        executor.call_soon_threadsafe(replace)
        executor.execute_request()
    assert log.frames == [b"abc"]
    assert log.timeouts == []


@pytest.mark.parametrize("forget", [False, True])
def test_from_the_end_of_another(executor: RequestExecutor, forget: bool) -> None:
    """A READ handler closes another socket, in whose DISCONNECTED the first one is told what to do."""
    bag = executor.socket_bag
    ours, theirs = pair()
    victim, peer = pair()

    def close_other(event: Any) -> None:
        victim.close()
        if not forget:
            event.next_is_read(FixedLengthFramePicker(5))

    def disconnected(event: Any) -> None:
        if forget:
            bag.forget_socket(ours)
        else:
            bag.set_operation(ours, WriteOperation(b"told"))

    with theirs, peer:
        theirs.sendall(b"!")
        log = add(
            executor, None, ReadOperation(), socket=ours, on={"READ": close_other},
            keep_alive=forget, io_timeout=2, idle_timeout=2,
        )  # fmt: skip
        add(executor, None, ReadOperation(), socket=victim, on={"DISCONNECTED": disconnected})
        executor.execute_request()
        assert log.timeouts == []
        if forget:
            assert log.names == ["INITIALIZE", "CONNECTED", "READ", "FINALIZE"]
            ours.close()
        else:
            assert read_to_end(theirs) == b"told"


@pytest.mark.parametrize("kind", KINDS)
def test_of_another_socket_in_every_event(executor: RequestExecutor, kind: str) -> None:
    ours, theirs = pair()

    def tell(event: Any) -> None:
        if not log.metadata.request_complete:
            executor.socket_bag.set_operation(ours, WriteOperation(b"told"))
        if kind == "ACCEPT":
            event.cancel_operation()

    with theirs, scene(executor, kind) as one:
        log = add(executor, None, ReadOperation(), socket=ours, io_timeout=5)
        one.prepare(tell)
        executor.execute_request()
        assert log.timeouts == []
        assert read_to_end(theirs) == b"told"


def test_while_writing_it_comes_instead_of_then(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.append(read_to_end(theirs)))

    def tell(event: Any) -> None:
        executor.socket_bag.set_operation(ours, WriteOperation(b"next"))
        thread.start()

    add(executor, None, WriteOperation(LARGE, then=WriteOperation(b"then")), socket=ours)
    with theirs, after_a_read(executor, tell):
        executor.execute_request()
        thread.join()
    assert received == [LARGE + b"next"]


@pytest.mark.parametrize("forget", [False, True])
def test_in_the_write_of_an_answer_it_comes_after_it(executor: RequestExecutor, forget: bool) -> None:
    ours, theirs = pair()
    bag = executor.socket_bag

    def tell(event: Any) -> None:
        if event.operation.data == b"answer ":
            bag.forget_socket(ours) if forget else bag.set_operation(ours, WriteOperation(b"next"))

    def answer(event: Any) -> None:
        event.next_is_write(b"answer ", ReadOperation())

    with theirs:
        theirs.sendall(b"?")
        on = {"READ": answer, "WRITE": tell}
        log = talk(executor, None, ReadOperation(), socket=ours, on=on, keep_alive=forget, idle_timeout=5)
        ours.close()
        assert read_to_end(theirs) == (b"answer " if forget else b"answer next")
    assert log.names[:4] == ["INITIALIZE", "CONNECTED", "READ", "WRITE"]
    assert ("DISCONNECTED" in log.names) != forget


def test_an_urgent_byte_meanwhile_does_not_hurry_it(executor: RequestExecutor) -> None:
    """OOB whose handler names nothing lets the current operation go on, and what comes after it wait."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    client = ClientSocket.from_socket(ours)

    def tell(event: Any) -> None:
        executor.socket_bag.set_operation(client, WriteOperation(b"next"))
        theirs.send(b"!", socket.MSG_OOB)

    duplex = ReadWriteOperation(True, [ReadOperation(ONE)])
    log = add(executor, None, duplex, socket=client, on={"OOB": lambda event: theirs.sendall(b"r")})
    with theirs, after_a_read(executor, tell):
        executor.execute_request()
        assert read_to_end(theirs) == b"next"
    assert log.names == ["INITIALIZE", "CONNECTED", "OOB", "READ", "WRITE", "DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize("forget", [False, True])
def test_while_delayed_it_comes_after_what_is_held_back(executor: RequestExecutor, forget: bool) -> None:
    held = [True]
    ours, theirs = pair()

    def tell(event: Any) -> None:
        if forget:
            executor.socket_bag.forget_socket(ours)
        else:
            executor.socket_bag.set_operation(ours, WriteOperation(b"next"))
        held.clear()

    operation = DelayedOperation(WriteOperation(b"held "), lambda socket, executor: bool(held))
    log = add(executor, None, operation, socket=ours, keep_alive=forget)
    with theirs, after_a_read(executor, tell):
        executor.execute_request()
        ours.close()
        assert read_to_end(theirs) == (b"held " if forget else b"held next")
    assert ("DISCONNECTED" in log.names) != forget


def test_while_reading_and_writing_it_comes_when_both_are_done(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    received: list[bytes] = []

    def answer() -> None:
        received.append(read_exactly(theirs, len(LARGE)))
        theirs.sendall(b"r")
        received.append(read_to_end(theirs))

    thread = threading.Thread(target=answer)

    def tell(event: Any) -> None:
        executor.socket_bag.set_operation(ours, WriteOperation(b"next"))
        thread.start()

    duplex = ReadWriteOperation(True, [WriteOperation(LARGE), ReadOperation(ONE)])
    log = add(executor, None, duplex, socket=ours)
    with theirs, after_a_read(executor, tell):
        executor.execute_request()
        thread.join(20)
    assert received == [LARGE, b"next"]
    assert log.frames == [b"r"]


def test_inside_a_handler_of_both_directions_it_is_queued(executor: RequestExecutor) -> None:
    """As `event.next_is` is: the other direction's queue does not hold it up."""
    ours, theirs = pair()
    received: list[bytes] = []

    def answer() -> None:
        received.append(read_exactly(theirs, 6))
        theirs.sendall(b"b")

    thread = threading.Thread(target=answer)

    def tell(event: Any) -> None:
        if event.frame.data == b"a":
            executor.socket_bag.set_operation(ours, WriteOperation(b"answer"))
            assert isinstance(event.next_operation, WriteOperation)

    duplex = ReadWriteOperation(True, [ReadOperation(ONE), ReadOperation(ONE)])
    log = add(executor, None, duplex, socket=ours, on={"READ": tell}, io_timeout=5)
    with theirs:
        theirs.sendall(b"a")
        thread.start()
        executor.execute_request()
        theirs.shutdown(socket.SHUT_RDWR)
        thread.join(20)
    assert received == [b"answer"]
    assert log.frames == [b"a", b"b"]


@pytest.mark.parametrize("outside", [False, True])
def test_in_the_timeout_of_both_directions_it_is_queued(executor: RequestExecutor, outside: bool) -> None:
    """What was set before, from outside, still comes when both are done."""
    ours, theirs = pair()

    def timed_out(event: Any) -> None:
        event.enable_one_more_attempt()
        if not outside:
            executor.socket_bag.set_operation(ours, WriteOperation(b"still there?"))
        theirs.sendall(b"r")
        event.metadata.io_timeout = 5

    def tell(event: Any) -> None:
        executor.socket_bag.set_operation(ours, WriteOperation(b"next"))

    duplex = ReadWriteOperation(True, [ReadOperation(ONE)])
    log = add(executor, None, duplex, socket=ours, on={"TIMEOUT": timed_out}, io_timeout=0.05)
    with theirs, after_a_read(executor, tell if outside else lambda event: None):
        executor.execute_request()
        assert read_to_end(theirs) == (b"next" if outside else b"still there?")
    assert log.frames == [b"r"]
    assert log.timeouts == [("IO", "reading")]


def test_while_idle_it_starts(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    bag = executor.socket_bag

    def tell(event: Any) -> None:
        assert bag.get_operation(ours) is None
        bag.set_metadata(ours, keep_alive=False)
        bag.set_operation(ours, WriteOperation(b"now"))

    log = add(executor, None, NullOperation(), socket=ours, keep_alive=True)
    with theirs, after_a_read(executor, tell):
        executor.execute_request()
        assert read_to_end(theirs) == b"now"
    assert log.names == ["INITIALIZE", "CONNECTED", "WRITE", "DISCONNECTED", "FINALIZE"]
