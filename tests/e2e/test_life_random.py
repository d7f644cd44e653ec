"""Random lives on every engine."""

from __future__ import annotations

import pytest

from evsockets import create_engine
from support.life_machine import run_life_machine


# The games and their moves are counted, so this ends however busy the machine is; unless something hangs.
@pytest.mark.timeout(1200)
def test_events_of_random_lives_are_in_order(engine: str) -> None:
    """Handlers, peers and the user in between do anything they can; a life stays a life."""
    run_life_machine(lambda: create_engine(engine))
