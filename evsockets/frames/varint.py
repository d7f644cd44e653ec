"""Frames that begin with their length as a varint, as delimited Protocol Buffers messages do."""

from __future__ import annotations

from .base import Frame, FramePicker
from .inbox import Inbox
from .limit import DEFAULT_MAX_LENGTH, broken, checked_limit, over_limit

# 64 bits, seven in each byte.
_LONGEST = 10


class VarintPrefixedFramePicker(FramePicker):
    """Gives frames that follow their length, a varint (LEB128): seven bits a byte, the lowest first, the
    highest bit set in every byte but the last.

    The length counts the bytes after the prefix. `include_prefix` keeps the prefix in the frame's data. A
    length over `max_length` (None: no limit) raises a `FrameError` as soon as the prefix has arrived; so does
    a prefix of more than 64 bits.
    """

    __slots__ = ("include_prefix", "max_length")

    def __init__(self, max_length: int | None = DEFAULT_MAX_LENGTH, include_prefix: bool = False) -> None:
        self.max_length = checked_limit(max_length)
        self.include_prefix = bool(include_prefix)

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        """The next frame, or None while it is not complete. FrameError over the limit."""
        head = inbox.peek(_LONGEST)
        length = size = 0
        for byte in head:
            length |= (byte & 0x7F) << 7 * size
            size += 1
            if byte < 0x80:
                break
        else:
            if size == _LONGEST:
                raise broken(self, inbox, f"{head.hex()} begins no varint of 64 bits", size)
            return None
        if length >> 64:
            raise broken(self, inbox, f"the varint {head[:size].hex()} is over 64 bits", size)
        if self.max_length is not None and length > self.max_length:
            raise over_limit(self, inbox, self.max_length, shown=size)
        if len(inbox) - size < length:
            return None
        if self.include_prefix:
            length += size
        else:
            inbox.drop(size)
        return Frame(inbox.take(length), inbox.remote_address)

    def __repr__(self) -> str:
        limit, included = self.max_length, self.include_prefix
        return f"VarintPrefixedFramePicker(max_length={limit}, include_prefix={included})"
