"""Whatever has arrived is the frame."""

from __future__ import annotations

from .base import Frame, FramePicker
from .inbox import Inbox


class RawFramePicker(FramePicker):
    """Gives everything received so far, at least one byte, as one frame."""

    __slots__ = ()

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        """All bytes as a frame; None without any."""
        data = inbox._chunk
        if not data:
            return None
        if inbox._offset or not isinstance(data, bytes):
            return Frame(inbox.take_all(), inbox.remote_address)
        inbox._chunk = b""
        if inbox._searched is not None:
            inbox._searched = None
        return Frame(data, inbox.remote_address)

    def __repr__(self) -> str:
        return "RawFramePicker()"
