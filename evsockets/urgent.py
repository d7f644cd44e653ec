"""Out-of-band data: which of the ready sockets have an urgent byte, asked once a turn for all of them.

Engines know readable and writable only. With SO_OOBINLINE the urgent byte lies among the others, so it makes
its socket readable on every engine; no receive reads past the bytes before it, and then it is the next one.
Before the turn's sockets take their step, one poll(2) tells which of them have an urgent byte (POLLPRI):
asking each for the mark would be a system call a message, and a nested epoll object, tried before, costs the
kernel 2 µs a message.
"""

from __future__ import annotations

import _socket
import contextlib
import select
from typing import TYPE_CHECKING, Any

from ._unpatched import original
from .events import UrgentEvent
from .frames.base import Frame

if TYPE_CHECKING:
    from .channel import Channel
    from .channel.state import State
    from .run import Run


class UrgentData:
    """The sockets of one executor whose handlers want OOB."""

    __slots__ = ("_channels", "_executor", "_numbers", "_poll")

    def __init__(self, executor: Run) -> None:
        self._executor = executor
        self._poll = original("select", "poll")
        self._numbers: dict[Any, int] = {}
        self._channels: dict[int, Channel] = {}

    def add(self, channel: Channel) -> None:
        """Tell `channel`, on a plain TCP connection, of every urgent byte."""
        number = channel.plain.fileno()
        self._numbers[channel] = number
        self._channels[number] = channel
        channel.plain.setsockopt(_socket.SOL_SOCKET, _socket.SO_OOBINLINE, 1)

    def forget(self, channel: State, sock: _socket.socket, *, closing: bool) -> None:
        """A socket is about to be closed, or leaves with its connection open."""
        number = self._numbers.pop(channel, None)
        if number is not None:
            del self._channels[number]
            if not closing:  # the next life may not want it
                with contextlib.suppress(OSError):
                    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_OOBINLINE, 0)

    def look(self, batch: list[tuple[Any, int]]) -> None:
        """Fire OOB for those in `batch` whose next byte is urgent: it comes before the regular operation."""
        numbers = self._numbers
        poller: Any = None
        for token, _mask in batch:
            number = numbers.get(token)
            if number is not None:
                if poller is None:
                    poller = self._poll()
                poller.register(number, select.POLLPRI)
        if poller is None:
            return
        executor = self._executor
        for number, bits in poller.poll(0):
            channel = self._channels.get(number) if bits & select.POLLPRI else None
            if channel is not None and channel.operation is not None and not channel.cancelled:
                executor.guarded(channel, self._take, channel)
                if executor.stopping:
                    return

    def _take(self, channel: Channel) -> None:
        if channel.plain is None or not channel.transport.at_mark():
            return
        byte = channel.plain.recv(1)
        handler = channel.dispatch.oob
        if not byte or handler is None:
            return
        channel.bytes_received += 1
        channel.io_start = self._executor.moment
        channel.note_activity()
        later, channel.override = channel.override, None  # set before, it comes after the current operation
        event = UrgentEvent(channel, Frame(byte, channel.remote_address()), channel.current_operation())
        handler(event)
        operation = channel.operation
        if channel.cancelled or self._executor.stopping or operation is None:
            return
        if event.next_operation is not None:
            operation.abandon(channel)
            channel.become(event._next)
        else:
            channel.override = later
