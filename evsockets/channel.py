"""The channel of a socket, as operations of users see it."""

from __future__ import annotations

from typing import Protocol

from .events import Event
from .frames.inbox import Inbox
from .metadata import SocketMetadata
from .sockets import Socket


class Channel(Protocol):
    """The connection of one socket, for operations of your own.

    `inbox` holds received bytes that no frame has taken, `socket` and `metadata` are those of events.
    """

    @property
    def inbox(self) -> Inbox:
        """Received bytes that no frame has taken."""

    @property
    def socket(self) -> Socket:
        """The channel's socket."""

    @property
    def metadata(self) -> SocketMetadata:
        """The socket's settings and counters."""

    def recv(self) -> bytes | None:
        """Receive once into the inbox: one datagram, or up to 64 KiB (compiled, 256 KiB after a full chunk).

        Returns the new bytes, b"" at the end of the stream, None if nothing has arrived.
        DisconnectedError if the connection was lost, ReceiveError for other failures.
        """

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Send without waiting; returns the number of bytes that the kernel accepted, which may be 0.

        DisconnectedError if the connection was lost, SendError for other failures.
        """

    def emit(self, event: Event) -> None:
        """Call the handlers of `event.type`."""
