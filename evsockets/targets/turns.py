"""Who takes the turns of a fan-out: the caller that waits for an outcome, or a running asyncio loop."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from .. import hosting
from .gathering import Gathering
from .outcomes import Outcome, Target
from .plans import Plan

if TYPE_CHECKING:
    import asyncio

    from ..executor import RequestExecutor

R = TypeVar("R")

# Seconds after which those under way have a turn although there is an outcome to give.
_STALE = 0.005


class Run(Generic[R]):
    """A gathering on an executor of its own, which are made by `open`."""

    _executor: RequestExecutor | None = None
    _gathering: Gathering[R]

    def __init__(self, plan: Plan, targets: Iterator[str | Target]) -> None:
        self._plan = plan
        self._targets = targets

    def open(self) -> None:
        """Make them. What is raised here leaves the executor to `close`."""
        self._executor = self._plan.executor()
        self._gathering = self._plan.gathering(self._executor, self._targets)
        del self._targets

    @property
    def closed(self) -> bool:
        """Whether there is nothing to close."""
        return self._executor is None or self._executor._loop.closed

    @property
    def running(self) -> int:
        """How many targets are being talked to, or connected with."""
        return self._gathering.running

    @property
    def executor(self) -> RequestExecutor:
        """What runs them."""
        assert self._executor is not None
        return self._executor

    @property
    def where(self) -> str:
        """Where they run, for a repr."""
        return f"on {self.executor.engine.name}"

    def _close(self) -> None:
        """Close the gathering and the executor, as far as they have been made."""
        if hasattr(self, "_gathering"):
            self._gathering.close()
        elif self._executor is not None:
            self._executor.close()


class Turns(Run[R]):
    """Turns are taken while an outcome is waited for."""

    def open(self) -> None:
        """Make the gathering and its executor."""
        super().open()
        self._begun = False
        self._turned_at = 0.0
        # A turn in which a life has ended waits for nothing more.
        self._gathering.notify = partial(self.executor._loop.callbacks.append, (_nothing, ()))

    def close(self) -> None:
        """See `FanOut.close`."""
        self._close()
        if hasattr(self, "_gathering"):
            self._gathering.failure = None

    def next(self) -> Outcome[R]:
        """The next outcome. StopIteration when there is none; what the targets have raised before it."""
        gathering, loop = self._gathering, self.executor._loop
        loop.check_thread()
        if loop.in_turn:
            raise RuntimeError("outcomes cannot be asked for from inside the run that makes them")
        try:
            there_is_one = self._advance()
        except BaseException:
            gathering.close()
            raise
        # In no variable: an error's traceback holds the frames of its time, and this one.
        if there_is_one:
            return gathering.outcomes.popleft()
        failed = gathering.failure is not None
        gathering.close()
        if failed:
            raise gathering.take_failure()
        raise StopIteration

    def _advance(self) -> bool:
        gathering, clock = self._gathering, self.executor._loop.clock
        if self._begun and not self.executor.is_executing:
            gathering.run_over()  # a drain between two outcomes has taken the turns that were left
        while not gathering.closed:
            gathering.settle()
            if gathering.outcomes and (not gathering.running or clock() - self._turned_at < _STALE):
                return True
            gathering.fill()
            if not gathering.busy:
                break
            self._turn(0.0 if gathering.outcomes or gathering.pulls else None)
            self._turned_at = clock()
        return False

    def _turn(self, timeout: float | None) -> None:
        executor = self.executor
        if not self._begun:
            executor.start_request(until_stopped=True)
            self._begun = True
        waker = executor._loop.waker
        try:
            if timeout is None:
                waker.hear_signals()
            more = executor.turn(timeout)
        finally:
            waker.ignore_signals()
        if not more:
            self._gathering.run_over()


def _nothing() -> None:
    """Called in a turn that shall not wait."""


class Hosted(Run[R]):
    """The asyncio loop that runs when the first outcome is asked for takes them."""

    _host: asyncio.AbstractEventLoop | None = None
    _task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Make the gathering and its executor. UnsupportedOperationError if asyncio cannot wait for it."""
        super().open()
        self.executor.fileno()
        self._called = False

    def _begin(self) -> None:
        import asyncio  # imported here: it is loaded where this runs, and elsewhere it would cost every start

        self._host = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        if not self._gathering.closed:
            self._gathering.notify = self._call_soon
            self._task = self._host.create_task(self._run())
            self._call_soon()

    async def _run(self) -> None:
        """The run; what ends it is the gathering's failure."""
        gathering = self._gathering
        try:
            await hosting.run_in_asyncio(gathering.executor._loop, None, until_stopped=True)
            gathering.run_over()
        except BaseException as error:
            if not gathering.closed:
                gathering.failure = error
            gathering.closed = True
        finally:
            gathering.notify = None
            gathering.executor.close()
            if gathering.closed:
                gathering.let_go()
            self._changed.set()

    def _call_soon(self) -> None:
        if not self._called:
            assert self._host is not None
            self._called = True
            self._host.call_soon(self._pump)

    def _pump(self) -> None:
        gathering = self._gathering
        self._called = False
        if self._is_over() or gathering.closed:
            return
        try:
            gathering.settle()
            gathering.fill()
        except BaseException as error:
            self._end()
            gathering.failure = error
            return
        if gathering.outcomes or not gathering.busy:
            self._changed.set()
        if gathering.pulls:
            self._call_soon()

    def _is_over(self) -> bool:
        return self._task is None or self._task.done()

    async def next(self) -> Outcome[R]:
        """The next outcome. StopAsyncIteration when there is none; what the targets have raised before it."""
        gathering = self._gathering
        if self._host is None:
            self._begin()
        while not gathering.outcomes:
            if self._is_over() or not gathering.busy:
                failed = gathering.failure is not None
                self._end()
                await self.over()
                if failed:
                    raise gathering.take_failure()
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        if not self._is_over():
            self._call_soon()  # for the place that is free now
        return gathering.outcomes.popleft()

    def close(self) -> None:
        """See `AsyncFanOut.close`."""
        self._end()
        if hasattr(self, "_gathering"):
            self._gathering.failure = None

    def _end(self) -> None:
        if self._host is None:
            self._close()
        elif not self._gathering.closed:
            self._gathering.stop()
            if self._host.is_closed():  # with the run under way
                self.executor.close()
            elif self._task is not None:
                self._task.cancel()

    async def over(self) -> None:
        """Wait until the executor is closed."""
        import asyncio

        if self._task is not None:
            await asyncio.wait([self._task])
