"""A picker whose empty frame tells that bytes have arrived, and takes none."""

from __future__ import annotations

from .base import EmptyFrame, FramePicker
from .inbox import Inbox


class EmptyFramePicker(FramePicker):
    """Gives an empty frame when bytes or the end have arrived; the bytes stay for the next picker."""

    __slots__ = ()

    def pick(self, inbox: Inbox, ended: bool) -> EmptyFrame | None:
        """An empty frame, or None while nothing has arrived."""
        return EmptyFrame(inbox.remote_address) if ended or inbox._chunk else None

    def __repr__(self) -> str:
        return "EmptyFramePicker()"
