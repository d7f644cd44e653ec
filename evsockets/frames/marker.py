"""Frames that end with a marker, and may begin with one."""

from __future__ import annotations

import sys

from .base import Frame, FramePicker
from .inbox import Inbox
from .limit import DEFAULT_MAX_LENGTH, checked_length, over_limit
from .seeker import seeker_of


class MarkerFramePicker(FramePicker):
    """Gives frames from a `start` marker to the first `end` marker after it, both included.

    Bytes before the start marker are dropped; without one (None or empty) a frame begins at once. With
    `case_sensitive` false ASCII letters of markers match in either case; the frame is not changed. A frame
    over `max_length` bytes (None: no limit), markers included, raises a `FrameError`.
    Raises ValueError for an empty end marker, TypeError for markers that are not bytes-like.
    """

    __slots__ = (
        "_end",
        "_end_size",
        "_folds",
        "_limit",
        "_seeker",
        "_start",
        "case_sensitive",
        "end",
        "max_length",
        "start",
    )

    def __init__(
        self,
        start: bytes | bytearray | memoryview | None,
        end: bytes | bytearray | memoryview,
        case_sensitive: bool = True,
        max_length: int | None = DEFAULT_MAX_LENGTH,
    ) -> None:
        self.start = _marker("start", start) if start is not None else None
        self.end = _marker("end", end)
        if not self.end:
            raise ValueError("the end marker is empty")
        self.case_sensitive = bool(case_sensitive)
        self.max_length = None if max_length is None else checked_length("max_length", max_length)
        self._limit = sys.maxsize if self.max_length is None else min(self.max_length, sys.maxsize)
        self._start = self.start or b""
        self._end = self.end
        if not self.case_sensitive:
            self._start, self._end = self._start.lower(), self._end.lower()
        # Markers without letters need no case folding, and searching without is much cheaper.
        self._folds = not self.case_sensitive and any(m != m.upper() for m in (self._start, self._end))
        self._end_size = len(self._end)
        self._seeker = None if self._folds or self._start else seeker_of(self._end)

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        """The next frame, or None while it is not complete. FrameError over the limit."""
        if self._seeker is not None:
            data = inbox._take_through(self._seeker, self._limit)  # the way of nearly every message
            if data is not None:
                frame = Frame.__new__(Frame)
                frame.data = data
                frame.remote_address = inbox.remote_address
                return frame
        return self._pick(inbox)

    def _pick(self, inbox: Inbox) -> Frame | None:
        start = self._start
        if start:
            begin = inbox._find(start, 0, self._folds)
            inbox.drop(begin if begin >= 0 else len(inbox) - self._begun(inbox))
            if begin < 0:
                return None
        index = inbox._find(self._end, len(start), self._folds)
        stop = index + self._end_size if index >= 0 else len(inbox)
        if stop > self._limit:
            raise over_limit(self, inbox, self._limit)
        return Frame(inbox.take(stop), inbox.remote_address) if index >= 0 else None

    def _begun(self, inbox: Inbox) -> int:
        """How many of the last bytes may be the beginning of a start marker."""
        start = self._start
        most = min(len(start) - 1, len(inbox))
        if not most:
            return 0
        tail = bytes(inbox._chunk[-most:])
        if self._folds:
            tail = tail.lower()
        position = tail.find(start[:1])
        while position >= 0:
            if start.startswith(tail[position:]):
                return most - position
            position = tail.find(start[:1], position + 1)
        return 0

    def __repr__(self) -> str:
        return (
            f"MarkerFramePicker({self.start!r}, {self.end!r}, case_sensitive={self.case_sensitive}, "
            f"max_length={self.max_length})"
        )


def _marker(name: str, value: object) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"the {name} marker must be bytes, not {type(value).__name__}")
