"""What is left of a life that is over: what its metadata, its socket and the bag are still asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..address import parse_address
from . import speed

if TYPE_CHECKING:
    from ..address import Address
    from ..sockets import Socket
    from ..typing import SocketAddress
    from .channel import Channel


class Remains:
    """Takes the channel's place in the metadata and the socket once the life is over, and answers as it did.

    It refers to neither of them, nor to the channel: what nobody holds any more is freed at once, without the
    cycle collector.
    """

    __slots__ = (
        "address", "bytes_received", "bytes_sent", "complete", "connected_at", "io_start", "kind", "local",
        "loop", "opened_at", "over_at", "phase", "remote", "speeds", "steps", "tls",
    )  # fmt: skip

    kind: type[Socket]
    local: SocketAddress
    over_at: float
    remote: SocketAddress

    connected = False
    adopted = operation = transport = None

    def parsed(self, address: str | None) -> Address | None:
        """`address` taken apart."""
        return None if address is None else parse_address(address, server=self.kind.is_server)

    def speed(self, direction: str) -> float:
        """The speed at the end, bytes/s."""
        return speed.live(self, direction, self.over_at)

    def remote_address(self) -> SocketAddress:
        """The peer's, as `socket` gives it."""
        return self.remote

    def local_address(self) -> SocketAddress:
        """Ours, as `socket` gives it."""
        return self.local

    def unsent_bytes(self) -> int:
        """Nothing waits any more."""
        return 0

    def nothing(self) -> None:
        """Nothing is left to be named, ended or late."""

    name_peer = cancel = settings_changed = nothing


def of(channel: Channel) -> Any:
    """What is left of `channel`."""
    left: Any = Remains.__new__(Remains)  # where it is compiled, half the price of a call with the channel
    left.address = channel.metadata.address  # of an accepted client it is made here
    left.bytes_received = channel.bytes_received
    left.bytes_sent = channel.bytes_sent
    left.complete = channel.complete
    left.connected_at = channel.connected_at
    left.io_start = channel.io_start
    left.kind = type(channel.socket)
    left.local = channel.local
    left.loop = channel.loop
    left.opened_at = channel.opened_at
    left.over_at = channel.loop.now
    left.phase = channel.phase
    left.remote = channel.remote
    left.speeds = channel.speeds
    left.steps = channel.steps
    left.tls = channel.tls
    return left
