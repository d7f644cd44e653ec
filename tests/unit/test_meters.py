"""Transfer rates, on made-up clocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsockets.core.deadlines import INFINITY, TurnTime
from evsockets.core.speed import Meter

CLOCKS = [0.0, 100.3, 1_700_000_000.7]


def at(now):
    when = TurnTime()
    when.when = now
    return when


def speed(meter, total, now):
    meter.sample(total, now)
    return meter.speed(now)


def run(meter, pending, total, now):
    meter.sample(total, now)
    meter.run(pending, at(now))


def too_slow(meter, minimum, total, now):
    meter.sample(total, now)
    return meter.too_slow(minimum, now)


@pytest.fixture(params=CLOCKS)
def start(request):
    return request.param


def test_speed_over_the_time_so_far_then_over_the_window(start):
    meter = Meter(5)
    assert speed(meter, 0, start) == 0.0
    run(meter, True, 0, start)
    assert speed(meter, 0, start) == 0.0
    assert speed(meter, 60, start + 2) == pytest.approx(30)
    assert speed(meter, 60, start + 4) == pytest.approx(15)
    assert speed(meter, 110, start + 10) == pytest.approx(10)
    assert speed(meter, 110, start + 15.1) == 0.0


def test_first_judged_after_a_whole_window(start):
    meter = Meter(3)
    run(meter, True, 0, start)
    assert not too_slow(meter, 10, 0, start + 2.9)
    assert meter.due(10) == pytest.approx(start + 3)
    assert too_slow(meter, 10, 0, start + 3)


def test_exactly_the_minimum_is_enough(start):
    meter = Meter(0.1)
    run(meter, True, 0, start)
    meter.sample(3, start + 0.05)
    assert not too_slow(meter, 30, 3, start + 0.1)
    assert too_slow(meter, 31, 3, start + 0.1)


def test_bytes_of_the_first_instant_belong_to_the_first_window(start):
    meter = Meter(1)
    run(meter, True, 500, start)
    meter.sample(1500, start)
    assert not too_slow(meter, 1000, 1500, start + 1)
    assert too_slow(meter, 1000, 1500, start + 1.001)


def test_a_fast_start_does_not_hide_a_stall(start):
    meter = Meter(2)
    run(meter, True, 0, start)
    for step in range(100):
        meter.sample(step * 1000, start + step * 0.01)
    assert not too_slow(meter, 100, 99_000, start + 2)
    assert not too_slow(meter, 100, 99_000, start + 2.9)
    assert too_slow(meter, 100, 99_000, start + 3.01)
    assert speed(meter, 99_000, start + 3.01) == 0.0


def test_due_leads_to_the_verdict_in_few_steps(start):
    """Following `due` finds the stall soon after it is one, without asking all the time."""
    meter = Meter(2)
    run(meter, True, 0, start)
    total, now, asked = 0, start, 0
    for step in range(400):
        now = start + step * 0.025
        total += 100
        meter.sample(total, now)
    stalled = now
    while not too_slow(meter, 1000, total, now):
        due = meter.due(1000)
        assert due > now
        now, asked = due, asked + 1
        assert asked < 10
    # 4000 bytes/s before, so 2000 bytes, half a window's, are left 1.5 s into the stall.
    assert stalled + 1.5 - 2 / 32 <= now <= stalled + 1.5 + 2 / 32


def test_paused_time_does_not_count(start):
    meter = Meter(2)
    run(meter, True, 0, start)
    run(meter, False, 0, start + 1)
    run(meter, False, 0, start + 2)
    assert meter.due(10) == INFINITY
    assert not too_slow(meter, 10, 0, start + 50)
    run(meter, True, 0, start + 100)
    run(meter, True, 0, start + 100.5)
    assert not too_slow(meter, 10, 0, start + 100.9)
    assert meter.due(10) == pytest.approx(start + 101)
    assert too_slow(meter, 10, 0, start + 101)


def test_paused_bytes_do_not_count(start):
    meter = Meter(2)
    run(meter, True, 0, start)
    run(meter, False, 10, start + 1)
    meter.sample(5000, start + 1.5)
    run(meter, True, 10_000, start + 2)
    assert speed(meter, 10_010, start + 3) == pytest.approx(10)


def test_nothing_is_due_without_a_minimum_to_miss(start):
    meter = Meter(2)
    run(meter, True, 0, start)
    assert not too_slow(meter, 0, 0, start + 3)
    assert meter.due(0) == INFINITY


def test_memory_is_bounded():
    meter = Meter(1)
    run(meter, True, 0, 0.0)
    for step in range(100_000):
        meter.sample(step, step * 0.0001)
    assert len(meter._windows[0]) < 140
    assert speed(meter, 99_999, 10.0) == pytest.approx(10_000, rel=0.04)


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 500)), min_size=1, max_size=80),
    st.integers(1, 300),
    st.sampled_from(CLOCKS),
)
def test_agrees_with_the_exact_window(steps, minimum, start):
    """Never too slow where the exact count is not; and too slow at the latest when the grain has passed."""
    window = 1.0
    meter = Meter(window)
    run(meter, True, 0, start)
    total, at, history = 0, 0.0, []
    for count, milliseconds in steps:
        at += milliseconds / 1000
        total += count
        if count:
            history.append((at, count))
        verdict = too_slow(meter, minimum, total, start + at)
        if at < window - 1e-3:
            assert not verdict
        elif at > window + 1e-3:
            exact = sum(n for when, n in history if when > at - window + 1e-3)
            lenient = sum(n for when, n in history if when >= at - window - 2 * window / 64 - 1e-3)
            assert exact < minimum * window if verdict else lenient >= minimum * window
