"""The event loop's state: clock, callbacks, queues of a turn, whom an error ends. run.py takes the turns."""

from __future__ import annotations

import math
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import forks
from .._unpatched import original
from ..callbacks import ResolvableHandler
from ..configuration import Configuration
from ..context import ExecutionContext
from ..engines.asking import failure
from ..engines.base import Engine, WatchError
from ..limits import LimitationSolver, NoLimitationSolver
from ..metadata import SocketMetadata
from ..settings import Changed, Settings, with_given
from ..sockets import Socket
from ..validation import check_called
from ..waker import Waker
from . import closing
from .admission import Admission
from .channel import Channel
from .clock import clock_of
from .deadlines import AT_ONCE, INFINITY, UNTIL_STOPPED, Deadlines, TurnTime
from .dispatch import Dispatch
from .failure import isolated
from .operation import Maker
from .states import Phase

if TYPE_CHECKING:
    from ..drain import Drain
    from ..executor import RequestExecutor

# Read by these names they cost compiled code no look-up.
_NEVER, _AT_ONCE = INFINITY, AT_ONCE
_LAST = math.nextafter(INFINITY, 0)  # of all times


class Loop:
    """What stands above the core is handed in: `handlers` are the global ones, `begin(channel)` leads a
    channel to its connection, `keep(channel, transport)` keeps that for another life, `maker` makes the
    operations that events name.
    """

    def __init__(
        self,
        executor: RequestExecutor,
        engine: Engine,
        configuration: Configuration,
        *,
        handlers: ResolvableHandler,
        resolver: Any,
        begin: Callable[[Channel], None],
        keep: Callable[[Channel, Any], None],
        maker: Maker,
    ) -> None:
        self.executor = executor
        self.engine = engine
        self.configuration = configuration
        self.handlers = handlers
        self.resolver = resolver
        self.begin = begin
        self.keep = keep
        self.maker = maker
        self.solver: LimitationSolver = NoLimitationSolver()
        self.dispatches: dict[Any, weakref.ref[Dispatch]] = {}  # by the handler, see `dispatch.of`
        self.client_settings = Settings.of(configuration, server=False)
        self.server_settings = Settings.of(configuration, server=True)
        self._last_settings: Changed | None = None
        self.clock: Callable[[], float] = getattr(engine, "clock", None) or time.monotonic
        self.time = clock_of(self.clock)  # the same, for the turn
        self.context = ExecutionContext()
        self.closed = False
        self.turns_taken_by_us = False  # by execute_request() or asyncio, not by a host's loop
        self.oob_poller_type: Callable[[], Any] | None = None  # select.poll, once somebody listens to OOB
        self.callbacks: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self.members: dict[Socket, SocketMetadata] = {}  # what the bag shows
        self.kept_sockets: dict[int, Socket] = {}  # forgotten plain sockets, whose connections close with us
        self.deadlines = Deadlines()
        self.ident: Callable[[], int] = original("_thread", "get_ident")
        self._forks = forks.count()
        self.stopping = False
        self.draining: Drain | None = None
        self.closing: Any = None  # the conversation whose coroutine is being closed
        self.reset()
        self.wall_offset = time.time() - self.now
        self.waker = Waker(engine)

    def reset(self) -> None:
        """No run is on: whatever belongs to one is as at its beginning. Timers, which it may be given before,
        outlive it if it came to its end by itself."""
        if self.stopping or self.draining is not None:
            self.deadlines.clear()
        self.deadlines.keepers.discard(UNTIL_STOPPED)
        self.executing = False
        self.in_turn = False
        self.stopping = False
        self.interrupt = False  # look at `to_end`, `to_flush` and `stopping`
        self.current: Any = None  # whose handlers run; None while the engine is asked
        self.draining = None
        self.ready: list[Channel] = []  # to be stepped in the next turn, whatever the engine says
        self.posters: list[Channel] = []  # for whom something was posted in this turn
        self.to_end: list[Channel] = []  # cancelled: to be ended when the handler has returned
        # Much was scheduled to be written: by what it is to be sent likewise.
        self.to_flush: list[tuple[Channel, Callable[[Channel], None]]] = []
        self.delayed: dict[Channel, float] = {}  # and when to ask again
        # Who had an event since the delayed were asked; None stands for callbacks.
        self.active_sockets: set[Channel | None] = set()
        # The last ones made are kept, for sockets that come and go one after the other.
        self.recent_dispatches: deque[Dispatch] = deque(maxlen=8)
        self.admission = Admission(self)
        self.now = self.clock()  # as of the last poll
        self.turn_time = TurnTime()  # what begins now counts from here; see `update_time`
        self.turn_time.when = self.now
        self.thread_id: int | None = None  # last: only now is everything done

    # ---- checks --------------------------------------------------------------------------------------

    @property
    def is_inherited(self) -> bool:
        """Whether this is the child of a fork, and the loop its parent's."""
        return self._forks != forks.count()

    def check_fork(self) -> None:
        """EngineError in the child of a fork."""
        if self.is_inherited:
            raise forks.refusal()

    def check_open(self) -> None:
        """RuntimeError where it cannot be used, EngineError in the child of a fork."""
        if self.closed:
            raise RuntimeError("the executor is closed: make a new one")
        self.check_thread()
        self.check_fork()

    def check_idle(self) -> None:
        """The same, and RuntimeError where no run can begin."""
        self.check_open()
        if self.executing:
            raise RuntimeError("the executor is executing already")

    def check_thread(self) -> None:
        """RuntimeError when a run is on in another thread."""
        if self.executing and self.thread_id != self.ident():
            how = "call_soon_threadsafe() does this there; stop_request() and drain() work from anywhere"
            raise RuntimeError(f"the executor runs in another thread: {how}")

    # ---- what a turn uses ----------------------------------------------------------------------------

    def has_work(self) -> bool:
        """Whether the run has a reason to go on. A drain waits for sockets only."""
        if self.admission.running or self.admission.waiting:
            return True
        return bool(self.deadlines.keepers) and self.draining is None

    def due(self) -> float:
        """When a turn is next due: AT_ONCE while work is queued, INFINITY: only when the engine says so. It
        may be the time of a deadline that has been put off or lifted since."""
        admission = self.admission
        if self.ready or self.posters or self.active_sockets or self.callbacks or self.interrupt:
            return _AT_ONCE
        if not (admission.running or self.has_work()):
            return _AT_ONCE
        when = self.deadlines.next()
        return min(when, admission.due()) if admission.waiting else when

    def patience(self, *, exact: bool = False) -> float | None:
        """Seconds until then, None: only when the engine says so. `exact`: of a deadline that holds."""
        if exact and self.executing and self.due() != _AT_ONCE:
            self.deadlines.lift(_LAST)
        when = self.due() if self.executing else _NEVER
        return None if when == _NEVER else max(0.0, when - self.clock())

    def update_time(self) -> None:
        """What became pending in the handlers that just ran counts from now, not from before them."""
        now = self.time.read()
        self.turn_time.when = now
        turn_time = TurnTime.__new__(TurnTime)
        turn_time.when = now
        self.turn_time = turn_time

    def poll_failed(self, error: Exception) -> list[tuple[Any, int]]:
        """The engine's failure ends the run; what the system refuses to watch ends only whom it concerns."""
        if not isinstance(error, WatchError):
            raise failure(self.engine, "poll", error)
        for token in error.tokens:
            self.call_for(token.channel, token.refused, error)
        return []

    def call_for(self, channel: Channel | None, call: Callable[..., Any], *args: Any) -> None:
        """Call on behalf of `channel`, whose life, or the run, ends by what is raised."""
        self.current = channel
        try:
            call(*args)
        except BaseException as error:
            self.handle_error(channel, error)

    def handle_error(self, channel: Channel | None, error: BaseException) -> None:
        """What a step or handler raised: the channel's end, or the run's."""
        # Complete: its FINALIZE raised, which nothing isolates. Not started: a signal handler raised.
        if channel is None or channel.complete or channel.phase is Phase.WAITING or self.is_inherited:
            raise error
        task = channel.task
        if task is not None and channel.connected and task.catches(error):
            del error  # a coroutine may keep it, and with its traceback this frame
            return self.call_for(channel, channel.start_next, task)
        closing.fail(channel, isolated(channel, error))

    def call_callbacks(self) -> None:
        for _ in range(len(self.callbacks)):
            self.call_back(*self.callbacks.popleft())

    def call_back(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Call what is no socket's handler. Solvers and delayed operations are asked after it."""
        self.admission.ask = True
        self.current = self
        callback(*args)
        if self.delayed:
            self.active_sockets.add(None)

    # ---- what channels tell --------------------------------------------------------------------------

    def end_cancelled(self) -> bool:
        """Cancelled and closed sockets end now, and what is much leaves now: the handlers they came from have
        returned. Whether the run is to end, too."""
        self.interrupt = self.stopping
        to_flush, self.to_flush = self.to_flush, []
        self._end_cancelled()
        for channel, flush in to_flush:
            if not self.stopping:
                self.call_for(channel, flush, channel)
                self._end_cancelled()
        return self.stopping

    def _end_cancelled(self) -> None:
        while self.to_end:
            channel = self.to_end.pop()
            if not channel.complete:
                self.call_for(channel, closing.end, channel)

    def flush_soon(self, channel: Channel, flush: Callable[[Channel], None]) -> None:
        """Much was scheduled to be written: call `flush` when the handler running now has returned, not only
        in the next turn."""
        self.to_flush.append((channel, flush))
        self.interrupt = True

    def wake_if_hosted(self) -> None:
        """Something changed between turns: the host is to take one. Or, with gevent, it changed in another
        greenlet while this one polls."""
        if self.executing and (not self.in_turn or self.current is None):
            self.waker.wake()

    def channels(self) -> list[Channel]:
        """Of each socket in the bag whose life is not over, in the order added."""
        known = [metadata._channel for metadata in self.members.values()]
        return [channel for channel in known if isinstance(channel, Channel)]

    def running(self) -> list[Channel]:
        """Every channel that has started and not ended, in the order added."""
        alive = (Phase.OPENING, Phase.CONNECTED)
        return [channel for channel in self.channels() if channel.phase in alive]

    def settings_like(self, base: Settings, given: dict[str, Any]) -> Settings:
        """`base` with what is given, checked: one object for sockets that are added alike, one after the
        other."""
        last = self._last_settings
        if last is None or not last.is_of(base, given):
            last = self._last_settings = with_given(base, given, last)
        settings: Settings = last.settings
        return settings

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any) -> None:
        """See `RequestExecutor.call_soon_threadsafe`."""
        if self.closed:
            raise RuntimeError("the executor is closed")
        check_called("callback", callback)
        self.callbacks.append((callback, args))
        self.waker.wake()
