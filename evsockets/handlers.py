"""Handlers: callables by event type, several handlers as one, and three for one purpose each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .callbacks import Callback, ResolvableHandler, check_handler, normalise, resolve
from .event_types import EventType
from .events import DataAlertEvent, Event, ReadEvent
from .frames.empty import EmptyFramePicker
from .operations.read import ReadOperation

if TYPE_CHECKING:
    from blinker import Namespace

    from .typing import Handler, HandlerMapping


class CallbackEventHandler(ResolvableHandler):
    """Calls one or more callables per event type.

    `mapping`: EventType to a callable or a list of callables. Changes take effect with the next event.
    """

    __slots__ = ("_callbacks",)

    def __init__(self, mapping: HandlerMapping | None = None) -> None:
        super().__init__()
        self._callbacks: dict[EventType, list[Callback]] = {}
        if mapping is not None:
            self.add_handler(mapping)

    def add_handler(self, mapping: HandlerMapping) -> None:
        """Add callables. TypeError for a key that is not an EventType, or a value that is not callable."""
        for type, callbacks in normalise(mapping).items():
            self._callbacks.setdefault(type, []).extend(callbacks)
        self._changed()

    def remove_handler(self, mapping: HandlerMapping) -> None:
        """Remove callables; unknown ones are ignored."""
        for type, callbacks in normalise(mapping).items():
            for callback in callbacks:
                if callback in self._callbacks.get(type, ()):
                    self._callbacks[type].remove(callback)
        self._changed()

    def remove_all(self) -> None:
        """Remove every callable."""
        self._callbacks.clear()
        self._changed()

    def remove_for_event(self, type: EventType) -> None:
        """Remove every callable of one event type."""
        self._callbacks.pop(type, None)
        self._changed()

    def __len__(self) -> int:
        return sum(map(len, self._callbacks.values()))

    def __bool__(self) -> bool:
        return True

    def _callbacks_for(self, type: EventType) -> list[Callback]:
        """The callables that want events of `type`, in order."""
        return list(self._callbacks.get(type, ()))


class EventMultiHandler(ResolvableHandler):
    """Calls several handlers in the order added, each object once."""

    __slots__ = ("_handlers",)

    def __init__(self, handlers: Iterable[Handler] = ()) -> None:
        super().__init__()
        self._handlers: list[Handler] = []
        for handler in handlers:
            self.add_handler(handler)

    def add_handler(self, handler: Handler) -> None:
        """Add a callable or a mapping; an object is added only once."""
        if handler is None:
            raise TypeError("a handler is a callable or a mapping of EventType to callables; got None")
        check_handler(handler)
        if not any(handler is one for one in self._handlers):
            self._handlers.append(handler)
            self._changed()

    def remove_handler(self, handler: Handler) -> None:
        """Remove a handler; an unknown one is ignored."""
        self._handlers = [one for one in self._handlers if one is not handler]
        self._changed()

    def _callbacks_for(self, type: EventType) -> list[Callback]:
        """The callables that want events of `type`, in order."""
        return [callback for handler in self._handlers for callback in resolve(handler, type)]

    def _inner(self) -> Iterable[Any]:
        return self._handlers


class RemoveFinishedSocketsEventHandler(ResolvableHandler):
    """Removes a socket from the bag at its FINALIZE, after the inner handler was called."""

    __slots__ = ("_handler",)

    def __init__(self, handler: Handler | None = None) -> None:
        super().__init__()
        check_handler(handler)
        self._handler = handler

    def _callbacks_for(self, type: EventType) -> list[Callback]:
        """The callables that want events of `type`, in order."""
        callbacks = resolve(self._handler, type)
        return [*callbacks, self._remove] if type is EventType.FINALIZE else callbacks

    def _inner(self) -> Iterable[Any]:
        return (self._handler,)

    @staticmethod
    def _remove(event: Event) -> None:
        bag = event.executor.socket_bag
        if bag.has_socket(event.socket) and bag.get_metadata(event.socket) is event.metadata:  # no new life
            bag.remove_socket(event.socket)


class TlsDataFlushEventHandler(ResolvableHandler):
    """Answers the first DATA_ALERT of an idle connection with an empty read, so that TLS records without
    application data do not reach the inner handler."""

    __slots__ = ("_flush", "_handler")

    def __init__(self, handler: Handler | None = None) -> None:
        super().__init__()
        check_handler(handler)
        self._handler = handler
        self._flush = ReadOperation(EmptyFramePicker())

    def _callbacks_for(self, type: EventType) -> list[Callback]:
        """The callables that want events of `type`, in order."""
        callbacks = resolve(self._handler, type)
        if type is EventType.DATA_ALERT:
            return [lambda event: self._alert(event, callbacks)]
        if type is EventType.READ and callbacks:
            return [lambda event: self._read(event, callbacks)]
        return callbacks

    def _inner(self) -> Iterable[Any]:
        return (self._handler,)

    def _alert(self, event: DataAlertEvent, callbacks: list[Callback]) -> None:
        if event.attempt == 1:
            event.next_is(self._flush)
            return
        for callback in callbacks:
            callback(event)

    def _read(self, event: ReadEvent, callbacks: list[Callback]) -> None:
        if event.operation is self._flush:
            return
        for callback in callbacks:
            callback(event)


class SignalEventHandler:
    """Sends every event as a blinker signal named by `event.type.value`: `send(executor, event=event)`.

    `namespace`: a `blinker.Namespace`; None: blinker's default one. TypeError for any other object;
    ImportError without blinker (`pip install "evsockets[signals]"`).
    """

    def __init__(self, namespace: Namespace | None = None) -> None:
        if namespace is None:
            try:
                from blinker.base import default_namespace
            except ImportError as error:
                raise ImportError(
                    'SignalEventHandler needs blinker: pip install "evsockets[signals]"'
                ) from error
            namespace = default_namespace
        elif not callable(getattr(namespace, "signal", None)):
            raise TypeError(f"namespace must be a blinker.Namespace or None, got {namespace!r}")
        self.namespace = namespace
        self._signals = {type: namespace.signal(type.value) for type in EventType}

    def __call__(self, event: Event) -> None:
        signal = self._signals[event.type]
        if signal.receivers:
            signal.send(event.executor, event=event)

    def _has_receivers(self, type: EventType, executor: Any) -> bool:
        """Whether the signal of `type` has receivers for `executor`."""
        return any(True for _ in self._signals[type].receivers_for(executor))
