"""The alarm with which the engine contract interrupts: what it does to an alarm that was set before."""

from __future__ import annotations

import signal

import pytest

from evsockets.testing.engines import alarm
from support.machine import comes_true


def test_a_time_limit_holds_in_it_and_after_it() -> None:
    heard: list[str] = []
    with alarm(lambda *_: heard.append("limit"), 0.05):
        with alarm(lambda *_: heard.append("own"), 0.01):
            comes_true(lambda: "limit" in heard, "the limit does not hold within an alarm")
        assert "own" in heard
        heard.clear()
        comes_true(lambda: heard, "the limit does not hold after an alarm")
    assert set(heard) == {"limit"}


def test_what_it_raises_is_left_time_to_get_out() -> None:
    heard: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        heard.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(KeyboardInterrupt), alarm(interrupt, 0.001):
        try:
            comes_true(lambda: False, "the alarm does not ring")
        finally:
            until = signal.getitimer(signal.ITIMER_REAL)[0]
    assert 0.001 < until and len(heard) == 1
    assert signal.getsignal(signal.SIGALRM) == before
