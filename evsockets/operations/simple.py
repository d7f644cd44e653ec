"""Operations that are done as soon as they begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engines.base import READ, WRITE
from ..errors import DisconnectedError, UnsupportedOperationError
from .base import Operation

if TYPE_CHECKING:
    from ..channel import Channel


class NullOperation(Operation):
    """Nothing to do: ends a plain socket; a kept-alive one idles."""

    __slots__ = ()

    interest = READ

    def start(self, channel: Channel) -> Operation | None:
        return None

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return None


class ShutdownWriteOperation(Operation):
    """Ends our direction (TLS: close_notify); the other stays open. `then`: what comes next."""

    __slots__ = ("then",)

    interest = WRITE
    phase = "writing"
    steady = True

    def __init__(self, then: Operation | None = None) -> None:
        if then is not None and not isinstance(then, Operation):
            raise TypeError(f"then must be an operation, got {then!r}")
        self.then = then

    def start(self, channel: Channel) -> Operation | None:
        return self.step(channel, WRITE)

    def step(self, channel: Channel, mask: int) -> Operation | None:
        address = channel.metadata.address
        if channel.transport.datagram:
            raise UnsupportedOperationError(f"{address}: datagrams have no end to send", address=address)
        try:
            return self.then if channel.transport.shutdown_write() else self
        except OSError as error:
            raise DisconnectedError(
                f"{address}: {error.strerror or error} while writing", address=address, errno=error.errno
            ) from error
