"""Random lives on the scripted engine."""

from __future__ import annotations

from evsockets.testing.scripted import ScriptedEngine
from support.life_machine import run_life_machine


def test_events_of_random_lives_are_in_order() -> None:
    """Handlers, peers and the user in between do anything they can; a life stays a life."""
    run_life_machine(lambda: ScriptedEngine(look=True))
