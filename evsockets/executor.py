"""One executor: what users hold to run their sockets."""

from __future__ import annotations

import time
import warnings
import weakref
from collections.abc import Callable
from types import BuiltinMethodType, MethodType
from typing import Any

from . import forks
from .configuration import Configuration, check_timeout
from .context import ExecutionContext
from .deadlines import INFINITY
from .drain import Drain, DrainReport
from .engines.base import Engine
from .engines.discovery import create_engine
from .errors import EngineError, UnsupportedOperationError
from .handlers import Dispatch, check_handler
from .hosting import run_in_asyncio
from .limits import LimitationSolver
from .resolver import Resolver
from .run import Run
from .socket_bag import SocketBag

_METHODS = (MethodType, BuiltinMethodType)


class RequestExecutor(Run):
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
        if configuration is None:
            configuration = Configuration()
        elif not isinstance(configuration, Configuration):
            raise TypeError(f"configuration must be a Configuration, got {configuration!r}")
        if resolver is not None and not callable(resolver):
            raise TypeError(f"resolver must be a callable like socket.getaddrinfo, got {resolver!r}")
        self._owns_engine = not isinstance(engine, Engine)
        if engine is None or isinstance(engine, str):
            engine = create_engine(engine, preferred=configuration.preferred_engines)
        elif not isinstance(engine, Engine):
            raise TypeError(f"engine must be a name, an Engine or None, got {engine!r}")
        try:
            super().__init__(engine, configuration)
        except BaseException:
            if self._owns_engine:
                engine.close()
            raise
        self.socket_bag = SocketBag(self)
        self.resolver = Resolver(resolver, getattr(engine, "run_blocking", None))
        self.closed = False
        self._handlers: list[Any] = []
        self._dispatches: weakref.WeakValueDictionary[Any, Dispatch] = weakref.WeakValueDictionary()
        self._every_dispatch: weakref.WeakSet[Dispatch] = weakref.WeakSet()
        self._latest: Dispatch | None = None  # of the socket added last; the next one mostly has the same
        self._driven = False  # somebody takes the turns already: execute_request(), asyncio
        self._forks = forks.count()

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
        self.admission.solver = solver
        for dispatch in list(self._every_dispatch):
            dispatch.rebuild()

    def dispatch_for(self, handler: Any) -> Dispatch:
        """The resolved handlers of a socket added with `handler`."""
        latest = self._latest
        if latest is not None and latest.given is handler and latest.is_current():
            return latest
        # Methods are made anew at every access and equal if they are the same; of others only the same is.
        key = handler if isinstance(handler, _METHODS) else id(handler)
        dispatch = self._dispatches.get(key)
        if dispatch is None or not dispatch.is_current():
            check_handler(handler)
            dispatch = Dispatch(handler, self._common, self._oob_wanted)
            self._dispatches[key] = dispatch
            self._every_dispatch.add(dispatch)
        self._latest = dispatch
        return dispatch

    def _oob_wanted(self, dispatch: Dispatch) -> None:
        """A handler of running sockets now wants out-of-band data."""
        for channel in self.running():
            if channel.dispatch is dispatch and channel.connected:
                self.watch_urgent(channel)

    def _common(self) -> tuple[list[Any], Any]:
        return self._handlers, self.admission.solver

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
            while self._take_turn(None):
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
        self.now = self.moment.when = self.clock()
        self.wall_offset = time.time() - self.now
        self.actors.clear()
        self._waker.signalled = False  # whatever interrupted the last run in the midst of a wake-up
        self.admission.readmit()
        try:
            self.admission.solver.initialize(self, self.context)
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
        return self._take_turn(timeout)

    def _take_turn(self, timeout: float | None) -> bool:
        if self._forks != forks.count():
            self._check_fork()
        self._in_turn = True
        try:
            self._turn(timeout)
            admission = self.admission
            if admission.running or admission.waiting:
                if not self.stopping:
                    return True
                self._stop_all()
            if self._callbacks:  # posted by the last events
                self._call_callbacks()
                if not self.stopping and (admission.running or admission.waiting):
                    return True
            if self._drain is not None:
                self._drain.finish()
                self._drain = None
            self._executing = False
            try:
                admission.solver.finalize(self, self.context)
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
        self.check_thread()
        if not self._executing or self._work_is_queued():
            return 0.0 if self._executing else None
        when = self._next_moment()
        return None if when == INFINITY else max(0.0, when - self.clock())

    def fileno(self) -> int:
        """A descriptor that is readable when `turn(0)` has something to do. UnsupportedOperationError
        where the engine has none."""
        self.check_thread()
        descriptor = getattr(self.engine, "fileno", None)
        if descriptor is None:
            raise UnsupportedOperationError(f"the engine {self.engine.name!r} has no descriptor to wait for")
        return int(descriptor())

    async def execute_request_async(self, context: Any = None) -> None:
        """The same run inside the running asyncio loop, without a thread. Cancelling it ends the run as
        an exception does. UnsupportedOperationError if the engine has no `fileno()`."""
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

    def close(self) -> None:
        """Close every socket and the engine, if this executor made it. Inside a run: RuntimeError."""
        if self.closed:
            return
        if self._executing:
            self.check_thread()
            raise RuntimeError("the executor is executing: stop_request() first, and close it after the run")
        self.closed = True
        for socket in [*self.socket_bag, *self._kept.values()]:
            if socket._channel is not None and socket._channel.executor is not self:
                continue  # forgotten here, at home in another executor since
            if not socket.persistent or socket._connection is None:
                socket.close()
        self._kept.clear()
        self._callbacks.clear()
        self.resolver.close()
        self._close_engine()

    def _close_engine(self) -> None:
        if self._forks == forks.count():  # else it is the parent's
            self._waker.close()
            if self._owns_engine:
                self.engine.close()

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        if not getattr(self, "closed", True):
            try:
                warn(f"unclosed {self!r}: close() it, or use `with`", ResourceWarning, source=self)
            finally:
                self.closed = True
                self._close_engine()

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
        return f"<RequestExecutor on {self.engine.name} {state}, {len(self.socket_bag._channels)} sockets>"

    # ---- ending --------------------------------------------------------------------------------------

    def _stop_all(self) -> None:
        """Stopped: every started socket ends; a later exception is a note on the first."""
        first: BaseException | None = None
        for channel in self.running():
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
        self.stopping = self.attention = True
        for channel in self.running():
            try:
                channel.end(orderly=False)
            except BaseException as later:
                error.add_note(f"later, while ending {channel.socket!r}: {later!r}")
        self.admission.abort()
        if self._drain is not None:
            self._drain.finish()
            self._drain = None
        if self._executing:
            self._executing = False
            try:
                self.admission.solver.finalize(self, self.context)
            except BaseException as later:
                error.add_note(f"later, in the limitation solver: {later!r}")
        self._over()

    def _over(self) -> None:
        self._executing = False
        self._thread = None
        self.stopping = False
        self.attention = False
        self.queue.clear()
        self.metered.clear()
        self.doomed.clear()
        self.actors.clear()
        self.delayed.clear()
        self.admission.over()
        self.deadlines.clear()
        self._latest = None

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
