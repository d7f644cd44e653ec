"""A picker of all whole frames that have arrived."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from .._generic import Generic
from ..errors import FrameError
from .base import Frame, FramePicker, FrameT_co
from .inbox import Inbox, RemoteAddress


class FrameBatch(Frame, Generic[FrameT_co]):
    """Frames that were picked together: `frames`, a tuple; `data`, their data joined (on first use).

    `bytes`, `len` and `repr` are as of one frame with that data; batches of equal frames from one address are
    equal.
    """

    __slots__ = ("_data", "frames")

    def __init__(self, frames: Iterable[FrameT_co], remote_address: RemoteAddress = None) -> None:
        self.frames: tuple[FrameT_co, ...] = tuple(frames)
        self.remote_address = remote_address
        self._data: bytes | None = None

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The frames' data, joined."""
        if self._data is None:
            self._data = b"".join([frame.data for frame in self.frames])
        return self._data

    # Compiled, the base looks into its own field for the data.
    def __bytes__(self) -> bytes:
        return self.data

    def __len__(self) -> int:
        return sum(map(len, self.frames))

    def __getstate__(self) -> Any:
        attributes, slots = super().__getstate__()
        del slots["data"]  # a slot of the base, and not set
        return attributes, slots

    def __repr__(self) -> str:
        return repr(Frame(self.data, self.remote_address)).replace("Frame", self.__class__.__name__, 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FrameBatch) or self.__class__ is not other.__class__:
            return NotImplemented
        return self.frames == other.frames and self.remote_address == other.remote_address

    def __hash__(self) -> int:
        return hash((self.frames, self.remote_address))


class BatchFramePicker(FramePicker[FrameBatch[FrameT_co]]):
    """Gives all whole frames of `picker` that have arrived, at least one and at most `most`, as a FrameBatch.

    A frame of no bytes ends the batch. A malformed frame raises its FrameError if it is the first; else the
    frames before it are the batch, and the next read raises.
    Raises TypeError unless given a picker, TypeError or ValueError unless `most` is an int from 1 on.
    """

    __slots__ = ("most", "picker")

    def __init__(self, picker: FramePicker[FrameT_co], most: int = 1024) -> None:
        if not isinstance(picker, FramePicker):
            raise TypeError(f"BatchFramePicker takes a picker, such as RawFramePicker(), got {picker!r}")
        if isinstance(most, bool) or not isinstance(most, int):
            raise TypeError(f"most must be an int, the frames of a batch, got {most!r}")
        if most < 1:
            raise ValueError(f"most must be at least 1, for a batch has a frame, got {most}")
        self.picker = picker
        self.most = most

    def pick(self, inbox: Inbox, ended: bool) -> FrameBatch[FrameT_co] | None:
        """The frames that are whole, or None without any. FrameError if the first one is malformed."""
        frames = _picked(self, self.picker, inbox, ended, min(self.most, sys.maxsize))
        return FrameBatch(frames, inbox.remote_address) if frames else None

    def __repr__(self) -> str:
        return f"BatchFramePicker({self.picker!r}, most={self.most})"


def _picked(batch: BatchFramePicker, picker: FramePicker, inbox: Inbox, ended: bool, most: int) -> list[Any]:
    """The frames that `picker` finds, as many as `most`."""
    frames: list[Any] = []
    while True:
        chunk = inbox._chunk
        if frames and not isinstance(chunk, bytes):  # it could not be gone back to
            chunk = inbox._chunk = bytes(chunk[inbox._offset :])
            inbox._offset = 0
        offset = inbox._offset
        left = len(chunk) - offset
        try:
            frame = picker.pick(inbox, ended)
        except FrameError as error:
            if not frames:
                error.picker = batch
                raise
            # It may have taken bytes before it knew.
            inbox._chunk, inbox._offset, inbox._searched = chunk, offset, None
            break
        if frame is None:
            break
        if not isinstance(frame, Frame):
            raise TypeError(f"pick() of {picker!r} must return a Frame or None, got {frame!r}")
        frames.append(frame)
        rest = inbox._chunk
        if not rest or len(frames) == most or len(rest) - inbox._offset == left:
            break
    return frames


def innermost(picker: FramePicker) -> FramePicker:
    """The picker that finds the single frames of `picker`: itself, unless that gives batches."""
    while isinstance(picker, BatchFramePicker):
        picker = picker.picker
    return picker
