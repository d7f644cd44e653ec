"""Targets and outcomes, and when another attempt is due."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from evsockets import ConversationEndedError, DrainReport, Outcome, StreamContext, Target
from evsockets.targets.attempts import pause_before
from evsockets.targets.outcomes import Times

ADDRESS = "tcp://127.0.0.1:1"


def test_a_target_is_what_it_was_made_of() -> None:
    target = Target(ADDRESS, [1, 2], "mine", io_timeout=3, stream_context={"no_delay": False})
    assert (target.address, target.args, target.user_context) == (ADDRESS, (1, 2), "mine")
    assert target.metadata == {"io_timeout": 3.0, "stream_context": StreamContext(no_delay=False)}
    assert (Target(ADDRESS).args, Target(ADDRESS).metadata) == (None, {})


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (Target(ADDRESS), Target(ADDRESS), True),
        (Target(ADDRESS), ADDRESS, True),
        (Target(ADDRESS), "tcp://127.0.0.1:2", False),
        (Target(ADDRESS, (1,)), Target(ADDRESS, [1]), True),
        (Target(ADDRESS, ()), ADDRESS, False),
        (Target(ADDRESS, user_context=1), ADDRESS, False),
        (Target(ADDRESS, io_timeout=1), Target(ADDRESS, io_timeout=2), False),
        (Target(ADDRESS, io_timeout=1), ADDRESS, False),
        (Target(ADDRESS), 3, False),
    ],
)
def test_equal_targets(first: Any, second: Any, equal: bool) -> None:
    assert (first == second) is (second == first) is equal
    assert not equal or hash(first) == hash(second)


def test_a_target_shows_what_it_was_made_of() -> None:
    assert repr(Target(ADDRESS)) == f"Target('{ADDRESS}')"
    shown = repr(Target(ADDRESS, (1,), "mine", io_timeout=3))
    assert shown == f"Target('{ADDRESS}', args=(1,), user_context='mine', io_timeout=3.0)"
    assert eval(shown, {"Target": Target}) == Target(ADDRESS, (1,), "mine", io_timeout=3)


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "words"),
    [
        ((ADDRESS,), {"io_timeuot": 1}, TypeError, "io_timeout"),
        ((ADDRESS,), {"keep_alive": True}, TypeError, "keep_alive"),
        ((ADDRESS,), {"io_timeout": -1}, ValueError, "io_timeout"),
        ((ADDRESS,), {"stream_context": {"no_dealy": 1}}, TypeError, "no_delay"),
        ((ADDRESS, "me"), {}, TypeError, "args"),
        ((ADDRESS, b"me"), {}, TypeError, "args"),
        ((ADDRESS, 3), {}, TypeError, "args"),
    ],
)
def test_what_a_target_cannot_be(
    arguments: tuple[Any, ...], keywords: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Target(*arguments, **keywords)


def test_an_outcome_has_a_result_or_raises_its_error() -> None:
    good = Outcome(Target(ADDRESS), 7)
    assert (good.ok, good.value, good.address) == (True, 7, ADDRESS)
    error = ConversationEndedError("over")
    bad: Outcome[int] = Outcome(Target(ADDRESS), error=error)
    assert (bad.ok, bad.result) == (False, None)
    for _ in range(2):
        with pytest.raises(ConversationEndedError) as caught:
            bad.value  # noqa: B018
        assert caught.value is error
    assert "7" in repr(good) and "over" in repr(bad) and ADDRESS in repr(bad)


def test_an_outcome_can_be_pickled() -> None:
    outcome = Outcome(Target(ADDRESS, (1,)), 7, attempts=2, times=Times(connecting=0.5))
    again = pickle.loads(pickle.dumps(outcome))
    assert (again.target, again.value, again.attempts) == (outcome.target, 7, 2)
    assert again.times == (0.0, 0.5, 0.0, 0.0)


@pytest.mark.parametrize(
    ("attempt", "backoff", "shortest"),
    [
        (2, 0.1, 0.1),
        (3, 0.1, 0.2),
        (4, 0.1, 0.4),
        (11, 0.1, 51.2),
        (12, 0.1, 60.0),
        (9999, 0.1, 60.0),
        (2, 90, 90),
        (3, 90, 90),
        (2, 0, 0),
        (9999, 0, 0),
    ],
)
def test_pauses_double_up_to_a_minute_and_vary_by_half(
    attempt: int, backoff: float, shortest: float
) -> None:
    assert pause_before(attempt, backoff, lambda: 0.0) == pytest.approx(shortest)
    assert pause_before(attempt, backoff, lambda: 1.0) == pytest.approx(1.5 * shortest)
    assert shortest == 0 or len({pause_before(attempt, backoff) for _ in range(100)}) > 50


def test_by_position_in_a_pattern() -> None:
    match Outcome(Target(ADDRESS), 3):
        case Outcome(target, result):
            assert (target.address, result) == (ADDRESS, 3)
    match DrainReport(1, 2):
        case DrainReport(finished, closed_idle, aborted):
            assert (finished, closed_idle, aborted) == (1, 2, [])
