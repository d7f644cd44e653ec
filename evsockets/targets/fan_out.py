"""A conversation with each of many addresses, and their outcomes as they end."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVarTuple

from .._generic import TypeVar, overload
from ..configuration import Configuration
from ..engines.base import Engine
from .handles import AsyncFanOut, FanOut
from .outcomes import Outcome, Target

if TYPE_CHECKING:
    from typing import Unpack

    from ..conversations.conversation import Conversation
    from ..typing import EachKeywords, FanOutKeywords, Handler

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
    processes: int | None = None,
    **metadata: Unpack[EachKeywords],
) -> FanOut[R]:
    """Run the conversation `function(talk, *args)` with each of `targets`, at most `limit` at a time; returns
    an iterator of their Outcomes, in the order in which they end.

    `targets`: any iterable of addresses or Targets. The next one is taken when fewer than `limit` are in
    progress or wait as an outcome to be taken, so that memory is bounded by `limit`; the first, when the
    first outcome is requested. An exception of the iterable is raised after the outcomes of the targets in
    progress.

    `retries`: further attempts after an opening that failed or timed out (unless the certificate was
    refused), when `function` has not run yet, and after an outcome for which `retry_if(outcome)` is true. The
    first begins `backoff` seconds after the failure, the next twice as long after it, and so on up to a
    minute, plus a random part of up to half of that. A target that waits for a retry does not count for
    `limit`.

    `engine` and `configuration` as of RequestExecutor; `handler`, `on_read=` and the others, and `metadata`
    (but `address` and `keep_alive`) as of `SocketBag.add_socket`, for each target.

    An `Exception` in a conversation is its outcome's error; any other exception, and one in a handler, ends
    everything and is raised. The sockets run only while an outcome is requested: a slow body of the loop
    delays all.

    `processes`: the number of processes of this host (1 to 1,024) that run shards of 10 times `limit`
    targets, also while the body of the loop runs; None: this process runs all. `limit` and time-outs apply in
    each of them, and outcomes come a shard at a time. Arguments and results are pickled: `function` must be
    importable; a result or error that cannot be pickled gives a TypeError in its outcome. If a process dies,
    each target of its shard gets a WorkerLostError; SystemExit in a conversation gives a RuntimeError.

    Raises TypeError or ValueError for arguments that cannot be used, EngineUnavailableError.
    """
    from .gathering import iterated
    from .plans import plan

    asked = plan(
        function, args=args, limit=limit, retries=retries, backoff=backoff, retry_if=retry_if, engine=engine,
        configuration=configuration, handler=handler, **metadata,
    )  # fmt: skip
    if processes is not None:
        from .processes import Processes
        from .sharing import Shared

        return FanOut(Shared(Processes(asked, processes), iterated(targets)))
    from .turns import Turns

    return FanOut(Turns(asked, iterated(targets)))


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
    processes: int | None = None,
    **metadata: Unpack[EachKeywords],
) -> AsyncFanOut[R]:
    """`fan_out` inside a running asyncio loop, for `async for` and `async with`. The conversations go on
    while the body of the loop awaits. UnsupportedOperationError if the engine has no `fileno()`."""
    from .gathering import iterated
    from .plans import plan

    asked = plan(
        function, args=args, limit=limit, retries=retries, backoff=backoff, retry_if=retry_if, engine=engine,
        configuration=configuration, handler=handler, **metadata,
    )  # fmt: skip
    if processes is not None:
        from .processes import Processes
        from .sharing import HostedShared

        return AsyncFanOut(HostedShared(Processes(asked, processes), iterated(targets)))
    from .turns import Hosted

    return AsyncFanOut(Hosted(asked, iterated(targets)))
