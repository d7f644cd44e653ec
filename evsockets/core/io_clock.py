"""The I/O clock: when a byte last moved or was acknowledged by the peer's kernel; for `io_timeout`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .deadlines import INFINITY, TurnTime
from .states import Phase

if TYPE_CHECKING:
    from .channel import Channel

# Read by these names they cost compiled code no look-up.
_CONNECTED, _NEVER = Phase.CONNECTED, INFINITY


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
    channel.io_limit = _NEVER if limit is None else limit


def look_due(channel: Channel) -> float:
    """When to look at the acknowledgements while the I/O clock runs; INFINITY: not before it moves."""
    start: Any = channel.io_start
    if type(start) is Look:
        return start.at + channel.io_limit if start.unacknowledged else _NEVER
    return start.when + channel.io_limit if channel.transport.acknowledges else _NEVER


def look(channel: Channel) -> None:
    """See whether the peer's kernel has acknowledged bytes: progress, even while our kernel's buffer takes no
    more."""
    start: Any = channel.io_start
    when, at, left = start.when, channel.loop.clock(), channel.transport.unacknowledged()
    if type(start) is not Look or left < start.unacknowledged:
        ago = 0.0  # when it was is not known; not after the look
        if channel.loop.clock is time.monotonic:  # the kernel's own
            ago = channel.transport.since_acknowledged()
        elif type(start) is not Look and not left:
            ago = _NEVER
        when = max(when, at - ago)
    if not left:
        channel.indirect = True  # it surfaces no more, until its next step has it armed again
    channel.io_start = Look(when, at, left)


def excuse(channel: Channel, began: float) -> None:
    """A handler of this very socket has run since `began`, and the I/O clock with it: that time does not
    count."""
    start = channel.io_start
    if start is None or start is channel.loop.turn_time:  # which is set when the handlers have run
        return
    excused = start if type(start) is Look else TurnTime()
    excused.when = start.when + channel.loop.clock() - began
    channel.io_start = excused
