"""When what must be looked at: a lazy heap of whatever can be late.

That is channels and timers. A channel's deadline moves with every byte, so it is not kept in the heap. The
heap holds at most one live entry for each, armed for the earliest time it could be late; when that surfaces
it is asked, and if its deadline has moved on, the entry goes back in. Progress thus costs one store.
"""

from __future__ import annotations

import heapq
from typing import Any

from ..recycled import recycled

INFINITY = float("inf")
AT_ONCE = -INFINITY
UNTIL_STOPPED = "until stopped"
"""Keeps a run alive, as a timer that is never due."""

# Read by these names they cost compiled code no look-up.
_NEVER, _push, _pop = INFINITY, heapq.heappush, heapq.heappop


class TurnTime:
    """A time on the executor's clock, in seconds: what began in one phase of a turn shares one.

    It is set when the handlers of that phase have run, so that a slow handler takes nothing from anybody's
    time-out, and what begins costs one reference, not a reading of the clock.
    """

    # No __init__: making one is all that a turn pays for it.
    __slots__ = ("when",)

    when: float


recycled(TurnTime)


class Timed:
    """What can be late. `_armed` is the time it is armed for (INFINITY: it is not in the heap);
    `_deadline(now, early)` is when it is late, as things stand, and `_late(arrived, now)` is called then."""

    __slots__ = ("_armed",)

    _armed: float


class Deadlines:
    """The heap. Times are those of the executor's clock, in seconds.

    `keepers`: what keeps a run alive though no socket does.
    """

    __slots__ = ("_armings", "_dead", "_heap", "keepers")

    def __init__(self) -> None:
        # An entry is live while its time is the `_armed` of what it is for. The number between them keeps in
        # order what is due at once.
        self._heap: list[tuple[float, int, Any]] = []
        self._armings = 0
        self._dead = 0
        self.keepers: set[Any] = set()

    def arm(self, one: Timed, when: float) -> None:
        """Have `one` surface at `when`, or earlier if it is armed for earlier already."""
        if when < one._armed:
            self.disarm(one)
            one._armed = when
            self._armings += 1
            _push(self._heap, (when, self._armings, one))

    def disarm(self, one: Timed) -> None:
        """Forget it."""
        if one._armed == _NEVER:
            return
        one._armed = _NEVER
        self._dead += 1
        # Dead entries hold ended channels: never let them be more than the living ones, or a few.
        if self._dead > 64 and self._dead * 2 > len(self._heap):
            self.sweep()

    def end_run(self) -> None:
        """The run came to its end by itself: what is armed waits for the next one."""
        self.keepers.discard(UNTIL_STOPPED)
        self.sweep()

    def sweep(self) -> None:
        """Let go of what has been disarmed."""
        live = []
        for entry in self._heap:
            one: Timed = entry[2]
            when: float = entry[0]
            if one._armed == when:
                live.append(entry)
        heapq.heapify(live)
        self._heap = live
        self._dead = 0

    def clear(self) -> None:
        """Disarm everything, and keep nothing alive."""
        for _, _, one in self._heap:
            one._armed = _NEVER
        self._heap.clear()
        self._dead = 0
        self.keepers.clear()

    def next(self) -> float:
        """When the first one surfaces; infinity if none will."""
        heap = self._heap
        while heap:
            entry = heap[0]
            first: Timed = entry[2]
            when: float = entry[0]
            if first._armed == when:
                return when
            _pop(heap)
            self._dead -= 1
        return _NEVER

    def first(self) -> Any:
        """What `next` tells the time of; None if that is infinity."""
        return None if self.next() == _NEVER else self._heap[0][2]
