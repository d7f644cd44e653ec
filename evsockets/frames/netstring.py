"""Netstrings: a length in decimal digits, a colon, the bytes, a comma."""

from __future__ import annotations

from ..errors import FrameError
from .base import Frame, FramePicker
from .inbox import Inbox
from .limit import DEFAULT_MAX_LENGTH, broken, checked_limit, over_limit

# No length has more digits, whatever the limit.
_MOST_DIGITS = 19


class NetstringFramePicker(FramePicker):
    """Gives the bytes of netstrings: of `5:hello,` the frame `hello`.

    A length over `max_length` bytes (None: no limit) raises a `FrameError` as soon as it has arrived. So does
    a malformed netstring: no digits, a leading zero, or another byte than the comma at the end.
    """

    __slots__ = ("_digits", "max_length")

    def __init__(self, max_length: int | None = DEFAULT_MAX_LENGTH) -> None:
        self.max_length = checked_limit(max_length)
        self._digits = _MOST_DIGITS if max_length is None else min(len(str(max_length)), _MOST_DIGITS)

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        """The next frame, or None while it is not complete. FrameError if it is malformed."""
        head = inbox.peek(self._digits + 1)
        digits, colon, _ = head.partition(b":")
        if digits and not digits.isdigit():
            raise self._no_length(inbox, head)
        if (digits[:1] == b"0" and len(digits) > 1) or (colon and not digits):
            raise self._no_length(inbox, head)
        limit = self.max_length
        if len(digits) > self._digits or (limit is not None and digits and int(digits) > limit):
            if limit is None:
                raise self._no_length(inbox, head)
            raise over_limit(self, inbox, limit, shown=len(head))
        if not colon:
            return None
        begin = len(digits) + 1
        end = begin + int(digits)
        if len(inbox) <= end:
            return None
        if inbox.peek(1, end) != b",":
            raise broken(self, inbox, f"no comma ends a netstring of {int(digits)} bytes", end + 1)
        inbox.drop(begin)
        data = inbox.take(end - begin)
        inbox.drop(1)
        return Frame(data, inbox.remote_address)

    def _no_length(self, inbox: Inbox, head: bytes) -> FrameError:
        return broken(self, inbox, f"a netstring cannot begin with {head!r}", len(head))

    def __repr__(self) -> str:
        return f"NetstringFramePicker(max_length={self.max_length})"
