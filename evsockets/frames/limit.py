"""The limit of a frame's length, and the errors of malformed frames, for all pickers."""

from __future__ import annotations

from ..errors import FrameError
from .base import Frame, FramePicker, PartialFrame
from .inbox import Inbox

DEFAULT_MAX_LENGTH = 16 * 1024 * 1024
"""The default `max_length` of pickers, in bytes."""


def checked_length(name: str, value: int) -> int:
    """`value` if it is a possible number of bytes; else TypeError or ValueError naming it."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{name} must not be negative: {value}")
    return value


def checked_limit(value: int | None) -> int | None:
    """`value` if it is a possible `max_length`, None for no limit; else TypeError or ValueError."""
    return None if value is None else checked_length("max_length", value)


def over_limit(picker: FramePicker, inbox: Inbox, limit: int, shown: int | None = None) -> FrameError:
    """The error for a frame over `limit` bytes; its partial frame has the first `shown` (or `limit`)."""
    why = f"the frame is longer than the limit of {limit} bytes"
    return broken(picker, inbox, why, limit if shown is None else shown)


def broken(picker: FramePicker, inbox: Inbox, why: str, shown: int) -> FrameError:
    """The error for what cannot become a frame; its partial frame has the first `shown` bytes."""
    partial = PartialFrame(Frame(inbox.peek(shown), inbox.remote_address))
    error = FrameError(f"{why} ({type(picker).__name__})", picker=picker, partial=partial)
    error._unplaced = True
    return error
