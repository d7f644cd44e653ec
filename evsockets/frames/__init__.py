"""Frames: pieces of received data, and the pickers that find them. Nothing here does I/O."""

from __future__ import annotations

from .base import AcceptedFrame, EmptyFrame, Frame, FramePicker, PartialFrame
from .batch import BatchFramePicker, FrameBatch
from .empty import EmptyFramePicker
from .end import EndOfStreamFramePicker
from .fixed import FixedLengthFramePicker
from .inbox import Inbox, RemoteAddress
from .length import LengthPrefixedFramePicker
from .line import LineFramePicker
from .marker import MarkerFramePicker
from .netstring import NetstringFramePicker
from .raw import RawFramePicker
from .regex import RegexFramePicker
from .resp import RespError, RespFrame, RespFramePicker
from .varint import VarintPrefixedFramePicker

__all__ = [
    "AcceptedFrame",
    "BatchFramePicker",
    "EmptyFrame",
    "EmptyFramePicker",
    "EndOfStreamFramePicker",
    "FixedLengthFramePicker",
    "Frame",
    "FrameBatch",
    "FramePicker",
    "Inbox",
    "LengthPrefixedFramePicker",
    "LineFramePicker",
    "MarkerFramePicker",
    "NetstringFramePicker",
    "PartialFrame",
    "RawFramePicker",
    "RegexFramePicker",
    "RemoteAddress",
    "RespError",
    "RespFrame",
    "RespFramePicker",
    "VarintPrefixedFramePicker",
]
