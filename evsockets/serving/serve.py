"""A server of conversations, one for each client, until a signal drains it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVarTuple

from .._generic import overload
from ..callbacks import handlers_of
from ..configuration import Configuration, stream_context_of
from ..drain import DrainReport
from ..engines.base import Engine
from ..metadata import check_settings
from ..settings import WRITABLE, no_argument
from ..sockets import ServerSocket
from ..targets.outcomes import check_arguments
from ..validation import check_timeout

if TYPE_CHECKING:
    from typing import Unpack

    from ..conversations.conversation import Conversation
    from ..typing import EachKeywords, Handler, ServeKeywords
    from .service import Ready

Arguments = TypeVarTuple("Arguments")
_ARGUMENTS = (
    "args", "limit", "engine", "configuration", "handler", "drain_timeout", "ready", "workers",
)  # fmt: skip


@overload
def serve(
    function: Callable[[Conversation], Coroutine[Any, Any, object]],
    address: str,
    *,
    args: tuple[()] = ...,
    **keywords: Unpack[ServeKeywords],
) -> DrainReport: ...


@overload
def serve(
    function: Callable[[Conversation, *Arguments], Coroutine[Any, Any, object]],
    address: str,
    *,
    args: tuple[*Arguments],
    **keywords: Unpack[ServeKeywords],
) -> DrainReport: ...


def serve(
    function: Callable[..., Coroutine[Any, Any, object]],
    address: str,
    *,
    args: Iterable[Any] = (),
    limit: int | None = None,
    engine: str | Engine | None = None,
    configuration: Configuration | None = None,
    handler: Handler | None = None,
    drain_timeout: float | None = 10,
    ready: Ready | None = None,
    workers: int | None = None,
    **metadata: Unpack[EachKeywords],
) -> DrainReport:
    """Listen on `address` and run the conversation `function(talk, *args)` with each client, at most `limit`
    of them at a time (None: no limit), until SIGTERM or SIGINT, or `drain()` or `stop_request()` of the
    executor.

    The first signal drains for at most `drain_timeout` seconds (None: until the last client has ended); a
    second one ends at once. Signals are handled only in the main thread, while the server listens and drains;
    then the earlier handlers are restored. `ready(executor, local_address)` is called when it listens, in the
    thread of `serve`; it may add sockets, which a drain ends as it ends clients.

    `metadata`: as of `SocketBag.add_socket`, for each client; `stream_context` is the listener's, which the
    clients inherit. `handler`, `on_read=` and the others get the clients' events, and ACCEPT and EXCEPTION of
    the listener; a client that an ACCEPT handler adds itself, or closes, has no conversation. `engine` and
    `configuration` as of RequestExecutor; without a configuration `isolate_handler_errors` is on, so that a
    bug ends only its client.

    `workers`: the number of processes (1 to 1,024) that serve, while this one holds the listening sockets and
    replaces workers that die, and on SIGHUP each in turn; None: this process serves. The arguments are
    pickled for the workers.

    Returns a DrainReport of the clients. Raises AddressError or ConnectionFailedError if it cannot listen,
    an exception of `ready` or, without isolation, of a handler, and TypeError or ValueError for invalid
    arguments.
    """
    from .service import Service

    check_timeout("drain_timeout", drain_timeout)
    if ready is not None and not callable(ready):
        raise TypeError(f"ready must be a callable taking the executor and the local address, got {ready!r}")
    if configuration is None:
        configuration = Configuration(isolate_handler_errors=True)
    keywords: Any = metadata
    handlers = handlers_of(keywords, handler)
    for name in keywords:
        if name not in WRITABLE:
            raise no_argument("serve", name, (*_ARGUMENTS, *WRITABLE[1:]))
    service = Service(
        function, check_arguments(args), address, limit, engine, configuration, handlers, drain_timeout,
        check_settings(keywords),
    )  # fmt: skip
    service.check()
    if workers is None:
        return service.serve(ServerSocket(), ready)
    from .listeners import open_listeners
    from .workers import Workers

    with contextlib.ExitStack() as opened:
        workers_of = Workers(service, workers, drain_timeout=drain_timeout, engine=engine, ready=ready)
        context = service.metadata.get("stream_context")
        listeners = open_listeners(address, stream_context_of(context), workers)
        for listener in listeners:
            opened.callback(listener.close)
        return workers_of.run(listeners)
