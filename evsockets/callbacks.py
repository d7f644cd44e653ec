"""What users give as handlers: checked, and taken apart into the callables that want an event type."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .event_types import CALLBACKS, EventType
from .validation import check_called
from .weak import living

if TYPE_CHECKING:
    from .core.dispatch import Dispatch
    from .events import Event

Callback = Callable[[Any], Any]


def check_handler(handler: Any) -> None:
    """Raise TypeError unless `handler` is None, callable, or a mapping of EventType to callables. A coroutine
    function is none: nobody would await what a call of it makes."""
    if isinstance(handler, type) and issubclass(handler, ResolvableHandler):
        raise TypeError(f"a handler must be an object of {handler!r}, not the class")
    if callable(handler):
        check_called("a handler", handler)
    elif handler is not None:
        normalise(handler)


def normalise(mapping: Mapping[EventType, Any]) -> dict[EventType, list[Callback]]:
    """A list of callables for each event type; TypeError for a key or value of another kind."""
    if not isinstance(mapping, Mapping):
        raise TypeError(
            "a handler is a callable taking every event, or, by type, a mapping of EventType to callables, "
            f"got {mapping!r}"
        )
    for key in mapping:
        if not isinstance(key, EventType):
            raise TypeError(f"handler mappings have EventType keys, such as EventType.READ; got {key!r}")
    return {key: _listed(key, value) for key, value in mapping.items()}


def _listed(type: EventType, value: Any) -> list[Callback]:
    listed = [value] if callable(value) else value
    if isinstance(listed, str | bytes) or not isinstance(listed, Iterable):
        raise TypeError(f"the handler of {type} is neither callable nor a list of callables: {value!r}")
    listed = list(listed)
    for one in listed:
        check_called(f"the handler of {type}", one)
    return listed


def by_type(on: Mapping[str, Any]) -> dict[EventType, list[Callback]]:
    """Callables for single event types, as `normalise` has them. TypeError for what is no callable; None is
    nobody."""
    mapping = {}
    for name, callback in on.items():
        if callback is not None:
            check_called(name, callback)
            mapping[CALLBACKS[name]] = [callback]
    return mapping


def handlers_of(keywords: dict[str, Any], handler: Any) -> tuple[Any, ...]:
    """What hears events, in order, where `handler` and callables for single types were given; those are taken
    out of `keywords`. TypeError for what is none."""
    check_handler(handler)
    on = by_type({name: keywords.pop(name) for name in tuple(keywords) if name in CALLBACKS})
    return tuple(one for one in (on or None, handler) if one is not None)


class ResolvableHandler:
    """A handler that says which of its callbacks want an event type, and tells who asked of changes."""

    __slots__ = ("__weakref__", "_users")

    def __init__(self) -> None:
        self._users: set[weakref.ref[Dispatch]] = set()

    def _callbacks_for(self, type: EventType) -> list[Callback]:
        """The callables that want events of `type`, in order."""
        raise NotImplementedError

    def _inner(self) -> Iterable[Any]:
        """Handlers inside this one, whose changes matter as well."""
        return ()

    def _changed(self) -> None:
        for user in living(self._users):
            user.rebuild()

    def __call__(self, event: Event) -> None:
        for callback in self._callbacks_for(event.type):
            callback(event)


def resolve(handler: Any, type: EventType) -> list[Callback]:
    """The callables of `handler` that want events of `type`, in order."""
    if handler is None:
        return []
    if isinstance(handler, ResolvableHandler):
        # A subclass with a __call__ of its own wants to see everything.
        if handler.__class__.__call__ is ResolvableHandler.__call__:
            return handler._callbacks_for(type)
        return [handler]
    if callable(handler):
        wanted = getattr(handler, "listens_to", None)
        return [handler] if wanted is None or type.name in wanted else []
    return _listed(type, handler[type]) if type in handler else []


def hears(handler: Any, type: EventType, executor: Any) -> bool:
    """Whether `handler` deals with events of `type`. What has `watches = True`, or is a method of what has,
    only looks on, and a blinker signal is heard by its receivers."""
    for one in (handler, getattr(handler, "__self__", None)):
        if getattr(one, "watches", False) is True:
            return False
    has_receivers = getattr(handler, "_has_receivers", None)
    if has_receivers is not None:
        return bool(has_receivers(type, executor))
    callbacks = resolve(handler, type)
    if len(callbacks) == 1 and callbacks[0] is handler:
        return True
    if isinstance(handler, ResolvableHandler) and (inner := list(handler._inner())):
        return any(hears(one, type, executor) for one in inner)
    return any(hears(one, type, executor) for one in callbacks)
