"""Which sockets wait, which run, and who may start: the limitation solver is asked here."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from .limits import LimitationDecision, LimitationSolver, NoLimitationSolver
from .operations.listen import Accept
from .sockets import AcceptedSocket, DatagramClientSocket

if TYPE_CHECKING:
    from .channel import Channel
    from .channel.state import State
    from .run import Run

_ASK_AGAIN = 0.1  # seconds between rounds of the limitation solver while nothing runs


class Admission:
    """The waiting line of one executor, and the count of those inside."""

    __slots__ = (
        "_aside", "_ask_at", "_executor", "_refused", "ask", "clients", "listeners", "solver", "waiting",
        "waiting_listeners",
    )  # fmt: skip

    def __init__(self, executor: Run) -> None:
        self._executor = executor
        self.solver: LimitationSolver = NoLimitationSolver()
        self.waiting: OrderedDict[Channel, None] = OrderedDict()
        self.waiting_listeners = 0  # of them
        self.clients = 0  # that run
        self.listeners = 0  # that run
        self.ask = False  # something has changed since the solver was asked
        self._ask_at = 0.0  # when to ask it again though nothing has
        self._aside: list[Channel] = []  # waiting for the next run
        self._refused: dict[Channel, Accept] = {}  # accepted clients refused, and who is paused for them

    @property
    def running(self) -> int:
        """How many have started and not ended."""
        return self.clients + self.listeners

    # ---- the line ------------------------------------------------------------------------------------

    def enqueue(self, channel: Channel) -> None:
        """A socket was added."""
        self.waiting[channel] = None
        if channel.socket.is_server:
            self.waiting_listeners += 1
        self.ask = True

    def dequeue(self, channel: Channel) -> None:
        """A waiting socket was removed."""
        if channel in self.waiting:
            del self.waiting[channel]
            if channel.socket.is_server:
                self.waiting_listeners -= 1

    def set_aside(self, channel: Channel) -> None:
        """Draining: a socket that has not started waits for another run; an accepted one is closed."""
        self.dequeue(channel)
        if isinstance(channel.socket, AcceptedSocket | DatagramClientSocket):
            channel.abort_unstarted()
        else:
            self._aside.append(channel)

    def readmit(self) -> None:
        """A run begins: those set aside in the last one wait in line again, if they are still in the bag."""
        for channel in self._aside:
            if not channel.complete and self._executor.socket_bag.holds(channel):
                self.enqueue(channel)
        self._aside.clear()
        self.ask = True

    def abort(self) -> None:
        """An exception ends the run: nobody waits any more."""
        while self.waiting:
            self.waiting.popitem()[0].abort_unstarted()
        self.waiting_listeners = 0
        for channel in self._aside:
            if not channel.started:
                channel.abort_unstarted()

    # ---- asking --------------------------------------------------------------------------------------

    def is_due(self) -> bool:
        """Whether somebody waits and the solver is to be asked."""
        return bool(self.waiting) and (
            self.ask or (not self.clients and self._ask_at <= self._executor.clock())
        )

    @property
    def ask_at(self) -> float:
        """When the solver is asked again though nothing has changed; infinity while something runs."""
        return self._ask_at if self.waiting and not self.clients else float("inf")

    def admit(self) -> None:
        """Start what may start, in the order added."""
        executor = self._executor
        self.ask = False
        self._ask_at = executor.now + _ASK_AGAIN
        waiting = self.waiting
        skipped: list[Channel] = []
        solver = self.solver
        free = type(solver) is NoLimitationSolver
        try:
            for _ in range(len(waiting)):
                if not waiting or executor.stopping:
                    break
                channel, _none = waiting.popitem(last=False)
                if free or channel.socket.is_server:
                    decision = LimitationDecision.OK
                else:
                    total = len(waiting) + 1 - self.waiting_listeners + len(skipped) + self.clients
                    executor.current = executor  # no socket's handler
                    try:
                        decision = solver.decide(executor, channel.socket, executor.context, total)
                    except BaseException:
                        skipped.append(channel)
                        raise
                if decision is LimitationDecision.OK:
                    self._start(channel)
                    if executor.attention:
                        executor.attend()
                    continue
                skipped.append(channel)
                self._pause_listener(channel)
                if decision is LimitationDecision.PROCESS_SCHEDULED:
                    self._admit_listeners()
                    break
                if decision is not LimitationDecision.SKIP_CURRENT:
                    raise TypeError(
                        f"{type(solver).__name__}.decide() must return a LimitationDecision, got {decision!r}"
                    )
        finally:
            for channel in reversed(skipped):
                waiting[channel] = None
                waiting.move_to_end(channel, last=False)

    def _admit_listeners(self) -> None:
        """Listeners are not asked for: a full house does not keep them waiting."""
        if self.waiting_listeners:
            executor = self._executor
            for channel in [one for one in self.waiting if one.socket.is_server]:
                if executor.stopping:
                    break
                if channel in self.waiting:  # a handler of the one before may have removed it
                    del self.waiting[channel]
                    self._start(channel)
                    if executor.attention:
                        executor.attend()

    def _start(self, channel: Channel) -> None:
        executor = self._executor
        if channel.socket.is_server:
            self.waiting_listeners -= 1
            self.listeners += 1
        else:
            self.clients += 1
            if self._refused:
                self._unpause_listener(channel)
        executor.current = channel
        try:
            channel.open()
        except BaseException as error:
            executor.step_failed(channel, error)

    def ended(self, channel: State) -> None:
        """A running socket's life is over."""
        if channel.socket.is_server:
            self.listeners -= 1
        else:
            self.clients -= 1
        self.ask = True  # also if nobody waits just now: within a round, who was skipped is put back later

    # ---- accepted clients refused: their listener pauses ---------------------------------------------

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

    def over(self) -> None:
        """The run has ended."""
        self._refused.clear()
