"""The operation that does nothing: the request ends, or a kept connection idles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.operation import Operation

if TYPE_CHECKING:
    from ..core.channel import Channel


class NullOperation(Operation):
    """Does nothing: the request ends, or a kept-alive socket idles."""

    __slots__ = ()

    def start(self, channel: Channel) -> Operation | None:
        return None

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return None
