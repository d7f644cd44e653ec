"""Out-of-band data: which of the ready sockets have an urgent byte, asked once a turn for all of them.

Engines know readable and writable only. With SO_OOBINLINE the urgent byte lies among the others, so it makes
its socket readable on every engine; no receive reads past the bytes before it, and then it is the next one.
Bytes that still wait before it are received into the inbox first, and looked at when it has been told.
Before the turn's sockets take their step, one poll(2) tells which of them have an urgent byte (POLLPRI):
asking each for the mark would be a system call a message, and a nested epoll object, tried before, costs
1.5 µs a message more, nearly all in the kernel.
"""

from __future__ import annotations

import _socket
import contextlib
import select
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .. import events  # the module, which where it is compiled is not whole yet
from .._unpatched import original
from ..engines.base import READ
from ..frames.base import Frame
from ..transports.stream import is_tcp
from . import interest, telling
from .states import Phase

if TYPE_CHECKING:
    from .channel import Channel
    from .loop import Loop


def want(channel: Channel, wanted: bool = True) -> None:
    """Have its urgent bytes lie among the others, or not; on anything but plain TCP there is none."""
    if channel.plain is not None and is_tcp(channel.transport.sock):
        channel.loop.oob_poller_type = channel.loop.oob_poller_type or original("select", "poll")
        with contextlib.suppress(OSError):  # the connection is gone, which the next receive will tell
            channel.transport.sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_OOBINLINE, wanted)


def dispatch_out_of_band(loop: Loop, tokens: list[Any]) -> None:
    """Fire OOB for those about to take a step that have an urgent byte: it comes before the regular
    operation."""
    listening: dict[int, Channel] = {
        token.plain.fileno(): token for token in tokens
        if token.channel is token and token.plain is not None and token.dispatch.oob is not None
        and token.phase is Phase.CONNECTED
    }  # fmt: skip
    if not listening:
        return
    urgent = _urgent(loop, listening)
    for number, channel in listening.items():
        if number in urgent and channel.stepper is not None and not channel.cancelled:
            loop.call_for(channel, _take, channel)
            if loop.stopping:
                return


def has_any(channel: Channel) -> bool:
    """Whether the next turn has an urgent byte to tell, so that an operation had better wait for that."""
    loop, plain = channel.loop, channel.plain
    if channel.dispatch.oob is None or plain is None or loop.oob_poller_type is None:
        return False
    return bool(_urgent(loop, [plain.fileno()]))


def _urgent(loop: Loop, numbers: Iterable[int]) -> set[int]:
    """Which of these sockets have an urgent byte."""
    assert loop.oob_poller_type is not None
    poller = loop.oob_poller_type()
    for number in numbers:
        poller.register(number, select.POLLPRI)
    return {number for number, bits in poller.poll(0) if bits & select.POLLPRI}


def _reach(channel: Channel) -> bool:
    """Receive the bytes before the urgent one, if the stepper reads; whether it is the next one then."""
    while not channel.transport.at_mark():
        stepper = channel.stepper
        if stepper is None or not stepper.interest & READ or not channel.recv():
            return False
    return True


def _take(channel: Channel) -> None:
    if channel.plain is None or not is_tcp(channel.transport.sock):
        return
    received = channel.bytes_received
    if not _reach(channel):
        return
    received = channel.bytes_received - received
    byte, handler = channel.plain.recv(1), channel.dispatch.oob
    if not byte or handler is None:
        return
    channel.bytes_received += 1
    channel.io_start = channel.loop.turn_time
    event = events.OutOfBandEvent(channel, Frame(byte, channel.remote), channel.operation)
    named, stepper = telling.tell_beside(channel, handler, event), channel.stepper
    if stepper is None or channel.cancelled or channel.loop.stopping:
        return
    if named is not None:
        stepper._abandon(channel)
        channel.after = named
        channel.advance(None)
    elif received:
        interest.step(channel, 0)
