"""Deadlines: a lazy heap of the channels and timers that can be late.

A channel's deadline moves with every byte, so it is not kept in the heap. The heap holds at most one live
entry for each, armed for the earliest time it could be late; when that surfaces it is asked, and if its
deadline has moved on, the entry goes back in. Progress thus costs one store.
"""

from __future__ import annotations

from typing import Any

from ..recycled import recycled

INFINITY = float("inf")
AT_ONCE = -INFINITY
UNTIL_STOPPED = "until stopped"
"""Keeps a run alive, as a timer that is never due."""

# Read by this name it costs compiled code no look-up.
_NEVER = INFINITY


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

    # In the heap: where it is, and which arming it was, which keeps in order what is due at once.
    __slots__ = ("_armed", "_arming", "_place")

    _armed: float
    _arming: int
    _place: int


class Deadlines:
    """The heap. Times are those of the executor's clock, in seconds.

    `keepers`: what keeps a run alive though no socket does. Each knows its place in the heap, so an ended one
    leaves it at once. A signal handler may raise between two lines: a line that moves one moves both of them,
    and `_whole` tells whether all are in order.
    """

    __slots__ = ("_armings", "_heap", "_whole", "keepers")

    def __init__(self) -> None:
        self._heap: list[Timed] = []
        self._armings = 0
        self._whole = True
        self.keepers: set[Any] = set()

    def arm(self, one: Timed, when: float) -> None:
        """Have `one` surface at `when`, or earlier if it is armed for earlier already."""
        if not when < one._armed:
            return
        if not self._whole:
            self._mend()
        self._whole = False
        self._armings += 1
        one._arming = self._armings
        if one._armed == _NEVER:
            one._armed, one._place = when, len(self._heap); self._heap.append(one)  # fmt: skip # noqa: E702
        else:
            one._armed = when
        self._rise(one)
        self._whole = True

    def disarm(self, one: Timed) -> None:
        """Forget it."""
        if one._armed == _NEVER:
            return
        if not self._whole:
            self._mend()
        self._whole = False
        heap, place = self._heap, one._place
        last = heap[-1]
        heap[place], last._place, one._armed = last, place, _NEVER; del heap[-1]  # fmt: skip # noqa: E702
        if last is not one:
            self._rise(last)
            self._sink(last)
        self._whole = True

    def _mend(self) -> None:
        """Put all in order, after an interruption."""
        self._heap.sort(key=lambda one: (one._armed, one._arming))
        for place, one in enumerate(self._heap):
            one._place = place
        self._whole = True

    def _rise(self, one: Timed) -> None:
        """Change places with those above that are due later."""
        heap, place = self._heap, one._place
        while place > 0:
            above = (place - 1) >> 1
            other = heap[above]
            if not _is_before(one, other):
                return
            heap[above], heap[place], one._place, other._place = one, other, above, place
            place = above

    def _sink(self, one: Timed) -> None:
        """Change places with those below that are due earlier."""
        heap, place = self._heap, one._place
        size = len(heap)
        below = 2 * place + 1
        while below < size:
            other = heap[below]
            if below + 1 < size:
                beside = heap[below + 1]
                if _is_before(beside, other):
                    below, other = below + 1, beside
            if not _is_before(other, one):
                return
            heap[below], heap[place], one._place, other._place = one, other, below, place
            place = below
            below = 2 * place + 1

    def clear(self) -> None:
        """Disarm everything, and keep nothing alive."""
        for one in self._heap:
            one._armed = _NEVER
        self._heap.clear()
        self.keepers.clear()

    def next(self) -> float:
        """When the first one surfaces; infinity if none will."""
        heap = self._heap
        if not heap:
            return _NEVER
        if not self._whole:
            self._mend()
        first = heap[0]
        return first._armed

    def lift(self, now: float, early: bool = False) -> bool:
        """Have the first one due by `now` (or, `early`, the first of all) be one whose time still holds.
        Whether there is one."""
        while (first := self.first()) is not None and (early or first._armed <= now):
            when = first._deadline(now, early)
            if when <= first._armed:
                return True
            self.disarm(first)
            self.arm(first, when)
        return False

    def first(self) -> Any:
        """What `next` tells the time of; None if that is infinity."""
        return None if self.next() == _NEVER else self._heap[0]


def _is_before(one: Timed, other: Timed) -> bool:
    return one._armed < other._armed or (one._armed == other._armed and one._arming < other._arming)
