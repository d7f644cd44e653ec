"""The socket bag and its metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EventType,
    FixedLengthFramePicker,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    UnknownSocketError,
    WriteOperation,
)
from support.service import LINE
from support.wire import Log, add, pair, peer, read_to_end, talk

# ---- the bag ---------------------------------------------------------------------------------------


def test_membership_is_identity(executor: RequestExecutor) -> None:
    bag = executor.socket_bag
    one, two = ClientSocket(), ClientSocket()
    assert len(bag) == 0 and one not in bag
    metadata = bag.add_socket(one, ReadOperation())
    assert len(bag) == 1 and one in bag and bag.has_socket(one)
    assert two not in bag and not bag.has_socket(two) and "x" not in bag
    assert bag.get_metadata(one) is metadata
    for each in bag:
        bag.add_socket(two, ReadOperation())
        assert each is one
    bag.remove_socket(one)
    assert one not in bag and len(bag) == 1


def test_unknown_sockets(executor: RequestExecutor) -> None:
    bag = executor.socket_bag
    unknown = ClientSocket()
    bag.remove_socket(unknown)
    bag.forget_socket(unknown)
    for call in (
        lambda: bag.get_operation(unknown),
        lambda: bag.set_operation(unknown, ReadOperation()),
        lambda: bag.get_metadata(unknown),
        lambda: bag.set_metadata(unknown, io_timeout=1),
        lambda: bag.reset_transfer_rate_counters(unknown),
    ):
        with pytest.raises(UnknownSocketError) as caught:
            call()
        assert isinstance(caught.value, LookupError)


def test_not_twice(executor: RequestExecutor) -> None:
    ours = ClientSocket()
    executor.socket_bag.add_socket(ours, ReadOperation())
    with pytest.raises(ValueError):
        executor.socket_bag.add_socket(ours, ReadOperation())
    with RequestExecutor("selectors") as other, pytest.raises(ValueError):
        other.socket_bag.add_socket(ours, ReadOperation())


def test_a_complete_socket_lives_again(executor: RequestExecutor) -> None:
    client = ClientSocket()
    with peer(read_to_end, count=3) as server:
        for n in range(3):
            log = talk(executor, server.url(), WriteOperation(b"%d" % n), socket=client)
            assert log.names == ["INITIALIZE", "CONNECTED", "WRITE", "DISCONNECTED", "FINALIZE"]
            assert log.metadata.bytes_sent == 1
            assert len(executor.socket_bag) == 1
    assert server.results == [b"0", b"1", b"2"]


def test_a_complete_socket_lives_again_from_its_finalize(executor: RequestExecutor) -> None:
    client = ClientSocket()
    again = Log()
    with peer(read_to_end, count=2) as server:

        def once_more(event: Any) -> None:
            executor.socket_bag.add_socket(
                client, WriteOperation(b"2"), handler=again.handler(), address=server.url()
            )

        first = talk(executor, server.url(), WriteOperation(b"1"), socket=client, on={"FINALIZE": once_more})
    assert server.results == [b"1", b"2"]
    assert first.names == again.names == ["INITIALIZE", "CONNECTED", "WRITE", "DISCONNECTED", "FINALIZE"]


def test_adding_between_disconnected_and_finalize(executor: RequestExecutor) -> None:
    """Complete from DISCONNECTED on; whatever is made of it, FINALIZE comes exactly once for each life."""
    ours, theirs = pair()
    with theirs:

        def look(event: Any) -> None:
            assert event.metadata.request_complete
            executor.socket_bag.remove_socket(event.socket)

        log = talk(executor, None, WriteOperation(b"1"), socket=ours, on={"DISCONNECTED": look})
    assert log.names[-2:] == ["DISCONNECTED", "FINALIZE"]
    assert ours not in executor.socket_bag


def test_removing(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    bag = executor.socket_bag

    def refuse(event: Any) -> None:
        with pytest.raises(RuntimeError):
            bag.remove_socket(ours)
        with pytest.raises(RuntimeError):
            bag.remove_socket(waiting)

    waiting = ClientSocket()
    with theirs:
        kinds = ("INITIALIZE", "CONNECTED", "WRITE")
        on: Any = dict.fromkeys(kinds, refuse)
        on["FINALIZE"] = lambda event: bag.remove_socket(ours)
        log = add(executor, None, WriteOperation(b"x"), socket=ours, on=on)
        bag.add_socket(waiting, ReadOperation())
        executor.execute_request()
    assert log.names == ["INITIALIZE", "CONNECTED", "WRITE", "DISCONNECTED", "FINALIZE"]
    assert ours not in bag and waiting in bag
    assert log.events[0].metadata.bytes_sent == 1


def test_removed_before_the_run(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    with theirs:
        log = add(executor, None, ReadOperation(), socket=ours)
        executor.socket_bag.remove_socket(ours)
        executor.execute_request()
        assert log.names == []
        theirs.sendall(b"!")
        assert talk(executor, None, ReadOperation(), socket=ours).frames == [b"!"]


def test_bad_arguments(executor: RequestExecutor) -> None:
    add_socket: Any = executor.socket_bag.add_socket
    for arguments in ((5, ReadOperation()), (ClientSocket(), None), (ClientSocket(), b"x")):
        with pytest.raises(TypeError):
            add_socket(*arguments)
    for handler in (5, {"READ": print}, {EventType.READ: 5}, {5: print}):
        with pytest.raises(TypeError):
            add_socket(ClientSocket(), ReadOperation(), handler=handler)
    for operation in (WriteOperation(b"x"), NullOperation()):
        with pytest.raises(TypeError):
            add_socket(ServerSocket(), operation)
    with pytest.raises(TypeError):
        executor.socket_bag.set_operation(ClientSocket(), None)  # type: ignore[arg-type]
    assert len(executor.socket_bag) == 0


def test_a_refused_add_leaves_no_trace(executor: RequestExecutor) -> None:
    ours = ClientSocket()
    with pytest.raises(ValueError):
        executor.socket_bag.add_socket(ours, ReadOperation(), io_timeout=-1)
    with pytest.raises(ValueError):
        executor.socket_bag.add_socket(ours, ReadOperation(), address="nonsense")
    assert ours not in executor.socket_bag
    executor.socket_bag.add_socket(ours, ReadOperation())


def test_handlers_may_be_mappings_with_lists(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    said: list[int] = []
    with theirs:
        handler = {EventType.WRITE: [lambda e: said.append(1), lambda e: said.append(2)]}
        executor.socket_bag.add_socket(ours, WriteOperation(b"x"), handler=handler)
        executor.execute_request()
    assert said == [1, 2]


def test_equal_handlers_are_not_the_same(executor: RequestExecutor) -> None:
    """Each socket has the object it was added with."""

    @dataclass(frozen=True)
    class Named:
        name: str
        heard: list[Any] = field(default_factory=list, compare=False)

        def __call__(self, event: Any) -> None:
            self.heard.append(event.socket)

    handlers = [Named("same"), Named("same")]
    pairs = [pair() for _ in handlers]
    for handler, (ours, _) in zip(handlers, pairs, strict=True):
        executor.socket_bag.add_socket(ours, NullOperation(), handler=handler)
    executor.execute_request()
    for handler, (ours, theirs) in zip(handlers, pairs, strict=True):
        assert handler.heard and set(handler.heard) == {ours}
        theirs.close()


def test_a_thousand_sockets_from_one_handler(executor: RequestExecutor) -> None:
    ended: list[Any] = []
    started: list[Any] = []
    handler = {EventType.INITIALIZE: started.append, EventType.FINALIZE: ended.append}

    def add_many(event: Any) -> None:
        for _ in range(1000):
            executor.socket_bag.add_socket(ClientSocket(), ReadOperation(), handler=handler)

    ours, theirs = pair()
    with theirs:
        talk(executor, None, WriteOperation(b"x"), socket=ours, on={"WRITE": add_many})
    assert len(started) == len(ended) == 1000
    assert len(executor.socket_bag) == 1001


# ---- operations from outside -----------------------------------------------------------------------


def test_operation_before_the_start(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    bag = executor.socket_bag
    with theirs:
        theirs.sendall(b"!")
        first, second = WriteOperation(b"no"), ReadOperation()
        log = add(executor, None, first, socket=ours)
        assert bag.get_operation(ours) is first
        bag.set_operation(ours, second)
        assert bag.get_operation(ours) is second
        on_read: list[Any] = []
        executor.with_event_handler({EventType.READ: lambda e: on_read.append(bag.get_operation(ours))})
        executor.execute_request()
    assert log.frames == [b"!"] and "WRITE" not in log.names
    assert on_read == [second]


def test_operation_while_reading_keeps_bytes(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    other, others = pair()
    with theirs, others:
        theirs.sendall(b"abc")
        log = add(executor, None, ReadOperation(LINE), socket=ours)

        def replace(event: Any) -> None:
            if log.metadata.bytes_received < 3:
                event.next_is_write(b"?", then=ReadOperation())
                others.sendall(b"x")
                return
            executor.socket_bag.set_operation(ours, ReadOperation(FixedLengthFramePicker(2)))
            assert log.frames == []  # not inside somebody else's handler

        others.sendall(b"x")
        add(executor, None, ReadOperation(), socket=other, on={"READ": replace})
        executor.execute_request()
    assert log.frames == [b"ab"]


def test_operation_while_idle_starts(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    other, others = pair()
    with theirs, others:
        on = {"READ": lambda event: ours.close()}
        log = add(executor, None, NullOperation(), socket=ours, keep_alive=True, on=on)

        def wake(event: Any) -> None:
            assert executor.socket_bag.get_operation(ours) is None
            executor.socket_bag.set_operation(ours, ReadOperation())
            theirs.sendall(b"!")

        others.sendall(b"x")
        add(executor, None, ReadOperation(), socket=other, on={"READ": wake})
        executor.execute_request()
    assert log.names == ["INITIALIZE", "CONNECTED", "READ", "DISCONNECTED", "FINALIZE"]


def test_operation_while_writing_comes_next(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    other, others = pair()
    data = bytes(3_000_000)
    with theirs, others:
        log = add(executor, None, WriteOperation(data, then=ReadOperation()), socket=ours)

        def follow(event: Any) -> None:
            executor.socket_bag.set_operation(ours, WriteOperation(b"end"))
            assert log.names.count("WRITE") == 1

        others.sendall(b"x")
        add(executor, None, ReadOperation(), socket=other, on={"READ": follow})
        executor.start_request()
        received = 0
        theirs.setblocking(False)
        while executor.turn():
            try:
                received += len(theirs.recv(1 << 20))
            except BlockingIOError:
                continue
        theirs.setblocking(True)
        received += len(read_to_end(theirs))
    assert received == len(data) + 3
    assert log.names == ["INITIALIZE", "CONNECTED", "WRITE", "WRITE", "DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize("kind", ["CONNECTED", "WRITE", "READ"])
def test_operation_in_its_own_handler(executor: RequestExecutor, kind: str) -> None:
    ours, theirs = pair()
    done: list[Any] = []

    def once(event: Any) -> None:
        if not done:
            executor.socket_bag.set_operation(ours, WriteOperation(b"set"))
            done.append(event)

    with theirs:
        if kind == "READ":
            theirs.sendall(b"!")
        operation = WriteOperation(b"first.", then=ReadOperation())
        log = talk(executor, None, operation, socket=ours, on={kind: once})
        assert read_to_end(theirs) == {"CONNECTED": b"set"}.get(kind, b"first.set")
    assert log.names[-2:] == ["DISCONNECTED", "FINALIZE"]


def test_the_last_word_counts_after_set_operation(executor: RequestExecutor) -> None:
    ours, theirs = pair()

    def change_mind(event: Any) -> None:
        executor.socket_bag.set_operation(ours, WriteOperation(b"first thought"))
        event.next_is_write(b"second thought")

    with theirs:
        theirs.sendall(b"!")
        talk(executor, None, ReadOperation(), socket=ours, on={"READ": change_mind})
        assert read_to_end(theirs) == b"second thought"


def test_forget_needs_keep_alive(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    with theirs:
        on = {"WRITE": lambda event: executor.socket_bag.forget_socket(ours)}
        log = talk(executor, None, WriteOperation(b"x"), socket=ours, on=on)
        assert log.names[-2:] == ["DISCONNECTED", "FINALIZE"]
        assert theirs.recv(10) == b"x" and theirs.recv(1) == b""
