"""Talking to many: a function for each of many addresses, and their outcomes as they end."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVarTuple

from ._generic import TypeVar, overload
from .configuration import Configuration
from .engines.base import Engine
from .handles import AsyncFanOut, FanOut
from .outcomes import Outcome, Target

if TYPE_CHECKING:
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
    processes: int | None = None,
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

    `processes`: so many processes of this host (1 to 1,024) talk to shards of the targets, 10 times `limit`
    each, and go on while the body of the loop runs; None: this process talks. `limit` and time-outs hold in
    each of them, and outcomes come a shard at a time. What is sent is pickled: `function` is importable; a
    result or error that cannot be pickled is a TypeError in its outcome. A process that dies gives each
    target of its shard a WorkerLostError; SystemExit in a conversation is a RuntimeError in its outcome.

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
    """The same inside a running asyncio loop, for `async for` and `async with`. Those under way go on while
    the body of the loop waits for something else. UnsupportedOperationError if the engine has no
    `fileno()`."""
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
