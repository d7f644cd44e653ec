"""Asking all targets by `fan_out`: in rounds, with what came counted, until a signal or the end."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import Event, Outcome, SocketMetadata, Target, Timeline, fan_out
from ..fan_out import FanOut
from .asking import Answer, Ask, Plan, ask
from .common import naming_engines
from .results import Result, result_of

if TYPE_CHECKING:
    from .targets import Targets

#: Seconds between two looks at the display, and two flushes of the output.
_TICK = 0.1


class _Interrupted(BaseException):
    """A signal has come where there is no run to stop."""


class Rounds:
    """Runs `plan` with each of `targets`, and counts.

    A round ends where the targets have none for now (a pipe that is silent), and when redirects remain to be
    followed. `keywords` are those of `fan_out`.

    `signal` is the number of the one that ended it (SIGINT or SIGTERM), or None; `running` maps the numbers
    of those under way to their metadata.
    """

    def __init__(
        self, targets: Targets, plan: Plan, keywords: dict[str, Any], timeline: Timeline | None
    ) -> None:
        self.engine = ""
        self.seconds = 0.0
        self.finished = 0
        self.failures: Counter[str] = Counter()
        self.received = 0
        self.signal: int | None = None
        self.running: dict[int, tuple[Ask, SocketMetadata]] = {}
        self.targets = targets
        self._plan = plan
        self._keywords = keywords
        self._timeline = timeline
        self._fan: FanOut[Answer] | None = None
        self._began = time.monotonic()

    @property
    def failed(self) -> int:
        """How many have failed."""
        return self.failures.total()

    @property
    def elapsed(self) -> float:
        """Seconds since it began, until it ended."""
        return self.seconds or time.monotonic() - self._began

    def run(self, settle: Callable[[Result], bool], tick: Callable[[], None]) -> None:
        """Ask all. `settle` is told each result as it comes and says whether it is final; `tick` is called
        all the while, ten times a second at most.

        SIGINT and SIGTERM end it in order: who is under way has failed, and nobody else is asked.
        """
        self._began = time.monotonic()
        with self._stopped_by_signals():
            while self.signal is None and not self.targets.ended:
                self._round(settle, tick)
                tick()
        self.seconds = time.monotonic() - self._began
        self.running.clear()

    def _round(self, settle: Callable[[Result], bool], tick: Callable[[], None]) -> None:
        with naming_engines():
            fan = fan_out(
                ask, self._pulled(), args=(self._plan,), on_initialize=self._on_initialize, **self._keywords
            )
        executor = fan.executor

        def again() -> None:
            tick()
            executor.call_later(_TICK, again, keeps_running=False)

        with fan:
            self._fan, self.engine = fan, executor.engine.name
            if self._timeline is not None:
                executor.with_event_handler(self._timeline)
            again()
            for outcome in fan:
                self._settle(outcome, settle)
        self._fan = None

    def _pulled(self) -> Iterator[Target[Any]]:
        for each in self.targets.pull():
            yield Target(each.address, None, each)

    def _settle(self, outcome: Outcome[Answer], settle: Callable[[Result], bool]) -> None:
        result = result_of(outcome, self._keywords)
        self.running.pop(result.ask.number, None)
        self.received += result.received
        if settle(result):
            self.finished += 1
            if not result.ok:
                self.failures[result.outcome] += 1

    def _on_initialize(self, event: Event) -> None:
        mine: Ask = event.user_context
        mine.start = time.monotonic() - self._began
        self.running[mine.number] = mine, event.metadata

    @contextmanager
    def _stopped_by_signals(self) -> Iterator[None]:
        """While this lasts SIGINT and SIGTERM end the run in order: its table is still worth having."""

        def stop(number: int, _: Any) -> None:
            if self.signal is not None:  # once more: at once
                raise KeyboardInterrupt
            self.signal = number
            if self._fan is None or not self._fan.executor.is_executing:
                raise _Interrupted
            self._fan.executor.stop_request()

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        except _Interrupted:
            pass
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
