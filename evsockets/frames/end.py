"""A picker of everything up to the end of the stream."""

from __future__ import annotations

from .base import Frame, FramePicker
from .inbox import Inbox
from .limit import DEFAULT_MAX_LENGTH, checked_length, over_limit


class EndOfStreamFramePicker(FramePicker):
    """Gives all bytes up to the end of the stream as one frame, which may be empty.

    More than `max_length` bytes (None: no limit) raise a `FrameError`.
    """

    __slots__ = ("max_length",)

    def __init__(self, max_length: int | None = DEFAULT_MAX_LENGTH) -> None:
        self.max_length = None if max_length is None else checked_length("max_length", max_length)

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        """All bytes once `ended`, None before. FrameError as soon as the limit is exceeded."""
        limit = self.max_length
        if limit is not None and len(inbox) > limit:
            raise over_limit(self, inbox, limit)
        return Frame(inbox.take(len(inbox)), inbox.remote_address) if ended else None

    def __repr__(self) -> str:
        return f"EndOfStreamFramePicker(max_length={self.max_length})"
