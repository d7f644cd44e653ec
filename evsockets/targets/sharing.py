"""The iterators of a fan-out that runs in other processes, and its submitted shards."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from .._generic import Generic, TypeVar
from ..errors import WorkerLostError
from .outcomes import Outcome
from .shards import packed, shards_of, unbegun, unpacked

if TYPE_CHECKING:
    import asyncio

    from ..executor import RequestExecutor

R = TypeVar("R", default=Any)

#: How many targets have an outcome, how many of these have an error, and how many of these a WorkerLostError;
#: and how many shards are out.
Progress = Callable[[int, int, int, int], object]


class Pool(Protocol):
    """The processes or the cluster that run shards."""

    where: str
    shard: int  # how many targets a shard has
    at_once: int  # for how many shards targets are pulled at a time

    def dumps(self, what: Any, /) -> bytes:
        """Pickle an object for the pool."""

    def begin(self) -> list[Future[Any]]:
        """Start the pool: it is ready when all of these are done; their exceptions end the fan-out."""

    def capacity(self) -> int:
        """The number of shards that may be submitted now."""

    def submit(self, shard: bytes) -> Future[bytes]:
        """Run a shard. The future raises WorkerLostError if the shard was given up, and any other exception
        if the whole fan-out fails."""

    def stop(self) -> None:
        """Stop running shards, and start no more."""

    def join(self) -> None:
        """Wait until all have stopped. Processes that do not within a second are killed."""


class Shards(Generic[R]):
    """The submitted shards, and the outcomes of finished ones."""

    def __init__(self, pool: Pool, targets: Iterator[Any], progress: Progress | None = None) -> None:
        self.outcomes: deque[Outcome[R]] = deque()
        self.closed = False
        self._pool = pool
        self._starting: list[Future[Any]] | None = None
        self._shards: Iterator[list[Any]] | None = shards_of(targets, pool.shard, pool.at_once)
        self._out: dict[Future[bytes], list[Any]] = {}
        self._failure: BaseException | None = None
        self._progress = progress
        self._done = self._failed = self._lost = 0

    @property
    def where(self) -> str:
        """Where the shards run, for a repr."""
        return self._pool.where

    @property
    def running(self) -> int:
        """The number of targets in submitted shards."""
        return sum(map(len, self._out.values()))

    @property
    def executor(self) -> RequestExecutor:
        """Raises: the executors are in other processes."""
        raise RuntimeError("these outcomes come from other processes, each of which has executors of its own")

    def open(self) -> None:
        """Does nothing: the pool starts with the first request for an outcome."""

    def _awaited(self) -> list[Future[Any]]:
        """Send what may be sent, and return what is waited for: nothing if no outcome comes any more."""
        if self._starting is None:
            self._starting = [self._watched(future) for future in self._pool.begin()]
        for future in self._starting:
            if future.done():
                future.result()
        self._starting = [future for future in self._starting if not future.done()]
        if self._starting:
            return self._starting
        while self._shards is not None and not self.outcomes and len(self._out) < self._pool.capacity():
            try:
                targets = next(self._shards)
            except StopIteration:
                self._shards = None
            except Exception as error:
                self._shards, self._failure = None, error
            else:
                shard, targets, bad = packed(targets, self._pool.dumps)
                if targets:
                    self._out[self._watched(self._pool.submit(shard))] = targets
                self._give(bad)
        return list(self._out)

    def _watched(self, future: Future[Any]) -> Future[Any]:
        """The same, when it is known who is to be told of its end."""
        return future

    def _take(self) -> None:
        """Take in a shard that is back, if there is one. Others keep their places until they are taken."""
        future = next(filter(Future.done, self._out), None)
        if future is None:
            return
        targets = self._out.pop(future)
        self._awaited()  # nobody waits while this one is looked at
        try:
            outcomes, failure = unpacked(future.result(), targets)
        except WorkerLostError as error:
            outcomes, failure = unbegun(targets, WorkerLostError, str(error)), None
            self._lost += len(outcomes)
        self._give(outcomes)
        if failure is not None:
            self._abandon()
            self._failure = failure

    def _give(self, outcomes: list[Outcome[R]]) -> None:
        self.outcomes.extend(outcomes)
        self._done += len(outcomes)
        self._failed += sum(outcome.error is not None for outcome in outcomes)
        if self._progress is not None and outcomes:
            self._progress(self._done, self._failed, self._lost, len(self._out))

    def _abandon(self) -> None:
        """Nothing more is wanted of those that are out."""
        self._shards = self._failure = None
        self._starting = []
        self._out.clear()
        self._pool.stop()

    def _taken_failure(self) -> BaseException | None:
        failure, self._failure = self._failure, None
        return failure


class Shared(Shards[R]):
    """Outcomes for which the caller waits."""

    def next(self) -> Outcome[R]:
        """The next outcome. StopIteration after the last, or before it the exception that ended all."""
        try:
            while not self.outcomes and (awaited := self._awaited()):
                concurrent.futures.wait(awaited, return_when=concurrent.futures.FIRST_COMPLETED)
                self._take()
        except BaseException:
            self.close()
            raise
        if self.outcomes:
            return self.outcomes.popleft()
        failure = self._taken_failure()
        self.close()
        if failure is not None:
            raise failure
        raise StopIteration

    def close(self) -> None:
        """See `FanOut.close`."""
        if not self.closed:
            self.closed = True
            self.outcomes.clear()
            self._abandon()
            self._pool.join()


class HostedShared(Shards[R]):
    """Outcomes for which asyncio waits."""

    _host: asyncio.AbstractEventLoop | None = None
    _joining: asyncio.Future[None] | None = None

    async def next(self) -> Outcome[R]:
        """The next outcome. StopAsyncIteration after the last, or before it the exception that ended all."""
        import asyncio

        if self._host is None:
            self._host = asyncio.get_running_loop()
            self._changed = asyncio.Event()
        try:
            while not self.outcomes and (awaited := self._awaited()):
                if not any(map(Future.done, awaited)):  # several may have ended by one change
                    await self._changed.wait()
                self._changed.clear()
                self._take()
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):  # else who waits may ask again
                self.close()
            raise
        if self.outcomes:
            return self.outcomes.popleft()
        failure = self._taken_failure()
        self.close()
        await self.over()
        if failure is not None:
            raise failure
        raise StopAsyncIteration

    def _watched(self, future: Future[Any]) -> Future[Any]:
        future.add_done_callback(self._tell)
        return future

    def _tell(self, future: Future[Any]) -> None:
        assert self._host is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._host.call_soon_threadsafe(self._changed.set)

    def close(self) -> None:
        """See `AsyncFanOut.close`."""
        if self.closed:
            return
        self.closed = True
        self.outcomes.clear()
        self._abandon()
        if self._host is None or not self._host.is_running():
            self._pool.join()
        else:
            self._joining = self._host.run_in_executor(None, self._pool.join)

    async def over(self) -> None:
        """Wait until running shards have ended."""
        if self._joining is not None:
            await self._joining
