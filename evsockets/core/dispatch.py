"""Dispatch: user handlers, resolved to one callable per event type before they are needed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import BuiltinMethodType, FunctionType, MappingProxyType, MethodType, NoneType
from typing import TYPE_CHECKING, Any

from ..event_types import CALLBACKS, EventType
from ..validation import check_called
from ..weak import living, remember

if TYPE_CHECKING:
    from ..events import Event
    from .loop import Loop

_METHODS = frozenset((MethodType, BuiltinMethodType))
# What equals only itself, methods by their object and function.
_ONLY_ITSELF = _METHODS | {FunctionType, partial, NoneType}
_CALLBACKS = CALLBACKS  # read by this name it costs compiled code no look-up
#: Every event type with the attribute of a `Dispatch` that is called for it.
_NAMES = tuple((type, type.name.lower()) for type in EventType)

Callback = Callable[[Any], Any]
NOTHING: Mapping[str, Any] = MappingProxyType({})


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


def take_callbacks(keywords: dict[str, Any]) -> dict[str, Any]:
    """Take the callables for single event types out of `keywords`."""
    return {name: keywords.pop(name) for name in tuple(keywords) if name in CALLBACKS}


def by_type(on: Mapping[str, Any]) -> dict[EventType, list[Callback]]:
    """Callables for single event types, as `normalise` has them. TypeError for what is no callable; None is
    nobody."""
    mapping = {}
    for name, callback in on.items():
        if callback is not None:
            check_called(name, callback)
            mapping[CALLBACKS[name]] = [callback]
    return mapping


def handlers_of(keywords: dict[str, Any], handler: Any) -> list[Any]:
    """What hears events, in order, where `handler` and callables for single types were given; those are taken
    out of `keywords`."""
    on = by_type(take_callbacks(keywords))
    return [one for one in (on or None, handler) if one is not None]


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


def _combine(callbacks: list[Callback], combined: dict[int, list[Callback]]) -> Callback | None:
    if not callbacks:
        return None
    if len(callbacks) == 1:
        return callbacks[0]
    every = list(callbacks)

    def call_both(event: Any) -> None:
        every[0](event)
        every[1](event)

    def call_all(event: Any) -> None:
        for callback in every:
            callback(event)

    call = call_both if len(every) == 2 else call_all
    combined[id(call)] = every
    return call


class Dispatch:
    """One callable (or None: nobody listens) per event type, for all sockets added with the same handlers."""

    __slots__ = (
        "__weakref__", "_combined", "_loop", "_own", "_snapshot", "accept", "connected", "data_alert",
        "disconnected", "exception", "finalize", "given", "initialize", "initialize_again", "on", "oob",
        "read", "timeout", "write",
    )  # fmt: skip

    accept: Callback | None
    connected: Callback | None
    data_alert: Callback | None
    disconnected: Callback | None
    exception: Callback | None
    finalize: Callback | None
    initialize: Callback | None
    initialize_again: Callback | None  # of another attempt: the limitation solver sees one a life
    oob: Callback | None
    read: Callback | None
    timeout: Callback | None
    write: Callback | None

    def __init__(self, given: Any, loop: Loop | None, on: Mapping[str, Any] = NOTHING) -> None:
        self.given, self.on = given, by_type(on)  # held for as long as their identities are a key
        self._loop = loop
        self._snapshot = None if given is None or callable(given) else dict(given)
        self._own: list[Any] = []  # handlers, mappings as `normalise` has them
        if self.on:
            self._own.append(self.on)
        if given is not None:
            if self._snapshot is None:
                check_handler(given)
            self._own.append(given if self._snapshot is None else normalise(given))
        self._resolve()

    def each(self, callback: Callback) -> Sequence[Callback]:
        """The callables behind one of the callables here."""
        return self._combined.get(id(callback)) or (callback,)

    def silence(self) -> None:
        """Have no handler told any more of the event that is being told: see `forked.leave`."""
        for callbacks in self._combined.values():
            callbacks[:] = [_nothing] * len(callbacks)

    def is_heard(self, type: EventType, executor: Any) -> bool:
        """Whether a handler deals with events of `type`; the limitation solver is none."""
        common = None if self._loop is None else self._loop.handlers
        return any(hears(handler, type, executor) for handler in (*self._own, common))

    def handler_of(self, type: EventType) -> Callback | None:
        """Who listens to events of `type`."""
        return getattr(self, type.name.lower())  # type: ignore[no-any-return]

    def rebuild(self) -> None:
        """Resolve anew, after a handler changed. Who listens to out-of-band data from now on gets it."""
        without_oob = self.oob is None
        self._resolve()
        if without_oob and self.oob is not None and self._loop is not None:
            # Not before: it leads back to here, and compiled, this module would not be whole.
            from . import out_of_band

            for channel in self._loop.running():
                if channel.dispatch is self and channel.connected:
                    out_of_band.want(channel)

    def _resolve(self) -> None:
        loop = self._loop
        common, solver = ([], None) if loop is None else (list(loop.handlers._inner()), loop.solver)
        self._combined: dict[int, list[Callback]] = {}  # by the id of what calls them
        for handler in (*self._own, loop and loop.handlers):
            self._follow(handler)
        for type, name in _NAMES:
            callbacks: list[Callback] = []
            for handler in self._own:
                callbacks += handler.get(type, ()) if handler.__class__ is dict else resolve(handler, type)
            for handler in common:
                callbacks += resolve(handler, type)
            if type is EventType.INITIALIZE:
                self.initialize_again = _combine(callbacks, self._combined)
            if callable(solver):
                callbacks += resolve(solver, type)
            setattr(self, name, _combine(callbacks, self._combined))

    def _follow(self, handler: Any) -> None:
        if isinstance(handler, ResolvableHandler):
            remember(handler._users, self)
            for inner in handler._inner():
                self._follow(inner)


def _nothing(event: Any) -> None:
    pass


def of(handler: Any, loop: Loop, keywords: dict[str, Any]) -> Dispatch:
    """The one of the sockets that are added to `loop` with `handler` and the callables for single event types
    among `keywords`, which are taken out of there."""
    key: Any = handler if type(handler) in _METHODS else id(handler)
    on: Mapping[str, Any] = NOTHING
    if keywords:
        names = [name for name in keywords if name in _CALLBACKS]
        if names:
            on = {}
            parts = [key]
            for name in names:
                callback = on[name] = keywords.pop(name)
                parts.append(name)
                parts.append(callback if type(callback) in _ONLY_ITSELF else id(callback))
            key = tuple(parts)
    known = loop.dispatches.get(key)
    dispatch: Dispatch | None = None if known is None else known()
    if dispatch is None or (dispatch._snapshot is not None and dispatch._snapshot != handler):
        dispatch = Dispatch(handler, loop, on)
        # As in `weak`, nothing written in Python runs when it goes.
        loop.dispatches[key] = weakref.ref(dispatch, partial(loop.dispatches.pop, key))
        loop.recent_dispatches.append(dispatch)
    return dispatch


DEAF = Dispatch(None, None)
"""Of sockets that nothing more is told of."""
