"""Everything up to the end of the stream."""

from __future__ import annotations

from .base import Frame, FramePicker
from .inbox import Inbox
from .limit import DEFAULT_MAX_LENGTH, checked_length, over_limit


class EndOfStreamFramePicker(FramePicker):
    """Gives all bytes up to the end of the stream as one frame, an empty one if none came.

    More than `max_length` bytes (None: no limit) are a `FrameError`.
    """

    __slots__ = ("max_length",)

    def __init__(self, max_length: int | None = DEFAULT_MAX_LENGTH) -> None:
        self.max_length = None if max_length is None else checked_length("max_length", max_length)

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        """Everything once `ended`; None before. FrameError over the limit, as soon as it is passed."""
        limit = self.max_length
        if limit is not None and len(inbox) > limit:
            raise over_limit(self, inbox, limit)
        return Frame(inbox.take(len(inbox)), inbox.remote_address) if ended else None

    def __repr__(self) -> str:
        return f"EndOfStreamFramePicker(max_length={self.max_length})"
