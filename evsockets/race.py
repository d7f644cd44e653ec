"""Happy Eyeballs (RFC 8305) as a state machine without sockets and without a clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from .address import SockAddr

Candidate = TypeVar("Candidate", bound=tuple[int, SockAddr])


class AddressRace(Generic[Candidate]):
    """Say which address to try next, and when.

    `candidates` are `(family, sockaddr)` in order of preference; the families take turns, the preferred one
    first. While an attempt is undecided the next one starts `delay` seconds after it; when one fails the next
    is due at once. All times are the caller's clock, in seconds.
    """

    __slots__ = ("_delay", "_due", "_pending", "_waiting", "attempts")

    def __init__(self, candidates: Sequence[Candidate], delay: float = 0.25) -> None:
        # The next one last.
        self._waiting = list(candidates) if len(candidates) == 1 else interleave(candidates)[::-1]
        self._pending: list[Candidate] = []
        self._delay = delay
        self._due: float | None = None  # None before the first start: due at any time
        self.attempts: list[tuple[Candidate, OSError]] = []

    def start(self, now: float) -> Candidate | None:
        """Return the address to try now, None if none is due. Call again: more than one may be."""
        if not self._waiting or (self._due is not None and now < self._due):
            return None
        candidate = self._waiting.pop()
        self._pending.append(candidate)
        self._due = now + self._delay
        return candidate

    def failed(self, candidate: Candidate, error: OSError, now: float) -> None:
        """Note that the attempt at `candidate` failed with `error`. Raises ValueError if there was none."""
        try:
            self._pending.remove(candidate)
        except ValueError:
            raise ValueError(f"no attempt at {candidate!r} is pending") from None
        self.attempts.append((candidate, error))
        self._due = now

    def due(self) -> float | None:
        """Return when `start` has something to give (a time gone by: now), None if it never will again."""
        if not self._waiting:
            return None
        return float("-inf") if self._due is None else self._due

    @property
    def exhausted(self) -> bool:
        """True when every address has been started; with `pending` at 0 the race is lost."""
        return not self._waiting

    @property
    def pending(self) -> int:
        """The number of attempts not decided yet."""
        return len(self._pending)


def interleave(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Let the families take turns, in the order each first appears; drop repetitions."""
    families: dict[int, deque[Candidate]] = {}
    for candidate in dict.fromkeys(candidates):
        families.setdefault(candidate[0], deque()).append(candidate)
    mixed: list[Candidate] = []
    while families:
        for family in list(families):
            mixed.append(families[family].popleft())
            if not families[family]:
                del families[family]
    return mixed
