"""What each request did when: the phases of its life, on one time axis."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

#: The phases of a request, in the order in which they are shown.
PHASES = ("resolving", "connecting", "handshaking", "writing", "reading", "waiting")


@dataclass(slots=True)
class Phase:
    """One stretch of time; `start` and `end` are seconds since the run began, `end` None while it lasts."""

    name: str
    start: float
    end: float | None = None


@dataclass(slots=True)
class PhaseLog:
    """The phases of one request, in order, without gaps."""

    origin: float = field(default_factory=time.monotonic)
    phases: list[Phase] = field(default_factory=list)

    def enter(self, name: str, now: float | None = None) -> None:
        """Begin phase `name`, ending the one before; nothing happens if it is the current one."""
        at = (time.monotonic() if now is None else now) - self.origin
        if self.phases:
            last = self.phases[-1]
            if last.end is None:
                if last.name == name:
                    return
                last.end = at
        self.phases.append(Phase(name, at))

    def finish(self, now: float | None = None) -> None:
        """End the current phase, if one lasts."""
        if self.phases and self.phases[-1].end is None:
            self.phases[-1].end = (time.monotonic() if now is None else now) - self.origin

    @property
    def current(self) -> str | None:
        """The phase that lasts, or None."""
        return self.phases[-1].name if self.phases and self.phases[-1].end is None else None

    @property
    def start(self) -> float | None:
        """Seconds from the run's beginning to the request's, or None if it never began."""
        return self.phases[0].start if self.phases else None

    def seconds(self, name: str | None = None) -> float | None:
        """Return the time spent in phase `name` (None: in all), or None if that never was."""
        now = time.monotonic() - self.origin
        spent = [
            (now if phase.end is None else phase.end) - phase.start
            for phase in self.phases
            if name is None or phase.name == name
        ]
        return sum(spent) if spent else None
