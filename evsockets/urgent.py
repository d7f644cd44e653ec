"""Out-of-band data: which sockets have an urgent byte, without asking each of them at every message.

Engines know readable and writable only. But an epoll object that watches for priority data (EPOLLPRI) is
itself a descriptor that becomes readable, so one of them, watched like any socket, serves every engine.
Edge-triggered: it is told once of each urgent byte and never of a hang-up again and again. Linux only;
elsewhere no OOB is fired.
"""

from __future__ import annotations

import _socket
import contextlib
import select
from typing import TYPE_CHECKING, Any

from ._unpatched import original
from .engines.base import READ
from .events import UrgentEvent
from .frames.base import Frame

if TYPE_CHECKING:
    from .channel import Channel
    from .run import Run

AVAILABLE = hasattr(select, "epoll")


class UrgentData:
    """The engine's token for every socket of one executor whose handlers want OOB."""

    __slots__ = ("_channels", "_executor", "_poller", "_taken", "channel", "operation")

    plain = False  # as other tokens have it: nothing lies between that could want something else

    def __init__(self, executor: Run) -> None:
        self._executor = executor
        self._poller = original("select", "epoll")()
        self._channels: dict[int, Channel] = {}
        self._taken: set[int] = set()  # descriptors that had an urgent byte
        self.channel = None  # what a step raises is nobody's in particular
        self.operation = self
        executor.engine.watch(self._poller.fileno(), READ, self)

    def add(self, channel: Channel) -> None:
        """Tell `channel`, on a plain TCP connection, of every urgent byte."""
        number = channel.plain.fileno()
        if self._channels.get(number) is not channel:
            self._channels[number] = channel
            try:
                self._poller.register(number, select.EPOLLPRI | select.EPOLLET)
            except FileExistsError:  # the connection of an earlier life
                pass

    def first(self, batch: list[tuple[Any, int]]) -> list[tuple[Any, int]]:
        """`batch` with its own entry, if there is one, before all others: OOB comes before the regular
        operation is looked at."""
        for index, entry in enumerate(batch):
            if entry[0] is self:
                if index:
                    batch.insert(0, batch.pop(index))
                break
        return batch

    def step(self, token: Any, mask: int) -> UrgentData:
        """Take the urgent bytes that have come."""
        executor = self._executor
        for number, _bits in self._poller.poll(0):
            channel = self._channels.get(number)
            if channel is None:
                continue
            if channel.plain is None or channel.plain.fileno() != number:  # closed, or TLS by now
                del self._channels[number]
            elif channel.operation is not None and channel.connected and not channel.cancelled:
                executor.current = channel
                executor.guarded(channel, self._take, channel)
                if executor.stopping:
                    break
        return self

    def _take(self, channel: Channel) -> None:
        try:
            byte = channel.plain.recv(1, _socket.MSG_OOB)
        except OSError:  # announced and not there yet, or only a hang-up
            return
        self._taken.add(channel.plain.fileno())
        handler = channel.dispatch.oob
        if not byte or handler is None:
            return
        channel.bytes_received += 1
        channel.io_start = self._executor.moment
        channel.note_activity()
        event = UrgentEvent(channel, Frame(byte, channel.remote_address()), channel.current_operation())
        handler(event)
        operation = channel.operation
        if channel.cancelled or self._executor.stopping or operation is None:
            return
        if event.next_operation is not None or channel.override is not None:
            operation.abandon(channel)
            channel.become(event.next_operation)

    def forget(self, sock: _socket.socket, *, closing: bool) -> None:
        """A socket is about to be closed, or leaves with its connection open."""
        number = sock.fileno()
        self._channels.pop(number, None)
        if number in self._taken:
            self._taken.discard(number)
            if closing:
                # The urgent byte still stands in the queue until something is read past it. Closing would
                # then be a reset, and cost the peer our last bytes.
                with contextlib.suppress(OSError):
                    sock.recv(1)

    def close(self) -> None:
        """Forget everything."""
        self._executor.engine.watch(self._poller.fileno(), 0, self)
        self._poller.close()
        self._channels.clear()
