"""The types of events, and of time-outs."""

from __future__ import annotations

import enum


class EventType(enum.Enum):
    """The types of events; a value is the name of its signal (see SignalEventHandler)."""

    INITIALIZE = "socket.event.initialize"
    CONNECTED = "socket.event.connected"
    ACCEPT = "socket.event.accept"
    READ = "socket.event.read"
    OOB = "socket.event.oob"
    WRITE = "socket.event.write"
    DATA_ALERT = "socket.event.data_alert"
    DISCONNECTED = "socket.event.disconnected"
    FINALIZE = "socket.event.finalize"
    TIMEOUT = "socket.event.timeout"
    EXCEPTION = "socket.event.exception"

    # Members are singletons: the identity hash saves a Python call in every look-up.
    __hash__ = object.__hash__


class TimeoutStage(enum.Enum):
    """The kinds of time-outs: `TimeoutEvent.when`."""

    CONNECTION = "connection"
    IO = "io"
    IDLE = "idle"
    REQUEST = "request"
    SCOPE = "scope"  # of a conversation's `timeout()`: raised there, never told as an event

    __hash__ = object.__hash__


CALLBACKS = {f"on_{type.name.lower()}": type for type in EventType}
"""The event type of each keyword that takes a callable for one."""
