"""Frames that begin with their length."""

from __future__ import annotations

from typing import Literal

from .base import Frame, FramePicker
from .inbox import Inbox
from .limit import DEFAULT_MAX_LENGTH, checked_length, over_limit


class LengthPrefixedFramePicker(FramePicker):
    """Gives frames that follow their length, an unsigned integer of `size` bytes in `byteorder`.

    The length counts the bytes after the prefix. `include_prefix` keeps the prefix in the frame's data. A
    length over `max_length` (None: no limit) raises a `FrameError` as soon as the prefix has arrived.
    Raises TypeError or ValueError for a size below 1 or an unknown byte order.
    """

    __slots__ = ("byteorder", "include_prefix", "max_length", "size")

    def __init__(
        self,
        size: int = 4,
        byteorder: Literal["big", "little"] = "big",
        include_prefix: bool = False,
        max_length: int | None = DEFAULT_MAX_LENGTH,
    ) -> None:
        if not checked_length("size", size):
            raise ValueError("size must be at least 1: 0")
        if byteorder not in ("big", "little"):
            raise ValueError(f"byteorder must be 'big' or 'little': {byteorder!r}")
        self.size = size
        self.byteorder = byteorder
        self.include_prefix = bool(include_prefix)
        self.max_length = None if max_length is None else checked_length("max_length", max_length)

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        """The next frame, or None while it is not complete. FrameError over the limit."""
        size = self.size
        available = len(inbox._chunk) - inbox._offset
        if available < size:
            return None
        length = int.from_bytes(inbox.peek(size), self.byteorder)
        if self.max_length is not None and length > self.max_length:
            raise over_limit(self, inbox, self.max_length, shown=size)
        if available - size < length:
            return None
        if self.include_prefix:
            length += size
        else:
            inbox.drop(size)
        return Frame(inbox.take(length), inbox.remote_address)

    def __repr__(self) -> str:
        return (
            f"LengthPrefixedFramePicker({self.size}, {self.byteorder!r}, "
            f"include_prefix={self.include_prefix}, max_length={self.max_length})"
        )
