"""Happy Eyeballs: which address is tried when, whatever the attempts do."""

from __future__ import annotations

import errno
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsockets.race import AddressRace, interleave

V6 = [(10, ("::1", port, 0, 0)) for port in range(3)]
V4 = [(2, ("127.0.0.1", port)) for port in range(3)]
REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "refused")


def test_families_take_turns() -> None:
    assert interleave([*V6, *V4]) == [V6[0], V4[0], V6[1], V4[1], V6[2], V4[2]]
    assert interleave([V4[0], *V6]) == [V4[0], V6[0], V6[1], V6[2]]
    assert interleave([V4[0], V4[0], V4[1]]) == [V4[0], V4[1]]
    assert interleave([]) == []


@given(st.lists(st.sampled_from([*V6, *V4])))
def test_interleaving_keeps_every_address_once_and_the_order_within_a_family(
    candidates: list[tuple[int, object]],
) -> None:
    mixed = interleave(candidates)
    assert sorted(map(repr, mixed)) == sorted(map(repr, set(candidates)))
    assert mixed[:1] == candidates[:1]
    for family in (10, 2):
        assert [c for c in mixed if c[0] == family] == [
            c for c in dict.fromkeys(candidates) if c[0] == family
        ]


def test_next_attempt_starts_after_the_delay() -> None:
    race = AddressRace(V4, delay=0.25)
    due = race.due()
    assert due is not None
    assert due <= 100.0
    assert race.start(100.0) == V4[0]
    assert race.start(100.0) is None
    assert race.due() == 100.25
    assert race.start(100.2) is None
    assert race.start(100.25) == V4[1]
    assert race.due() == 100.5
    assert race.start(200.0) == V4[2]
    assert race.pending == 3
    assert race.exhausted
    assert race.due() is None
    assert race.start(300.0) is None


def test_next_attempt_starts_at_once_when_one_fails() -> None:
    race = AddressRace(V4[:2])
    race.start(100.0)
    race.failed(V4[0], REFUSED, 100.1)
    assert race.due() == 100.1
    assert not race.exhausted
    assert race.pending == 0
    assert race.start(100.1) == V4[1]
    race.failed(V4[1], REFUSED, 100.2)
    assert race.exhausted
    assert race.pending == 0
    assert race.attempts == [(V4[0], REFUSED), (V4[1], REFUSED)]


def test_a_failure_brings_one_attempt_only() -> None:
    race = AddressRace([*V4, *V6])
    race.start(100.0)
    race.start(100.25)
    race.failed(V4[0], REFUSED, 100.3)
    assert race.start(100.3) == V4[1]
    assert race.start(100.3) is None


def test_no_addresses() -> None:
    race: AddressRace[tuple[int, object]] = AddressRace([])
    assert race.exhausted
    assert race.due() is None
    assert race.start(0.0) is None


def test_only_a_pending_attempt_can_fail() -> None:
    race = AddressRace(V4)
    with pytest.raises(ValueError, match="no attempt"):
        race.failed(V4[0], REFUSED, 0.0)
    race.start(0.0)
    race.failed(V4[0], REFUSED, 0.0)
    with pytest.raises(ValueError, match="no attempt"):
        race.failed(V4[0], REFUSED, 0.0)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_interleaving(count: int) -> None:
    """Play every order of delays running out and attempts failing, and check the promises at each step."""
    candidates = interleave([*V6, *V4])[:count]
    steps = 2 * count
    for script in itertools.product(("wait", "fail first", "fail last", "poll"), repeat=steps):
        race = AddressRace(candidates, delay=1.0)
        now = 0.0
        started = [race.start(now)]
        pending = list(started)
        last = now
        for step in script:
            now += 0.25
            failed = False
            if step == "wait":
                now = max(now, race.due() or 0.0)
            elif step.startswith("fail") and pending:
                loser = pending.pop(0 if step == "fail first" else -1)
                assert loser is not None
                race.failed(loser, REFUSED, now)
                failed = True
            before = race.due()
            found = race.start(now)
            if found is None:
                assert race.exhausted or (before is not None and before > now)
                assert race.exhausted or not failed
            else:
                assert before is not None
                assert before <= now
                # Never early: the delay is over, or something has failed since the last start.
                assert failed or now - last >= 1.0
                started.append(found)
                pending.append(found)
                last = now
                assert race.start(now) is None
            assert race.pending == len(pending)
            assert len(race.attempts) + race.pending == len(started)
            assert race.exhausted == (len(started) == count)
            assert (race.due() is None) == race.exhausted
            # While nothing is under way, the next start is due: the race cannot hang.
            if not pending and not race.exhausted:
                due = race.due()
                assert due is not None
                assert due <= now
        assert started == candidates[: len(started)]
