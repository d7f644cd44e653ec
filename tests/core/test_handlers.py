"""The ready-made event handlers."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from evsockets import (
    CallbackEventHandler,
    ClientSocket,
    EmptyFramePicker,
    EventMultiHandler,
    EventType,
    NullOperation,
    ReadOperation,
    RemoveFinishedSocketsEventHandler,
    SignalEventHandler,
    TlsDataFlushEventHandler,
    WriteOperation,
)
from evsockets.core import out_of_band
from evsockets.core.dispatch import Dispatch
from support.conversation import Talk, sends
from support.life import END, FAILED, USUAL
from support.optional import library

X = WriteOperation(b"x")


def fake(type: EventType, **more: Any) -> Any:
    return SimpleNamespace(type=type, **more)


def test_callbacks_per_event() -> None:
    handler = CallbackEventHandler()
    assert len(handler) == 0
    said: list[str] = []
    one, two = (lambda event: said.append("one")), (lambda event: said.append("two"))
    handler.add_handler({EventType.READ: one, EventType.WRITE: [one, two]})
    assert len(handler) == 3
    handler(fake(EventType.WRITE))
    handler(fake(EventType.FINALIZE))
    assert said == ["one", "two"]
    handler.remove_handler({EventType.WRITE: one, EventType.FINALIZE: two})
    handler(fake(EventType.WRITE))
    handler(fake(EventType.READ))
    assert said == ["one", "two", "two", "one"]
    handler.remove_for_event(EventType.READ)
    assert len(handler) == 1
    handler.remove_all()
    handler.remove_all()
    assert len(handler) == 0
    for bad in ({"READ": one}, {EventType.READ: 5}, {EventType.READ: [5]}):
        with pytest.raises(TypeError):
            CallbackEventHandler(bad)  # type: ignore[arg-type]


def test_multi_handler() -> None:
    said: list[str] = []
    one, two = (lambda event: said.append("one")), (lambda event: said.append("two"))
    handler = EventMultiHandler([one, {EventType.READ: two}])
    for _ in range(5):
        handler.add_handler(one)
    handler(fake(EventType.READ))
    assert said == ["one", "two"]
    handler.remove_handler(one)
    handler.remove_handler(one)
    handler(fake(EventType.READ))
    assert said == ["one", "two", "two"]
    with pytest.raises(TypeError):
        EventMultiHandler([None])
    with pytest.raises(TypeError, match="a mapping of EventType to callables, got <function"):
        CallbackEventHandler(one)


@pytest.mark.parametrize("where", ["own", "global"])
@pytest.mark.parametrize("kind", ["callback", "multi"])
def test_changes_act_from_the_next_event(talk: Talk, where: str, kind: str) -> None:
    said: list[str] = []

    def on_write(event: Any) -> None:
        said.append("write")
        late: Any = {EventType.DISCONNECTED: lambda event: said.append("disconnected")}
        handler.add_handler(late)

    first = {EventType.WRITE: on_write}
    handler: Any = CallbackEventHandler(first) if kind == "callback" else EventMultiHandler([first])
    if where == "global":
        talk.executor.with_event_handler(handler)
    talk.begin(X, handler=handler if where == "own" else None)
    talk.run()
    assert said == ["write", "disconnected"]


@pytest.mark.parametrize("inner", [False, True])
def test_finished_sockets_are_removed(talk: Talk, inner: bool) -> None:
    seen: list[str] = []

    def note(event: Any) -> None:
        assert event.socket in talk.bag
        seen.append(event.type.name)

    talk.executor.with_event_handler(RemoveFinishedSocketsEventHandler(note if inner else None))
    talk.begin(X, handler=None)
    talk.bag.add_socket(ClientSocket(), ReadOperation())
    talk.run()
    assert len(talk.bag) == 0
    if inner:
        assert sorted(seen) == sorted([*USUAL, "WRITE", *END, *FAILED])


def test_removed_by_somebody_else(talk: Talk) -> None:
    handler = RemoveFinishedSocketsEventHandler(
        {EventType.FINALIZE: lambda event: talk.bag.remove_socket(event.socket)}
    )
    talk.begin(X, handler=handler)
    talk.run()
    assert len(talk.bag) == 0


def test_a_socket_that_has_a_new_life_already_stays(talk: Talk) -> None:
    lives: list[Any] = []

    def again(event: Any) -> None:
        lives.append(event.metadata)
        if len(lives) == 1:
            talk.bag.add_socket(event.socket, ReadOperation(), handler=handler)

    handler = RemoveFinishedSocketsEventHandler({EventType.FINALIZE: again})
    talk.begin(X, handler=handler)
    talk.run()
    assert len(lives) == 2 and lives[0] is not lives[1]
    assert len(talk.bag) == 0


def test_the_flush_of_the_first_alert_is_an_empty_read(talk: Talk) -> None:
    """The last word is its own: what another handler finds named."""
    named: list[Any] = []
    talk.executor.with_event_handler({EventType.DATA_ALERT: lambda event: named.append(event.next_operation)})
    inner = {EventType.DATA_ALERT: lambda event: event.cancel_operation()}
    talk.begin(NullOperation(), sends(b"data"), handler=TlsDataFlushEventHandler(inner), keep_alive=True)
    talk.run()
    assert isinstance(named[0].picker, EmptyFramePicker) and len(named) == 2


def test_only_a_change_brings_out_of_band_data_to_running_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new socket's handlers are nobody else's affair: looking through the others would be quadratic."""
    wanted: list[Any] = []
    handler = CallbackEventHandler()
    running: Any = SimpleNamespace(connected=True, dispatch=None)
    loop: Any = SimpleNamespace(handlers=EventMultiHandler(), solver=None, running=lambda: [running])
    monkeypatch.setattr(out_of_band, "want", wanted.append)
    running.dispatch = Dispatch(handler, loop)
    listening = Dispatch(lambda event: None, loop)
    assert listening.oob is not None and wanted == []
    handler.add_handler({EventType.READ: print})
    assert wanted == []
    handler.add_handler({EventType.OOB: print})
    assert wanted == [running]
    handler.add_handler({EventType.OOB: repr})
    assert wanted == [running]


def test_signals(talk: Talk) -> None:
    namespace = library("blinker").Namespace()
    got: list[tuple[Any, str]] = []

    def receive(sender: Any, event: Any) -> None:
        got.append((sender, event.type.name))

    for type in EventType:
        namespace.signal(type.value).connect(receive)
    talk.executor.with_event_handler(SignalEventHandler(namespace))
    talk.begin(X, handler=None)
    talk.run()
    assert got == [(talk.executor, name) for name in (*USUAL, "WRITE", *END)]


def test_signals_without_blinker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blinker.base", None)
    monkeypatch.setitem(sys.modules, "blinker", None)
    with pytest.raises(ImportError, match="evsockets"):
        SignalEventHandler()


@pytest.mark.parametrize("namespace", ["text", 5, object])
def test_a_namespace_that_is_none_of_blinkers(namespace: Any) -> None:
    with pytest.raises(TypeError, match=r"namespace must be a blinker.Namespace or None, got "):
        SignalEventHandler(namespace)


def test_empty_reads_of_ones_own_are_told(talk: Talk) -> None:
    """The flush swallows the one empty READ it asked for, and no other."""
    seen: list[tuple[str, Any]] = []

    def inner(event: Any) -> None:
        if event.type is EventType.DATA_ALERT:
            seen.append(("DATA_ALERT", event.attempt))
            event.next_is_read(EmptyFramePicker() if event.attempt < 4 else None)
        elif event.type is EventType.READ:
            seen.append(("READ", event.frame.data))
            if event.frame.data:
                event.cancel_operation()

    talk.begin(NullOperation(), sends(b"data"), handler=TlsDataFlushEventHandler(inner), keep_alive=True)
    talk.run()
    assert seen == [
        ("DATA_ALERT", 2), ("READ", b""), ("DATA_ALERT", 3), ("READ", b""), ("DATA_ALERT", 4),
        ("READ", b"data"),
    ]  # fmt: skip


def test_flush_passes_everything_else_on() -> None:
    """Every other event goes to the next handler as it is, whatever its type."""
    seen: list[Any] = []
    handler = TlsDataFlushEventHandler(seen.append)
    events = [fake(type) for type in EventType if type not in (EventType.DATA_ALERT, EventType.READ)]
    for event in events:
        handler(event)
    assert seen == events
    quiet = TlsDataFlushEventHandler()
    for event in events:
        quiet(event)
