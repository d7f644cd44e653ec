"""What `serve` runs in each process: one listener, and a conversation with each of its clients."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..callbacks import ResolvableHandler, resolve
from ..configuration import Configuration
from ..conversations.operation import ConversationOperation
from ..core import closing
from ..core.raised import raise_kept
from ..drain import Drain, DrainReport
from ..engines.base import Engine
from ..event_types import EventType
from ..events import AcceptEvent, Event, SocketExceptionEvent
from ..executor import RequestExecutor
from ..handlers import EventMultiHandler
from ..limits import ConstantLimitationSolver
from ..operations.read import ReadOperation
from ..sockets import AcceptedSocket, ServerSocket

if TYPE_CHECKING:
    from ..typing import HandlerMapping

Ready = Callable[[RequestExecutor, Any], object]


@dataclass(frozen=True)
class Service:
    """What is served, and how: the arguments of `serve` that each process has the same."""

    function: Callable[..., Coroutine[Any, Any, object]]
    args: tuple[Any, ...]
    address: str
    limit: int | None
    engine: str | Engine | None
    configuration: Configuration
    handlers: tuple[Any, ...]
    drain_timeout: float | None
    metadata: dict[str, Any]

    def check(self) -> None:
        """Raise what cannot be used, before anything is begun."""
        ConversationOperation(self.function, *self.args)
        if self.limit is not None:
            ConstantLimitationSolver(self.limit)

    def serve(self, listener: ServerSocket, ready: Ready | None) -> DrainReport:
        """Serve on `listener` to the end."""
        talking = ConversationOperation(self.function, *self.args)
        with RequestExecutor(self.engine, configuration=self.configuration) as executor:
            if self.limit is not None:
                executor.with_limitation_solver(ConstantLimitationSolver(self.limit))
            handler = EventMultiHandler(self.handlers)
            serving = _Serving(executor, talking, handler, dict(self.metadata), self.drain_timeout, ready)
            return serving.run(listener, self.address)

    def __call__(self, listener: Any, ready: Ready) -> DrainReport:
        """Serve from a listening socket of the parent's: see `worker.Job`."""
        return self.serve(ServerSocket.from_socket(listener), ready)


class _Serving:
    """One listener and its clients."""

    def __init__(
        self,
        executor: RequestExecutor,
        talking: ConversationOperation,
        handler: Any,
        metadata: dict[str, Any],
        drain_timeout: float | None,
        ready: Ready | None,
    ) -> None:
        self._executor = executor
        self._talking = talking
        self._handler = handler
        self._listeners = {"stream_context": metadata.pop("stream_context", None)}
        self._metadata = metadata
        self._drain_timeout = drain_timeout
        self._ready = ready
        self._before: dict[int, Any] = {}  # the earlier signal handlers
        self._signals = 0
        self._failure: BaseException | None = None
        self._report = DrainReport()
        self.watches = False

    def run(self, listener: ServerSocket, address: str) -> DrainReport:
        """Serve to the end."""
        ours: HandlerMapping = {
            EventType.CONNECTED: self._on_listening,
            EventType.ACCEPT: self._on_accept,
            EventType.EXCEPTION: self._on_exception,
            EventType.FINALIZE: self._on_finalize,
        }
        handler = EventMultiHandler([_Exceptions(self._handler), ours])
        self._executor.socket_bag.add_socket(
            listener, ReadOperation(), handler=handler, address=address, **self._listeners
        )
        try:
            self._executor.execute_request()
        finally:
            for number, before in self._before.items():
                signal.signal(number, before)
        raise_kept(self)
        return self._report

    def _on_listening(self, event: Event) -> None:
        self.watches = True  # what happens to the listener from now on others may hear, or the log
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                before = signal.getsignal(number)
                if before is not None:  # what was set elsewhere than in Python cannot be set again
                    self._before[number] = before
                    signal.signal(number, self._on_signal)
        if self._ready is not None:
            try:
                self._ready(self._executor, event.metadata.local_address)
            except Exception as error:
                self._failure = error
                self._executor.stop_request()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if not self._executor.is_executing:
            return
        if self._signals == 1:
            self._executor.drain(self._drain_timeout)
        else:
            self._executor.stop_request()

    def _on_accept(self, event: AcceptEvent) -> None:
        channel, client = event._channel, event.client_socket
        try:
            for callback in resolve(self._handler, EventType.ACCEPT):
                callback(event)
        except Exception as error:
            closing.tell_raised(channel, error)
            return
        closed = isinstance(client, AcceptedSocket) and client._adopted is None
        if client._channel is None and not closed:
            self._executor.socket_bag.add_socket(
                client, self._talking, handler=self._handler, **self._metadata
            )

    def _on_exception(self, event: SocketExceptionEvent) -> None:
        if not self.watches:
            self._failure = event.exception

    def _on_finalize(self, event: Event) -> None:
        """The listener ends before any other, or with all."""
        loop = self._executor._loop
        if loop.stopping and loop.draining is None:
            ended = Drain(loop, None)
            ended.cut_short("when the run was stopped")
            self._report = ended.report
        elif self.watches:
            self._report = self._executor.drain(self._drain_timeout)


class _Exceptions(ResolvableHandler):
    """Of a handler, what hears EXCEPTION."""

    __slots__ = ("_handler",)

    def __init__(self, handler: Any) -> None:
        super().__init__()
        self._handler = handler

    def _callbacks_for(self, type: EventType) -> list[Callable[[Any], Any]]:
        return resolve(self._handler, type) if type is EventType.EXCEPTION else []

    def _inner(self) -> Iterable[Any]:
        return (self._handler,)
