"""Who takes the turns of a fan-out: the caller that waits for an outcome, or a running asyncio loop."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from . import hosting
from .gathering import Gathering
from .outcomes import Outcome

if TYPE_CHECKING:
    import asyncio

R = TypeVar("R")

# Seconds after which those under way have a turn although there is an outcome to give.
_STALE = 0.005


class Turns(Generic[R]):
    """Turns are taken while an outcome is waited for."""

    def __init__(self, gathering: Gathering[R]) -> None:
        self._gathering = gathering
        self._executor = gathering.executor
        self._turned_at = 0.0
        # A turn in which a life has ended waits for nothing more.
        gathering.notify = partial(self._executor._loop.callbacks.append, (_nothing, ()))

    def next(self) -> Outcome[R]:
        """The next outcome. StopIteration when there is none; what the targets have raised before it."""
        gathering, loop = self._gathering, self._executor._loop
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
        gathering, clock = self._gathering, self._executor._loop.clock
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
        executor = self._executor
        if not executor.is_executing:
            executor.start_request(until_stopped=True)
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


class Hosted(Generic[R]):
    """The running asyncio loop takes them."""

    def __init__(self, gathering: Gathering[R]) -> None:
        import asyncio  # imported here: it is loaded where this runs, and elsewhere it would cost every start

        self._host = asyncio.get_running_loop()
        self._gathering = gathering
        self._changed = asyncio.Event()
        self._called = False
        self._task: asyncio.Task[None] | None = None
        if not gathering.closed:
            gathering.notify = self._call_soon
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
            self.close()
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
        while not gathering.outcomes:
            if self._is_over() or not gathering.busy:
                failed = gathering.failure is not None
                self.close()
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
        if not self._gathering.closed:
            self._gathering.stop()
            if self._host.is_closed():  # with the run under way
                self._gathering.executor.close()
            elif self._task is not None:
                self._task.cancel()

    async def over(self) -> None:
        """Wait until the executor is closed."""
        import asyncio

        if self._task is not None:
            await asyncio.wait([self._task])
