"""When which channel must be looked at: a lazy heap.

A channel's deadline moves with every byte, so it is not kept here. The heap holds at most one live
entry per channel, armed for the earliest moment it could be late; when that surfaces the channel is
asked, and if its deadline has moved on, the entry goes back in. Progress thus costs one store.
"""

from __future__ import annotations

import heapq
from typing import Any

INFINITY = float("inf")


class Moment:
    """A time on the executor's clock, in seconds: what began in one phase of a turn shares one.

    It is set when the handlers of that phase have run, so that none of them eats of another's time-out,
    and whatever began costs one reference, not a reading of the clock.
    """

    # No __init__: making one is all that a turn pays for it.
    __slots__ = ("when",)

    when: float


class Deadlines:
    """The heap. Times are those of the executor's clock, in seconds."""

    __slots__ = ("_dead", "_heap")

    def __init__(self) -> None:
        # An entry is live while its time, the very object, is its channel's `armed`.
        self._heap: list[tuple[float, Any]] = []
        self._dead = 0

    def arm(self, channel: Any, when: float) -> None:
        """Have `channel` surface at `when`, or earlier if it is armed for earlier already."""
        armed = channel.armed
        if when >= armed:
            return
        if armed is not INFINITY:
            self._dead += 1
        channel.armed = when
        heapq.heappush(self._heap, (when, channel))
        if self._dead > 64:
            self._sweep()

    def disarm(self, channel: Any) -> None:
        """Forget the channel."""
        if channel.armed is not INFINITY:
            channel.armed = INFINITY
            self._dead += 1
            if self._dead > 64:
                self._sweep()

    def clear(self) -> None:
        """The run is over: whoever is still in here has ended."""
        self._heap.clear()
        self._dead = 0

    def _sweep(self) -> None:
        """Dead entries hold ended channels: never let them be more than the living ones, or a few."""
        if self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[1].armed is entry[0]]
            heapq.heapify(self._heap)
            self._dead = 0

    def next(self) -> float:
        """When the first one surfaces; infinity if none will."""
        heap = self._heap
        while heap:
            when, channel = heap[0]
            armed: float = channel.armed
            if armed is when:
                return armed
            heapq.heappop(heap)
            self._dead -= 1
        return INFINITY

    def due(self, now: float) -> list[Any]:
        """Take out every channel whose moment has come."""
        result: list[Any] = []
        while self.next() <= now:
            channel = heapq.heappop(self._heap)[1]
            channel.armed = INFINITY
            result.append(channel)
        return result

    def __len__(self) -> int:
        return len(self._heap) - self._dead
