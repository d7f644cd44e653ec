"""Nothing to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.operation import Operation

if TYPE_CHECKING:
    from ..core.channel import Channel


class NullOperation(Operation):
    """Nothing to do: ends a plain socket; a kept-alive one idles."""

    __slots__ = ()

    def start(self, channel: Channel) -> Operation | None:
        return None

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return None
