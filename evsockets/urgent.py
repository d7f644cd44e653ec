"""Out-of-band data: which of the ready sockets have an urgent byte, asked once a turn for all of them.

Engines know readable and writable only. With SO_OOBINLINE the urgent byte lies among the others, so it makes
its socket readable on every engine; no receive reads past the bytes before it, and then it is the next one.
Before the turn's sockets take their step, one poll(2) tells which of them have an urgent byte (POLLPRI):
asking each for the mark would be a system call a message, and a nested epoll object, tried before, costs
1.5 µs a message more, nearly all in the kernel.
"""

from __future__ import annotations

import _socket
import contextlib
import select
from typing import TYPE_CHECKING, Any

from .events import UrgentEvent
from .frames.base import Frame
from .transports.stream import is_tcp

if TYPE_CHECKING:
    from .channel import Channel
    from .run import Run


def want_urgent(sock: _socket.socket, wanted: bool) -> None:
    """Have an urgent byte lie among the others, or not; a socket that is not TCP has none."""
    if is_tcp(sock):
        with contextlib.suppress(OSError):  # the connection is gone, which the next receive will tell
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_OOBINLINE, wanted)


def look(executor: Run, batch: list[tuple[Any, int]]) -> None:
    """Fire OOB for those in `batch` whose next byte is urgent: it comes before the regular operation."""
    listening: dict[int, Channel] = {}
    poller: Any = None
    new_poller = executor.urgent
    assert new_poller is not None
    for token, _mask in batch:
        plain = token.plain
        if plain and token.dispatch.oob is not None and token.connected:
            number = plain.fileno()
            if poller is None:
                poller = new_poller()
            poller.register(number, select.POLLPRI)
            listening[number] = token
    if poller is None:
        return
    for number, bits in poller.poll(0):
        channel = listening[number]
        if bits & select.POLLPRI and channel.operation is not None and not channel.cancelled:
            executor.guarded(channel, _take, executor, channel)
            if executor.stopping:
                return


def _take(executor: Run, channel: Channel) -> None:
    if channel.plain is None or not is_tcp(channel.plain) or not channel.transport.at_mark():
        return
    byte = channel.plain.recv(1)
    handler = channel.dispatch.oob
    if not byte or handler is None:
        return
    channel.bytes_received += 1
    channel.io_start = executor.moment
    channel.note_activity()
    later, channel.override = channel.override, None  # set before, it comes after the current operation
    event = UrgentEvent(channel, Frame(byte, channel.remote_address()), channel.current_operation())
    handler(event)
    operation = channel.operation
    if channel.cancelled or executor.stopping or operation is None:
        return
    if event.next_operation is not None:
        operation.abandon(channel)
        channel.become(event._next)
    else:
        channel.override = later
