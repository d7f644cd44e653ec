"""Time-outs: what can be late on a channel, which comes first, and what is done when it has passed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import SocketTimeoutError
from ..event_types import TimeoutStage
from ..events import TimeoutEvent
from . import closing, interest, io_clock, start, telling, unheard
from .deadlines import INFINITY
from .failure import socket_error
from .raised import drop_frames
from .states import Phase

if TYPE_CHECKING:
    from ..typing import TimeoutPhase
    from .channel import Channel
    from .loop import Loop

# Read by these names they cost compiled code no look-up.
_OPENING, _NEVER = Phase.OPENING, INFINITY
_CONNECTION, _IDLE = TimeoutStage.CONNECTION, TimeoutStage.IDLE
_IO, _REQUEST, _SCOPE = TimeoutStage.IO, TimeoutStage.REQUEST, TimeoutStage.SCOPE

# Seconds for which what the engine told is taken for what is so.
_FRESH = 0.001


def _timed_out(stage: TimeoutStage, channel: Channel, now: float) -> None:
    """TIMEOUT; then another attempt, a clock started anew, or the end."""
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


def _io_late(channel: Channel, now: float) -> None:
    """The same, but a task is told by an error that it may catch."""
    if channel.task is None:
        return _timed_out(TimeoutStage.IO, channel, now)
    phase, limit = channel.phase_name(), channel.metadata.io_timeout
    error = late(channel, TimeoutStage.IO, f"no byte moved for {limit:g} s", phase)
    error._is_told_as_timeout = True
    raise error


def late(channel: Channel, when: TimeoutStage, why: str, phase: TimeoutPhase) -> SocketTimeoutError:
    """A time-out as an error, of a task."""
    error = socket_error(SocketTimeoutError, channel, why, phase, when=when)
    error.phase = phase
    return error


def uncaught(channel: Channel, error: SocketTimeoutError) -> None:
    """The task has let it pass: TIMEOUT, and the end."""
    unheard.timeout(channel, TimeoutStage.IO, error.phase)
    handler = channel.dispatch.timeout
    try:
        if handler is not None:
            assert error.phase  # `_io_late` has made it
            telling.tell_beside(channel, handler, TimeoutEvent(channel, TimeoutStage.IO, error.phase))
    finally:
        drop_frames(error)


def _task_due(channel: Channel, now: float) -> None:
    """Something of its task's own has come: see `Stepper._due`."""
    assert channel.task is not None
    channel.task._expire(channel, now)


_ACTS: dict[TimeoutStage, Callable[[Channel, float], None]] = {
    **{stage: partial(_timed_out, stage) for stage in TimeoutStage},
    TimeoutStage.IO: _io_late,
    TimeoutStage.SCOPE: _task_due,
}


def _stepper_due(channel: Channel, now: float) -> None:
    """The stepper's own time has come: see `Stepper._due`."""
    stepper = channel.stepper
    assert stepper is not None
    channel.go_on(stepper._expire(channel, now))


def _retry(channel: Channel, now: float) -> None:
    """A datagram server's answer is sent again, in the next turn."""
    channel.transport.retry_at = INFINITY
    channel.step_next_turn()


def first_passing(channel: Channel) -> tuple[float, TimeoutStage, bool]:
    """When the first time-out passes if nothing happens, infinity for none; which that is; and whether
    the I/O clock runs."""
    settings, stepper, start = channel.metadata._settings, channel.stepper, channel.io_start
    first, stage, limit, other, timed = _NEVER, _REQUEST, None, _IO, False
    if settings.request_timeout is not None and channel.request_start is not None:
        within: float = settings.request_timeout
        first = channel.request_start.when + within
    if channel.phase is _OPENING:
        limit, other, start = settings.connection_timeout, _CONNECTION, channel.opened_at
    elif timed := io_clock.is_timed(channel):
        limit = settings.io_timeout
    elif stepper is not None and stepper._phase == "idle":
        limit, other = settings.idle_timeout, _IDLE
    if limit is not None and start is not None:
        within = limit
        if start.when + within < first:
            first, stage = start.when + within, other
    if channel.task is not None and stepper is not None:
        due = channel.task._due(channel)
        if due is not None and due < first:
            first, stage = due, _SCOPE
    return first, stage, timed


def earliest(channel: Channel) -> tuple[float, Callable[[Channel, float], None]]:
    """When the first thing can become late, infinity if nothing can, and what is to be done about it then."""
    stepper = channel.stepper
    first, stage, timed = first_passing(channel)
    act = _ACTS[stage]
    if timed:
        if (when := io_clock.look_due(channel)) < first:
            first, act = when, _io_late  # if the look finds no progress
        for speed in channel.speeds:
            if (when := speed.due(channel)) < first:
                first, act = when, speed.judge
    if stepper is not None:
        due = stepper._due(channel)
        if due is not None and due < first:
            first, act = due, _stepper_due
        transport = channel.transport
        if channel.outbox is not None and transport.shared and transport.retry_at < first:
            first, act = transport.retry_at, _retry
    return first, act


def arm(channel: Channel) -> None:
    """Have the channel surface when it could first be late."""
    if not channel.complete:
        channel.loop.deadlines.arm(channel, earliest(channel)[0])


def all_ready(loop: Loop, batch: list[tuple[Any, int]]) -> list[tuple[Any, int]]:
    """`batch` and whoever did not fit into it: after a long stall many are ready, and an engine tells a
    bounded number at a time. What has arrived is looked at before a time-out is declared."""
    known = {id(token) for token, _ in batch}
    try:
        while more := [pair for pair in loop.engine.poll(0.0) if id(pair[0]) not in known]:
            batch = [*batch, *more]
            known.update(id(token) for token, _ in more)
    except Exception as error:
        loop.poll_failed(error)
    return batch


def expire(loop: Loop, now: float) -> None:
    """Act on what was late at `now`, when the engine was asked.

    Where handlers have taken time since, the engine is asked again before, and after a slow TIMEOUT
    handler or timer the rest waits for the next turn: what has arrived meanwhile is looked at first.
    """
    arrived: dict[Any, list[tuple[Any, int]]] = {}
    asked: float | None = None
    fresh = True
    while fresh and loop.deadlines.lift(now):
        if asked is None:
            loop.current = None
            if loop.clock() - now > _FRESH:
                for token, mask in all_ready(loop, []):
                    arrived.setdefault(token.channel, []).append((token, mask))
            asked = loop.clock()
        else:
            first = loop.deadlines.first()
            first._late(arrived.pop(first, ()), now)
            fresh = loop.clock() - asked <= _FRESH
        # With gevent another greenlet may have asked for it while the engine was asked.
        if loop.interrupt and loop.end_cancelled():
            return
    if asked is not None:
        loop.update_time()


def surfaced(channel: Channel, arrived: Iterable[tuple[Any, int]], now: float) -> None:
    """Act on what is late, if what has arrived is no progress."""
    for token, mask in arrived:
        if token.stepper is not None:
            interest.step(token, mask)
        if channel.loop.interrupt:
            return
    io_clock.look(channel, now)
    when, act = earliest(channel)
    # Late again at once, while the clock stands still: in the next turn.
    again = math.nextafter(now, INFINITY)
    try:
        if when <= now and not channel.complete:
            act(channel, now)
            if not channel.complete:
                again = max(earliest(channel)[0], again)
    finally:
        if not channel.complete:
            channel.loop.deadlines.disarm(channel)
            channel.loop.deadlines.arm(channel, again)
