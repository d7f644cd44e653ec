"""Frames that are lines."""

from __future__ import annotations

import sys

from .base import Frame, FramePicker
from .inbox import Inbox
from .limit import checked_limit, over_limit
from .seeker import seeker_of

_LF = seeker_of(b"\n")


class LineFramePicker(FramePicker):
    """Gives lines, which end with LF or CR LF. `keep_end` keeps the end in the frame.

    A line of more than `max_length` bytes (None: no limit) without its end raises a `FrameError`, and so does
    a line without LF at the end of the stream.
    """

    __slots__ = ("_limit", "keep_end", "max_length")

    def __init__(self, max_length: int | None = 65_536, keep_end: bool = False) -> None:
        self.max_length = checked_limit(max_length)
        self._limit = sys.maxsize - 2 if max_length is None else min(max_length, sys.maxsize - 2)
        self.keep_end = bool(keep_end)

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        """The next line, or None while it is not complete. FrameError over the limit."""
        data = inbox._take_through(_LF, self._limit + 1)
        if data is None:
            end = inbox._find(b"\n", 0, False)
            size = end if end >= 0 else len(inbox)
            # Of a line that waits a CR may be the beginning of the end.
            if size > self._limit and (size > self._limit + 1 or inbox.peek(1, size - 1) != b"\r"):
                raise over_limit(self, inbox, self._limit)
            if end < 0:
                return None
            data = inbox.take(end + 1)
        if not self.keep_end:
            data = data[:-2] if data.endswith(b"\r\n") else data[:-1]
        frame = Frame.__new__(Frame)
        frame.data = data
        frame.remote_address = inbox.remote_address
        return frame

    def __repr__(self) -> str:
        return f"LineFramePicker(max_length={self.max_length}, keep_end={self.keep_end})"
