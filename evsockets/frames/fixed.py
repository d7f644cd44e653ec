"""Frames of a known length."""

from __future__ import annotations

from .base import Frame, FramePicker
from .inbox import Inbox
from .limit import checked_length


class FixedLengthFramePicker(FramePicker):
    """Gives frames of exactly `length` bytes; 0 gives an empty frame at once, without waiting for bytes.

    Raises TypeError if the length is not an int, ValueError if it is negative.
    """

    __slots__ = ("length",)

    def __init__(self, length: int) -> None:
        self.length = checked_length("length", length)

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        """The next `length` bytes, or None while there are fewer."""
        length = self.length
        if len(inbox._chunk) - inbox._offset < length:
            return None
        return Frame(inbox.take(length), inbox.remote_address)

    def __repr__(self) -> str:
        return f"FixedLengthFramePicker({self.length})"
