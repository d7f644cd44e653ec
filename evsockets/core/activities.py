"""The steppers between operations: sending the rest, yielding, idling, lingering."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engines.base import READ, WRITE
from ..errors import DisconnectedError, UnmanagedSocketError
from ..events import DataAlertEvent
from . import outbox, telling
from .failure import socket_error
from .operation import DONE, UNTOLD, Stepper

if TYPE_CHECKING:
    from .channel import Channel

DATA_ALERTS = 25
# Seconds for the peer to take what was sent before the connection is closed all the same.
_LINGER = 1.0


class Sending(Stepper):
    """Nothing but sending until the kernel has taken the last byte; then the operation it held up."""

    __slots__ = ()

    interest = WRITE
    _phase = "writing"
    _timed = True

    def step(self, channel: Channel, mask: int) -> Any:
        return channel.resume() if outbox.flush(channel) else self

    def _abandon(self, channel: Channel) -> None:
        outbox.cut(channel)


class Yielded(Stepper):
    """The socket has had its share of this turn: its next operation starts in the next one."""

    __slots__ = ()

    _phase = "reading"
    _timed = True

    def step(self, channel: Channel, mask: int) -> Any:
        return channel.resume()


class Idle(Stepper):
    """A kept-alive connection without an operation: unread bytes raise DATA_ALERT, the end ends it, and so
    does a drain."""

    __slots__ = ()

    interest = READ
    _phase = "idle"
    _replaceable = True

    def start(self, channel: Channel) -> Any:
        if channel.inbox or channel.ended or channel.loop.draining is not None:
            channel.step_next_turn()
        return self

    def step(self, channel: Channel, mask: int) -> Any:
        if channel.queued:  # once per turn, and that is still to come
            return self
        if not has_unread(channel):
            return None if channel.ended or channel.loop.draining is not None else self
        if channel.alerts == DATA_ALERTS:
            why = f"no handler answered {DATA_ALERTS} alerts"
            text = f"{len(channel.inbox)} bytes lie unread on an idle connection and {why}"
            raise socket_error(UnmanagedSocketError, channel, text)
        channel.alerts += 1
        handler = channel.dispatch.data_alert
        if handler is not None:
            telling.tell(channel, handler, DataAlertEvent(channel, channel.alerts, DATA_ALERTS))
            if channel.next is not None or channel.forgotten:
                return DONE
            channel.next = UNTOLD
        channel.step_next_turn()
        return self


def has_unread(channel: Channel) -> bool:
    """Whether bytes for the application lie there. The end, or the connection's loss, sets `ended`."""
    if not channel.inbox:
        try:
            channel.recv()
        except DisconnectedError:
            channel.ended = channel.transport.met = True
    return bool(channel.inbox)


class Linger(Stepper):
    """Everything is sent, the end of TLS too, but an early close might lose what is on its way: a client
    of TLS 1.3 that has read nothing has yet to get the session tickets, which the peer sends unasked, and
    what reaches a closed socket is answered with a reset. So until the peer has all; a second at most."""

    __slots__ = ("_next", "_pause", "_until")

    interest = READ
    _phase = "writing"

    @staticmethod
    def is_needed(channel: Channel) -> bool:
        """Whether the session tickets of TLS 1.3 may be still to come, and have not been waited for."""
        if channel.tls.version != "TLSv1.3" or type(channel.stepper) is Linger:
            return False
        return not (channel.bytes_received or channel.ended or channel.socket._leaves_by_itself)

    def start(self, channel: Channel) -> Any:
        self._pause = 0.005
        self._next = channel.loop.now
        self._until = self._next + _LINGER
        return self.step(channel, 0)

    def step(self, channel: Channel, mask: int) -> Any:
        now = channel.loop.now
        try:
            data = channel.transport.recv() if mask else None  # the tickets, which are no data
        except OSError:
            return None
        if data == b"" or now >= self._until or not channel.transport.is_unacknowledged():
            return None
        if now >= self._next:
            self._next = now + self._pause
            self._pause = min(2 * self._pause, 0.05)
        return self

    def _due(self, channel: Channel) -> float:
        return self._next


SENDING = Sending()
YIELDED = Yielded()
IDLE = Idle()
