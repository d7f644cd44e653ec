"""What an operation of one's own is given: the channel of its socket, as far as it is for that."""

from __future__ import annotations

from typing import Protocol

from .events import Event
from .frames.inbox import Inbox
from .metadata import SocketMetadata
from .sockets import Socket


class Channel(Protocol):
    """The connection of one socket, for operations of your own.

    `inbox` holds what was received and not taken, `socket` and `metadata` are the event's.
    """

    @property
    def inbox(self) -> Inbox:
        """What was received and not taken."""

    @property
    def socket(self) -> Socket:
        """The socket."""

    @property
    def metadata(self) -> SocketMetadata:
        """Its metadata."""

    def recv(self) -> bytes | None:
        """Receive once (up to 64 KiB, or one datagram) into the inbox.

        Returns the new bytes, b"" at the end of the stream, None when nothing is there now.
        DisconnectedError when the connection was lost, ReceiveError for other failures.
        """

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Send what the kernel takes now; the number of bytes taken, 0 for none.

        DisconnectedError when the connection was lost, SendError for other failures.
        """

    def emit(self, event: Event) -> None:
        """Tell the handlers listening to `event.type`."""
