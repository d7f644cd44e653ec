"""The socket bag and its metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EventType,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    UnknownSocketError,
    WriteOperation,
)
from support.conversation import LINE, Talk, fixed, sends
from support.life import END, USUAL
from support.wire import Log, add, listening

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
    """In its next run, and from its FINALIZE."""
    client = ClientSocket()
    lives: list[Log] = []

    def live(event: Any = None) -> None:
        again = {"FINALIZE": live} if len(lives) == 1 else {}
        lives.append(add(executor, url, WriteOperation(b"%d" % len(lives)), socket=client, on=again))

    with listening() as (listener, url):
        for _ in range(2):
            live()
            executor.execute_request()
        for number, log in enumerate(lives):
            assert log.names == [*USUAL, "WRITE", *END] and log.metadata.bytes_sent == 1
            with listener.accept()[0] as theirs:
                assert theirs.recv(10) == b"%d" % number
    assert len(lives) == 3 and len(executor.socket_bag) == 1


def test_adding_between_disconnected_and_finalize(talk: Talk) -> None:
    """Complete from DISCONNECTED on; whatever is made of it, FINALIZE comes exactly once for each life."""

    def look(event: Any) -> None:
        assert event.metadata.request_complete
        talk.bag.remove_socket(event.socket)

    one = talk(WriteOperation(b"1"), told=["WRITE"], sent=b"1", on={"DISCONNECTED": look})
    assert one.client not in talk.bag


def test_removing(talk: Talk) -> None:
    def refuse(event: Any) -> None:
        for each in (event.socket, waiting):
            with pytest.raises(RuntimeError):
                talk.bag.remove_socket(each)

    def add_and_remove(event: Any) -> None:
        talk.bag.remove_socket(event.socket)

    waiting = ClientSocket()
    on: Any = dict.fromkeys(("INITIALIZE", "CONNECTED", "WRITE"), refuse)
    one = talk.begin(WriteOperation(b"x"), on={**on, "FINALIZE": add_and_remove})
    talk.bag.add_socket(waiting, ReadOperation())
    talk.run()
    one.check(["WRITE"], b"x")
    assert one.client not in talk.bag and waiting in talk.bag


def test_removed_before_the_run(talk: Talk) -> None:
    one = talk.begin(ReadOperation())
    talk.bag.remove_socket(one.client)
    talk.run()
    assert one.names == []
    talk(ReadOperation(), sends(b"!"), told=[b"!"], again=one)


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


def test_handlers_may_be_mappings_with_lists(talk: Talk) -> None:
    said: list[int] = []
    handler = {EventType.WRITE: [lambda e: said.append(1), lambda e: said.append(2)]}
    talk.bag.add_socket(talk.pair().client, WriteOperation(b"x"), handler=handler)
    talk.run()
    assert said == [1, 2]


def test_equal_handlers_are_not_the_same(talk: Talk) -> None:
    """Each socket has the object it was added with."""

    @dataclass(frozen=True)
    class Named:
        name: str
        heard: list[Any] = field(default_factory=list, compare=False)

        def __call__(self, event: Any) -> None:
            self.heard.append(event.socket)

    sockets = {talk.pair().client: Named("same") for _ in range(2)}
    for client, handler in sockets.items():
        talk.bag.add_socket(client, NullOperation(), handler=handler)
    talk.run()
    for client, handler in sockets.items():
        assert set(handler.heard) == {client}


# ---- operations from outside -----------------------------------------------------------------------


def test_operation_before_the_start(talk: Talk) -> None:
    first, second = WriteOperation(b"no"), ReadOperation()
    on_read: list[Any] = []

    def read(event: Any) -> None:
        on_read.append(talk.bag.get_operation(event.socket))

    one = talk.begin(first, sends(b"!"), on={"READ": read})
    assert talk.bag.get_operation(one.client) is first
    talk.bag.set_operation(one.client, second)
    assert talk.bag.get_operation(one.client) is second
    talk.run()
    one.check([b"!"])
    assert on_read == [second]


def test_operation_while_reading_keeps_bytes(talk: Talk) -> None:
    """And is not told inside somebody else's handler."""

    def replace(event: Any) -> None:
        if one.metadata.bytes_received < 3:
            event.next_is_read()
            other.peer.send(b"x")
        else:
            talk.bag.set_operation(one.client, fixed(2))
            assert one.names == USUAL

    one = talk.begin(ReadOperation(LINE), sends(b"abc"))
    other = talk.begin(ReadOperation(), sends(b"x"), on={"READ": replace})
    talk.run()
    one.check([b"ab"])


@pytest.mark.parametrize("kind", ["CONNECTED", "WRITE", "READ"])
def test_operation_in_its_own_handler(talk: Talk, kind: str) -> None:
    done: list[Any] = []

    def once(event: Any) -> None:
        if not done:
            talk.bag.set_operation(event.socket, WriteOperation(b"set"))
            done.append(event)

    told = {"CONNECTED": ["WRITE"], "WRITE": ["WRITE", "WRITE"], "READ": ["WRITE", b"!", "WRITE"]}[kind]
    talk(
        WriteOperation(b"first.", then=ReadOperation()), *[sends(b"!")] * (kind == "READ"), on={kind: once},
        told=told, sent=b"set" if kind == "CONNECTED" else b"first.set",
    )  # fmt: skip


def test_the_last_word_counts_after_set_operation(talk: Talk) -> None:
    def change_mind(event: Any) -> None:
        talk.bag.set_operation(event.socket, WriteOperation(b"first thought"))
        event.next_is_write(b"second thought")

    talk(ReadOperation(), sends(b"!"), told=[b"!", "WRITE"], sent=b"second thought", on={"READ": change_mind})
