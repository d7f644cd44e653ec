"""The kinds of event, and of time-out."""

from __future__ import annotations

import enum


class EventType(enum.Enum):
    """Every kind of event; the values serve as names in other event systems."""

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
    """Which time-out has passed."""

    CONNECTION = "connection"
    IO = "io"
    IDLE = "idle"
    REQUEST = "request"
    SCOPE = "scope"  # of a conversation's `timeout()`: raised there, never told as an event

    __hash__ = object.__hash__


CALLBACKS = {f"on_{type.name.lower()}": type for type in EventType}
"""The event type of each keyword that takes a callable for one."""
