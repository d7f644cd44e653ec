"""What an engine holds for a watched descriptor: the token whose stepper the turn calls."""

from __future__ import annotations

from typing import Any

from .deadlines import Timed


class Token(Timed):
    """A watched descriptor's side of the turn.

    `stepper` takes a step when the descriptor is ready; None once the token is closed. `watched` is the
    interest the engine knows. `indirect`: what is to be watched is not simply the stepper's interest,
    because a layer lies between (TLS) or the stream has ended, so it is looked at after every step.
    """

    __slots__ = ("indirect", "stepper", "watched")

    stepper: Any
    watched: int
    indirect: bool

    def advance(self, following: Any) -> None:
        """The step returned `following`, which is not the stepper."""
        raise NotImplementedError

    def refused(self, error: OSError) -> None:
        """What the engine had taken to be watched the system has refused."""
        raise NotImplementedError

    @property
    def channel(self) -> Any:
        """The channel whose failure an exception of the step is; None: it is the run's."""
        return self
