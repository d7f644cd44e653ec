"""Asking all targets by `fan_out`: in rounds, with what came counted, until a signal or the end."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import ConversationEndedError, Event, Outcome, SocketMetadata, Target, Timeline, fan_out
from ..targets.shards import unbegun
from .asking import Answer, Ask, Plan, ask
from .common import naming_engines
from .results import Result, result_of

if TYPE_CHECKING:
    from distributed import Client

    from ..executor import RequestExecutor
    from ..targets.handles import FanOut
    from .targets import Targets

#: Seconds between two looks at the display, and two flushes of the output.
_TICK = 0.1
#: What ends a run in order, unless who started this has it ignored.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: A shard of targets that a worker of Dask asks has so many times the limit.
_SHARD = 10


class _Interrupted(BaseException):
    """A signal has come where there is no run to stop."""


class Rounds:
    """Runs `plan` with each of `targets`, and counts.

    A round ends where the targets have none for now (a pipe that is silent), and when redirects remain to be
    followed. `keywords` are those of `fan_out`. With a `client` the workers of its Dask cluster ask.

    `signal` is the number of the one that ended it (SIGINT or SIGTERM), or None; `running` maps the numbers
    of those under way to their metadata.
    """

    def __init__(
        self,
        targets: Targets,
        plan: Plan,
        keywords: dict[str, Any],
        timeline: Timeline | None = None,
        client: Client | None = None,
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
        self._client = client
        self._executor: RequestExecutor | None = None
        self._sent: dict[int, Target] = {}  # to the cluster; those without a result
        self._settling = False
        self._began = time.monotonic()

    @property
    def failed(self) -> int:
        """How many have failed."""
        return self.failures.total()

    @property
    def under_way(self) -> int:
        """How many are being asked, or have been sent to the cluster."""
        return len(self._sent) or len(self.running)

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
                with self._here(tick) if self._client is None else self._there(self._client, tick) as fan:
                    for outcome in fan if self._client is None else self._taken(fan, tick):
                        self._settle(outcome, settle)
                self._executor = None
                tick()
        for outcome in unbegun(list(self._sent.values()), ConversationEndedError, "the run was interrupted"):
            self._settle(outcome, settle)
        self.seconds = time.monotonic() - self._began
        self.running.clear()

    def _here(self, tick: Callable[[], None]) -> FanOut[Answer]:
        with naming_engines():
            fan = fan_out(
                ask, self._pulled(), args=(self._plan,), on_initialize=self._on_initialize, **self._keywords
            )
        executor = self._executor = fan.executor
        self.engine = executor.engine.name
        if self._timeline is not None:
            executor.with_event_handler(self._timeline)

        def again() -> None:
            tick()
            executor.call_later(_TICK, again, keeps_running=False)

        again()
        return fan

    def _there(self, client: Client, tick: Callable[[], None]) -> FanOut[Answer]:
        from ..distributed import fan_out as fan_out_there

        self.engine = f"{self._keywords['engine'] or 'any'} of Dask's workers"
        return fan_out_there(
            client, ask, self._pulled(), args=(self._plan,), shard=_SHARD * self._keywords["limit"],
            progress=lambda *_: tick(), **self._keywords,
        )  # fmt: skip

    def _taken(self, fan: FanOut[Answer], tick: Callable[[], None]) -> Iterator[Outcome[Answer]]:
        """Its outcomes; after a signal, those that have come."""
        while (has_come := len(self._sent) > fan.running) or self.signal is None:
            if not has_come:
                tick()
            outcome = next(fan, None)
            if outcome is None:
                return
            self._settling = True
            yield outcome
            self._settling = False

    def _pulled(self) -> Iterator[Target[Any]]:
        for each in self.targets.pull():
            target = Target(each.address, None, each)
            if self._client is not None:
                self._sent[each.number] = target
            yield target

    def _settle(self, outcome: Outcome[Answer], settle: Callable[[Result], bool]) -> None:
        result = result_of(outcome, self._keywords)
        self.running.pop(result.ask.number, None)
        self._sent.pop(result.ask.number, None)
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
            if self.signal is not None:  # once more: at once, but Dask's client is ending as fast as it can
                if self._client is None:
                    raise KeyboardInterrupt
                return
            self.signal = number
            if self._executor is not None and self._executor.is_executing:
                self._executor.stop_request()
            elif not self._settling:  # else the loop sees it
                raise _Interrupted

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, stop) for number in heard}
        try:
            yield
        except _Interrupted:
            pass
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
