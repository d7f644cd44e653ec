"""The orderly end of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .deadlines import INFINITY

if TYPE_CHECKING:
    from .channel import Channel
    from .channel.state import State
    from .run import Run
    from .sockets import Socket


@dataclass
class DrainReport:
    """How a drained run ended.

    `finished`: sockets whose operations ended by themselves. `closed_idle`: idle connections closed at
    once. `aborted`: `(socket, why)` for each one ended at the deadline.
    """

    finished: int = 0
    closed_idle: int = 0
    aborted: list[tuple[Socket, str]] = field(default_factory=list)


class Drain:
    """One drain on its way."""

    def __init__(self, executor: Run, timeout: float | None) -> None:
        self.report = DrainReport()
        self.deadline = INFINITY
        self._executor = executor
        self._asked_at = executor.clock()
        # Whose handler is running, if any. (The executor itself: a thread-safe callback is.)
        self._asked_by = executor.current if executor.current is not executor else None
        self._timeout = timeout
        self._begun = False
        self._over = False
        self._silent = False

    def begin(self) -> None:
        """In the executor's thread: stop listening and close what idles."""
        executor = self._executor
        if self._over or self._begun:
            return
        self._begun = True
        if self._timeout is not None:
            self.deadline = executor.clock() + self._timeout
        for channel in list(executor.admission.waiting):
            # Never started: it stays in the bag for another run, as with stop_request().
            executor.admission.set_aside(channel)
        for channel in executor.running():
            if channel.socket.is_server:
                self._end(channel)
            elif channel.operation is not None and channel.operation.phase == "idle":
                if self._ended_meanwhile(channel):
                    self.report.finished += 1
                else:
                    self.report.closed_idle += 1
                self._end(channel)
            else:
                channel.metadata._keep_alive = False

    def _ended_meanwhile(self, channel: Channel) -> bool:
        """Whether an idle one's operation ended while this drain was on its way here."""
        if self._asked_by is not None:
            return channel is self._asked_by
        return channel.io_start is not None and channel.io_start.when > self._asked_at

    def _end(self, channel: Channel) -> None:
        self._silent = True
        try:
            self._executor.guarded(channel, channel.end)
        finally:
            self._silent = False

    def ended(self, channel: State) -> None:
        """A socket's life is over."""
        if not self._silent and not channel.socket.is_server:
            self.report.finished += 1

    def expire(self) -> None:
        """The deadline: abort the rest."""
        for channel in self._executor.running():
            self.report.aborted.append((channel.socket, f"still {channel.doing()} after {self._timeout:g} s"))
            self._end(channel)

    def finish(self) -> None:
        """The run is over."""
        self._over = True
