"""Dispatch: user handlers, resolved to one callable per event type before they are needed."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from types import BuiltinMethodType, FunctionType, MappingProxyType, MethodType, NoneType
from typing import TYPE_CHECKING, Any

from ..callbacks import Callback, ResolvableHandler, by_type, check_handler, hears, normalise, resolve
from ..event_types import CALLBACKS, EventType
from ..weak import remember

if TYPE_CHECKING:
    from .loop import Loop

_METHODS = frozenset((MethodType, BuiltinMethodType))
# What equals only itself, methods by their object and function.
_ONLY_ITSELF = _METHODS | {FunctionType, partial, NoneType}
_CALLBACKS = CALLBACKS  # read by this name it costs compiled code no look-up
#: Every event type with the attribute of a `Dispatch` that is called for it.
_NAMES = tuple((type, type.name.lower()) for type in EventType)

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Several:
    """Calls several callables, one after the other."""

    __slots__ = ("callbacks",)

    def __init__(self, callbacks: list[Callback]) -> None:
        self.callbacks = callbacks

    def __call__(self, event: Any) -> None:
        for callback in self.callbacks:
            callback(event)


def _as_one(callbacks: list[Callback]) -> Callback | None:
    if len(callbacks) > 1:
        return Several(callbacks)
    return callbacks[0] if callbacks else None


class Dispatch:
    """One callable (or None: nobody listens) per event type, for all sockets added with the same handlers."""

    __slots__ = (
        "__weakref__", "_loop", "_own", "_snapshot", "accept", "connected", "data_alert",
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
        self._snapshot: dict[Any, Any] | None = None
        self._own: list[Any] = [self.on] if self.on else []  # handlers, mappings as `normalise` has them
        if callable(given):
            check_handler(given)
            self._own.append(given)
        elif given is not None:
            self._own.append(normalise(given))
            self._snapshot = dict(given)
        self._resolve()

    def each(self, callback: Callback) -> Sequence[Callback]:
        """The callables behind one of the callables here."""
        return callback.callbacks if isinstance(callback, Several) else (callback,)

    def silence(self) -> None:
        """Have no handler told any more of the event that is being told: see `inherited.leave`."""
        for _type, name in _NAMES:
            called = getattr(self, name)
            if isinstance(called, Several):
                called.callbacks.clear()

    def is_heard(self, type: EventType, executor: Any) -> bool:
        """Whether a handler deals with events of `type`; the limitation solver is none."""
        common = None if self._loop is None else self._loop.handlers
        return any(hears(handler, type, executor) for handler in (*self._own, common))

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
        for handler in (*self._own, loop and loop.handlers):
            self._follow(handler)
        for type, name in _NAMES:
            callbacks: list[Callback] = []
            for handler in self._own:
                callbacks += handler.get(type, ()) if handler.__class__ is dict else resolve(handler, type)
            for handler in common:
                callbacks += resolve(handler, type)
            if type is EventType.INITIALIZE:
                self.initialize_again = _as_one(callbacks[:])
            if callable(solver):
                callbacks += resolve(solver, type)
            setattr(self, name, _as_one(callbacks))

    def _follow(self, handler: Any) -> None:
        if isinstance(handler, ResolvableHandler):
            remember(handler._users, self)
            for inner in handler._inner():
                self._follow(inner)


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
