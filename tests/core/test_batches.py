"""Reading in batches: one READ for what has arrived, and one send for its answers."""

from __future__ import annotations

from typing import Any

import pytest

from evsockets import (
    BatchFramePicker,
    DisconnectedError,
    EmptyFramePicker,
    EndOfStreamFramePicker,
    FixedLengthFramePicker,
    FrameBatch,
    FrameError,
    FramePicker,
    MarkerFramePicker,
    RawFramePicker,
    ReadOperation,
    ReadWriteOperation,
    WriteOperation,
)
from support.conversation import LINE, READ_LINE, Talk, closes, ends, gets, sends, sends_apart

LINES = ReadOperation(BatchFramePicker(LINE))


def answer(event: Any) -> None:
    """Each line of the batch by itself."""
    assert type(event.frame) is FrameBatch
    event.next_is_write([b"<%s>" % frame.data[:-1] for frame in event.frame.frames], then=event.operation)


@pytest.mark.parametrize("rest", [b"", b"unfinished"])
@pytest.mark.parametrize("lines", [1, 2, 1024])
def test_what_has_arrived_is_one_read_and_its_answer_one_send(talk: Talk, lines: int, rest: bytes) -> None:
    data = b"".join(b"%d\n" % number for number in range(lines))
    sent = b"".join(b"<%d>" % number for number in range(lines))
    one = talk(
        LINES, sends(data + rest), gets(sent), ends,
        told=[data, "WRITE", FrameError if rest else DisconnectedError], sent=sent, on={"READ": answer},
    )  # fmt: skip
    if talk.in_memory:
        assert one.peer.arrivals == [len(sent)]


def test_most_lie_in_several_and_still_leave_in_one_send(talk: Talk) -> None:
    data = b"x\n" * 2500
    one = talk(
        LINES, sends(data), gets(b"<x>" * 2500), ends,
        told=[data[:2048], "WRITE", data[:2048], "WRITE", data[:904], "WRITE", DisconnectedError],
        sent=b"<x>" * 2500, on={"READ": answer},
    )  # fmt: skip
    if talk.in_memory:
        assert one.peer.arrivals == [7500]


def test_byte_by_byte(talk: Talk) -> None:
    told = [b"a\n", b"b\n", DisconnectedError]
    talk(LINES, sends_apart(b"a\nb\n"), closes, told=told, on={"READ": [LINES] * 2})


def test_another_picker_gets_what_is_left(talk: Talk) -> None:
    talk(
        LINES, sends(b"a\nb\nbody"), told=[b"a\nb\n", b"body"],
        on={"READ": [ReadOperation(FixedLengthFramePicker(4))]},
    )  # fmt: skip


def test_both_directions(talk: Talk) -> None:
    def read(event: Any) -> None:
        for frame in event.frame.frames:
            both.schedule(WriteOperation(frame.data))

    both = ReadWriteOperation(operations=[LINES])
    told = [b"a\nb\nc\n", *["WRITE"] * 3]
    one = talk(both, sends(b"a\nb\nc\n"), told=told, sent=b"a\nb\nc\n", on={"READ": read})
    if talk.in_memory:
        assert one.peer.arrivals == [6]


@pytest.mark.parametrize(
    ("picker", "data", "told"),
    [
        (RawFramePicker(), b"abc", [b"abc"]),
        (RawFramePicker(), b"", []),
        (EndOfStreamFramePicker(), b"abc", [b"abc", DisconnectedError]),
        (EndOfStreamFramePicker(), b"", [b"", DisconnectedError]),
        (LINE, b"a\nb\nc", [b"a\nb\n", FrameError]),
        (LINE, b"", [DisconnectedError]),
        (MarkerFramePicker(None, b"\n", max_length=2), b"a\nb\nccc\nd\n", [b"a\nb\n", FrameError]),
    ],
)
def test_the_end(talk: Talk, picker: FramePicker, data: bytes, told: list[Any]) -> None:
    """As of the picker alone."""
    read = ReadOperation(BatchFramePicker(picker))
    following = READ_LINE if isinstance(picker, EndOfStreamFramePicker) else read
    one = talk(read, sends(data), closes, told=told, on={"READ": [following] * 3})
    assert all(error.picker is read.picker for error in one.errors if isinstance(error, FrameError))


def test_frames_that_take_nothing(talk: Talk) -> None:
    """A batch of them is one, and leaves the bytes to who comes next."""
    nothing = ReadOperation(BatchFramePicker(EmptyFramePicker()))
    talk(nothing, sends(b"abc"), told=[b"", b"abc"], on={"READ": [ReadOperation()]})
    talk(ReadOperation(BatchFramePicker(FixedLengthFramePicker(0))), told=[b""])
