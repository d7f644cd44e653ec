"""The fast path of a conversation: reads and writes that are done at once, without suspending the coroutine.

Nearly every message goes this way, anything unusual through `Channel.start_next`. After a number of such
steps in one turn the other sockets have theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core import outbox
from ..core.failure import place
from ..core.operation import Operation
from ..engines.base import WRITE
from ..errors import NetworkSocketError
from ..transports.stream import SEND_SIZE
from . import scopes
from .task import STEPS

if TYPE_CHECKING:
    from ..core.channel import Channel
    from .task import ConversationTask


class Left(Operation):
    """Waits until what was written has left; nothing is left to be done then."""

    __slots__ = ()

    interest = WRITE
    _phase = "writing"
    _replaceable = False

    def start(self, channel: Channel) -> Any:
        return None


LEFT = Left()
# Under names of this module's own they cost compiled code no look-up.
_LEFT, _MOST, _STEPS = LEFT, SEND_SIZE, STEPS


def may(task: ConversationTask) -> bool:
    """Whether the conversation may go on at once: its own coroutine asks, nothing is to end it, and its share
    of the turn is not used up. It counts as a step."""
    channel = task.channel
    if channel is None:
        return False
    loop = channel.loop
    if (
        loop.current is not channel
        or loop.interrupt
        or task.refusal is not None
        or channel.after is not None
        or task.superseded
        or (task.scopes and scopes.passed(task) is not None)
    ):
        return False
    if task.turn is not loop.turn_time:
        task.turn = loop.turn_time
        task.steps = 0
    elif task.steps >= _STEPS:
        return False
    task.steps += 1
    if loop.delayed:
        channel.mark_active()
    return True


def read(task: ConversationTask, operation: Any) -> Any:
    """The frame that `operation` reads, if it lies in the inbox and no handler hears of it; else None."""
    channel = task.channel
    if (
        channel is None
        or not channel.inbox._chunk
        or channel.dispatch.read is not None
        or (channel.plain is None and channel.transport.datagram)
        or not may(task)
    ):
        return None
    reads: Operation = operation
    try:
        return reads._at_hand(channel)
    except NetworkSocketError as error:
        place(channel, error)
        raise


def write(task: ConversationTask, data: bytes) -> int:
    """Write `data`, if no handler hears of it; -1: that is still to be done. 1: the kernel has taken all of
    it, 0: it leaves at the end of the received chunk."""
    channel = task.channel
    if (
        channel is None
        or channel.dispatch.write is not None
        or channel.speeds
        or not 0 < len(data) <= _MOST
        or (channel.plain is None and channel.transport.datagram)
        or not may(task)
    ):
        return -1
    task.awaited = _LEFT
    outbox.put(channel, data)
    return not outbox.is_refused(channel)
