"""Limitation solvers, which decide whether a socket may start."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .context import ExecutionContext
    from .executor import RequestExecutor
    from .typing import Client


class LimitationDecision(Enum):
    """The decision about a socket that is ready to start."""

    OK = "ok"
    """It starts."""

    PROCESS_SCHEDULED = "process-scheduled"
    """It waits, and so do all others until the solver is next called."""

    SKIP_CURRENT = "skip-current"
    """It waits; the solver is called for the next socket."""


class LimitationSolver(ABC):
    """Decides which of the waiting sockets may start.

    A solver that is also callable gets the sockets' events, after every other handler. An attribute
    `listens_to` limits it to some members of `EventType`; other events then cost nothing.
    """

    def initialize(self, executor: RequestExecutor, context: ExecutionContext) -> None:
        """Called once at the beginning of a run."""
        return None

    @abstractmethod
    def decide(
        self, executor: RequestExecutor, socket: Client, context: ExecutionContext, total: int
    ) -> LimitationDecision:
        """Whether `socket` may start now. `total` counts the sockets that are not complete."""

    def finalize(self, executor: RequestExecutor, context: ExecutionContext) -> None:
        """Called once at the end of a run, also after errors."""
        return None


class NoLimitationSolver(LimitationSolver):
    """Every socket starts at once."""

    def decide(
        self, executor: RequestExecutor, socket: Client, context: ExecutionContext, total: int
    ) -> LimitationDecision:
        """Always OK."""
        return LimitationDecision.OK


class ConstantLimitationSolver(LimitationSolver):
    """At most `limit` sockets run at a time, in each executor; listening sockets do not count.

    Raises TypeError if the limit is not an int, ValueError if it is below 1.
    """

    def __init__(self, limit: int) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(f"limit must be an int, not {type(limit).__name__}")
        if limit < 1:
            raise ValueError(f"limit must be at least 1: {limit}")
        self._limit = limit

    @property
    def limit(self) -> int:
        """The greatest number of sockets that run at a time."""
        return self._limit

    def decide(
        self, executor: RequestExecutor, socket: Client, context: ExecutionContext, total: int
    ) -> LimitationDecision:
        """OK while fewer than the limit run, else PROCESS_SCHEDULED."""
        running = executor._loop.admission.clients
        return LimitationDecision.OK if running < self._limit else LimitationDecision.PROCESS_SCHEDULED

    def __repr__(self) -> str:
        return f"ConstantLimitationSolver({self._limit})"
