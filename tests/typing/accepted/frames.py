"""What is read is of the picker's class."""

from typing import assert_type

from evsockets import (
    BatchFramePicker,
    DatagramOperation,
    EmptyFrame,
    EmptyFramePicker,
    EndOfStreamFramePicker,
    FixedLengthFramePicker,
    Frame,
    FrameBatch,
    FramePicker,
    Inbox,
    LengthPrefixedFramePicker,
    MarkerFramePicker,
    RawFramePicker,
    ReadEvent,
    ReadOperation,
    RespFramePicker,
)
from evsockets.frames import RespFrame


class Number(Frame):
    """A frame of one's own."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.value = int(data)


class NumberPicker(FramePicker[Number]):
    """Its picker."""

    def pick(self, inbox: Inbox, ended: bool) -> Number | None:
        end = inbox.find(b"\n")
        return Number(inbox.take(end + 1)) if end >= 0 else None


class BytesPicker(FramePicker):
    """A picker of plain frames needs no parameter."""

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        return Frame(inbox.take(1), inbox.remote_address) if inbox else None


class NumbersOperation(ReadOperation[Number]):
    """What a subclass reads is known, too."""


def picked(picker: FramePicker, operation: ReadOperation) -> FramePicker:
    return picker if picker is not operation.picker else RawFramePicker()


def on_number(event: ReadEvent[Number]) -> int:
    return event.frame.value


def on_batch(event: ReadEvent[FrameBatch[Number]]) -> int:
    return sum(frame.value for frame in event.frame.frames)


pickers: list[FramePicker] = [
    NumberPicker(),
    BytesPicker(),
    BatchFramePicker(NumberPicker()),
    EndOfStreamFramePicker(None),
    FixedLengthFramePicker(4),
    LengthPrefixedFramePicker(2, "little"),
    MarkerFramePicker(b"<", b">"),
    EmptyFramePicker(),
]
batch: FrameBatch | None = BatchFramePicker(NumberPicker()).pick(Inbox(b"1\n"), True)
assert_type(ReadOperation(), ReadOperation[Frame])
assert_type(ReadOperation(None), ReadOperation[Frame])
assert_type(ReadOperation(NumberPicker()), ReadOperation[Number])
assert_type(EmptyFramePicker().pick(Inbox(), True), EmptyFrame | None)
assert_type(ReadOperation(BatchFramePicker(BytesPicker(), 8)), ReadOperation[FrameBatch])
assert_type(ReadOperation(BatchFramePicker(NumberPicker())), ReadOperation[FrameBatch[Number]])
assert_type(ReadOperation(RespFramePicker()), ReadOperation[RespFrame])
assert_type(DatagramOperation(NumberPicker()), DatagramOperation[Number])
assert_type(FrameBatch([Number(b"1")]).frames, tuple[Number, ...])
assert_type(NumbersOperation(NumberPicker()).picker, FramePicker[Number])
picked(NumberPicker(), NumbersOperation())
picked(pickers[0], ReadOperation[Number](NumberPicker()))
