"""The snapshot of an ended socket, from which its metadata and the bag answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..sockets import url_of_client
from . import speed

if TYPE_CHECKING:
    from ..address import Address
    from ..sockets import Socket
    from ..typing import SocketAddress
    from .channel import Channel


class Snapshot:
    """Takes the channel's place in the metadata and the socket once the life is over, and answers as it did.

    It refers to neither of them, nor to the channel: what nobody holds any more is freed at once, without the
    cycle collector.
    """

    __slots__ = (
        "bytes_received", "bytes_sent", "complete", "connected_at", "io_start", "kind",
        "listens_at", "local", "loop", "opened_at", "over_at", "phase", "remote", "speeds", "steps", "tls",
        "url",
    )  # fmt: skip

    kind: type[Socket]
    listens_at: Address | None
    local: SocketAddress
    over_at: float
    remote: SocketAddress
    url: str | None

    connected = False
    operation = transport = None

    @property
    def address(self) -> str | None:
        """Its URL."""
        return self.peer_url() if self.url is None else self.url

    def peer_url(self) -> str | None:
        """The URL of a server's client, now that somebody asks for it."""
        if self.url is None and self.kind._leaves_by_itself:
            self.url = url_of_client(self.kind, self.remote, self.listens_at)
        return self.url

    def speed(self, direction: str) -> float:
        """The speed at the end, bytes/s."""
        return speed.live(self, direction, self.over_at)

    def local_address(self) -> SocketAddress:
        """Ours, as `socket` gives it."""
        return self.local

    def unsent_bytes(self) -> int:
        """Nothing waits any more."""
        return 0

    def nothing(self) -> None:
        """Nothing is left to be named, ended or late."""

    cancel = settings_changed = nothing


def of(channel: Channel) -> Any:
    """What is left of `channel`."""
    left: Any = Snapshot.__new__(Snapshot)  # where it is compiled, half the price of a call with the channel
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
    left.listens_at = None
    if channel.socket._leaves_by_itself:
        client: Any = channel.socket
        left.listens_at = client._listener.metadata._parsed
    left.remote = channel.remote
    left.speeds = channel.speeds
    left.steps = channel.steps
    left.tls = channel.tls
    left.url = channel.metadata._address
    return left
