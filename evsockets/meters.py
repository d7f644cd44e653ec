"""How fast bytes move, and whether that is too slow."""

from __future__ import annotations

from collections import deque

_MARKS = 64
"""Bytes moved within this fraction of the window count as moved together: memory stays bounded."""

_SLACK = 1e-6
"""Seconds; above the rounding of any clock's floats, so that a due time, once reached, is reached."""


class Meter:
    """The transfer rate of one socket in one direction over the last `window` seconds of pending time.

    Time counts only between `pending` and `paused`, and so do bytes. `total` is always the socket's running
    byte count and `now` a monotonic clock in seconds; neither may go back. A meter starts paused.
    A `window` that is not above 0 is a ValueError.
    """

    __slots__ = (
        "_base",
        "_elapsed",
        "_grain",
        "_latest_bytes",
        "_latest_time",
        "_marks",
        "_minimum",
        "_since",
        "_total",
        "window",
    )

    def __init__(self, window: float) -> None:
        if not window > 0:
            raise ValueError(f"window must be above 0: {window}")
        self.window = window
        self._grain = window / _MARKS
        self._minimum: float | None = None
        self._since: float | None = None
        self._clear(0)

    def _clear(self, total: int) -> None:
        self._base = total  # bytes that do not count
        self._total = total  # at the last look
        self._elapsed = 0.0  # pending time before _since
        # (pending time, counted bytes by then); the first is the last one known from before the window.
        self._marks: deque[tuple[float, int]] = deque([(0.0, 0)])
        self._latest_time = 0.0  # the same pair for the last bytes seen, not yet worth a mark
        self._latest_bytes = 0

    @property
    def is_pending(self) -> bool:
        """Whether time counts at present."""
        return self._since is not None

    def pending(self, total: int, now: float) -> None:
        """An operation waits for this direction from now on. Nothing happens if one did already."""
        if self._since is None:
            self._since = now
            self._base += total - self._total
            self._total = total

    def paused(self, total: int, now: float) -> None:
        """None waits any more. Nothing happens if none did."""
        if self._since is not None:
            self.sample(total, now)
            self._elapsed += now - self._since
            self._since = None

    def sample(self, total: int, now: float) -> None:
        """Bytes have moved. Ignored while paused, and without a new byte."""
        since = self._since
        if since is None or total == self._total:
            return
        time = self._elapsed + now - since
        mark_time, mark_bytes = self._marks[-1]
        if time - mark_time >= self._grain and self._latest_bytes != mark_bytes:
            self._marks.append((self._latest_time, self._latest_bytes))
            self._trim(time)
        self._total = total
        self._latest_time = time
        self._latest_bytes = total - self._base

    def speed(self, total: int, now: float) -> float:
        """Bytes per second over the window, or over the pending time so far if that is shorter."""
        self.sample(total, now)
        time = self._time(now)
        span = min(time, self.window)
        return self._moved(time) / span if span > 0 else 0.0

    def too_slow(self, minimum: float, total: int, now: float) -> bool:
        """Whether fewer than `minimum` (bytes/s) x window bytes moved in a whole window; no while paused."""
        self._minimum = minimum
        self.sample(total, now)
        time = self._time(now)
        if self._since is None or time < self.window - _SLACK:
            return False
        return minimum * self.window - self._moved(time) > _SLACK

    def due(self) -> float | None:
        """When `too_slow`, with the minimum it was last asked for, could first be true if no more bytes
        move; bytes only put it off. None if never, or while paused."""
        if self._since is None:
            return None
        time = self.window
        if self._minimum is not None:
            enough = self._minimum * self.window - _SLACK
            if enough <= 0:
                return None
            for mark_time, moved in (*self._marks, (self._latest_time, self._latest_bytes)):
                if self._latest_bytes - moved < enough:
                    # Too few once the bytes up to this mark have left the window.
                    if moved:
                        time = max(time, mark_time + self.window + _SLACK)
                    break
        return self._since + time - self._elapsed

    def reset(self, total: int, now: float) -> None:
        """Forget the past: the rate is 0, and nothing is judged before another whole window."""
        self._clear(total)
        if self._since is not None:
            self._since = now

    def _time(self, now: float) -> float:
        return self._elapsed if self._since is None else self._elapsed + now - self._since

    def _moved(self, time: float) -> int:
        """Bytes moved within the window that ends at pending `time`; its first instant belongs to it."""
        before = time - self.window - _SLACK / 2
        if self._latest_time < before:
            return 0
        self._trim(time)
        return self._latest_bytes - self._marks[0][1]

    def _trim(self, time: float) -> None:
        before = time - self.window - _SLACK / 2
        marks = self._marks
        while len(marks) > 1 and marks[1][0] < before:
            marks.popleft()
