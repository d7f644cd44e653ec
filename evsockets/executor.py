"""The turn: admit, poll, step the ready sockets, expire the late ones.

The order within a turn is the product. First thread-safe callbacks and whatever may start; then the
engine is asked, waiting no longer than the earliest deadline; then the clock is read, and each ready
channel's operation takes one step; then those whose bytes no descriptor announces (`queue`). The clock
is read again, and what became pending meanwhile counts from there. Last come those whose deadline had
passed when the engine was asked: I/O is thus looked at before a time-out is declared.
"""

from __future__ import annotations

import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from . import forks
from ._unpatched import original
from .channel import Channel, Phase, handler_error
from .configuration import Configuration, StreamContext
from .context import ExecutionContext
from .deadlines import INFINITY, Deadlines
from .drain import Drain, DrainReport
from .engines.base import Engine
from .engines.discovery import create_engine
from .errors import EngineError, NetworkSocketError, UnsupportedOperationError
from .handlers import Dispatch, check_handler
from .limits import LimitationDecision, LimitationSolver, NoLimitationSolver
from .operations.listen import Accept
from .operations.read import ReadOperation
from .operations.write import WriteOperation
from .resolver import Resolver
from .socket_bag import SocketBag
from .sockets import AcceptedSocket, DatagramClientSocket, Socket
from .waker import Waker

if TYPE_CHECKING:
    from .operations.delay import DelayedOperation

_ASK_AGAIN = 0.1  # seconds between rounds of the limitation solver while nothing runs
_LONGEST_WAIT = 86_400.0
_SLOW_TURN = 0.001  # seconds from which on a turn's length matters to the time-outs of those in it


class RequestExecutor:
    """Runs any number of client and server sockets at once, in one thread.

    `engine`: a name (such as "selectors" or "libev:poll"), an Engine, or None: `EVSOCKETS_ENGINE`, else
    gevent's engine under its monkey-patching, else the first usable of the configuration's preferred
    ones; EngineUnavailableError lists what was tried. `resolver`: a blocking callable like
    `socket.getaddrinfo`, called off the executor's thread.
    """

    def __init__(
        self,
        engine: str | Engine | None = None,
        *,
        configuration: Configuration | None = None,
        resolver: Callable[..., Any] | None = None,
    ) -> None:
        if configuration is not None and not isinstance(configuration, Configuration):
            raise TypeError(f"configuration must be a Configuration, got {configuration!r}")
        if resolver is not None and not callable(resolver):
            raise TypeError(f"resolver must be a callable like socket.getaddrinfo, got {resolver!r}")
        self.configuration = configuration if configuration is not None else Configuration()
        self.default_stream_context = StreamContext.of(self.configuration.stream_context)
        self._owns_engine = not isinstance(engine, Engine)
        if isinstance(engine, Engine):
            self.engine: Engine = engine
        elif engine is None or isinstance(engine, str):
            self.engine = create_engine(engine, preferred=self.configuration.preferred_engines)
        else:
            raise TypeError(f"engine must be a name, an Engine or None, got {engine!r}")
        self.clock: Callable[[], float] = getattr(self.engine, "clock", None) or time.monotonic
        self.now = self.clock()
        self.wall_offset = time.time() - self.now
        self.context = ExecutionContext()
        self.socket_bag = SocketBag(self)
        self.deadlines = Deadlines()
        self.closed = False
        self.resolver = Resolver(resolver, getattr(self.engine, "run_blocking", None))
        self._handlers: list[Any] = []
        self._solver: LimitationSolver = NoLimitationSolver()
        self._dispatches: weakref.WeakValueDictionary[Any, Dispatch] = weakref.WeakValueDictionary()
        self._every_dispatch: weakref.WeakSet[Dispatch] = weakref.WeakSet()
        self._waiting: OrderedDict[Channel, None] = OrderedDict()
        self._running: dict[Channel, None] = {}
        self._aside: list[Channel] = []  # waiting for the next run
        self._listeners = 0  # of the waiting and running ones
        self._open_listeners = 0  # of the running ones
        self._ask_at = 0.0  # when to ask the solver again though nothing has changed
        self._refused: dict[Channel, Accept] = {}  # accepted clients refused, and who is paused for them
        self._kept: dict[int, Socket] = {}
        self._ask_solver = False
        self._callbacks: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._executing = False
        self._thread: int | None = None
        self._in_turn = False
        self._driven = False  # somebody takes the turns already: execute_request(), asyncio
        self._ident: Callable[[], int] = original("_thread", "get_ident")
        self._forks = forks.count()
        self._drain: Drain | None = None
        # What channels and operations use:
        self.queue: list[Channel] = []
        self.fresh: list[Channel] = []
        self.doomed: list[Channel] = []
        self.attention = False
        self.stopping = False
        self.delayed: dict[Channel, float | None] = {}
        self.actors: set[Channel | None] = set()
        self.current: Any = None
        self._waker = Waker(self.engine)

    # ---- configuration -------------------------------------------------------------------------------

    @property
    def is_executing(self) -> bool:
        """Whether a run is on: from `start_request` until `turn` returned False."""
        return self._executing

    def with_event_handler(self, handler: Any) -> None:
        """Add a global handler (a callable, or a mapping of EventType to callables), called after the
        sockets' own; for sockets added before it, too. The same object counts once."""
        self.check_thread()
        if handler is None:
            raise TypeError("a handler is a callable or a mapping of EventType to callables; got None")
        check_handler(handler)
        if any(handler is one for one in self._handlers):
            return
        self._handlers.append(handler)
        for dispatch in list(self._every_dispatch):
            dispatch.rebuild()

    def with_limitation_solver(self, solver: LimitationSolver) -> None:
        """Decide with `solver` which sockets may start; RuntimeError while executing."""
        self.check_thread()
        if self._executing:
            raise RuntimeError("the limitation solver cannot be changed while executing")
        if not callable(getattr(solver, "decide", None)):
            raise TypeError(f"a limitation solver has initialize, decide and finalize; got {solver!r}")
        self._solver = solver
        for dispatch in list(self._every_dispatch):
            dispatch.rebuild()

    def dispatch_for(self, handler: Any) -> Dispatch:
        """The resolved handlers of a socket added with `handler`."""
        key = handler
        if isinstance(handler, Mapping):
            key = id(handler)
            found = self._dispatches.get(key)
            if found is not None and found.snapshot == handler:
                return found
        else:
            try:
                found = self._dispatches.get(key)
            except TypeError:  # not hashable
                key = id(handler)
                found = self._dispatches.get(key)
            if found is not None:
                return found
        check_handler(handler)
        dispatch = Dispatch(handler, self._common)
        self._dispatches[key] = dispatch
        self._every_dispatch.add(dispatch)
        return dispatch

    def _common(self) -> tuple[list[Any], Any]:
        return self._handlers, self._solver

    # ---- running -------------------------------------------------------------------------------------

    def execute_request(self, context: Any = None) -> None:
        """Run until every socket is complete or forgotten.

        `context`: an ExecutionContext or a mapping, given to handlers as `event.context`. RuntimeError
        if already executing. What a handler raises (but library errors) leaves unchanged, after every
        started socket got its DISCONNECTED and FINALIZE.
        """
        self.start_request(context)
        self._driven = True
        with self._waker.woken_by_signals():
            while self.turn(None):
                pass

    def start_request(self, context: Any = None) -> None:
        """Begin a run whose turns another loop takes by `turn`."""
        self._check_usable()
        if self._executing:
            raise RuntimeError("the executor is executing already")
        self.context = context if isinstance(context, ExecutionContext) else ExecutionContext(context or {})
        self._executing = True
        self._driven = False
        self.stopping = False
        self._thread = self._ident()
        self.now = self.clock()
        self.wall_offset = time.time() - self.now
        self._ask_solver = True
        self.actors.clear()
        for channel in self._aside:
            if not channel.complete and self.socket_bag._channels.get(id(channel.socket)) is channel:
                self.enqueue(channel)
        self._aside.clear()
        try:
            self._solver.initialize(self, self.context)
        except BaseException as error:
            self._abort(error)
            raise

    def turn(self, timeout: float | None = 0) -> bool:
        """Take one turn, waiting at most `timeout` seconds (None: as long as needed) for something to
        happen. True while work remains; False ends the run. RuntimeError if none is on."""
        if not self._executing:
            raise RuntimeError("no run is on: start_request() begins one")
        self.check_thread()
        if self._in_turn:
            raise RuntimeError("turn() cannot be called from inside a turn")
        self._check_fork()
        self._in_turn = True
        try:
            self._turn(timeout)
            if self._running or self._waiting:
                if not self.stopping:
                    return True
                self._stop_all()
            if self._drain is not None:
                self._drain.finish()
                self._drain = None
            self._executing = False
            try:
                self._solver.finalize(self, self.context)
            finally:
                self._over()
            return False
        except BaseException as error:
            self._abort(error)
            raise
        finally:
            self._in_turn = False
            self.current = None

    def patience(self) -> float | None:
        """Seconds until `turn` is next due: 0 while work is queued, None: only when `fileno` says so."""
        if not self._executing or self._work_is_queued():
            return 0.0 if self._executing else None
        when = self._next_moment()
        return None if when == INFINITY else max(0.0, when - self.clock())

    def fileno(self) -> int:
        """A descriptor that is readable when `turn(0)` has something to do. UnsupportedOperationError
        where the engine has none."""
        descriptor = getattr(self.engine, "fileno", None)
        if descriptor is None:
            raise UnsupportedOperationError(f"the engine {self.engine.name!r} has no descriptor to wait for")
        return int(descriptor())

    async def execute_request_async(self, context: Any = None) -> None:
        """The same run inside the running asyncio loop, without a thread. Cancelling it ends the run as
        an exception does. UnsupportedOperationError if the engine has no `fileno()`."""
        from .hosting import run_in_asyncio

        await run_in_asyncio(self, context)

    def stop_request(self) -> None:
        """End the run; from a handler, another thread or a signal handler. RuntimeError if not executing.
        Every started socket is closed (DISCONNECTED if connected, FINALIZE); the others stay."""
        if not self._executing:
            raise RuntimeError("the executor is not executing")
        self.stopping = True
        self.attention = True
        self._waker.wake()

    def drain(self, timeout: float | None = None) -> DrainReport:
        """End the run in an orderly way: accept no more, close idle connections at once, let current
        operations end, abort what is left after `timeout` seconds (None: wait as long as it takes).

        From a handler, a thread or a signal handler it only starts that, and the report returned fills
        up until the run ends; between hosted turns it takes the turns itself. RuntimeError if not
        executing.
        """
        from .configuration import check_timeout

        check_timeout("timeout", timeout)
        if not self._executing:
            raise RuntimeError("the executor is not executing")
        drain = self._drain
        if drain is None:
            drain = self._drain = Drain(self, timeout)
            self.call_soon_threadsafe(drain.begin)
        if not (self._in_turn or self._driven) and self._thread == self._ident():
            while self._executing and self.turn(None):
                pass
        return drain.report

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any) -> None:
        """Have `callback(*args)` called in the executor's thread, soon; from any thread or signal
        handler. Posted while not executing it runs in the next run. RuntimeError after `close()`."""
        if self.closed:
            raise RuntimeError("the executor is closed")
        if not callable(callback):
            raise TypeError(f"callback must be callable, got {callback!r}")
        self._callbacks.append((callback, args))
        self._waker.wake()

    def close(self) -> None:
        """Close every socket and the engine, if this executor made it. Inside a run: RuntimeError."""
        if self.closed:
            return
        if self._executing:
            self.check_thread()
            raise RuntimeError("the executor is executing: stop_request() first, and close it after the run")
        self.closed = True
        for socket in [*self.socket_bag, *self._kept.values()]:
            if not socket.persistent or socket._connection is None:
                socket.close()
        self._kept.clear()
        self._callbacks.clear()
        self.resolver.close()
        if self._forks == forks.count():
            self._waker.close()
            if self._owns_engine:
                self.engine.close()

    def __enter__(self) -> RequestExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._executing and not self._in_turn:
            self.stop_request()
            while self._executing and self.turn(0):
                pass
        self.close()

    def __repr__(self) -> str:
        state = "executing" if self._executing else "closed" if self.closed else "ready"
        return f"<RequestExecutor on {self.engine.name} {state}, {len(self.socket_bag)} sockets>"

    # ---- the turn ------------------------------------------------------------------------------------

    def _turn(self, timeout: float | None) -> None:
        if self._callbacks:
            self._call_callbacks()
        if self.attention:
            self._attend()
            if self.stopping:
                return
        if self._waiting and (
            self._ask_solver or (not self._running_clients() and self._ask_at <= self.clock())
        ):
            self.now = self.clock()
            self._admit()
            if self.attention:
                self._attend()
                if self.stopping:
                    return
            self._count_from_now()
        if not self._running and not self._waiting and not self._callbacks:
            return
        if self._work_is_queued():
            timeout = 0.0
        else:
            when = self._next_moment()
            if when != INFINITY:
                wait = when - self.clock()
                if timeout is None or wait < timeout:
                    timeout = wait if wait > 0.0 else 0.0
            if timeout is not None and timeout > _LONGEST_WAIT:
                timeout = _LONGEST_WAIT
        self.current = None  # also tells that no handler of ours is running: see wake_if_hosted()
        batch = self.engine.poll(timeout)
        queue = self.queue
        self.queue = []  # what is queued from here on belongs to the next turn
        now = self.now = self.clock()
        for token, mask in batch:
            operation = token.operation
            if operation is None:  # closed earlier in this batch
                continue
            self.current = token
            try:
                following = operation.step(token, mask)
                if following is not token.operation:
                    token.become(following)
                elif token.plain is None:  # TLS, mostly: what it waits for may be something else now
                    token.channel.update()
            except BaseException as error:
                self._step_failed(token.channel, error)
            if self.attention:
                self._attend()
                if self.stopping:
                    return
        for channel in queue:
            channel.queued = False
            if channel.operation is not None:
                self.guarded(channel, self._step_queued, channel)
            if self.attention:
                self._attend()
                if self.stopping:
                    return
        if self._callbacks:
            self._call_callbacks()
        end = self._count_from_now() if self.fresh else self.clock()
        if end - now > _SLOW_TURN:
            self._credit(batch, queue, now, end)
        if self._drain is not None and self._drain.deadline <= now:
            self._drain.expire()
        if self.deadlines.next() <= now:
            for channel in self.deadlines.due(now):
                if not channel.complete:
                    self.current = channel
                    self.guarded(channel, channel.expire, now)
                    if self.attention:
                        self._attend()
                        if self.stopping:
                            return
            self._count_from_now()
        if self.delayed and self.actors:
            self._ask_delayed()
            self._count_from_now()
        else:
            self.actors.clear()
        self.current = None

    def _step_queued(self, channel: Channel) -> None:
        self.current = channel
        operation = channel.operation
        assert operation is not None
        following = operation.step(channel, operation.interest)
        if following is not channel.operation:
            channel.become(following)
        elif channel.operation is not None:
            channel.update()

    def _step_failed(self, channel: Channel | None, error: BaseException) -> None:
        """What a step or handler raised: the channel's end, or the run's."""
        if channel is None or channel.complete:  # complete: raised by its FINALIZE, where all are alike
            raise error
        if isinstance(error, NetworkSocketError):
            channel.fail(error)
        elif isinstance(error, Exception) and self.configuration.isolate_handler_errors:
            channel.fail(handler_error(channel, error))
        else:
            raise error

    def guarded(self, channel: Channel, call: Callable[..., Any], *args: Any) -> None:
        """Call on behalf of `channel`; what it raises is that channel's affair."""
        try:
            call(*args)
        except BaseException as error:
            self._step_failed(channel, error)

    def _credit(self, batch: list[tuple[Any, int]], queue: list[Channel], now: float, end: float) -> None:
        """A slow handler ran: what moved bytes in the same turn did so after it, as far as we know."""
        for channel in [*(getattr(token, "channel", None) for token, _ in batch), *queue]:
            if channel is not None and channel.io_start == now:
                channel.io_start = end

    def _count_from_now(self) -> float:
        """What became pending in the handlers that just ran counts from now, not from before them."""
        now = self.clock()
        if self.fresh:
            fresh, self.fresh = self.fresh, []
            connected = Phase.CONNECTED
            for channel in fresh:
                if channel.phase is connected and channel.meters is None:
                    channel.io_start = now
                    kind = type(channel.operation)
                    if now + channel.io_limit < channel.armed or not (
                        kind is ReadOperation or kind is WriteOperation
                    ):
                        self.fresh_deadline(channel)
                else:
                    channel.clock_from(now)
        return now

    def fresh_deadline(self, channel: Channel) -> None:
        """Arm the channel for the earliest moment it could be late."""
        if channel.complete:
            return
        moments = channel.deadlines()
        if moments:
            when = min(moments, key=_moment)[0]
            if when < channel.armed:
                self.deadlines.arm(channel, when)

    def _next_moment(self) -> float:
        when = self.deadlines.next()
        if self._waiting and not self._running_clients():
            when = min(when, self._ask_at)
        if self._drain is not None:
            when = min(when, self._drain.deadline)
        return when

    def _running_clients(self) -> int:
        return len(self._running) - self._open_listeners

    def _work_is_queued(self) -> bool:
        return bool(
            self.queue or self.actors or self._callbacks or self.attention
            or (self._waiting and self._ask_solver) or not (self._running or self._waiting)
        )  # fmt: skip

    def _call_callbacks(self) -> None:
        self._ask_solver = True
        for _ in range(len(self._callbacks)):
            callback, args = self._callbacks.popleft()
            callback(*args)
            if self.delayed:
                self.actors.add(None)

    def _ask_delayed(self) -> None:
        actors, self.actors = self.actors, set()
        for channel in list(self.delayed):
            if channel in self.delayed and (len(actors) > 1 or channel not in actors):
                self.current = channel
                self.guarded(channel, self._ask_one, channel, channel.operation)
                if self.attention:
                    self._attend()
                    if self.stopping:
                        return

    def _ask_one(self, channel: Channel, operation: DelayedOperation) -> None:
        following = operation.ask(channel)
        if following is not channel.operation:
            channel.become(following)

    # ---- starting ------------------------------------------------------------------------------------

    def enqueue(self, channel: Channel) -> None:
        """A socket was added."""
        self._waiting[channel] = None
        if channel.socket.is_server:
            self._listeners += 1
        self._ask_solver = True
        self.wake_if_hosted()

    def dequeue(self, channel: Channel) -> None:
        """A waiting socket was removed."""
        if channel in self._waiting:
            del self._waiting[channel]
            if channel.socket.is_server:
                self._listeners -= 1

    def set_aside(self, channel: Channel) -> None:
        """Draining: a socket that has not started waits for another run; an accepted one is closed."""
        if isinstance(channel.socket, AcceptedSocket | DatagramClientSocket):
            self.dequeue(channel)
            channel.abort_unstarted()
        else:
            self.dequeue(channel)
            self._aside.append(channel)

    def _admit(self) -> None:
        """Start what may start, in the order added."""
        self._ask_solver = False
        self._ask_at = self.now + _ASK_AGAIN
        waiting = self._waiting
        skipped: list[Channel] = []
        solver = self._solver
        free = type(solver) is NoLimitationSolver
        for _ in range(len(waiting)):
            if not waiting or self.stopping:
                break
            channel, _none = waiting.popitem(last=False)
            if not (free or channel.socket.is_server):
                total = len(waiting) + len(skipped) + 1 + len(self._running) - self._listeners
                try:
                    decision = solver.decide(self, channel.socket, self.context, total)
                except BaseException:
                    skipped.append(channel)
                    self._put_back(skipped)
                    raise
                if decision is not LimitationDecision.OK:
                    skipped.append(channel)
                    self._pause_listener(channel)
                    if decision is LimitationDecision.SKIP_CURRENT:
                        continue
                    if decision is LimitationDecision.PROCESS_SCHEDULED:
                        self._admit_servers(skipped)
                        break
                    self._put_back(skipped)
                    raise TypeError(
                        f"{type(solver).__name__}.decide() must return a LimitationDecision, got {decision!r}"
                    )
            self._start(channel)
            if self.attention:
                self._attend()
        self._put_back(skipped)

    def _admit_servers(self, skipped: list[Channel]) -> None:
        """Listeners are not asked for: a full house does not keep them waiting."""
        if self._listeners > self._open_listeners:
            for channel in [one for one in self._waiting if one.socket.is_server]:
                del self._waiting[channel]
                self._start(channel)

    def _put_back(self, skipped: list[Channel]) -> None:
        for channel in reversed(skipped):
            self._waiting[channel] = None
            self._waiting.move_to_end(channel, last=False)

    def _start(self, channel: Channel) -> None:
        self._running[channel] = None
        if channel.socket.is_server:
            self._open_listeners += 1
        self._unpause_listener(channel)
        self.current = channel
        self.guarded(channel, channel.open)

    def _pause_listener(self, channel: Channel) -> None:
        listener = getattr(channel.socket, "_listener", None)
        if listener is not None and isinstance(listener.operation, Accept):
            self._refused[channel] = listener.operation
            listener.operation.pause(listener)

    def _unpause_listener(self, channel: Channel) -> None:
        accept = self._refused.pop(channel, None)
        if accept is not None and accept not in self._refused.values():
            listener = getattr(channel.socket, "_listener", None)
            if listener is not None and listener.operation is accept:
                accept.resume(listener)

    # ---- ending --------------------------------------------------------------------------------------

    def ended(self, channel: Channel) -> None:
        """A channel's life is over."""
        self._running.pop(channel, None)
        self._unpause_listener(channel)
        if channel.socket.is_server:
            self._listeners -= 1
            self._open_listeners -= 1
        if self._waiting:
            self._ask_solver = True
        if self._drain is not None:
            self._drain.ended(channel)

    def leave(self, channel: Channel) -> None:
        """An accepted socket leaves the bag by itself."""
        bag = self.socket_bag._channels
        if bag.get(id(channel.socket)) is channel:
            del bag[id(channel.socket)]

    def keep(self, socket: Socket) -> None:
        """A forgotten plain socket's connection is closed with the executor."""
        self._kept[id(socket)] = socket

    def let_go(self, socket: Socket) -> None:
        """That connection is used again, or closed."""
        self._kept.pop(id(socket), None)

    def attend_soon(self) -> None:
        """A socket was closed: see to it at once between turns, else when the handler returns."""
        if self._executing:
            self.wake_if_hosted()
        else:
            self._attend()

    def wake_if_hosted(self) -> None:
        """Something changed between turns: whoever hosts this executor should turn. Or, with gevent, it
        changed in another greenlet while this one polls."""
        if self._executing and (not self._in_turn or self.current is None):
            self._waker.wake()

    def _attend(self) -> None:
        """Cancelled and closed sockets end now: the handlers they came from have returned."""
        self.attention = self.stopping
        while self.doomed:
            channel = self.doomed.pop()
            if not channel.complete:
                self.guarded(channel, channel.end)

    def _stop_all(self) -> None:
        """Stopped: every started socket ends; a later exception is a note on the first."""
        first: BaseException | None = None
        for channel in list(self._running):
            try:
                channel.end()
            except BaseException as error:
                if first is None:
                    first = error
                else:
                    first.add_note(f"later: {error!r}")
        self.doomed.clear()
        if first is not None:
            raise first

    def _abort(self, error: BaseException) -> None:
        """An exception leaves the run: everything started ends, all sockets are complete."""
        if not self._executing and not self._running:
            self._over()
            return
        self.stopping = True
        for channel in list(self._running):
            try:
                channel.end(orderly=False)
            except BaseException as later:
                error.add_note(f"later, while ending {channel.socket!r}: {later!r}")
        while self._waiting:
            channel, _none = self._waiting.popitem()
            channel.abort_unstarted()
            if channel.socket.is_server:
                self._listeners -= 1
        for channel in self._aside:
            if channel.phase is Phase.WAITING:
                channel.abort_unstarted()
        if self._drain is not None:
            self._drain.finish()
            self._drain = None
        if self._executing:
            self._executing = False
            try:
                self._solver.finalize(self, self.context)
            except BaseException as later:
                error.add_note(f"later, in the limitation solver: {later!r}")
        self._over()

    def _over(self) -> None:
        self._executing = False
        self._thread = None
        self.stopping = False
        self.attention = False
        self.queue.clear()
        self.fresh.clear()
        self.doomed.clear()
        self.actors.clear()
        self.delayed.clear()
        self._refused.clear()

    # ---- guarding ------------------------------------------------------------------------------------

    def check_thread(self) -> None:
        """RuntimeError when a run is on in another thread."""
        if self._executing and self._thread != self._ident():
            raise RuntimeError(
                "the executor runs in another thread: use call_soon_threadsafe() to do this there "
                "(stop_request() and drain() may be called from anywhere)"
            )

    def _check_usable(self) -> None:
        if self.closed:
            raise RuntimeError("the executor is closed: make a new one")
        self.check_thread()
        self._check_fork()

    def _check_fork(self) -> None:
        if self._forks != forks.count():
            self._executing = False
            raise EngineError(
                "this executor was made before a fork and belongs to the parent process: make a new one here"
            )


def _moment(entry: tuple[float, Any]) -> float:
    return entry[0]
