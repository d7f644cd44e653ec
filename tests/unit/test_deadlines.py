"""The heap of what can be late: whoever is armed surfaces in order, and leaves it at once."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsockets.core.deadlines import AT_ONCE, INFINITY, Deadlines, Timed
from support.sources import sources_only


class Late(Timed):
    __slots__ = ("__weakref__",)

    def __init__(self) -> None:
        self._armed = INFINITY


def drained(deadlines: Deadlines) -> Iterator[Timed]:
    """Each one, as it surfaces."""
    while (first := deadlines.first()) is not None:
        assert deadlines.next() == first._armed
        deadlines.disarm(first)
        yield first


#: Whom it concerns, and the time it is armed for; None: it is disarmed.
Steps = list[tuple[int, float | None]]


@given(st.lists(st.tuples(st.integers(0, 11), st.none() | st.integers(0, 5).map(float)), max_size=80))
def test_in_order_of_time_then_of_arming(steps: Steps) -> None:
    deadlines, ones = Deadlines(), [Late() for _ in range(12)]
    armed: dict[int, tuple[float, int]] = {}
    for number, (which, when) in enumerate(steps):
        if when is None:
            deadlines.disarm(ones[which])
            armed.pop(which, None)
        else:
            deadlines.arm(ones[which], when)
            if when < armed.get(which, (INFINITY, 0))[0]:
                armed[which] = when, number
        first = min(armed, key=armed.__getitem__, default=None)
        assert deadlines.first() is (None if first is None else ones[first])
    assert [ones.index(one) for one in drained(deadlines)] == sorted(armed, key=armed.__getitem__)
    assert all(one._armed == INFINITY for one in ones)
    assert deadlines.next() == INFINITY


def test_at_once_comes_first_in_the_order_armed() -> None:
    deadlines, ones = Deadlines(), [Late() for _ in range(20)]
    deadlines.arm(ones[0], 1.0)
    for one in ones[1:]:
        deadlines.arm(one, AT_ONCE)
    assert list(drained(deadlines)) == [*ones[1:], ones[0]]


@pytest.mark.parametrize("which", range(7))
def test_what_is_disarmed_is_held_no_more(which: int) -> None:
    deadlines, ones = Deadlines(), [Late() for _ in range(7)]
    for when, one in enumerate(ones):
        deadlines.arm(one, float(when))
    gc.disable()
    try:
        gone = weakref.ref(ones[which])
        deadlines.disarm(ones[which])
        del ones[which], one
        assert gone() is None
    finally:
        gc.enable()
    assert list(drained(deadlines)) == ones


def test_clearing_disarms_all() -> None:
    deadlines, ones = Deadlines(), [Late() for _ in range(5)]
    for one in ones:
        deadlines.arm(one, 1.0)
    deadlines.keepers.add(ones[0])
    deadlines.clear()
    assert deadlines.first() is None and not deadlines.keepers
    assert all(one._armed == INFINITY for one in ones)
    deadlines.arm(ones[3], 2.0)
    assert deadlines.first() is ones[3]


@sources_only
@pytest.mark.parametrize("what", ["arm", "arm a new one", "disarm"])
def test_in_order_after_an_interruption_at_any_line(what: str) -> None:
    """As of a signal handler whose exception somebody catches: nobody surfaces later for it."""
    lines = 0
    while True:
        deadlines, ones = Deadlines(), [Late() for _ in range(20)]
        for place, one in enumerate(ones):
            deadlines.arm(one, float(place * 7 % 20))
        left = lines = lines + 1

        def trace(frame: Any, event: str, argument: Any) -> Any:
            nonlocal left
            if frame.f_code.co_filename != sys.modules[Deadlines.__module__].__file__:
                return None
            if event == "line":
                left -= 1
                if not left:
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            if what == "arm":
                deadlines.arm(ones[9], -1.0)
            elif what == "arm a new one":
                ones.append(Late())
                deadlines.arm(ones[-1], 4.5)
            else:
                deadlines.disarm(ones[0])
        except KeyboardInterrupt:
            pass
        else:
            break  # the line does not exist
        finally:
            sys.settrace(before)
        deadlines.arm(Late(), 5.5)
        times = [one._armed for one in ones if one._armed != INFINITY] + [5.5]
        found = []
        while (first := deadlines.first()) is not None:
            found.append(first._armed)
            deadlines.disarm(first)
        assert found == sorted(times)
    assert lines > 5
