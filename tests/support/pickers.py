"""What is picked from bytes however they are cut, and a picker's contract kept inside a batch, too."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from evsockets.errors import FrameError
from evsockets.frames import BatchFramePicker, Frame, FrameBatch, FramePicker, Inbox


class Batched:
    """Before a picker's contract among the bases: the same promises, kept by batches of its frames."""

    def make_picker(self) -> FramePicker:
        return BatchFramePicker(super().make_picker(), 3)  # type: ignore[misc]

    def make_limited(self, limit: int) -> Any:
        picker, data = super().make_limited(limit)  # type: ignore[misc]
        return BatchFramePicker(picker, 3), data

    def make_large(self, size: int) -> None:
        return None


def cut(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    """`data` in chunks of these sizes, the rest in one."""
    edges = [0, *itertools.accumulate(sizes)]
    return [data[begin:end] for begin, end in itertools.pairwise([*edges, len(data)])]


def picked(picker: FramePicker, chunks: Iterable[bytes]) -> tuple[list[Frame], bytes, bool]:
    """The frames, what is left, and whether a FrameError came."""
    inbox, frames, failure = Inbox(), list[Frame](), None
    try:
        for chunk in chunks:
            inbox._append(chunk)
            while (size := len(inbox)) and (frame := picker.pick(inbox, False)) is not None:
                assert len(inbox) < size, "a frame without a byte, again and again"
                frames += frame.frames if isinstance(frame, FrameBatch) else (frame,)
    except FrameError as error:
        failure = error
    assert failure is None or failure.picker is picker
    return frames, inbox.peek(len(inbox)), failure is not None


def all_ways(picker: FramePicker, data: bytes, sizes: Iterable[int]) -> tuple[list[Frame], bool]:
    """The same frames in one piece, byte by byte, cut by `sizes`, and in batches; AssertionError otherwise.

    After an error they may have met it at another byte, so what is left is compared without one only."""
    whole = picked(picker, [data])
    for chunks in (cut(data, sizes), [data[i : i + 1] for i in range(len(data))]):
        for one in (picker, BatchFramePicker(picker, 2)):
            frames, left, failed = picked(one, chunks)
            assert (frames, failed) == (whole[0], whole[2])
            assert failed or left == whole[1]
    return whole[0], whole[2]
