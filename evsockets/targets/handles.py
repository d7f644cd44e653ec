"""The iterators that a fan-out returns: its outcomes as they end, and `close`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from .._generic import Generic, TypeVar
from .outcomes import Outcome

if TYPE_CHECKING:
    from types import TracebackType

    from ..executor import RequestExecutor

R = TypeVar("R", default=Any)


class Source(Protocol):
    """Who runs it. Nothing of that refers to the handle."""

    def open(self) -> None:
        """Make what it needs; what is raised leaves that to `close`."""

    @property
    def closed(self) -> bool:
        """Whether there is nothing to close."""

    @property
    def running(self) -> int:
        """See `FanOut.running`."""

    @property
    def executor(self) -> RequestExecutor:
        """See `FanOut.executor`."""

    @property
    def where(self) -> str:
        """Where it runs, for a repr."""

    def close(self) -> None:
        """See `FanOut.close`."""


class TurnSource(Source, Protocol):
    """One that is waited for by the caller."""

    def next(self) -> Outcome[Any]:
        """The next outcome. StopIteration when there is none."""


class HostedSource(Source, Protocol):
    """One that is waited for in asyncio."""

    async def next(self) -> Outcome[Any]:
        """The next outcome. StopAsyncIteration when there is none."""

    async def over(self) -> None:
        """Wait until everything is closed."""


class _Handle(Generic[R]):
    """What both kinds share. The handle is in no cycle, and no frame of what runs refers to it: dropped, it
    ends that, although an exception that is kept holds the frames of its time."""

    _source: Any = None

    def __init__(self, source: Source) -> None:
        self._source = source
        try:
            source.open()
        except BaseException:
            source.close()
            raise

    @property
    def running(self) -> int:
        """How many targets are being talked to, or connected with. In other processes: those that are out."""
        running: int = self._source.running
        return running

    @property
    def executor(self) -> RequestExecutor:
        """What runs them; it is closed with this. RuntimeError where they run in other processes, each of
        which has its own."""
        executor: RequestExecutor = self._source.executor
        return executor

    def close(self) -> None:
        """End what runs."""
        raise NotImplementedError

    def __del__(self) -> None:
        if self._source is not None and not self._source.closed:
            self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._source.where}, {self._source.running} running>"


class FanOut(_Handle[R]):
    """The outcomes of `fan_out`, an iterator and a context manager."""

    def __iter__(self) -> Iterator[Outcome[R]]:
        return self

    def __next__(self) -> Outcome[R]:
        source: TurnSource = self._source
        del self
        return source.next()

    def close(self) -> None:
        """End every socket (DISCONNECTED if connected, FINALIZE), and close the executor; outcomes not taken
        yet are dropped. Inside the run this happens when the handler has returned. No effect if closed.
        RuntimeError from another thread while it runs."""
        self._source.close()

    def __enter__(self) -> FanOut[R]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.close()


class AsyncFanOut(_Handle[R]):
    """The outcomes of `fan_out_async`, an asynchronous iterator and context manager."""

    def __aiter__(self) -> AsyncFanOut[R]:
        return self

    async def __anext__(self) -> Outcome[R]:
        source: HostedSource = self._source
        return await source.next()

    def close(self) -> None:
        """End every socket (DISCONNECTED if connected, FINALIZE); outcomes not taken yet are dropped. The
        executor is closed later, by asyncio's loop. A second call does nothing."""
        self._source.close()

    async def aclose(self) -> None:
        """Close as `close` does, and wait until the executor is closed."""
        self.close()
        await self._source.over()

    async def __aenter__(self) -> AsyncFanOut[R]:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:  # fmt: skip
        await self.aclose()
