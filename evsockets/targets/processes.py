"""Processes of this host that talk to the shards of a fan-out, over concurrent.futures."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import pickle
import signal
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any

from .._unpatched import original
from ..errors import WorkerLostError
from ..validation import check_int
from .plans import Plan
from .shards import job_of, load, run_shard

# Processes that one fan-out may have.
_MOST = 1024
# Targets of a shard, in limits: a shard waits for its slowest target.
_LIMITS = 10
# Seconds that a process has to end when it is told to, before it ends itself, and before it is killed.
_GRACE, _LAST = 0.7, 0.9


class Processes:
    """A pool of `count` processes, each with one shard at a time. A process that dies loses its shard and is
    replaced for the next one.

    TypeError or ValueError for a wrong `count`, TypeError for a plan that cannot be pickled.
    EngineUnavailableError.
    """

    def __init__(self, plan: Plan, count: int) -> None:
        check_int("processes", count, 1, _MOST)
        self.where = f"in {count} processes"
        self.shard = _LIMITS * plan.limit
        self.at_once = count
        self._job = job_of(plan)
        plan.executor().close()
        self._places = [_Place() for _ in range(count)]
        # Nothing is ever written: the end of what is read, which this process's own end is too, says to stop.
        self._reader: Connection[Any, Any] | None = None
        self._writer: Connection[Any, Any] | None = None

    def dumps(self, what: Any, /) -> bytes:
        """Pickle an object for a process."""
        return pickle.dumps(what)

    def begin(self) -> list[Future[Any]]:
        """Start the processes."""
        self._reader, self._writer = multiprocessing.Pipe(duplex=False)
        return [self._start(place) for place in self._places]

    def _start(self, place: _Place) -> Future[Any]:
        assert self._reader is not None
        place.pool = ProcessPoolExecutor(
            1, mp_context=place.context, initializer=_prepare, initargs=(self._job, self._reader)
        )
        why = "a process ended before it began: is fan_out called below `if __name__ == '__main__':`?"
        place.work = _handed_on(place.pool.submit(_begin), why)
        return place.work

    def capacity(self) -> int:
        """One for each process."""
        return len(self._places)

    def submit(self, shard: bytes) -> Future[bytes]:
        """Run a shard in an idle process."""
        place = next(place for place in self._places if place.work is None or place.work.done())
        assert place.pool is not None
        try:
            future = place.pool.submit(_run, shard)
        except BrokenProcessPool:
            place.pool.shutdown()
            self._start(place)
            future = place.pool.submit(_run, shard)
        place.work = _handed_on(future, "the process ended before the outcomes of its shard were known")
        return place.work

    def stop(self) -> None:
        """Stop all processes: running shards end within a fraction of a second."""
        if self._writer is not None:
            self._writer.close()

    def join(self) -> None:
        """Wait until all have ended; kill those that do not."""
        work = [place.work for place in self._places if place.work is not None]
        if concurrent.futures.wait(work, _LAST).not_done:
            for place in self._places:
                if place.work is not None and not place.work.done():
                    place.context.kill()
        for place in self._places:
            if place.pool is not None:
                place.pool.shutdown(cancel_futures=True)
        if self._reader is not None:
            self._reader.close()


class _Context(SpawnContext):
    """It knows the process that it started last."""

    _started: BaseProcess | None = None

    def Process(self, *args: Any, **keywords: Any) -> BaseProcess:  # type: ignore[override]
        self._started = SpawnContext.Process(*args, **keywords)
        return self._started

    def kill(self) -> None:
        """End that process at once."""
        if self._started is not None:
            with contextlib.suppress(ValueError):  # closed already
                self._started.kill()


class _Place:
    """A process and what it does: to begin, or a shard."""

    def __init__(self) -> None:
        self.context = _Context()
        self.pool: ProcessPoolExecutor | None = None
        self.work: Future[Any] | None = None


def _handed_on(future: Future[Any], why: str) -> Future[Any]:
    """The same, but that a process which has ended is a WorkerLostError that says `why`."""
    other: Future[Any] = Future()
    future.add_done_callback(partial(_hand_on, other, why))
    return other


def _hand_on(other: Future[Any], why: str, future: Future[Any]) -> None:
    if future.cancelled():
        other.cancel()
        return
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        error = WorkerLostError(why)
    if error is not None:
        other.set_exception(error)
    else:
        other.set_result(future.result())


# ---- in the processes -------------------------------------------------------------------------------------


class _Here:
    """What such a process knows."""

    job = b""
    stopped = False


def _prepare(job: bytes, reader: Any) -> None:
    """Called first. Nothing may fail here: of that the parent would know no reason."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent is told as well, and ends us
    _Here.job = job
    original("_thread", "start_new_thread")(_listen, (reader,))


def _listen(reader: Any) -> None:
    os.read(reader.fileno(), 1)
    _Here.stopped = True
    original("time", "sleep")(_GRACE)
    os._exit(1)


def _begin() -> None:
    """Raises what keeps the job from being understood here."""
    load(_Here.job)


def _run(shard: bytes) -> bytes:
    return run_shard(_Here.job, shard, lambda: _Here.stopped)
