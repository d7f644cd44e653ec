"""What events tell, and what can be set on them."""

from __future__ import annotations

from typing import Any

import pytest

from evsockets import (
    AcceptedFrame,
    AcceptedSocket,
    EventType,
    IoEvent,
    NetworkSocketError,
    ReadOperation,
    RequestExecutor,
    WriteOperation,
)
from support.scenes import KINDS, end, scene
from support.service import LINE, Peers, Service
from support.wire import pair, read_to_end, talk


@pytest.mark.parametrize("kind", KINDS)
def test_what_every_event_tells(executor: RequestExecutor, kind: str) -> None:
    seen: list[str] = []

    def look(event: Any) -> None:
        seen.append(event.type.name)
        assert event.type is EventType[kind]
        assert event.socket is one.socket and event.executor is executor
        assert event.metadata is log.metadata and event.user_context == "mine"
        assert event.context["key"] == "value" and event.context is executor._loop.context
        assert event.is_cancelled is False
        if kind in ("INITIALIZE", "CONNECTED"):
            assert event.next_operation is not None  # the first one
        elif isinstance(event, IoEvent):
            assert event.next_operation is (event.operation.then if kind == "WRITE" else None)
        end(event)

    with scene(executor, kind) as one:
        log = one.prepare(look)
        log.metadata.user_context = "mine"
        executor.execute_request({"key": "value"})
    assert set(seen) == {kind}


def test_what_io_events_tell(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    operation = WriteOperation(b"x")
    seen: list[str] = []

    def write(event: Any) -> None:
        assert event.operation is operation and event.next_operation is None and not event.is_cancelled
        event.next_is_read(LINE)
        assert isinstance(event.next_operation, ReadOperation) and event.next_operation.picker is LINE
        event.next_is_write(b"y")
        assert isinstance(event.next_operation, WriteOperation) and event.next_operation.data == b"y"
        event.next_operation_not_required()
        assert event.next_operation is None
        event.next_is_read(LINE)
        seen.append("write")

    def read(event: Any) -> None:
        assert event.operation.picker is LINE and event.socket is ours and event.executor is executor
        event.cancel_operation()
        assert event.is_cancelled
        seen.append("read")

    with theirs:
        theirs.sendall(b"line\n")
        log = talk(executor, None, operation, socket=ours, on={"WRITE": write, "READ": read})
    assert seen == ["write", "read"] and log.names[-2:] == ["DISCONNECTED", "FINALIZE"]


def test_what_an_accept_tells(executor: RequestExecutor) -> None:
    with Peers() as peers:
        service = Service(executor, started=lambda event: peers.stream(service.local, b"line\n"))
        executor.execute_request()
        event = service.accepted[0]
        name = peers[0].getsockname()
    assert event.socket is service.server and type(event.client_socket) is AcceptedSocket
    assert isinstance(event.frame, AcceptedFrame)
    assert event.frame.client_socket is event.client_socket
    assert event.remote_address == event.frame.remote_address == name


def test_a_next_operation_taken_back(executor: RequestExecutor) -> None:
    """A next operation set in READ and taken back: the request ends, the opposite event never comes."""
    ours, theirs = pair()

    def change_mind(event: Any) -> None:
        event.next_is_write(b"never")
        event.next_operation_not_required()

    with theirs:
        theirs.sendall(b"!")
        log = talk(executor, None, ReadOperation(), socket=ours, on={"READ": change_mind})
        assert read_to_end(theirs) == b""
    assert log.names == ["INITIALIZE", "CONNECTED", "READ", "DISCONNECTED", "FINALIZE"]


def test_a_repr_says_what_happened(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    shown: dict[str, str] = {}

    def look(event: Any) -> None:
        shown[event.type.name] = repr(event)
        if event.type is EventType.TIMEOUT:
            raise NetworkSocketError("the reason")

    with theirs:
        executor.socket_bag.add_socket(ours, ReadOperation(), io_timeout=0.01, handler=look)
        executor.execute_request()
    assert "IO while reading" in shown["TIMEOUT"] and "the reason" in shown["EXCEPTION"]
    assert shown["CONNECTED"].startswith("<IoEvent CONNECTED <ClientSocket")
