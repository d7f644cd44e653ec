"""The step of an opening that waits for the addresses of a name."""

from __future__ import annotations

import _socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..address import Address, numeric_address
from ..core.failure import network_error
from ..core.operation import Stepper
from ..errors import ConnectionFailedError
from .resolver import Candidate, Outcome, Ticket

if TYPE_CHECKING:
    from ..core.channel import Channel

#: What is done with the addresses found: connect to one of them, or listen there.
Then = Callable[["Channel", Address, list[Candidate]], Stepper | None]


class Resolve(Stepper):
    """Waits for the addresses of a name, and goes on by `then` with them."""

    __slots__ = ("_address", "_doing", "_then", "_ticket")

    _phase = "resolving"

    def __init__(self, address: Address, then: Then, doing: str = "") -> None:
        self._address = address
        self._doing = doing
        self._then = then
        self._ticket: Ticket | None = None

    def start(self, channel: Channel) -> Any:
        host, port = self._address.host, self._address.port
        assert host is not None and port is not None
        try:
            numeric = numeric_address(host, port)
        except OSError as error:  # a zone that is no interface's
            raise self._failed(error) from error
        if numeric is not None:
            return self._then(channel, self._address, [numeric])
        kind = _socket.SOCK_DGRAM if self._address.is_datagram else _socket.SOCK_STREAM
        channel.steps += (("resolving", channel.loop.clock()),)
        done = partial(channel.loop.call_soon_threadsafe, self._resolved, channel)
        self._ticket = channel.loop.resolver.resolve(host, port, kind, done)
        return self

    def _resolved(self, channel: Channel, outcome: Outcome) -> None:
        # In a callback before this one it may have ended, or be about to.
        if channel.stepper is self and not channel.cancelled and not channel.loop.stopping:
            self._ticket = None
            channel.loop.call_for(channel, self._go_on, channel, outcome)

    def _go_on(self, channel: Channel, outcome: Outcome) -> None:
        if isinstance(outcome, OSError):
            raise self._failed(outcome) from outcome
        if isinstance(outcome, BaseException):
            raise outcome
        channel.steps += (("connecting", channel.loop.clock()),)
        channel.advance(self._then(channel, self._address, outcome[:]))  # others may have it, too

    def _failed(self, error: OSError) -> ConnectionFailedError:
        text, tried = self._address.text, [(self._address.host, error)]
        return network_error(ConnectionFailedError, text, error, self._doing or "resolving", attempts=tried)

    def _abandon(self, channel: Channel) -> None:
        if self._ticket is not None:
            self._ticket.cancel()
            self._ticket = None
