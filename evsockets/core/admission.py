"""Admission: which sockets wait and which run; the limitation solver is asked here."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..limits import ConstantLimitationSolver, LimitationDecision, NoLimitationSolver
from . import start
from .deadlines import AT_ONCE, INFINITY

if TYPE_CHECKING:
    from .channel import Channel
    from .loop import Loop

_ASK_AGAIN = 0.1  # seconds between rounds of the limitation solver while nothing runs
# Read by these names they cost compiled code no look-up.
_OK, _FULL = LimitationDecision.OK, LimitationDecision.PROCESS_SCHEDULED
_FREE, _CONSTANT = NoLimitationSolver, ConstantLimitationSolver
_NEVER, _AT_ONCE = INFINITY, AT_ONCE


class Admission:
    """Of one run: the line of the sockets that wait to start, and the number of those that have."""

    __slots__ = (
        "_ask_at", "_loop", "_refused", "_waiting_listeners", "ask", "clients", "running", "waiting",
    )  # fmt: skip

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.waiting: OrderedDict[Channel, None] = OrderedDict()
        self._waiting_listeners = 0  # how many of `waiting` are listening sockets
        self.running = 0  # how many have started and not ended
        self.clients = 0  # how many of these are no listening sockets
        self.ask = True  # something has changed since the solver was asked
        self._ask_at = 0.0  # when to ask it again though nothing has
        self._refused: set[Channel] = set()  # by the solver

    def enqueue(self, channel: Channel) -> None:
        """It waits, unless a drain leaves it to another run: there all that are in the bag are enqueued."""
        drain = self._loop.draining
        if channel not in self.waiting and (drain is None or not drain.keeps_out(channel)):
            self.waiting[channel] = None
            self._waiting_listeners += channel.socket.is_server
            self.ask = True

    def dequeue(self, channel: Channel) -> None:
        """It waits no more."""
        if channel in self.waiting:
            del self.waiting[channel]
            self._waiting_listeners -= channel.socket.is_server

    def set_aside(self, leaves: Callable[[Channel], bool]) -> None:
        """Those of which `leaves` is true wait for another run."""
        for channel in list(self.waiting):
            if leaves(channel):
                self.dequeue(channel)

    def due(self) -> float:
        """When the solver is to be asked: at once after a change, else now and then while no client runs."""
        if not self.waiting or (self.clients and not self.ask):
            return _NEVER
        return _AT_ONCE if self.ask else self._ask_at

    def admit(self) -> None:
        """Start what may start, in the order added. Listeners are not asked for: a full house does not keep
        them waiting."""
        loop, waiting = self._loop, self.waiting
        self.ask = False
        self._ask_at = loop.now + _ASK_AGAIN
        free = type(loop.solver) is _FREE
        full = False
        skipped: list[Channel] = []
        try:
            for _ in range(len(waiting)):
                if loop.stopping or not waiting or (full and not self._waiting_listeners):
                    break
                channel, _none = waiting.popitem(False)
                if free or channel.socket.is_server:
                    self._start(channel)
                    continue
                skipped.append(channel)
                if full:
                    continue
                decision = self._decide(channel, len(waiting) + len(skipped))
                if loop.stopping:
                    break
                if decision is _OK:
                    self._start(skipped.pop())
                    continue
                if channel not in self._refused:
                    self._refused.add(channel)
                    tell_listener(channel, "client_refused")
                full = decision is _FULL
        finally:
            for channel in reversed(skipped):
                waiting[channel] = None
                waiting.move_to_end(channel, last=False)

    def _decide(self, channel: Channel, waiting: int) -> LimitationDecision:
        loop = self._loop
        if type(loop.solver) is _CONSTANT:
            return _OK if self.clients < loop.solver._limit else _FULL
        loop.current = loop  # no socket's handler
        total = waiting - self._waiting_listeners + self.clients
        client: Any = channel.socket  # listeners start at once
        decision = loop.solver.decide(loop.executor, client, loop.context, total)
        if not isinstance(decision, LimitationDecision):
            name = type(loop.solver).__name__
            raise TypeError(f"{name}.decide() must return a LimitationDecision, got {decision!r}")
        return decision

    def _start(self, channel: Channel) -> None:
        loop = self._loop
        self.running += 1
        if channel.socket.is_server:
            self._waiting_listeners -= 1
        else:
            self.clients += 1
            if self._refused and channel in self._refused:
                self._refused.remove(channel)
                tell_listener(channel, "client_admitted")
        loop.current = channel
        try:
            start.open(channel)
        except BaseException as error:
            loop.handle_error(channel, error)
        if loop.interrupt:
            loop.end_cancelled()

    def ended(self, channel: Channel) -> None:
        """A running socket's life is over."""
        self.running -= 1
        if not channel.socket.is_server:
            self.clients -= 1
        self.ask = True  # also if nobody waits just now: within a round, who was skipped is put back later
        if self._loop.draining is not None:
            self._loop.draining.ended(channel)


def tell_listener(channel: Channel, what: str) -> None:
    """Call the method `what` of the operation that has accepted this client, if one has and it cares."""
    listener: Any = getattr(channel.socket, "_listener", None)
    call = None if listener is None else getattr(listener.operation, what, None)
    if call is not None:
        call(listener)
