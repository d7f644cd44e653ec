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
    `_deadline(now)` is when it is late as things stand at `now`, and `_late(arrived, now)` acts then."""

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
        if when < one._armed:
            self.put(one, when)

    def disarm(self, one: Timed) -> None:
        """Forget it."""
        self.put(one, _NEVER)

    def put(self, one: Timed, when: float) -> None:
        """Have `one` surface at `when`; INFINITY: never."""
        if when == one._armed:
            return
        if not self._whole:
            self._mend()
        self._whole = False
        self._armings += 1
        one._arming = self._armings  # before it is in the heap: `_mend` compares them
        heap, moved = self._heap, one
        if when == _NEVER:
            moved, place = heap[-1], one._place
            heap[place], moved._place, one._armed = moved, place, when; del heap[-1]  # fmt: skip # noqa: E702
        elif one._armed == _NEVER:
            one._armed, one._place = when, len(heap); heap.append(one)  # fmt: skip # noqa: E702
        else:
            one._armed = when
        if moved._armed != _NEVER:
            self._sift(moved)
        self._whole = True

    def _mend(self) -> None:
        """Put all in order, after an interruption."""
        self._heap.sort(key=lambda one: (one._armed, one._arming))
        for place, one in enumerate(self._heap):
            one._place = place
        self._whole = True

    def _sift(self, one: Timed) -> None:
        """Change places with those above that are due later, and with those below that are due earlier."""
        heap, place, size = self._heap, one._place, len(self._heap)
        while place > 0:
            above = (place - 1) >> 1
            other = heap[above]
            if not _is_before(one, other):
                break
            heap[above], heap[place], one._place, other._place = one, other, above, place
            place = above
        below = 2 * place + 1
        while below < size:
            other = heap[below]
            if below + 1 < size and _is_before(heap[below + 1], other):
                below += 1
                other = heap[below]
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

    def lift(self, now: float) -> bool:
        """Whether one is late at `now`; whose time has moved on goes back, until the first one's holds."""
        while self.next() <= now:
            first: Any = self._heap[0]
            when = first._deadline(now)
            if when <= first._armed:
                return True
            self.put(first, when)
        return False

    def first(self) -> Any:
        """What `next` tells the time of; None if that is infinity."""
        return None if self.next() == _NEVER else self._heap[0]


def _is_before(one: Timed, other: Timed) -> bool:
    return one._armed < other._armed or (one._armed == other._armed and one._arming < other._arming)
