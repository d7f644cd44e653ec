"""The turn: admit, poll, step the ready sockets, expire the late ones.

The order within a turn is the product. First thread-safe callbacks and whatever may start; then the
engine is asked, waiting no longer than the earliest deadline; then the clock is read, and each ready
channel's operation takes one step; then those whose bytes no descriptor announces (`queue`). The clock
is read again, and what became pending meanwhile counts from there. Last come those whose deadline had
passed when the engine was asked: I/O is thus looked at before a time-out is declared.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._unpatched import original
from .admission import Admission
from .channel import Channel
from .channel.ending import Ending, handler_error
from .channel.state import State
from .configuration import Configuration
from .context import ExecutionContext
from .deadlines import INFINITY, Deadlines, Moment
from .engines.base import Engine
from .errors import NetworkSocketError
from .events import TimeoutStage
from .metadata import Settings
from .phases import Phase
from .sockets import Socket
from .urgent import look, want_urgent
from .waker import Waker

if TYPE_CHECKING:
    from .drain import Drain
    from .operations.delay import DelayedOperation
    from .resolver import Resolver
    from .socket_bag import SocketBag

_LONGEST_WAIT = 86_400.0


class Run:
    """The inside of an executor: what channels and operations use of it, and the turn."""

    resolver: Resolver
    socket_bag: SocketBag
    closed: bool

    def __init__(self, engine: Engine, configuration: Configuration) -> None:
        self.engine = engine
        self.configuration = configuration
        self.client_settings = Settings.of(configuration, server=False)
        self.server_settings = Settings.of(configuration, server=True)
        self._alike: tuple[Settings, dict[str, Any], Settings] | None = None
        self.clock: Callable[[], float] = getattr(engine, "clock", None) or time.monotonic
        self.now = self.clock()  # as of the last poll
        self.moment = Moment()  # what begins now counts from here; see `tick`
        self.moment.when = self.now
        self.wall_offset = time.time() - self.now
        self.context = ExecutionContext()
        self.deadlines = Deadlines()
        self.admission = Admission(self)
        self.queue: list[Channel] = []  # to be stepped in the next turn, whatever the engine says
        self.metered: list[Channel] = []  # what they wait for has changed
        self.doomed: list[Ending] = []  # cancelled: to be ended when the handler has returned
        self.attention = False  # look at `doomed` and `stopping`
        self.stopping = False
        self.delayed: dict[State, float | None] = {}
        # Who had an event since the delayed were asked; None stands for callbacks.
        self.actors: set[State | None] = set()
        self.current: Any = None  # whose handlers run; None while the engine is asked
        self.urgent: Callable[[], Any] | None = None  # select.poll, once somebody listens to out-of-band data
        self._callbacks: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._executing = False
        self._in_turn = False
        self._thread: int | None = None
        self._ident: Callable[[], int] = original("_thread", "get_ident")
        self._drain: Drain | None = None
        self._kept: dict[int, Socket] = {}
        self._waker = Waker(engine)

    # ---- the turn ------------------------------------------------------------------------------------

    def _turn(self, timeout: float | None) -> None:
        if self._callbacks:
            self._call_callbacks()
        if self.attention and self.attend():
            return
        admission = self.admission
        if admission.waiting and (admission.ask or admission.is_due()):
            self.now = self.moment.when = self.clock()
            admission.admit()
            if self.attention and self.attend():
                return
            self.tick()
        if self._work_is_queued():
            if not admission.running and not admission.waiting and not self._callbacks:
                return
            timeout = when = 0.0
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
        now = self.now = self.moment.when = self.clock()
        if when <= now and self._somebody_is_late(now):
            batch = self._all_ready(batch)
        if self.urgent and batch:
            look(self, batch)
        # With gevent another greenlet may have asked for it while the engine was asked.
        if self.attention and self.attend():
            return
        for token, mask in batch:
            operation = token.operation
            if operation is None:  # closed earlier in this batch
                continue
            self.current = token
            try:
                following = operation.step(token, mask)
                if following is not token.operation:
                    token.become(following)
                elif token.heed:  # TLS, mostly: what it waits for may be something else now
                    token.update()
            except BaseException as error:
                self.step_failed(token.channel, error)
            if self.attention and self.attend():
                return
        if queue and self.urgent:  # the bytes before the urgent one may just have been read
            look(self, [(channel, 0) for channel in queue])
            if self.attention and self.attend():
                return
        for channel in queue:
            channel.queued = False
            if channel.operation is not None:
                self.guarded(channel, self._step_queued, channel)
            if self.attention and self.attend():
                return
        if self._callbacks:
            self._call_callbacks()
            if self.attention and self.attend():
                return
        self.tick()
        if self._drain is not None and self._drain.deadline <= now:
            self._drain.expire()
        if self.deadlines.next() <= now:
            self._expire(now)
            if self.stopping:
                return
        if self.actors:
            if self.delayed:
                self._ask_delayed()
                self.tick()
            else:
                self.actors.clear()
        self.current = None

    def tick(self) -> None:
        """What became pending in the handlers that just ran counts from now, not from before them."""
        now = self.moment.when = self.clock()
        moment = self.moment = Moment()
        moment.when = now
        if self.metered:
            metered, self.metered = self.metered, []
            for channel in metered:
                if channel.meters is not None and not channel.complete:
                    channel.run_meters(now)

    def _somebody_is_late(self, now: float) -> bool:
        """Whether, but for what the engine has just told, a time-out or speed is to be declared."""
        late = False
        for channel in self.deadlines.due(now):
            when, what = channel.earliest()
            if when <= now and isinstance(what, TimeoutStage | str):
                late = True
            channel.arm()  # to surface again when the I/O has been looked at
        return late

    def _all_ready(self, batch: list[tuple[Any, int]]) -> list[tuple[Any, int]]:
        """`batch` and whoever did not fit into it: after a long stall many are ready, and an engine tells a
        bounded number at a time. What has arrived is looked at before a time-out is declared."""
        known = {id(token) for token, _ in batch}
        while more := [pair for pair in self.engine.poll(0.0) if id(pair[0]) not in known]:
            batch = [*batch, *more]
            known.update(id(token) for token, _ in more)
        return batch

    def _step_queued(self, channel: Channel) -> None:
        operation = channel.operation
        assert operation is not None
        following = operation.step(channel, operation.interest)
        if following is not channel.operation:
            channel.become(following)
        elif channel.operation is not None:
            channel.update()

    def _expire(self, now: float) -> None:
        for channel in self.deadlines.due(now):
            if not channel.complete:
                self.guarded(channel, channel.expire, now)
                if self.attention and self.attend():
                    return
        self.tick()

    def step_failed(self, channel: Channel | None, error: BaseException) -> None:
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
        self.current = channel
        try:
            call(*args)
        except BaseException as error:
            self.step_failed(channel, error)

    def _work_is_queued(self) -> bool:
        admission = self.admission
        return bool(
            self.queue or self.actors or self._callbacks or self.attention
            or (admission.waiting and admission.ask) or not (admission.running or admission.waiting)
        )  # fmt: skip

    def _next_moment(self) -> float:
        when = self.deadlines.next()
        if self.admission.waiting:
            when = min(when, self.admission.ask_at)
        if self._drain is not None:
            when = min(when, self._drain.deadline)
        return when

    def _call_callbacks(self) -> None:
        self.admission.ask = True
        for _ in range(len(self._callbacks)):
            callback, args = self._callbacks.popleft()
            self.current = self  # no socket's handler
            callback(*args)
            if self.delayed:
                self.actors.add(None)

    def _ask_delayed(self) -> None:
        actors, self.actors = self.actors, set()
        for channel in list(self.delayed):
            if channel in self.delayed and (len(actors) > 1 or channel not in actors):
                self.guarded(channel, self._ask_one, channel, channel.operation)  # type: ignore[arg-type]
                if self.attention and self.attend():
                    return

    def _ask_one(self, channel: Channel, operation: DelayedOperation) -> None:
        following = operation.ask(channel)
        if following is not channel.operation:
            channel.become(following)

    # ---- what channels tell --------------------------------------------------------------------------

    def attend(self) -> bool:
        """Cancelled and closed sockets end now: the handlers they came from have returned. Whether the run
        is to end, too."""
        self.attention = self.stopping
        while self.doomed:
            channel = self.doomed.pop()
            if not channel.complete:
                self.guarded(channel, channel.end)  # type: ignore[arg-type]
        return self.stopping

    def attend_soon(self) -> None:
        """A socket was closed: see to it at once between turns, else when the handler returns."""
        if self._executing:
            self.wake_if_hosted()
        else:
            self.attend()

    def wake_if_hosted(self) -> None:
        """Something changed between turns: whoever hosts this executor should turn. Or, with gevent, it
        changed in another greenlet while this one polls."""
        if self._executing and (not self._in_turn or self.current is None):
            self._waker.wake()

    def ended(self, channel: State) -> None:
        """A channel's life is over."""
        self.admission.ended(channel)
        if self._drain is not None:
            self._drain.ended(channel)

    def running(self) -> list[Channel]:
        """Every channel that has started and not ended, in the order added."""
        alive = (Phase.OPENING, Phase.CONNECTED)
        return [channel for channel in self.socket_bag.channels() if channel.phase in alive]

    def settings_like(self, base: Settings, values: dict[str, Any]) -> Settings:
        """`base` with these values: one object for sockets that are added alike, one after the other."""
        alike = self._alike
        if alike is not None and alike[0] is base and alike[1] == values:
            return alike[2]
        made = base.changed(values)
        self._alike = base, values, made
        return made

    def watch_urgent(self, channel: State) -> None:
        """Its handlers want out-of-band data; on anything but plain TCP there is none."""
        if channel.plain is not None:
            self.urgent = self.urgent or original("select", "poll")
            want_urgent(channel.plain, True)

    def keep(self, socket: Socket) -> None:
        """A forgotten plain socket's connection is closed with the executor."""
        self._kept[id(socket)] = socket

    def let_go(self, socket: Socket) -> None:
        """That connection is used again, or closed."""
        self._kept.pop(id(socket), None)

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any) -> None:
        """Have `callback(*args)` called in the executor's thread, soon; from any thread or signal
        handler. Posted while not executing it runs in the next run. RuntimeError after `close()`."""
        if self.closed:
            raise RuntimeError("the executor is closed")
        if not callable(callback):
            raise TypeError(f"callback must be callable, got {callback!r}")
        self._callbacks.append((callback, args))
        self._waker.wake()

    def check_thread(self) -> None:
        """RuntimeError when a run is on in another thread."""
        if self._executing and self._thread != self._ident():
            raise RuntimeError(
                "the executor runs in another thread: use call_soon_threadsafe() to do this there "
                "(stop_request() and drain() may be called from anywhere)"
            )
