"""A channel's time: what can be late on it, when that is, and that it surfaces then.

What is late has `_expire(channel)`: a time-out is told, a conversation's scope and a minimum speed raise, a
stepper that waits for a time takes a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..errors import SocketTimeoutError
from ..event_types import TimeoutStage
from ..events import TimeoutEvent
from . import closing, interest, io_clock, start, telling, unheard
from .deadlines import AT_ONCE, INFINITY
from .failure import socket_error
from .raised import drop_frames
from .states import Phase

if TYPE_CHECKING:
    from ..typing import TimeoutPhase
    from .channel import Channel


class Timeout:
    """One of a socket's time-outs."""

    __slots__ = ("stage",)

    def __init__(self, stage: TimeoutStage) -> None:
        self.stage = stage

    def _expire(self, channel: Channel) -> None:
        """TIMEOUT; then another attempt, a clock started anew, or the end. A task is told of IO by an error
        that it may catch."""
        stage = self.stage
        if stage is TimeoutStage.IO and channel.task is not None:
            phase, limit = channel.phase_name(), channel.metadata.io_timeout
            error = late(channel, stage, f"no byte moved for {limit:g} s", phase)
            error._is_told_as_timeout = True
            raise error
        one_more, named = False, None
        doing = channel.doing()
        unheard.timeout(channel, stage, doing)
        handler = channel.dispatch.timeout
        if handler is not None:
            event = TimeoutEvent(channel, stage, channel.phase_name(), doing)
            named = telling.tell_beside(channel, handler, event)
            one_more = event._one_more
        if channel.cancelled or channel.loop.stopping:
            return
        if not one_more:
            closing.end(channel, orderly=False)
        elif stage is TimeoutStage.CONNECTION:
            if named is not None:
                channel.operation = named
            start.restart(channel)
        else:
            if stage is TimeoutStage.REQUEST:
                channel.request_start = channel.loop.turn_time
            else:
                channel.io_start = channel.loop.turn_time
            if named is not None:
                assert channel.stepper is not None
                channel.stepper._named_beside(channel, named)


# Read by these names they cost compiled code no look-up.
_OPENING, _CONNECTED, _NEVER, _AT_ONCE = Phase.OPENING, Phase.CONNECTED, INFINITY, AT_ONCE
_CONNECTION, _IO = Timeout(TimeoutStage.CONNECTION), Timeout(TimeoutStage.IO)
_IDLE, _REQUEST = Timeout(TimeoutStage.IDLE), Timeout(TimeoutStage.REQUEST)


def late(channel: Channel, when: TimeoutStage, why: str, phase: TimeoutPhase) -> SocketTimeoutError:
    """A time-out as an error, of a task."""
    error = socket_error(SocketTimeoutError, channel, why, phase, when=when)
    error.phase = phase
    return error


def uncaught(channel: Channel, error: SocketTimeoutError) -> None:
    """A conversation has let it pass: TIMEOUT, and the end."""
    unheard.timeout(channel, TimeoutStage.IO, error.phase)
    handler = channel.dispatch.timeout
    try:
        if handler is not None:
            assert error.phase  # where it was made
            telling.tell_beside(channel, handler, TimeoutEvent(channel, TimeoutStage.IO, error.phase))
    finally:
        drop_frames(error)


def first_passing(channel: Channel) -> tuple[float, Any]:
    """When the first time-out, or a task's, passes if nothing happens (INFINITY: none does), and which."""
    settings, phase = channel.metadata._settings, channel.phase
    stepper = channel.stepper
    which: Any = _REQUEST
    first, limit, other, start = _NEVER, None, _IO, channel.request_start
    if phase is not _OPENING and phase is not _CONNECTED:
        return first, which
    if settings.request_timeout is not None and start is not None:
        within: float = settings.request_timeout
        first = start.when + within
    start = channel.io_start
    if phase is _OPENING:
        limit, other, start = settings.connection_timeout, _CONNECTION, channel.opened_at
    elif stepper is not None:
        if stepper._timed or channel.outbox is not None:  # posted bytes, which wait for the kernel
            limit = settings.io_timeout
        elif stepper._phase == "idle":
            limit, other = settings.idle_timeout, _IDLE
    if limit is not None and start is not None:
        within = limit
        if start.when + within < first:
            first, which = start.when + within, other
    if channel.task is not None and stepper is not None:
        due: float = channel.task._due(channel)
        if due < first:
            first, which = due, channel.task
    return first, which


def earliest(channel: Channel, now: float) -> tuple[float, Any]:
    """When the first of all that can be late is, and what; or when to look at the acknowledgements. A look
    that is due by `now` is taken."""
    first, which = first_passing(channel)
    if which is _IO:
        when = io_clock.look_due(channel)
        if when <= now:
            io_clock.look(channel)
            return earliest(channel, _AT_ONCE)
        if when < first:
            first = when
    stepper, box = channel.stepper, channel.outbox
    if stepper is not None:
        for speed in channel.speeds:
            when = speed.surfaces_at(channel)
            if when < first:
                first, which = when, speed
        when = stepper._due(channel)
        if box is not None and box.retry_at < when:
            when = box.retry_at
        if when < first:
            first, which = when, stepper
    return first, which


def arm(channel: Channel) -> None:
    """Have the channel surface then."""
    channel.loop.deadlines.arm(channel, earliest(channel, _AT_ONCE)[0])


def surfaced(channel: Channel, arrived: Iterable[tuple[Any, int]], now: float) -> None:
    """Act on what is late, if what has arrived is no progress."""
    for token, mask in arrived:
        if token.stepper is not None:
            interest.step(token, mask)
        if channel.loop.interrupt:
            return
    when, which = earliest(channel, now)
    try:
        if when <= now:
            which._expire(channel)
    finally:
        # Late again at once, while the clock stands still: in the next turn.
        again = max(earliest(channel, _AT_ONCE)[0], math.nextafter(now, INFINITY))
        channel.loop.deadlines.put(channel, again)
