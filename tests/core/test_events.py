"""What events tell their handlers, and what handlers tell them; an event nobody listens to is never built."""

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
    events,
)
from support.conversation import LINE, READ_LINE, Talk, sends
from support.scenes import KINDS, end, scene
from support.service import Peers, Service
from support.sources import sources_only


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


def test_what_io_events_tell(talk: Talk) -> None:
    def write(event: Any) -> None:
        assert event.operation is operation and event.next_operation is None and not event.is_cancelled
        event.next_is_read(LINE)
        assert isinstance(event.next_operation, ReadOperation) and event.next_operation.picker is LINE
        event.next_is_write(b"y")
        assert isinstance(event.next_operation, WriteOperation) and event.next_operation.data == b"y"
        event.next_operation_not_required()
        assert event.next_operation is None
        event.next_is_read(LINE)

    def read(event: Any) -> None:
        assert event.operation.picker is LINE
        event.cancel_operation()
        assert event.is_cancelled

    operation = WriteOperation(b"x")
    talk(operation, sends(b"line\n"), told=["WRITE", b"line\n"], sent=b"x", on={"WRITE": write, "READ": read})


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


@pytest.mark.parametrize(("first", "told", "sent"), [
    (WriteOperation(b"x"), ["WRITE"], b"x"), (ReadOperation(), [b"!"], b""),
])  # fmt: skip
def test_a_next_operation_taken_back(talk: Talk, first: Any, told: list[Any], sent: bytes) -> None:
    """The request ends, and the opposite event never comes."""

    def change_mind(event: Any) -> None:
        event.next_is_write(b"never")
        event.next_operation_not_required()

    talk(first, sends(b"!"), told=told, sent=sent, on={"WRITE": change_mind, "READ": change_mind})


def test_a_repr_says_what_happened(talk: Talk) -> None:
    shown: dict[str, str] = {}

    def look(event: Any) -> None:
        shown[event.type.name] = repr(event)
        if event.type is EventType.TIMEOUT:
            raise NetworkSocketError("the reason")

    talk.executor.with_event_handler(look)
    talk(READ_LINE, told=["TIMEOUT IO reading", NetworkSocketError], io_timeout=3)
    assert "IO while reading" in shown["TIMEOUT"] and "the reason" in shown["EXCEPTION"]
    assert shown["CONNECTED"].startswith("<IoEvent CONNECTED <ClientSocket")


CLASSES = [
    kind for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, events.Event) and "__init__" in vars(kind)
]  # fmt: skip


@sources_only
@pytest.mark.parametrize("kind", KINDS)
def test_never_built(executor: RequestExecutor, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built: set[str] = set()

    def watch(cls: type) -> None:
        original: Any = vars(cls)["__init__"]

        def init(self: Any, *args: Any) -> None:
            original(self, *args)
            built.add(self.type.name)

        monkeypatch.setattr(cls, "__init__", init)

    for cls in CLASSES:
        watch(cls)
    with scene(executor, kind) as one:
        one.prepare(lambda event: event.cancel_operation())
        before = executor.socket_bag.get_metadata(one.socket)
        operation = executor.socket_bag.get_operation(one.socket)
        assert operation is not None
        executor.socket_bag.remove_socket(one.socket)
        values = {name: getattr(before, name) for name in ("address", "keep_alive", "io_timeout")}
        if kind in ("OOB", "ACCEPT"):
            # These would not come about, or not end, without anybody who listens.
            on = {EventType.OOB: lambda e: None, EventType.ACCEPT: lambda e: e.cancel_operation()}
            expected = {kind} if kind == "OOB" else {"CONNECTED", kind}
            if kind == "ACCEPT":
                on[EventType.CONNECTED] = one.knock
        else:
            on, expected = {}, set()
        executor.socket_bag.add_socket(one.socket, operation, handler=on, **values)
        executor.execute_request()
    assert built == expected
