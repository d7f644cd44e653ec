"""What is left of a life that is over: what its metadata, its socket and the bag are still asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import speed

if TYPE_CHECKING:
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

    connected = False
    adopted = operation = transport = None

    def __init__(self, channel: Channel) -> None:
        self.address = channel.address  # of an accepted client it is made here
        self.bytes_received = channel.bytes_received
        self.bytes_sent = channel.bytes_sent
        self.complete = channel.complete
        self.connected_at = channel.connected_at
        self.io_start = channel.io_start
        self.kind = type(channel.socket)
        self.local = channel.local
        self.loop = channel.loop
        self.opened_at = channel.opened_at
        self.over_at = channel.loop.now
        self.phase = channel.phase
        self.remote = channel.remote
        self.speeds = channel.speeds
        self.steps = channel.steps
        self.tls = channel.tls

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
