"""The operations of a conversation that sleeps or waits for another: its connection is watched."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from ..core.deadlines import INFINITY
from ..core.failure import socket_error
from ..core.operation import Operation
from ..engines.base import READ
from ..errors import DisconnectedError

if TYPE_CHECKING:
    from ..core.channel import Channel
    from ..typing import TimeoutPhase
    from .task import ConversationTask

# What is received meanwhile, at most.
_KEPT = 64 * 1024


class Flushed:
    """Yielded by an await, of any conversation of the executor: until the outbox of `task` is empty."""

    __slots__ = ("task",)

    def __init__(self, task: ConversationTask) -> None:
        self.task = task

    def __await__(self) -> Generator[Flushed, None, None]:
        yield self

    def wait(self, channel: Channel) -> Wait:
        """What the socket of the conversation that awaits does meanwhile."""
        waits = Wait("waiting")
        box = self.task.channel.outbox
        if box is None:
            waits.woken = True
        else:
            box.waiters = box.waiters or []
            box.waiters.append(partial(waits.wake, channel))
        return waits


class Wait(Operation):
    """Waits `seconds` from its start, or to be woken; meanwhile its connection is watched as an idle
    one is."""

    __slots__ = ("_phase", "interest", "seconds", "until", "woken")

    _timed = False

    def __init__(self, phase: TimeoutPhase, seconds: float | None = None) -> None:
        self._phase = phase
        self.seconds = seconds
        self.until = INFINITY  # on the executor's clock
        self.woken = False
        self.interest = 0

    def wake(self, channel: Channel) -> None:
        """It is over, even before it has started; the coroutine goes on in the next turn."""
        self.woken = True
        if channel.stepper is self:
            channel.step_next_turn()
            channel.loop.wake_if_hosted()

    def start(self, channel: Channel) -> Any:
        if self.seconds is not None:
            self.until = channel.loop.clock() + self.seconds
            self.seconds = None
            self.woken = self.woken or self.until <= channel.loop.now
        if self.woken:
            channel.step_next_turn()  # others have their turn
        self._listen(channel)
        return self

    def _listen(self, channel: Channel) -> None:
        transport = channel.transport
        full = len(channel.inbox) >= _KEPT
        deaf = channel.ended or full or transport.datagram or transport.failure is not None
        self.interest = 0 if deaf else READ

    def step(self, channel: Channel, mask: int) -> Any:
        if self.woken or self.until <= channel.loop.now:
            return None
        self._listen(channel)  # the connection may have been lost in sending
        if mask & READ and self.interest:
            self._receive(channel, _KEPT - len(channel.inbox))
            if channel.ended:
                self.interest = 0
                clean = not (channel.truncated or channel.inbox)
                why = "the peer closed the connection"
                raise socket_error(DisconnectedError, channel, why, self._phase, clean=clean)
            self._listen(channel)
        return self

    def _receive(self, channel: Channel, most: int) -> None:
        if channel.plain is not None:
            channel.recv(most)
            return
        transport = channel.transport
        usual, transport.most = transport.most, most
        try:
            channel.recv()
        finally:
            transport.most = usual

    def _due(self, channel: Channel) -> float:
        return self.until

    def __repr__(self) -> str:
        return f"<{self._phase}>"
