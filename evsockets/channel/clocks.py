"""What can become late on one socket, and how fast its bytes move."""

from __future__ import annotations

from typing import Any

from ..deadlines import INFINITY, Moment
from ..engines.base import READ, WRITE
from ..events import TimeoutStage
from ..meters import Meter
from ..operations.flush import FLUSH, IDLE
from ..phases import Phase
from .state import State

_LIVE_SPEED_SECONDS = 5.0


class Clocks(State):
    """The time-outs and meters of a channel.

    Progress stores the turn's `Moment`. Only what could be late before the channel surfaces anyway is armed.
    """

    __slots__ = ()

    def settings_changed(self) -> None:
        """A time-out or minimum speed was set."""
        settings = self.metadata._settings
        limit = settings.io_timeout
        self.io_limit = INFINITY if limit is None else limit
        if self.phase is Phase.CONNECTED:
            self.start_meters()
        if self.phase is Phase.OPENING or self.phase is Phase.CONNECTED:
            self.arm()
            self.executor.wake_if_hosted()

    def earliest(self) -> tuple[float, Any]:
        """The first thing that can become late, with its time: a TimeoutStage, the direction of a minimum
        speed, the operation itself, None for an answer to be sent again. Infinity if nothing can."""
        settings = self.metadata._settings
        operation = self.operation
        first = INFINITY
        what: Any = None
        limit = settings.request_timeout
        if limit is not None and self.request_start is not None:
            first, what = self.request_start.when + limit, TimeoutStage.REQUEST
        start = self.io_start
        if self.phase is Phase.OPENING:
            limit, start, stage = settings.connection_timeout, self.opened_at, TimeoutStage.CONNECTION
        elif operation is IDLE:
            limit, stage = settings.idle_timeout, TimeoutStage.IDLE
        elif self.phase is Phase.CONNECTED and operation is not None and operation.timed:
            limit, stage = settings.io_timeout, TimeoutStage.IO
            if self.meters is not None:
                for direction, minimum, duration in self.minimums():
                    if minimum and duration and direction in self.meters:
                        when = self.meters[direction].due()
                        if when is not None and when < first:
                            first, what = when, direction
        else:
            start = None
        if limit is not None and start is not None and start.when + limit < first:
            first, what = start.when + limit, stage
        if operation is not None:
            when = operation.due(self)  # type: ignore[arg-type]
            if when is not None and when < first:
                first, what = when, operation
        if self.unsent is not None and self.transport is not None and self.transport.shared:
            if self.transport.retry_at < first:
                first, what = self.transport.retry_at, None
        return first, what

    def arm(self) -> None:
        """Have the channel surface when it could first be late."""
        if not self.complete:
            when = self.earliest()[0]
            if when < self.armed:
                self.executor.deadlines.arm(self, when)

    def timestamp(self, when: Moment | float | None) -> float | None:
        """The Unix timestamp of a time on the executor's clock."""
        if when is None:
            return None
        return (when.when if isinstance(when, Moment) else when) + self.executor.wall_offset

    # ---- speeds --------------------------------------------------------------------------------------

    def minimums(self) -> tuple[tuple[str, float | None, float | None], ...]:
        """Each direction with its minimum speed and the time that is measured over; a listener has none."""
        settings = self.metadata._settings
        if self.socket.is_server:
            return ()
        return (
            ("receive", settings.min_receive_speed, settings.min_receive_speed_duration),
            ("send", settings.min_send_speed, settings.min_send_speed_duration),
        )

    def start_meters(self) -> None:
        """Measure the directions that have a minimum."""
        settings = self.metadata._settings
        if settings.min_receive_speed or settings.min_send_speed:
            now = self.executor.clock()  # not the turn's time, which may be long ago
            for direction, minimum, duration in self.minimums():
                meter = None if self.meters is None else self.meters.get(direction)
                if minimum and duration and (meter is None or meter.window != duration):
                    self._begin_meter(direction, duration, now)

    def _begin_meter(self, direction: str, window: float, now: float) -> Meter:
        if self.meters is None:
            self.meters = {}
        meter = self.meters[direction] = Meter(window)
        self._run_meter(direction, now)
        # A handler that wants it may be at work: what follows may wait for another direction.
        self.executor.metered.append(self)  # type: ignore[arg-type]
        return meter

    def run_meters(self, now: float) -> None:
        """Another operation is current: the directions it waits for count from `now`, others pause."""
        self._run_meter("receive", now)
        self._run_meter("send", now)
        self.arm()

    def _run_meter(self, direction: str, now: float) -> None:
        assert self.meters is not None
        meter = self.meters.get(direction)
        if meter is None:
            return
        if self._pending_directions() & (READ if direction == "receive" else WRITE):
            meter.pending(self._total(direction), now)
        else:
            meter.paused(self._total(direction), now)

    def _pending_directions(self) -> int:
        operation = self.operation
        if operation is None or not self.connected or not operation.timed:
            return 0
        if operation.phase == "handshaking":
            return 0
        return WRITE if self.unsent is not None and operation is FLUSH else operation.interest

    def _total(self, direction: str) -> int:
        return self.bytes_received if direction == "receive" else self.bytes_sent

    def sample(self) -> None:
        """Bytes have moved."""
        assert self.meters is not None
        for direction, meter in self.meters.items():
            meter.sample(self._total(direction), self.executor.now)

    def speed(self, direction: str) -> float:
        """Live speed, bytes/s."""
        now = self.executor.now
        if self.meters is not None and direction in self.meters:
            return self.meters[direction].speed(self._total(direction), now)
        if self.connected_at is None:
            return 0.0
        elapsed = max(now - self.connected_at, 1e-6)
        if elapsed > _LIVE_SPEED_SECONDS and self.connected:
            meter = self._begin_meter(direction, _LIVE_SPEED_SECONDS, now)
            if meter.is_pending and self.io_start is not None and now - self.io_start.when > meter.window:
                return 0.0  # nothing has moved within it
        return self._total(direction) / elapsed

    def reset_speed(self) -> None:
        """Measure anew from now."""
        if self.meters is not None:
            now = self.executor.clock()
            for direction, meter in self.meters.items():
                meter.reset(self._total(direction), now)
