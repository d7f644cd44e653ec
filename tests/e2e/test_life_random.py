"""Random lives on every engine."""

from __future__ import annotations

from evsockets import create_engine
from support.life_machine import run_life_machine


def test_events_of_random_lives_are_in_order(engine: str) -> None:
    """Handlers, peers and the user in between do anything they can; a life stays a life."""
    run_life_machine(lambda: create_engine(engine))
