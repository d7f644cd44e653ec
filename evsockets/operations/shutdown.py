"""End the sending direction (half-close)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import outbox
from ..core.failure import socket_error
from ..core.operation import Operation
from ..engines.base import WRITE
from ..errors import UnsupportedOperationError

if TYPE_CHECKING:
    from ..core.channel import Channel


class ShutdownWriteOperation(Operation):
    """Ends the sending direction (with TLS: close_notify); receiving goes on. `then`: the next operation."""

    __slots__ = ("then",)

    interest = WRITE
    _phase = "writing"
    _replaceable = False
    _after_posts = True

    def __init__(self, then: Operation | None = None) -> None:
        if then is not None and not isinstance(then, Operation):
            raise TypeError(f"then must be an operation, got {then!r}")
        self.then = then

    def start(self, channel: Channel) -> Operation | None:
        if channel.task is not None:
            channel.task.is_shut = True
        return self.step(channel, WRITE)

    def step(self, channel: Channel, mask: int) -> Operation | None:
        if channel.transport.datagram:
            raise socket_error(UnsupportedOperationError, channel, "datagrams have no end to send")
        try:
            return self.then if channel.transport.shutdown_write() else self
        except OSError as error:
            outbox.send_failed(channel, error)
            return self.then
