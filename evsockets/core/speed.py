"""Transfer speeds, measured while an operation waits for bytes and compared with the minimum."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ..engines.base import READ, WRITE
from ..errors import SlowTransferError
from ..settings import LOOKS
from .deadlines import INFINITY, TurnTime
from .failure import socket_error

if TYPE_CHECKING:
    from .channel import Channel

_LIVE_SPEED_SECONDS = 5.0

_MARKS = 64
"""Bytes moved within this fraction of the window count as moved together: memory stays bounded."""

_SLACK = 1e-6
"""Seconds; above the rounding of any clock's floats, so that a due time, once reached, is reached."""


class Meter:
    """How many bytes moved in the last `window` seconds of pending time, by the larger of its counts.

    Time counts only while it runs, and so do bytes. The `total` of a count always runs; `now` is a monotonic
    clock in seconds, which may not go back.
    """

    __slots__ = ("_elapsed", "_since", "_totals", "_until", "_windows", "window")

    def __init__(self, window: float, counts: int = 1) -> None:
        self.window = window
        self._since: TurnTime | None = None  # when it began to run
        self._until: TurnTime | None = None  # when it stopped; None: it runs
        self._elapsed = 0.0  # pending time before `_since`
        self._totals = [0] * counts
        # (pending time, counted bytes by then); the first is the last one known from before the window.
        self._windows = [deque([(-_SLACK, 0)]) for _ in range(counts)]

    @property
    def runs(self) -> bool:
        """Whether an operation waits for this direction."""
        return self._since is not None and self._until is None

    def run(self, pending: bool, when: TurnTime) -> None:
        """From `when` on an operation waits for this direction, or none does."""
        if pending == self.runs:
            return
        if not pending:
            self._until = when
            return
        if self._until is not when:  # else it goes on in the phase of the turn in which it stopped
            self._elapsed, self._since = self._time(0.0), when
        self._until = None

    def sample(self, total: int, now: float, count: int = 0) -> None:
        """Bytes may have moved."""
        moved = total - self._totals[count]
        if moved <= 0:
            return
        self._totals[count] = total
        if not self.runs:
            return
        time, marks = self._time(now), self._windows[count]
        mark = time, marks[-1][1] + moved
        if len(marks) > 1 and time - marks[-2][0] < self.window / _MARKS:
            marks[-1] = mark
            return
        marks.append(mark)
        self._forget(marks, time)

    def speed(self, now: float) -> float:
        """Bytes per second over the window, or over the pending time so far if that is shorter."""
        time = self._time(now)
        span = min(time, self.window)
        for marks in self._windows:
            self._forget(marks, time)
        return max(marks[-1][1] - marks[0][1] for marks in self._windows) / span if span > 0 else 0.0

    def too_slow(self, minimum: float, now: float) -> bool:
        """Whether fewer than `minimum` (bytes/s) x window bytes moved in a whole window."""
        return self.due(minimum) <= now + _SLACK / 2

    def due(self, minimum: float) -> float:
        """When it is too slow if no more bytes move; infinity if never, or while it does not run."""
        enough = minimum * self.window - _SLACK
        if self._since is None or not self.runs or enough <= 0:
            return INFINITY
        # Too few once the bytes up to this mark have left the window, to which the mark's instant belongs.
        last = max(
            next(time for time, before in marks if marks[-1][1] - before < enough) for marks in self._windows
        )
        return self._since.when + (last + _SLACK + self.window - self._elapsed)

    def _time(self, now: float) -> float:
        if self._since is None:
            return 0.0
        until = now if self._until is None else self._until.when
        return self._elapsed + max(0.0, until - self._since.when)

    def _forget(self, marks: deque[tuple[float, int]], time: float) -> None:
        """All but the last one from before the window that ends at `time`."""
        while len(marks) > 1 and marks[1][0] < time - self.window - _SLACK / 2:
            marks.popleft()


class Speed(Meter):
    """One direction's: counts what our kernel gave or took, and where it can tell, what the peer's
    acknowledged."""

    __slots__ = ("_looked_at", "direction")

    def __init__(self, channel: Channel, direction: str, window: float) -> None:
        tells = direction == "send" and channel.transport is not None and channel.transport.acknowledges
        Meter.__init__(self, window, 1 + tells)
        self.direction = direction
        self._looked_at = 0.0  # at what was acknowledged

    def switch(self, channel: Channel, when: TurnTime) -> None:
        """From `when` on another operation is current: count while it waits for this direction."""
        stepper, direction = channel.stepper, READ if self.direction == "receive" else WRITE
        pending = (
            stepper is not None and stepper._timed
            and stepper._phase != "handshaking" and stepper.interest & direction != 0
        )  # fmt: skip
        if pending != self.runs:
            self.look(channel, channel.loop.now)
            self.run(pending, when)

    def look(self, channel: Channel, now: float) -> None:
        """Know all that has moved until `now`."""
        transport = channel.transport
        self.sample(_total(channel, self.direction), now)
        if len(self._totals) > 1 and transport is not None:
            self._looked_at = now
            on_the_way = transport.unflushed + transport.unacknowledged() if transport.acknowledges else 0
            self.sample(channel.bytes_sent - on_the_way, now - _SLACK, 1)  # it was before the look

    def surfaces_at(self, channel: Channel) -> float:
        """When it could first be too slow, or is to look at what was acknowledged; infinity: never."""
        minimum, duration = _minimum(channel, self.direction)
        if not minimum or not duration:
            return INFINITY
        looks = len(self._totals) > 1 and self.runs
        return self._looked_at + self.window / LOOKS if looks else self.due(minimum)

    def _expire(self, channel: Channel) -> None:
        """SlowTransferError if the minimum was not met."""
        now = channel.loop.now
        self.look(channel, now)
        minimum = _minimum(channel, self.direction)[0] or 0.0
        if self.too_slow(minimum, now):
            details = {"direction": self.direction, "speed": self.speed(now), "duration": self.window}
            why = "{direction} speed {speed:.1f} bytes/s over {duration:g} s is under the minimum of"
            why = f"{why.format(**details)} {minimum:g}"
            raise socket_error(SlowTransferError, channel, why, channel.phase_name(), **details)


def start(channel: Channel) -> None:
    """Measure the directions that have a minimum."""
    for direction in ("receive", "send"):
        minimum, duration = _minimum(channel, direction)
        known = _measured(channel, direction)
        if minimum and duration and (known is None or known.window != duration):
            # From the time as it is: the turn's may be long ago.
            _begin(channel, direction, duration, channel.loop.clock())


def switch(channel: Channel) -> None:
    """Another operation is current. What it waits for counts from when the handlers have run."""
    for speed in channel.speeds:
        speed.switch(channel, channel.loop.turn_time)


def sample(channel: Channel) -> None:
    """Bytes have moved."""
    for speed in channel.speeds:
        speed.sample(_total(channel, speed.direction), channel.loop.now)


def reset(channel: Channel) -> None:
    """Measure anew from now."""
    for speed in channel.speeds:
        _begin(channel, speed.direction, speed.window, channel.loop.clock())


def live(channel: Any, direction: str, now: float) -> float:
    """Live speed as of `now`, bytes/s."""
    speed = _measured(channel, direction)
    if speed is not None:
        speed.look(channel, now)
        return speed.speed(now)
    if channel.connected_at == INFINITY:
        return 0.0
    elapsed: float = max(now - channel.connected_at, 1e-6)
    if elapsed > _LIVE_SPEED_SECONDS and channel.connected:
        speed = _begin(channel, direction, _LIVE_SPEED_SECONDS, now)
        if speed.runs and channel.io_start is not None and now - channel.io_start.when > speed.window:
            return 0.0  # nothing has moved within it
    return _total(channel, direction) / elapsed


def _minimum(channel: Channel, direction: str) -> tuple[float | None, float | None]:
    """A direction's minimum speed and the time that is measured over; a listener has none."""
    if channel.socket.is_server:
        return None, None
    settings, name = channel.metadata._settings, f"min_{direction}_speed"
    return getattr(settings, name), getattr(settings, f"{name}_duration")


def _measured(channel: Any, direction: str) -> Speed | None:
    return next((speed for speed in channel.speeds if speed.direction == direction), None)


def _begin(channel: Channel, direction: str, window: float, now: float) -> Speed:
    speed, when = Speed(channel, direction, window), TurnTime()
    when.when = now
    channel.speeds = (*(other for other in channel.speeds if other.direction != direction), speed)
    speed.switch(channel, when)
    return speed


def _total(channel: Channel, direction: str) -> int:
    return channel.bytes_received if direction == "receive" else channel.bytes_sent
