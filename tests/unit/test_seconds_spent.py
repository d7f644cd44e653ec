"""What is told of the stages of an opening: which there were, and what each took."""

from __future__ import annotations

import pytest

from evsockets.core.states import seconds_spent

RESOLVED = (("resolving", 1.1), ("connecting", 2.0), ("handshaking", 5.0))


@pytest.mark.parametrize(
    ("steps", "began", "until", "spent"),
    [
        ((), 1.0, 4.0, {"connecting": 3.0}),
        (RESOLVED, 1.0, 9.0, {"resolving": 1.0, "connecting": 3.0, "handshaking": 4.0}),
        (RESOLVED[2:], 1.0, 9.0, {"connecting": 4.0, "handshaking": 4.0}),
        (RESOLVED[2:], None, 9.0, {"handshaking": 4.0}),  # an accepted client's
        (RESOLVED[2:], 1.0, 3.0, {"connecting": 2.0}),  # STARTTLS came later
        (RESOLVED[:1], 1.0, 3.0, {"resolving": 2.0}),  # the name is unknown
        ((), None, 9.0, {}),
        ((), 5.0, 4.0, {"connecting": 0.0}),
    ],
)
def test_seconds_spent(
    steps: tuple[tuple[str, float], ...], began: float | None, until: float, spent: dict[str, float]
) -> None:
    assert seconds_spent(steps, began, until) == spent
