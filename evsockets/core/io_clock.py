"""The I/O clock: when a byte last moved or was acknowledged by the peer's kernel; for `io_timeout`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .deadlines import INFINITY, TurnTime
from .states import Phase

if TYPE_CHECKING:
    from .channel import Channel

# Read by these names they cost compiled code no look-up.
_CONNECTED = Phase.CONNECTED


class Look(TurnTime):
    """The time of the last progress, and what a look at `at` found: how many bytes the peer's kernel had yet
    to acknowledge. It stands where a TurnTime does until another byte is moved."""

    __slots__ = ("at", "unacknowledged")

    def __init__(self, when: float, at: float, unacknowledged: int) -> None:
        self.when = when
        self.at = at
        self.unacknowledged = unacknowledged


def limit_io(channel: Channel) -> None:
    """Note within what time the channel is to surface after progress."""
    settings = channel.metadata._settings
    looks = channel.phase is _CONNECTED and channel.transport.acknowledges
    limit = settings.look_interval if looks else settings.io_timeout
    channel.io_limit = INFINITY if limit is None else limit


def is_timed(channel: Channel) -> bool:
    """Whether the I/O clock runs: the stepper moves bytes, or posted ones wait for the kernel."""
    stepper, box = channel.stepper, channel.outbox
    return stepper is not None and (stepper._timed or (box is not None and bool(box.posted)))


def look_due(channel: Channel) -> float:
    """When the acknowledgements are to be looked at next while the I/O clock runs; infinity: never."""
    interval, start = channel.metadata._settings.look_interval, channel.io_start
    if interval is None or start is None:
        return INFINITY
    if type(start) is Look:
        return start.at + interval if start.unacknowledged else INFINITY
    looks = channel.phase is _CONNECTED and channel.transport.acknowledges
    return start.when + interval if looks else INFINITY


def look(channel: Channel, now: float, early: bool = False) -> None:
    """If that is due (or `early`), see whether the peer's kernel has acknowledged bytes: progress, even while
    our kernel's buffer takes no more. When it was is not known; not after `now`."""
    start, due = channel.io_start, look_due(channel)
    if start is None or due == INFINITY or (due > now and not early) or not is_timed(channel):
        return
    when = start.when
    unacknowledged = channel.transport.unacknowledged()
    if type(start) is not Look or unacknowledged < start.unacknowledged:
        if channel.loop.clock is time.monotonic:
            ago = channel.transport.since_acknowledged()
        else:  # which is not the kernel's
            ago = 0.0 if type(start) is Look or unacknowledged else INFINITY
        when = max(when, now - ago)
    if not unacknowledged:
        channel.indirect = True  # it surfaces no more, until its next step has it armed again
    channel.io_start = Look(when, now, unacknowledged)


def excuse(channel: Channel, began: float) -> None:
    """A handler of this very socket has run since `began`, and the I/O clock with it: that time does not
    count."""
    start = channel.io_start
    if start is None or start is channel.loop.turn_time:  # which is set when the handlers have run
        return
    excused = start if type(start) is Look else TurnTime()
    excused.when = start.when + channel.loop.clock() - began
    channel.io_start = excused
