"""The executor, which runs a user's sockets."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVarTuple

from . import drain, hosting, inherited, timer
from .configuration import Configuration
from .core import run, unheard
from .core.loop import Loop
from .drain import DrainReport
from .engines.base import Engine
from .engines.discovery import check_contract, create_engine
from .handlers import EventMultiHandler
from .limits import LimitationSolver
from .opening import begin, pool
from .opening.resolver import Resolver
from .operations.making import PlainMaker
from .socket_bag import SocketBag
from .timer import Timer
from .validation import check_timeout

if TYPE_CHECKING:
    from .typing import Handler, Lookup

Arguments = TypeVarTuple("Arguments")
_USUAL = Configuration()  # immutable, and checked once


class RequestExecutor:
    """Runs any number of client and server sockets at once, in one thread.

    `engine`: a name (such as "selectors" or "libev:poll"), an Engine, or None: the one that the variable
    `EVSOCKETS_ENGINE` names, else gevent's after its monkey-patching, else the first usable one of the
    configuration's preferred engines. EngineUnavailableError, with each candidate, if none is usable.
    `resolver`: a blocking callable like `socket.getaddrinfo`, called in other threads, for up to
    `Configuration.resolver_threads` names at once.
    """

    def __init__(
        self,
        engine: str | Engine | None = None,
        *,
        configuration: Configuration | None = None,
        resolver: Lookup | None = None,
    ) -> None:
        configuration = _USUAL if configuration is None else configuration
        if not isinstance(configuration, Configuration):
            raise TypeError(f"configuration must be a Configuration, got {configuration!r}")
        if resolver is not None and not callable(resolver):
            raise TypeError(f"resolver must be a callable like socket.getaddrinfo, got {resolver!r}")
        self._owns_engine = not isinstance(engine, Engine)
        if engine is None or isinstance(engine, str):
            engine = create_engine(engine, preferred=configuration.preferred_engines)
        elif not isinstance(engine, Engine):
            raise TypeError(f"engine must be a name, an Engine or None, got {engine!r}")
        else:
            check_contract(engine)
        self._handlers = EventMultiHandler()
        run_blocking = getattr(engine, "run_blocking", None)
        try:
            unheard.logger()
            self._loop = Loop(
                self,
                engine,
                configuration,
                handlers=self._handlers,
                resolver=Resolver(resolver, run_blocking, configuration.resolver_threads),
                begin=begin.begin,
                keep=pool.keep,
                maker=PlainMaker(),
            )
        except BaseException:
            if self._owns_engine:
                engine.close()
            raise
        self._bag = SocketBag(self._loop)
        inherited.register(self._loop)  # now that it is whole: another thread may fork at any time

    # ---- configuration -------------------------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        """The engine in use, which reports ready descriptors."""
        return self._loop.engine

    @property
    def socket_bag(self) -> SocketBag:
        """The sockets this executor runs."""
        return self._bag

    @property
    def is_executing(self) -> bool:
        """Whether a run is in progress: from `start_request` until `turn` has returned False."""
        return self._loop.executing

    def with_event_handler(self, handler: Handler) -> None:
        """Add a global handler (a callable, or a mapping of EventType to callables), called after the
        sockets' own, also for sockets added before it. An object is added only once. A handler with an
        attribute `watches = True` only observes: failures without another handler are still logged."""
        self._loop.check_thread()
        self._handlers.add_handler(handler)

    def with_limitation_solver(self, solver: LimitationSolver) -> None:
        """Decide with `solver` which sockets may start; RuntimeError while executing."""
        self._loop.check_thread()
        if self._loop.executing:
            raise RuntimeError("the limitation solver cannot be changed while executing")
        if not callable(getattr(solver, "decide", None)):
            raise TypeError(f"a limitation solver has initialize, decide and finalize; got {solver!r}")
        self._loop.solver = solver
        self._handlers._changed()  # it may hear events, too

    # ---- running -------------------------------------------------------------------------------------

    def execute_request(
        self, context: Mapping[str, object] | None = None, *, until_stopped: bool = False
    ) -> None:
        """Run until every socket is complete or forgotten and every timer that keeps the run alive has been
        called; `until_stopped`: until `stop_request` or `drain`, also without sockets.

        `context`: an ExecutionContext or a mapping, available to handlers as `event.context`. RuntimeError
        if already executing. An exception of a handler (other than a library error) is raised unchanged,
        after DISCONNECTED and FINALIZE of every started socket.
        """
        self._loop.check_idle()
        run.part(self._loop, run.execute, context, until_stopped)

    async def execute_request_async(self, context: Mapping[str, object] | None = None) -> None:
        """The same run inside the running asyncio loop, without a thread. Cancelling it ends the run as
        an exception does. UnsupportedOperationError if the engine has no `fileno()`."""
        await hosting.run_in_asyncio(self._loop, context)

    def start_request(
        self, context: Mapping[str, object] | None = None, *, until_stopped: bool = False
    ) -> None:
        """Begin a run whose turns another loop takes with `turn`; arguments as of `execute_request`."""
        self._loop.check_idle()
        run.part(self._loop, run.begin, context, until_stopped)

    def turn(self, timeout: float | None = 0) -> bool:
        """Take one turn, waiting at most `timeout` seconds (None: no limit) for a socket or timer. Returns
        True while work remains, False at the end of the run. RuntimeError if no run is in progress, TypeError
        or ValueError for what is no number of seconds."""
        return hosting.turn(self._loop, timeout)

    def patience(self) -> float | None:
        """Seconds until `turn` is next due: 0 while work is queued, None: only when `fileno` is readable."""
        self._loop.check_thread()
        return self._loop.patience(exact=True)

    def fileno(self) -> int:
        """A descriptor that is readable when `turn(0)` has work. UnsupportedOperationError if the engine
        has none."""
        return hosting.fileno(self._loop)

    def call_soon_threadsafe(self, callback: Callable[[*Arguments], object], *args: *Arguments) -> None:
        """Call `callback(*args)` soon in the executor's thread. May be called from any thread or signal
        handler. Without a run in progress the callback runs in the next one. RuntimeError after `close()`."""
        self._loop.call_soon_threadsafe(callback, *args)

    def call_later(
        self,
        seconds: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        keeps_running: bool = True,
    ) -> Timer:
        """Call `callback(*args)` in the executor's thread when `seconds` have passed since this call, after
        the I/O of a turn; with 0 in the next turn. An exception of the callback ends the run.

        The run goes on until the timer is called, unless `keeps_running=False`: a timer left at the end
        of a run is then called in the next one. `stop_request`, `drain` and an exception that ends the run
        cancel timers. ValueError for a negative or infinite time; TypeError for a coroutine function, as of
        `call_soon_threadsafe`; RuntimeError from another thread while executing, and after `close()`.
        """
        return timer.call_later(self._loop, seconds, callback, args, keeps_running)

    # ---- ending --------------------------------------------------------------------------------------

    def stop_request(self) -> None:
        """End the run. Every started socket is closed (DISCONNECTED if connected, FINALIZE); others stay.
        May be called from a handler, another thread or a signal handler. RuntimeError if not executing."""
        run.stop(self._loop)

    def drain(self, timeout: float | None = None) -> DrainReport:
        """End the run in an orderly way: accept no more, close idle connections at once, let current
        operations end, abort the rest after `timeout` seconds (None: no limit).

        Clients accepted before are served, also those that wait for the limitation solver. A listener that
        this executor opened accepts its queue (at most `backlog`) and closes; an adopted one closes at once
        and leaves its queue to other holders of the socket. Other sockets that have not started stay for
        another run: those that the solver refuses now, servers, and all if there is no client to serve.

        From a handler, a thread or a signal handler it only starts the drain, and the returned report is
        complete when the run has ended; between turns of a host loop it takes the turns itself.
        RuntimeError if not executing.
        """
        check_timeout("timeout", timeout)
        return drain.request(self._loop, timeout)

    def close(self) -> None:
        """Close every socket, and the engine if this executor made it. RuntimeError inside a run."""
        loop = self._loop
        if loop.closed:
            return
        if loop.is_inherited:
            run.disown(loop)
        elif loop.executing:
            loop.check_thread()
            raise RuntimeError("the executor is executing: stop_request() first, and close it after the run")
        loop.closed = True
        for socket in [*loop.members, *loop.kept_sockets.values()]:
            if socket._channel is not None and socket._channel.loop is not loop:
                continue  # forgotten here, at home in another executor since
            if not socket._persistent or socket._connection is None:
                socket.close()
        loop.kept_sockets.clear()
        loop.callbacks.clear()
        loop.deadlines.clear()
        if not loop.is_inherited:  # else its threads and its lock are the parent's
            loop.resolver.close()
        self._close_engine()

    def _close_engine(self) -> None:
        try:
            self._loop.waker.close()
        finally:
            if self._owns_engine:
                self._loop.engine.close()

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        loop: Loop | None = getattr(self, "_loop", None)
        if loop is not None and not loop.closed:
            try:
                if not loop.is_inherited:  # else that is the parent's affair
                    warn(f"unclosed {self!r}: close() it, or use `with`", ResourceWarning, source=self)
            finally:
                loop.closed = True
                self._close_engine()

    def __enter__(self) -> RequestExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        loop = self._loop
        if loop.executing and not loop.in_turn and not loop.is_inherited:
            run.stop(loop)
            while loop.executing and self.turn(0):
                pass
        self.close()

    def __repr__(self) -> str:
        loop = self._loop
        state = "executing" if loop.executing else "closed" if loop.closed else "ready"
        return f"<RequestExecutor on {loop.engine.name} {state}, {len(loop.members)} sockets>"
