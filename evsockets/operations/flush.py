"""The operations between a user's: taking turns, sending the rest, beginning, being idle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engines.base import READ, WRITE
from ..errors import DisconnectedError, UnmanagedSocketError
from ..events import DataAlertEvent, Event, EventType
from ..frames.empty import EmptyFramePicker
from .base import Operation
from .read import ReadOperation

if TYPE_CHECKING:
    from ..channel import Channel

DATA_ALERTS = 25
# Seconds for the peer to take what was sent before the connection is closed all the same.
_LINGER = 1.0


class Flush(Operation):
    """Nothing but sending until the kernel has taken the last byte; then the operation held back."""

    __slots__ = ()

    interest = WRITE
    phase = "writing"
    steady = True

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return channel.release_held() if channel.flush() else self

    def abandon(self, channel: Channel) -> None:
        if channel.held_started and channel.held is not None:
            channel.held.abandon(channel)


class Resume(Operation):
    """The socket has had its share of this turn: its next operation starts in the next one."""

    __slots__ = ()

    interest = 0

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return channel.release_held()


class Begin(Operation):
    """The transport is usable: CONNECTED, then the first operation."""

    __slots__ = ()

    def start(self, channel: Channel) -> Operation | None:
        channel.connected_now()
        channel.note_activity()
        handler = channel.dispatch.connected
        if handler is not None:
            handler(Event(EventType.CONNECTED, channel))
        following, channel.held = channel.held, None
        return following

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return self


class Idle(Operation):
    """A kept-alive connection without an operation: unread bytes raise DATA_ALERT, the end ends it."""

    __slots__ = ()

    interest = READ
    phase = "idle"
    timed = False
    steady = True

    def start(self, channel: Channel) -> Operation | None:
        if channel.inbox or channel.ended:
            channel.again()
        return self

    def step(self, channel: Channel, mask: int) -> Operation | None:
        if channel.queued:  # once per turn, and that is still to come
            return self
        if not channel.inbox:
            try:
                channel.recv()
            except DisconnectedError:
                channel.ended = True
            if not channel.inbox:
                return None if channel.ended else self
        if channel.alerts == DATA_ALERTS:
            raise UnmanagedSocketError(
                f"{channel.metadata.address}: {len(channel.inbox)} bytes lie unread on an idle connection "
                f"and no handler answered {DATA_ALERTS} alerts",
                address=channel.metadata.address,
            )
        channel.alerts += 1
        handler = channel.dispatch.data_alert
        following: Operation | None = None
        if handler is not None:
            channel.note_activity()
            event = DataAlertEvent(channel, channel.alerts, DATA_ALERTS)
            handler(event)
            following = event._next
            if channel.forgotten:
                return None
            if channel.override is not None:  # set by way of the bag
                following, channel.override = channel.override, None
        if following is None:
            channel.again()
            return self
        if not takes_nothing(following):
            channel.alerts = 0
        return following


def takes_nothing(operation: Operation | None) -> bool:
    """Whether it leaves what lies unread, so that the alerts of an idle connection go on counting."""
    return isinstance(operation, ReadOperation) and isinstance(operation.picker, EmptyFramePicker)


class Linger(Operation):
    """Everything is sent, the end of TLS too, but an early close might lose what is on its way: a client
    of TLS 1.3 that has read nothing has yet to get the session tickets, which the peer sends unasked, and
    what reaches a closed socket is answered with a reset. So until the peer has all; a second at most."""

    __slots__ = ("_next", "_pause", "_until")

    phase = "writing"
    timed = False

    def start(self, channel: Channel) -> Operation | None:
        self._pause = 0.005
        self._next = channel.executor.now
        self._until = self._next + _LINGER
        return self._look(channel)

    def _look(self, channel: Channel) -> Operation | None:
        now = channel.executor.now
        if now >= self._until or not channel.transport.is_unacknowledged():
            return None
        if now >= self._next:
            self._next = now + self._pause
            self._pause = min(2 * self._pause, 0.05)
        return self

    def step(self, channel: Channel, mask: int) -> Operation | None:
        try:
            data = channel.transport.recv()  # the tickets, which are no data
        except OSError:
            return None
        return None if data == b"" else self._look(channel)

    def due(self, channel: Channel) -> float | None:
        return self._next

    def expire(self, channel: Channel, now: float) -> Operation | None:
        return self._look(channel)


FLUSH = Flush()
RESUME = Resume()
BEGIN = Begin()
IDLE = Idle()
