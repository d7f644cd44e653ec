"""Talking to many: a function for each of many addresses, and their outcomes as they end."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVarTuple

from ._generic import Generic, TypeVar, overload
from .attempts import TargetOperation
from .configuration import Configuration
from .core.dispatch import check_handler, handlers_of
from .engines.base import Engine
from .executor import RequestExecutor
from .gathering import Gathering, iterated
from .outcomes import Outcome, Target, check_arguments, check_metadata
from .turns import Hosted, Turns
from .validation import check_int, check_seconds

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Unpack

    from .conversation import Conversation
    from .typing import EachKeywords, FanOutKeywords, Handler

R = TypeVar("R", default=Any)
Arguments = TypeVarTuple("Arguments")


@overload
def fan_out(
    function: Callable[[Conversation], Coroutine[Any, Any, R]],
    targets: Iterable[str | Target[tuple[()] | None]],
    *,
    args: tuple[()] = ...,
    **keywords: Unpack[FanOutKeywords],
) -> FanOut[R]: ...


@overload
def fan_out(
    function: Callable[[Conversation, *Arguments], Coroutine[Any, Any, R]],
    targets: Iterable[str | Target[tuple[*Arguments] | None]],
    *,
    args: tuple[*Arguments],
    **keywords: Unpack[FanOutKeywords],
) -> FanOut[R]: ...


@overload
def fan_out(
    function: Callable[[Conversation, *Arguments], Coroutine[Any, Any, R]],
    targets: Iterable[Target[tuple[*Arguments]]],
    **keywords: Unpack[FanOutKeywords],
) -> FanOut[R]: ...


def fan_out(
    function: Callable[..., Coroutine[Any, Any, R]],
    targets: Iterable[str | Target],
    *,
    args: Iterable[Any] = (),
    limit: int = 100,
    retries: int = 0,
    backoff: float = 0.1,
    retry_if: Callable[[Outcome[Any]], object] | None = None,
    engine: str | Engine | None = None,
    configuration: Configuration | None = None,
    handler: Handler | None = None,
    processes: None = None,
    **metadata: Unpack[EachKeywords],
) -> FanOut[R]:
    """Have `function(talk, *args)` talk to each of `targets`, at most `limit` at a time; iterating over what
    this returns gives each one's Outcome, as they end.

    `targets`: any iterable of addresses or Targets, pulled as places become free. An outcome that has not
    been taken keeps its place, so that the memory is that of `limit`. What the iterable raises is raised when
    those under way have been given. Nothing is pulled before the first outcome is asked for.

    `retries`: how many more attempts a target has whose opening failed or timed out (unless its certificate
    was refused), so that `function` has not run; and one for whose outcome `retry_if(outcome)` is true. The
    first of them begins `backoff` seconds after the failure, the next twice as long after it, and so on up to
    a minute, each up to half as much again later by chance. A target that waits for its next attempt has no
    place.

    `engine` and `configuration` as of RequestExecutor; `handler`, `on_read=` and the others, and `metadata`
    (but `address` and `keep_alive`) as of `SocketBag.add_socket`, for each target.

    An `Exception` in a conversation is its outcome's error; any other exception, and one in a handler, ends
    everything and is raised. It runs only while an outcome is asked for: a slow body of the loop delays all.

    Raises TypeError or ValueError for arguments that cannot be used, EngineUnavailableError.
    """
    plan = _plan(function, targets, args, limit, retries, backoff, retry_if, handler, processes, metadata)
    return FanOut(plan, engine, configuration)


@overload
def fan_out_async(
    function: Callable[[Conversation], Coroutine[Any, Any, R]],
    targets: Iterable[str | Target[tuple[()] | None]],
    *,
    args: tuple[()] = ...,
    **keywords: Unpack[FanOutKeywords],
) -> AsyncFanOut[R]: ...


@overload
def fan_out_async(
    function: Callable[[Conversation, *Arguments], Coroutine[Any, Any, R]],
    targets: Iterable[str | Target[tuple[*Arguments] | None]],
    *,
    args: tuple[*Arguments],
    **keywords: Unpack[FanOutKeywords],
) -> AsyncFanOut[R]: ...


@overload
def fan_out_async(
    function: Callable[[Conversation, *Arguments], Coroutine[Any, Any, R]],
    targets: Iterable[Target[tuple[*Arguments]]],
    **keywords: Unpack[FanOutKeywords],
) -> AsyncFanOut[R]: ...


def fan_out_async(
    function: Callable[..., Coroutine[Any, Any, R]],
    targets: Iterable[str | Target],
    *,
    args: Iterable[Any] = (),
    limit: int = 100,
    retries: int = 0,
    backoff: float = 0.1,
    retry_if: Callable[[Outcome[Any]], object] | None = None,
    engine: str | Engine | None = None,
    configuration: Configuration | None = None,
    handler: Handler | None = None,
    processes: None = None,
    **metadata: Unpack[EachKeywords],
) -> AsyncFanOut[R]:
    """The same inside a running asyncio loop, for `async for` and `async with`. Those under way go on while
    the body of the loop waits for something else. UnsupportedOperationError if the engine has no
    `fileno()`."""
    plan = _plan(function, targets, args, limit, retries, backoff, retry_if, handler, processes, metadata)
    return AsyncFanOut(plan, engine, configuration)


#: Makes a gathering of the executor that runs it.
Plan = Callable[[RequestExecutor], Gathering[R]]


def _plan(
    function: Callable[..., Coroutine[Any, Any, R]],
    targets: Iterable[str | Target],
    args: Iterable[Any],
    limit: int,
    retries: int,
    backoff: float,
    retry_if: Callable[[Outcome[R]], object] | None,
    handler: Any,
    processes: None,
    metadata: Any,
) -> Plan[R]:
    """Look at the arguments."""
    operation = TargetOperation(function, *check_arguments(args))
    check_int("limit", limit, 1, 2**31 - 1)
    check_int("retries", retries, 0, 2**31 - 1)
    backoff = check_seconds("backoff", backoff)
    if retry_if is not None and not callable(retry_if):
        raise TypeError(f"retry_if must be a callable taking an Outcome, got {retry_if!r}")
    if processes is not None:
        raise ValueError(f"processes must be None: everything runs in this process; got {processes!r}")
    check_handler(handler)
    handlers = handlers_of(metadata, handler)
    return partial(
        Gathering, operation=operation, targets=iterated(targets), limit=limit, retries=retries,
        backoff=backoff, retry_if=retry_if, handlers=handlers, metadata=check_metadata("fan_out()", metadata),
    )  # fmt: skip


class _Base(Generic[R]):
    """What both kinds share. The handle is in no cycle, and no frame of what runs refers to it: dropped, it
    ends that, although an exception that is kept holds the frames of its time."""

    _executor: RequestExecutor | None = None

    def __init__(
        self, plan: Plan[R], engine: str | Engine | None, configuration: Configuration | None
    ) -> None:
        self._executor = RequestExecutor(engine, configuration=configuration)
        self._gathering = plan(self._executor)

    @property
    def running(self) -> int:
        """How many targets are being talked to, or connected with."""
        return len(self._gathering.running)

    @property
    def executor(self) -> RequestExecutor:
        """What runs them; it is closed with this."""
        assert self._executor is not None
        return self._executor

    def close(self) -> None:
        """End what runs."""
        raise NotImplementedError

    def __del__(self) -> None:
        executor = self._executor
        if executor is not None and not executor._loop.closed:
            if hasattr(self, "_gathering"):
                self.close()
            else:
                executor.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self.executor.engine.name}, {self.running} running>"


class FanOut(_Base[R]):
    """The outcomes of `fan_out`, an iterator and a context manager."""

    def __init__(
        self, plan: Plan[R], engine: str | Engine | None, configuration: Configuration | None
    ) -> None:
        super().__init__(plan, engine, configuration)
        self._turns = Turns(self._gathering)

    def __iter__(self) -> Iterator[Outcome[R]]:
        return self

    def __next__(self) -> Outcome[R]:
        turns = self._turns
        del self
        return turns.next()

    def close(self) -> None:
        """End what runs (DISCONNECTED if connected, FINALIZE), and close the executor; outcomes not taken yet
        are dropped. From inside the run it does so when the handler has returned. Closed already: nothing.
        RuntimeError from another thread while it runs."""
        self._gathering.close()
        self._gathering.failure = None

    def __enter__(self) -> FanOut[R]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.close()


class AsyncFanOut(_Base[R]):
    """The outcomes of `fan_out_async`, an asynchronous iterator and context manager."""

    _hosted: Hosted[R] | None = None

    def __init__(
        self, plan: Plan[R], engine: str | Engine | None, configuration: Configuration | None
    ) -> None:
        super().__init__(plan, engine, configuration)
        try:
            self.executor.fileno()
        except BaseException:
            self.close()
            raise

    def __aiter__(self) -> AsyncFanOut[R]:
        return self

    async def __anext__(self) -> Outcome[R]:
        if self._hosted is None:
            self._hosted = Hosted(self._gathering)
        return await self._hosted.next()

    def close(self) -> None:
        """End what runs (DISCONNECTED if connected, FINALIZE); outcomes not taken yet are dropped. The
        executor is closed when asyncio's loop comes to it. Closed already: nothing."""
        if self._hosted is not None:
            self._hosted.close()
        else:
            self._gathering.close()
        self._gathering.failure = None

    async def aclose(self) -> None:
        """The same, and wait until the executor is closed."""
        self.close()
        if self._hosted is not None:
            await self._hosted.over()

    async def __aenter__(self) -> AsyncFanOut[R]:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:  # fmt: skip
        await self.aclose()
