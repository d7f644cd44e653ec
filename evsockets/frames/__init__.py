"""Frames: pieces of received data, and the pickers that find them. Nothing here does I/O."""

from __future__ import annotations

from .base import AcceptedFrame, EmptyFrame, Frame, FramePicker, PartialFrame, RemoteAddress
from .empty import EmptyFramePicker
from .end import EndOfStreamFramePicker
from .fixed import FixedLengthFramePicker
from .inbox import Inbox
from .length import LengthPrefixedFramePicker
from .marker import MarkerFramePicker
from .raw import RawFramePicker

__all__ = [
    "AcceptedFrame",
    "EmptyFrame",
    "EmptyFramePicker",
    "EndOfStreamFramePicker",
    "FixedLengthFramePicker",
    "Frame",
    "FramePicker",
    "Inbox",
    "LengthPrefixedFramePicker",
    "MarkerFramePicker",
    "PartialFrame",
    "RawFramePicker",
    "RemoteAddress",
]
