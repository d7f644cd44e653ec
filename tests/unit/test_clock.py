"""The clock that a turn reads is the engine's, or the standard library's to the last digit."""

from __future__ import annotations

import time

from evsockets.core.clock import clock_of


def test_the_usual_clock_is_the_standard_librarys() -> None:
    clock = clock_of(time.monotonic)
    for _ in range(1000):
        before, read, after = time.monotonic(), clock.read(), time.monotonic()
        assert before <= read <= after


def test_any_other_clock_is_called() -> None:
    assert [clock_of(lambda when=when: when).read() for when in (0.0, -1.0, 2.5)] == [0.0, -1.0, 2.5]
