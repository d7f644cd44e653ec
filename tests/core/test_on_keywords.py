"""`add_socket(on_read=...)`: a callable for one event type."""

from __future__ import annotations

import functools
import logging
from typing import Any

import pytest

import evsockets
from evsockets import (
    ClientSocket,
    EventMultiHandler,
    EventType,
    ReadOperation,
    RequestExecutor,
    Timeline,
    WriteOperation,
)
from support.conversation import Talk, sends
from support.scenes import KINDS, end, scene

CLASSES = {
    "INITIALIZE": "IoEvent", "CONNECTED": "IoEvent", "ACCEPT": "AcceptEvent", "READ": "ReadEvent",
    "OOB": "ReadEvent", "WRITE": "WriteEvent", "DATA_ALERT": "DataAlertEvent", "TIMEOUT": "TimeoutEvent",
    "EXCEPTION": "SocketExceptionEvent", "DISCONNECTED": "Event", "FINALIZE": "Event",
}  # fmt: skip


def bag_add(executor: RequestExecutor, operation: Any = None, **more: Any) -> Any:
    return executor.socket_bag.add_socket(ClientSocket(), operation or ReadOperation(), **more)


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_told_its_events_before_the_handler(executor: RequestExecutor, kind: str) -> None:
    told: list[tuple[str, Any]] = []

    def last(event: Any) -> None:
        told.append(("handler", event))
        end(event)

    with scene(executor, kind) as one:
        one.prepare(last, **{f"on_{kind.lower()}": lambda event: told.append(("on", event))})
        executor.execute_request()
    assert [who for who, _ in told] == ["on", "handler"] * (len(told) // 2)
    for _, event in told:
        assert event.type is EventType[kind]
        assert isinstance(event, getattr(evsockets, CLASSES[kind]))


@pytest.mark.parametrize("handler", ["callable", "mapping", "library", None])
def test_the_last_word_is_the_handlers(talk: Talk, handler: str | None) -> None:
    def on_connected(event: Any) -> None:
        event.next_is_write(b"on")

    def own(event: Any) -> None:
        if event.type is EventType.CONNECTED:
            event.next_is_write(b"handler")

    mapping = {EventType.CONNECTED: own}
    given = {"callable": own, "mapping": mapping, "library": EventMultiHandler([mapping])}.get(handler or "")
    one = talk.begin(WriteOperation(b"first"), handler=given, on_connected=on_connected)
    talk.run()
    assert one.received == (b"handler" if handler else b"on")


class Protocol:
    """Handlers that are methods of one object for each socket."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_read(self, event: Any) -> None:
        self.told.append("READ")

    def on_finalize(self, event: Any) -> None:
        self.told.append("FINALIZE")


def test_methods(talk: Talk) -> None:
    protocols = [Protocol(), Protocol()]
    for one in protocols:
        talk.begin(
            ReadOperation(), sends(b"x"), handler=None,
            on_read=one.on_read, on_finalize=one.on_finalize, on_write=None,
        )  # fmt: skip
    talk.run()
    assert [one.told for one in protocols] == [["READ", "FINALIZE"]] * 2


def test_the_same_callables_cost_what_the_same_mapping_costs(executor: RequestExecutor) -> None:
    """One set of resolved handlers for all, and an event calls them without anything between."""

    def read(event: Any) -> None: ...

    def write(event: Any) -> None: ...

    class Alike:
        """Equal to every other one, and yet another."""

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Alike)

        __hash__ = None  # type: ignore[assignment]

        def __call__(self, event: Any) -> None: ...

    one, two = Protocol(), Protocol()
    for more, other in (
        ({"on_read": read, "on_write": write}, {"on_read": write, "on_write": read}),
        ({"on_read": read, "handler": write}, {"on_read": read, "handler": read}),
        ({"on_read": one.on_read}, {"on_read": two.on_read}),
        ({"on_read": Alike()}, {"on_read": Alike()}),
        ({"on_read": read}, {"on_write": read}),
        ({"on_read": read}, {"handler": read}),
        ({"on_read": read, "handler": {EventType.WRITE: write}}, {"on_read": read}),
    ):
        same = [bag_add(executor, **more)._channel.dispatch for _ in range(3)]
        if "on_read" in more and more["on_read"] == one.on_read:
            same.append(bag_add(executor, on_read=one.on_read)._channel.dispatch)  # another method object
        assert all(dispatch is same[0] for dispatch in same)
        assert bag_add(executor, **other)._channel.dispatch is not same[0]
    dispatch = bag_add(executor, on_read=read, on_write=write)._channel.dispatch
    assert (dispatch.read, dispatch.write, dispatch.finalize) == (read, write, None)


def test_a_mapping_that_has_changed_meanwhile_is_read_again(executor: RequestExecutor) -> None:
    def read(event: Any) -> None: ...

    mapping: dict[Any, Any] = {}
    before = bag_add(executor, handler=mapping, on_read=read)._channel.dispatch
    mapping[EventType.WRITE] = read
    after = bag_add(executor, handler=mapping, on_read=read)._channel.dispatch
    assert (before.write, after.write) == (None, read)


@pytest.mark.parametrize("heard", [False, True])
def test_what_one_hears_is_not_logged(talk: Talk, heard: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "evsockets")
    told: list[Any] = []
    on_timeout = told.append if heard else None
    talk.begin(ReadOperation(), handler=None, io_timeout=2, on_timeout=on_timeout, on_read=print)
    talk.run()
    assert len(told) == heard
    assert bool(caplog.records) is not heard


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"on_read": 5}, "on_read must be callable, got 5"),
        ({"on_read": [print]}, "on_read must be callable"),
        ({"on_raed": print}, "no event for 'on_raed', did you mean 'on_read'"),
        ({"on_disconnect": print}, "'on_disconnect', did you mean 'on_disconnected'"),
        ({"on_qqqqqqqqq": print}, "'on_qqqqqqqqq'; known are on_initialize, "),
        ({"onread": print}, "unknown metadata 'onread'"),
    ],
)
def test_what_cannot_be_used(executor: RequestExecutor, more: Any, says: str) -> None:
    socket = ClientSocket()
    with pytest.raises(TypeError, match=says):
        executor.socket_bag.add_socket(socket, ReadOperation(), **more)
    assert socket not in executor.socket_bag
    executor.socket_bag.add_socket(socket, ReadOperation(), address="tcp://127.0.0.1:1")
    executor.socket_bag.remove_socket(socket)


def test_they_are_no_metadata(executor: RequestExecutor) -> None:
    metadata = bag_add(executor)
    with pytest.raises(TypeError, match="unknown metadata 'on_read'"):
        executor.socket_bag.set_metadata(next(iter(executor.socket_bag)), on_read=print)
    assert not hasattr(metadata, "on_read")


class Coroutines:
    async def __call__(self, event: Any) -> None:
        raise AssertionError

    async def method(self, event: Any) -> None:
        raise AssertionError


async def never(*args: Any) -> None:
    raise AssertionError


@pytest.mark.parametrize("wrong", [never, Coroutines(), Coroutines().method, functools.partial(never, 1)])
def test_a_coroutine_function_is_refused_wherever_a_call_alone_would_do_nothing(
    executor: RequestExecutor, wrong: Any
) -> None:
    for call in (
        lambda: bag_add(executor, handler=wrong),
        lambda: bag_add(executor, handler={EventType.READ: wrong}),
        lambda: bag_add(executor, handler={EventType.READ: [print, wrong]}),
        lambda: bag_add(executor, on_read=wrong),
        lambda: executor.with_event_handler(wrong),
        lambda: EventMultiHandler([wrong]),
        lambda: executor.call_later(0, wrong),
        lambda: executor.call_soon_threadsafe(wrong),
    ):
        with pytest.raises(TypeError, match=r"must not be a coroutine function, .*ConversationOperation\("):
            call()
    executor.execute_request()
    assert len(executor.socket_bag) == 0


def test_a_class_of_handlers_is_no_handler(executor: RequestExecutor) -> None:
    for call in (
        lambda: executor.with_event_handler(Timeline),
        lambda: bag_add(executor, handler=EventMultiHandler),
    ):
        with pytest.raises(TypeError, match="not the class"):
            call()
