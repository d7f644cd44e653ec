"""A socket's start: INITIALIZE, whatever opens its connection (opening/), CONNECTED, the first operation.

As in closing.py, an event is marked as told in the very line that tells it: a signal handler may raise
anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..address import address_of
from ..event_types import EventType
from ..events import IoEvent
from . import closing, interest, io_clock, out_of_band, speed, timeouts
from .deadlines import INFINITY
from .operation import UNTOLD, Stepper
from .states import Phase

if TYPE_CHECKING:
    from .channel import Channel

# Read by these names they cost compiled code no look-up.
_OPENING, _CONNECTED, _NEVER = Phase.OPENING, Phase.CONNECTED, INFINITY


def open(channel: Channel, again: bool = False) -> None:
    """INITIALIZE, and on towards CONNECTED; `again`: another attempt within the same life."""
    loop = channel.loop
    channel.opened_at = None
    channel.steps = ()
    handler = channel.dispatch.initialize_again if again else channel.dispatch.initialize
    if handler is None:
        channel.phase = _OPENING
    else:
        event = _first_event(channel, EventType.INITIALIZE)
        # In one line: who got INITIALIZE gets FINALIZE, wherever a signal handler raises.
        for callback in channel.dispatch.each(handler):
            channel.phase = _OPENING; callback(event)  # fmt: skip # noqa: E702
        _take_named(channel)
        if channel.cancelled or loop.stopping:
            return
    channel.opened_at = loop.turn_time
    if channel.request_start is None:
        channel.request_start = loop.turn_time
    loop.begin(channel)
    if channel._armed == _NEVER:
        timeouts.arm(channel)


def open_by(channel: Channel, opener: Stepper | None) -> None:
    """Go on opening by `opener` and what it leads to, until one waits; None: the transport is usable."""
    while opener is not None:
        if channel.cancelled or channel.loop.stopping:
            return
        channel.stepper = opener
        following = opener.start(channel)
        if following is opener:
            interest.update(channel)
            return
        opener = following
    opened(channel)


def opened(channel: Channel, reused: bool = False) -> None:
    """The connection is there: CONNECTED (unless an earlier life left it open), then the first operation."""
    if channel.cancelled or channel.loop.stopping:
        return
    channel.move(_CONNECTED)
    channel.stepper = None
    if channel.remote is None and not channel.socket.is_server:
        channel.remote = address_of(channel.transport, "getpeername")
    channel.inbox.remote_address = channel.remote
    channel.io_start = None
    io_clock.limit_io(channel)
    if channel.metadata._settings.minima:
        speed.start(channel)
    if channel.dispatch.oob is not None:
        out_of_band.want(channel)
    handler = None if reused else channel.dispatch.connected
    channel.mark_active()
    if handler is None:
        channel.connected_at = channel.loop.time.read()
    else:
        now = channel.loop.time.read()
        event = _first_event(channel, EventType.CONNECTED)
        # In one line: who got CONNECTED gets DISCONNECTED, wherever a signal handler raises.
        for callback in channel.dispatch.each(handler):
            channel.connected_at = now; callback(event)  # fmt: skip # noqa: E702
        _take_named(channel)
    channel.start_next(channel.operation)


def _first_event(channel: Channel, type: EventType) -> IoEvent:
    """INITIALIZE or CONNECTED, whose handlers may name another first operation."""
    channel.mark_active()
    event = IoEvent(type, channel)
    channel.next = channel.operation
    return event


def _take_named(channel: Channel) -> None:
    named, channel.next = channel.next, UNTOLD
    if named is not channel.operation and channel.socket.is_server:
        raise TypeError(f"a server's operation is its accepting; {named!r} cannot take its place")
    channel.operation = named


def restart(channel: Channel) -> None:
    """Close this attempt and begin again at INITIALIZE."""
    closing.close_transport(channel, orderly=False)
    channel.local = None
    open(channel, again=True)
