"""Happy Eyeballs: in which order the addresses of a name are tried."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evsockets.opening.connect import interleave

V6 = [(10, ("::1", port, 0, 0)) for port in range(3)]
V4 = [(2, ("127.0.0.1", port)) for port in range(3)]


def test_families_take_turns() -> None:
    assert interleave([*V6, *V4]) == [V6[0], V4[0], V6[1], V4[1], V6[2], V4[2]]
    assert interleave([V4[0], *V6]) == [V4[0], V6[0], V6[1], V6[2]]
    assert interleave(V4[:1]) == V4[:1]


@given(st.lists(st.sampled_from([*V6, *V4]), unique=True))
def test_every_address_stays_and_the_order_within_a_family(candidates: list[tuple[int, object]]) -> None:
    mixed = interleave(candidates)
    assert sorted(map(repr, mixed)) == sorted(map(repr, candidates))
    assert mixed[:1] == candidates[:1]
    for family in (10, 2):
        assert [c for c in mixed if c[0] == family] == [c for c in candidates if c[0] == family]
