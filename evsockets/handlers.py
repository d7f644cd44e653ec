"""User handlers, and how they are resolved to one callable per event type before they are needed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .events import DataAlertEvent, Event, EventType, ReadEvent

if TYPE_CHECKING:
    from .operations.base import Operation

Callback = Callable[[Any], Any]


def check_handler(handler: Any) -> None:
    """Raise TypeError unless `handler` is None, callable, or a mapping of EventType to callables."""
    if handler is None or callable(handler):
        return
    if not isinstance(handler, Mapping):
        raise TypeError(
            "a handler is a callable taking the event, or a mapping of EventType to callables; "
            f"got {handler!r}"
        )
    _normalise(handler)


def _normalise(mapping: Mapping[EventType, Any]) -> dict[EventType, list[Callback]]:
    if not isinstance(mapping, Mapping):
        raise TypeError(f"takes a mapping of EventType to callables, got {mapping!r}")
    result: dict[EventType, list[Callback]] = {}
    for key, value in mapping.items():
        if not isinstance(key, EventType):
            raise TypeError(f"handler mappings have EventType keys, such as EventType.READ; got {key!r}")
        listed = [value] if callable(value) else value
        if isinstance(listed, str | bytes) or not isinstance(listed, Iterable):
            raise TypeError(f"the handler of {key} is neither callable nor a list of callables: {value!r}")
        result[key] = list(listed)
        for one in result[key]:
            if not callable(one):
                raise TypeError(f"the handler of {key} is not callable: {one!r}")
    return result


class _ResolvableHandler:
    """A handler that says which of its callbacks want an event type, and tells who asked of changes."""

    __slots__ = ("__weakref__", "_users")

    def __init__(self) -> None:
        self._users: weakref.WeakSet[Dispatch] = weakref.WeakSet()

    def callbacks_for(self, type: EventType) -> list[Callback]:
        """The callables that want events of `type`, in order."""
        raise NotImplementedError

    def inner(self) -> Iterable[Any]:
        """Handlers inside this one, whose changes matter as well."""
        return ()

    def _changed(self) -> None:
        for user in list(self._users):
            user.rebuild()

    def __call__(self, event: Event) -> None:
        for callback in self.callbacks_for(event.type):
            callback(event)


class CallbackEventHandler(_ResolvableHandler):
    """Calls one or more callables per event type.

    `mapping`: EventType to a callable or a list of callables. Changes act from the next event on.
    """

    __slots__ = ("_callbacks",)

    def __init__(self, mapping: Mapping[EventType, Any] | None = None) -> None:
        super().__init__()
        self._callbacks: dict[EventType, list[Callback]] = {}
        if mapping is not None:
            self.add_handler(mapping)

    def add_handler(self, mapping: Mapping[EventType, Any]) -> None:
        """Add callables; TypeError for a key that is no EventType or a value that is not callable."""
        for type, callbacks in _normalise(mapping).items():
            self._callbacks.setdefault(type, []).extend(callbacks)
        self._changed()

    def remove_handler(self, mapping: Mapping[EventType, Any]) -> None:
        """Remove callables; unknown ones are ignored."""
        for type, callbacks in _normalise(mapping).items():
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

    def callbacks_for(self, type: EventType) -> list[Callback]:
        """The callables that want events of `type`, in order."""
        return list(self._callbacks.get(type, ()))


class EventMultiHandler(_ResolvableHandler):
    """Calls several handlers in the order added, each object once."""

    __slots__ = ("_handlers",)

    def __init__(self, handlers: Iterable[Any] = ()) -> None:
        super().__init__()
        self._handlers: list[Any] = []
        for handler in handlers:
            self.add_handler(handler)

    def add_handler(self, handler: Any) -> None:
        """Add a callable or a mapping; an object that is in already is not added again."""
        if handler is None:
            raise TypeError("a handler is a callable or a mapping of EventType to callables; got None")
        check_handler(handler)
        if not any(handler is one for one in self._handlers):
            self._handlers.append(handler)
            self._changed()

    def remove_handler(self, handler: Any) -> None:
        """Remove a handler; an unknown one is ignored."""
        self._handlers = [one for one in self._handlers if one is not handler]
        self._changed()

    def callbacks_for(self, type: EventType) -> list[Callback]:
        """The callables that want events of `type`, in order."""
        return [callback for handler in self._handlers for callback in resolve(handler, type)]

    def inner(self) -> Iterable[Any]:
        return self._handlers


class RemoveFinishedSocketsEventHandler(_ResolvableHandler):
    """Takes a socket out of the bag at its FINALIZE, after the inner handler has seen it."""

    __slots__ = ("_handler",)

    def __init__(self, handler: Any = None) -> None:
        super().__init__()
        check_handler(handler)
        self._handler = handler

    def callbacks_for(self, type: EventType) -> list[Callback]:
        """The callables that want events of `type`, in order."""
        callbacks = resolve(self._handler, type)
        return [*callbacks, self._remove] if type is EventType.FINALIZE else callbacks

    def inner(self) -> Iterable[Any]:
        return (self._handler,)

    @staticmethod
    def _remove(event: Event) -> None:
        bag = event.executor.socket_bag
        if bag.has_socket(event.socket) and bag.get_metadata(event.socket) is event.metadata:  # no new life
            bag.remove_socket(event.socket)


class TlsDataFlushEventHandler(_ResolvableHandler):
    """Answers the first DATA_ALERT of an idle connection with an empty read, so that only data which is
    really there reaches the inner handler."""

    __slots__ = ("_flush", "_handler")

    def __init__(self, handler: Any = None) -> None:
        super().__init__()
        check_handler(handler)
        self._handler = handler
        self._flush: Operation = _flush_operation()

    def callbacks_for(self, type: EventType) -> list[Callback]:
        """The callables that want events of `type`, in order."""
        callbacks = resolve(self._handler, type)
        if type is EventType.DATA_ALERT:
            return [lambda event: self._alert(event, callbacks)]
        if type is EventType.READ and callbacks:
            return [lambda event: self._read(event, callbacks)]
        return callbacks

    def inner(self) -> Iterable[Any]:
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


def _flush_operation() -> Operation:
    from .frames.empty import EmptyFramePicker
    from .operations.read import ReadOperation

    return ReadOperation(EmptyFramePicker())


class SignalEventHandler:
    """Sends every event as a blinker signal named by `event.type.value`: `send(executor, event=event)`.

    `namespace`: a `blinker.Namespace`; None: blinker's default one. ImportError without blinker
    (`pip install "evsockets[signals]"`).
    """

    def __init__(self, namespace: Any = None) -> None:
        if namespace is None:
            try:
                from blinker.base import default_namespace
            except ImportError as error:
                raise ImportError(
                    'SignalEventHandler needs blinker: pip install "evsockets[signals]"'
                ) from error
            namespace = default_namespace
        self.namespace = namespace
        self._signals = {type: namespace.signal(type.value) for type in EventType}

    def __call__(self, event: Event) -> None:
        signal = self._signals[event.type]
        if signal.receivers:
            signal.send(event.executor, event=event)


def resolve(handler: Any, type: EventType) -> list[Callback]:
    """The callables of `handler` that want events of `type`, in order."""
    if handler is None:
        return []
    if isinstance(handler, _ResolvableHandler):
        # A subclass with a __call__ of its own wants to see everything.
        if handler.__class__.__call__ is _ResolvableHandler.__call__:
            return handler.callbacks_for(type)
        return [handler]
    if callable(handler):
        wanted = getattr(handler, "listens_to", None)
        return [handler] if wanted is None or type.name in wanted else []
    return _normalise(handler).get(type, [])


def _combine(callbacks: list[Callback]) -> Callback | None:
    if not callbacks:
        return None
    if len(callbacks) == 1:
        return callbacks[0]
    if len(callbacks) == 2:
        first, second = callbacks

        def call_both(event: Any) -> None:
            first(event)
            second(event)

        return call_both
    every = tuple(callbacks)

    def call_all(event: Any) -> None:
        for callback in every:
            callback(event)

    return call_all


class Dispatch:
    """One callable (or None: nobody listens) per event type, for all sockets added with one handler."""

    __slots__ = (
        "__weakref__", "_oob_wanted", "_resolver", "_snapshot", "accept", "connected", "data_alert",
        "disconnected", "exception", "finalize", "given", "handler", "initialize", "initialize_again", "oob",
        "read", "timeout", "write",
    )  # fmt: skip

    def __init__(
        self,
        handler: Any,
        common: Callable[[], tuple[list[Any], Any]],
        oob_wanted: Callable[[Dispatch], None],
    ) -> None:
        """`common()` gives the global handlers and the limitation solver; `oob_wanted` is told when a
        change brings the first handler of out-of-band data."""
        self.given = handler
        self.handler = handler if callable(handler) or handler is None else CallbackEventHandler(handler)
        self._snapshot = dict(handler) if isinstance(handler, Mapping) else None
        self._resolver = common
        self._oob_wanted = oob_wanted
        self._resolve()

    def is_current(self) -> bool:
        """Whether the mapping given, if it was one, still says the same."""
        return self._snapshot is None or self._snapshot == self.given

    def rebuild(self) -> None:
        """Resolve anew, after a handler changed."""
        without_oob = self.oob is None
        self._resolve()
        if without_oob and self.oob is not None:
            self._oob_wanted(self)

    def _resolve(self) -> None:
        handlers, solver = self._resolver()
        handlers = [self.handler, *handlers]
        for handler in handlers:
            self._follow(handler)
        for type in EventType:
            callbacks = [callback for handler in handlers for callback in resolve(handler, type)]
            if type is EventType.INITIALIZE:
                self.initialize_again: Callback | None = _combine(callbacks)
            if callable(solver):
                callbacks += resolve(solver, type)
            setattr(self, type.name.lower(), _combine(callbacks))

    def _follow(self, handler: Any) -> None:
        if isinstance(handler, _ResolvableHandler):
            handler._users.add(self)
            for inner in handler.inner():
                self._follow(inner)

    if TYPE_CHECKING:
        initialize: Callback | None
        connected: Callback | None
        accept: Callback | None
        read: Callback | None
        write: Callback | None
        oob: Callback | None
        data_alert: Callback | None
        disconnected: Callback | None
        finalize: Callback | None
        timeout: Callback | None
        exception: Callback | None
