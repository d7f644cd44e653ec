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
    """How many bytes moved in the last `window` seconds of pending time.

    Time counts only while it runs, and so do bytes. `total` is always the socket's running byte count and
    `now` a monotonic clock in seconds, which may not go back.
    """

    __slots__ = ("_elapsed", "_marks", "_since", "_total", "_until", "window")

    def __init__(self, window: float) -> None:
        self.window = window
        self._since: TurnTime | None = None  # when it began to run
        self._until: TurnTime | None = None  # when it stopped; None: it runs
        self._elapsed = 0.0  # pending time before `_since`
        self._total = 0
        # (pending time, counted bytes by then); the first is the last one known from before the window.
        self._marks: deque[tuple[float, int]] = deque([(-_SLACK, 0)])

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

    def sample(self, total: int, now: float) -> None:
        """Bytes may have moved."""
        moved = total - self._total
        if moved <= 0:
            return
        self._total = total
        if not self.runs:
            return
        time = self._time(now)
        mark = time, self._marks[-1][1] + moved
        if len(self._marks) > 1 and time - self._marks[-2][0] < self.window / _MARKS:
            self._marks[-1] = mark
        else:
            self._marks.append(mark)
            self._moved(time)

    def speed(self, now: float) -> float:
        """Bytes per second over the window, or over the pending time so far if that is shorter."""
        time = self._time(now)
        span = min(time, self.window)
        return self._moved(time) / span if span > 0 else 0.0

    def too_slow(self, minimum: float, now: float) -> bool:
        """Whether fewer than `minimum` (bytes/s) x window bytes moved in a whole window."""
        return self.due(minimum) <= now + _SLACK / 2

    def due(self, minimum: float) -> float:
        """When it is too slow if no more bytes move; infinity if never, or while it does not run."""
        enough = minimum * self.window - _SLACK
        if self._since is None or not self.runs or enough <= 0:
            return INFINITY
        moved = self._marks[-1][1]
        # Too few once the bytes up to this mark have left the window, to which the mark's instant belongs.
        last = next(time for time, before in self._marks if moved - before < enough)
        return self._since.when + (last + _SLACK + self.window - self._elapsed)

    def _time(self, now: float) -> float:
        if self._since is None:
            return self._elapsed
        until = now if self._until is None else self._until.when
        return self._elapsed + max(0.0, until - self._since.when)

    def _moved(self, time: float) -> int:
        """Bytes moved within the window that ends at pending `time`; its first instant belongs to it."""
        marks = self._marks
        while len(marks) > 1 and marks[1][0] < time - self.window - _SLACK / 2:
            marks.popleft()
        return marks[-1][1] - marks[0][1]


class Speed:
    """One direction's speed, by the larger of two meters: of what our kernel gave or took, and where it can
    tell, of what the peer's acknowledged."""

    __slots__ = ("_looked_at", "_meters", "direction", "window")

    def __init__(self, channel: Channel, direction: str, window: float) -> None:
        self.window = window
        self.direction = direction
        self._looked_at = 0.0  # at what was acknowledged
        self._meters = [Meter(window)]
        if direction == "send" and channel.transport is not None and channel.transport.acknowledges:
            self._meters.append(Meter(window))

    @property
    def is_pending(self) -> bool:
        """Whether an operation waits for this direction."""
        return self._meters[0].runs

    def switch(self, channel: Channel, when: TurnTime) -> None:
        """From `when` on another operation is current: count while it waits for this direction."""
        stepper, direction = channel.stepper, READ if self.direction == "receive" else WRITE
        pending = (
            stepper is not None and stepper._timed
            and stepper._phase != "handshaking" and stepper.interest & direction != 0
        )  # fmt: skip
        if pending != self.is_pending:
            self.look(channel, channel.loop.now)
            for meter in self._meters:
                meter.run(pending, when)

    def sample(self, channel: Channel, now: float) -> None:
        """Bytes have moved."""
        self._meters[0].sample(_total(channel, self.direction), now)

    def look(self, channel: Channel, now: float) -> None:
        """Know all that has moved until `now`."""
        self.sample(channel, now)
        if len(self._meters) > 1 and channel.transport is not None:
            self._looked_at = now
            self._meters[1].sample(_acknowledged(channel), now - _SLACK)  # it was before the look

    def speed(self, now: float) -> float:
        """Bytes per second."""
        return max(meter.speed(now) for meter in self._meters)

    def due(self, channel: Channel) -> float:
        """When it could first be too slow; infinity if it cannot."""
        minimum, duration = _minimum(channel, self.direction)
        if not minimum or not duration:
            return INFINITY
        if len(self._meters) > 1 and self.is_pending:
            return self._looked_at + self.window / LOOKS
        return self._meters[0].due(minimum)

    def _expire(self, channel: Channel) -> None:
        """SlowTransferError if the minimum was not met."""
        now = channel.loop.now
        self.look(channel, now)
        minimum = _minimum(channel, self.direction)[0] or 0.0
        if all(meter.too_slow(minimum, now) for meter in self._meters):
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
        speed.sample(channel, channel.loop.now)


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
        if speed.is_pending and channel.io_start is not None and now - channel.io_start.when > speed.window:
            return 0.0  # nothing has moved within it
    return _total(channel, direction) / elapsed


def _minimum(channel: Channel, direction: str) -> tuple[float | None, float | None]:
    """A direction's minimum speed and the time that is measured over; a listener has none."""
    settings = channel.metadata._settings
    if channel.socket.is_server:
        return None, None
    if direction == "receive":
        return settings.min_receive_speed, settings.min_receive_speed_duration
    return settings.min_send_speed, settings.min_send_speed_duration


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


def _acknowledged(channel: Channel) -> int:
    """How many of the bytes sent the peer's kernel has acknowledged; over TLS, that many less its own."""
    transport = channel.transport
    if transport is None or not transport.acknowledges:
        return channel.bytes_sent
    return channel.bytes_sent - transport.unflushed - transport.unacknowledged()  # type: ignore[no-any-return]
