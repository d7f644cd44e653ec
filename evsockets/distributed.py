"""A fan-out over the workers of a Dask cluster: shards of the targets are its tasks."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ._generic import TypeVar
from .errors import WorkerLostError
from .targets.gathering import iterated
from .targets.handles import AsyncFanOut, FanOut
from .targets.outcomes import Target
from .targets.plans import Plan, plan
from .targets.shards import job_of, run_shard
from .targets.sharing import HostedShared, Progress, Shared
from .validation import check_int

if TYPE_CHECKING:
    from typing import Unpack

    from distributed import Client

    from .typing import FanOutKeywords

__all__ = ["fan_out", "fan_out_async"]

R = TypeVar("R", default=Any)

_CURE = "it is pickled by cloudpickle"
# A shard waits for its slowest target: one of fewer limits than this has empty places for too long.
_LIMITS = 10
# Seconds for which the number of the cluster's threads is taken for known.
_KNOWN = 1.0


def fan_out(
    client: Client,
    function: Callable[..., Coroutine[Any, Any, R]],
    targets: Iterable[str | Target],
    *,
    shard: int = 1000,
    in_flight: int | None = None,
    progress: Progress | None = None,
    args: Iterable[Any] = (),
    **same: Unpack[FanOutKeywords],
) -> FanOut[R]:
    """`evsockets.fan_out` on the workers of `client`'s Dask cluster, over many processes and machines.
    Returns an iterator of the targets' Outcomes, a shard at a time.

    Tasks of `shard` targets (1 or more) run `fan_out(function, targets, args=args, **same)`, so that `limit`
    and time-outs apply in each task. A UserWarning is given if `shard` is less than 10 times `limit`, because
    a shard waits for its slowest target. At most `in_flight` tasks are submitted at a time; None: twice the
    threads of the cluster, at least 2, counted again as tasks end. Targets are taken when their task is
    submitted. `progress(done, failed, lost, in_flight)` is called in this thread when outcomes arrive, with
    the number of targets with an outcome, of those with an error, of those with a WorkerLostError, and of
    submitted tasks.

    Every target has one outcome. The tasks of a worker that dies run again elsewhere, so that `function` may
    run more than once for a target. If Dask gives a task up, its targets get a WorkerLostError. A result or
    an error that cannot be pickled gives a TypeError in its outcome, SystemExit in a conversation a
    RuntimeError. An exception in a handler, or one that is not an `Exception`, ends everything and is raised.
    Leaving the loop, or `close()`, cancels waiting tasks and stops running ones within a second.

    `function` and `same` are pickled by cloudpickle. TypeError for arguments that cannot be pickled: instead
    of an `ssl.SSLContext` give `StreamContext(ca_data=PEM)`, paths, which the worker reads, or `tls=` a
    function that makes one. TypeError or ValueError for other invalid arguments. When the first outcome is
    requested: RuntimeError if a worker has another minor version of Python; ConnectionError, then or later,
    if the scheduler is lost.
    """
    if _checked(client).asynchronous:
        raise TypeError("this client is asynchronous: use evsockets.distributed.fan_out_async")
    pool = _pool(client, function, shard, in_flight, args, same)
    return FanOut(Shared(pool, iterated(targets), _callable(progress)))


def fan_out_async(
    client: Client,
    function: Callable[..., Coroutine[Any, Any, R]],
    targets: Iterable[str | Target],
    *,
    shard: int = 1000,
    in_flight: int | None = None,
    progress: Progress | None = None,
    args: Iterable[Any] = (),
    **same: Unpack[FanOutKeywords],
) -> AsyncFanOut[R]:
    """`fan_out` inside a running asyncio loop, for `async for` and `async with`; `client` is asynchronous."""
    pool = _pool(_checked(client), function, shard, in_flight, args, same)
    return AsyncFanOut(HostedShared(pool, iterated(targets), _callable(progress)))


def _checked(client: Any) -> Client:
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError('this needs Dask: pip install "evsockets[dask]"') from error
    if not isinstance(client, Client):
        raise TypeError(f"client must be a distributed.Client, got {client!r}")
    return client


def _callable(progress: Progress | None) -> Progress | None:
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must take (done, failed, lost, in_flight), got {progress!r}")
    return progress


def _pool(
    client: Client, function: Any, shard: int, in_flight: int | None, args: Iterable[Any], same: Any
) -> _Tasks:
    check_int("shard", shard, 1, 2**31 - 1)
    if in_flight is not None:
        check_int("in_flight", in_flight, 1, 2**31 - 1)
    if same.pop("processes", None) is not None:
        raise TypeError("processes is for evsockets.fan_out: here the cluster's workers are the processes")
    asked = plan(function, args=args, more=("shard", "in_flight", "progress"), **same)
    pool = _Tasks(client, asked, shard, in_flight)
    if shard < _LIMITS * asked.limit:
        why = "each shard waits for its slowest target"
        warnings.warn(f"shard={shard} is less than {_LIMITS} times limit={asked.limit}: {why}", stacklevel=3)
    return pool


def check_versions(workers: Mapping[str, Any], ours: tuple[int, int] = sys.version_info[:2]) -> None:
    """RuntimeError unless all workers, as `Client.get_versions()` tells of them, have our minor version of
    Python: pickles of functions that another one loads may end its process."""
    for address, told in workers.items():
        theirs = told["host"]["python"]
        if tuple(map(int, theirs.split(".")[:2])) != ours:
            mine = ".".join(map(str, ours))
            raise RuntimeError(f"the worker at {address} has Python {theirs}, this process {mine}: use one")


class _Tasks:
    """A pool of Dask tasks. TypeError for a plan that cannot be sent."""

    where = "on Dask"
    at_once = 1

    def __init__(self, client: Client, plan: Plan, shard: int, in_flight: int | None) -> None:
        import cloudpickle

        self.dumps: Callable[[Any], bytes] = cloudpickle.dumps
        self.shard = shard
        self._client: Any = client  # it has no types, or some that no checker understands
        self._job = job_of(plan, self.dumps, cure=_CURE)
        self._in_flight = in_flight
        self._threads = 0
        self._counted_at = 0.0
        self._stopped = False
        self._tasks: set[Any] = set()
        # Two runs share no task, and all of one run's are one group to the scheduler.
        self._name = f"fan_out-{uuid.uuid4().hex}"
        self._numbers = itertools.count()

    def begin(self) -> list[Future[Any]]:
        """Look at who is there."""
        return [self._called(self._look())]

    def capacity(self) -> int:
        """As many as were asked for, or as the cluster is large."""
        return max(2, 2 * self._threads) if self._in_flight is None else self._in_flight

    def submit(self, shard: bytes) -> Future[bytes]:
        """Make a task of it."""
        return self._called(self._talked(shard))

    def stop(self) -> None:
        """Release all tasks: Dask forgets them, and running ones see that.

        What waits for them in the client's loop ends by itself. Cancelled, it would also cancel what other
        users of the client wait for, since a client gathers the results of many tasks by one request.
        """
        self._stopped = True
        for task in list(self._tasks):
            task.release()

    def join(self) -> None:
        """What runs elsewhere is not waited for."""

    def _called(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """What the coroutine returns in the client's loop, which may be another thread's."""
        if self._client.status in ("closing", "closed"):
            coroutine.close()
            raise ConnectionError(f"{self._client!r} is closed")
        return asyncio.run_coroutine_threadsafe(coroutine, self._client.loop.asyncio_loop)

    async def _look(self) -> None:
        try:
            check_versions((await self._client.get_versions())["workers"])
            await self._count()
        except OSError as error:
            raise self._lost(error) from error

    async def _count(self) -> None:
        now = time.monotonic()
        if self._in_flight is None and now - self._counted_at > _KNOWN:
            self._counted_at = now
            self._threads = sum((await self._client.nthreads()).values())

    async def _talked(self, shard: bytes) -> bytes:
        from distributed.scheduler import KilledWorker

        if self._stopped:
            raise WorkerLostError("the fan-out was stopped before its shard was sent")
        key = self._name, next(self._numbers)
        python = tuple(sys.version_info[:2])
        task = self._client.submit(_task, python, self._job, shard, key, key=key, pure=False)
        self._tasks.add(task)
        if self._stopped:  # meanwhile, by another thread
            task.release()
        try:
            data: bytes = await task.result()
        except KilledWorker as error:
            raise WorkerLostError(f"Dask has given up its shard: {error}") from error
        except concurrent.futures.CancelledError as error:
            if self._client.status != "running":
                raise self._lost(error) from error
            raise WorkerLostError(f"its shard was cancelled: {error}") from error
        except OSError as error:
            raise self._lost(error) from error
        finally:
            self._tasks.discard(task)
            task.release()
        try:
            await self._count()
        except OSError:
            pass  # whoever needs the scheduler next hears of it; these outcomes are here
        return data

    def _lost(self, error: BaseException) -> ConnectionError:
        return ConnectionError(f"the scheduler of {self._client!r} is lost: {error}")


def _task(python: tuple[int, int], job: bytes, shard: bytes, key: tuple[str, int]) -> bytes:
    """What a worker does. A run that was cut short is nobody's result: the task is put back."""
    if python != sys.version_info[:2]:
        raise RuntimeError(f"this worker has Python {sys.version}, the client {python}: use the same")
    import cloudpickle
    from distributed import Reschedule, Status, get_worker

    worker = get_worker()
    cut_short = []

    def stopped() -> bool:
        state = worker.state.tasks.get(key)
        if state is None or state.state == "cancelled" or worker.status in (Status.closing, Status.closed):
            cut_short.append(True)
        return bool(cut_short)

    data = run_shard(job, shard, stopped, cloudpickle.dumps)
    if cut_short:
        raise Reschedule
    return data
