"""Looking a name up without blocking, before connecting or listening."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING, Any

from ..address import Address
from .base import Operation

if TYPE_CHECKING:
    from ..channel import Channel


class LookUp(Operation):
    """Waits for its host's addresses; `go_on` gets them, or the exception, unless the end came before."""

    # Set by those who inherit: a call less for each connect.
    __slots__ = ("_ticket", "phase")

    _ticket: Any

    def look_up(self, channel: Channel, address: Address) -> Operation:
        """Ask for the addresses of `address`; the operation to wait with."""
        assert address.host is not None and address.port is not None
        self.phase = "resolving"
        executor = channel.executor

        def done(outcome: Any) -> None:
            executor.call_soon_threadsafe(self._resolved, channel, outcome)

        kind = _socket.SOCK_DGRAM if address.is_datagram else _socket.SOCK_STREAM
        self._ticket = executor.resolver.resolve(address.host, address.port, kind, done)
        return self

    def _resolved(self, channel: Channel, outcome: Any) -> None:
        if channel.operation is not self or self._ticket is None:
            return
        if channel.cancelled or channel.executor.stopping:  # in a callback before this one
            return
        self._ticket = None
        channel.executor.guarded(channel, self.go_on, channel, outcome)

    def go_on(self, channel: Channel, outcome: Any) -> None:
        """The name's `(family, sockaddr)` pairs are there, or why there are none."""
        raise NotImplementedError

    def abandon(self, channel: Channel) -> None:
        if self._ticket is not None:
            self._ticket.cancel()
            self._ticket = None
