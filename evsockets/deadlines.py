"""When which channel must be looked at: a lazy heap.

A channel's deadline moves with every byte, so it is not kept here. The heap holds at most one live
entry per channel, armed for the earliest moment it could be late; when that surfaces the channel is
asked, and if its deadline has moved on, the entry goes back in. Progress thus costs one float store.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .channel import Channel

INFINITY = float("inf")


class Deadlines:
    """The heap. Times are those of the executor's clock, in seconds."""

    __slots__ = ("_dead", "_heap", "_sequence")

    def __init__(self) -> None:
        # An entry is live while its number is its channel's `alarm`.
        self._heap: list[tuple[float, int, Channel]] = []
        self._sequence = 0
        self._dead = 0

    def arm(self, channel: Channel, when: float) -> None:
        """Have `channel` surface at `when`, or earlier if it is armed for earlier already."""
        if when >= channel.armed:
            return
        if channel.alarm:
            self._dead += 1
        self._sequence += 1
        channel.alarm = self._sequence
        channel.armed = when
        heapq.heappush(self._heap, (when, self._sequence, channel))
        self._sweep()

    def disarm(self, channel: Channel) -> None:
        """Forget the channel."""
        if channel.alarm:
            channel.alarm = 0
            self._dead += 1
            self._sweep()
        channel.armed = INFINITY

    def _sweep(self) -> None:
        """Dead entries hold ended channels: never let them be more than the living ones, or a few."""
        if self._dead > 64 and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].alarm == entry[1]]
            heapq.heapify(self._heap)
            self._dead = 0

    def next(self) -> float:
        """When the first one surfaces; infinity if none will."""
        heap = self._heap
        while heap:
            when, number, channel = heap[0]
            if channel.alarm == number:
                return when
            heapq.heappop(heap)
            self._dead -= 1
        return INFINITY

    def due(self, now: float) -> list[Channel]:
        """Take out every channel whose moment has come."""
        result: list[Channel] = []
        while self.next() <= now:
            channel = heapq.heappop(self._heap)[2]
            channel.alarm = 0
            channel.armed = INFINITY
            result.append(channel)
        return result

    def __len__(self) -> int:
        return len(self._heap) - self._dead
