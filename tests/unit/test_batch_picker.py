"""BatchFramePicker: all whole frames that lie there, and FrameBatch, what they come in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsockets.errors import FrameError
from evsockets.frames import (
    BatchFramePicker,
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
)
from evsockets.testing.pickers import LargeStream, PickerContract, PickerExample

ADDRESS = ("192.0.2.1", 80)
LINE = MarkerFramePicker(None, b"\n", max_length=10)


class TestBatchedLines(PickerContract):
    most = 1024

    def make_picker(self):
        return BatchFramePicker(MarkerFramePicker(None, b"\r\n"), self.most)

    def examples(self):
        yield PickerExample(b"one\r\ntwo\r\n\r\nrest\r", [b"one\r\n", b"two\r\n", b"\r\n"], b"rest\r")
        yield PickerExample(b"x\r\n" * 100, [b"x\r\n"] * 100)
        yield PickerExample(b"unfinished", [], b"unfinished")

    def make_limited(self, limit):
        return BatchFramePicker(MarkerFramePicker(None, b"\r\n", max_length=limit), self.most), b"\r text"

    def make_large(self, size):
        line = MarkerFramePicker(None, b"\n", max_length=None)
        return LargeStream(BatchFramePicker(line, self.most), bytes(size - 1) + b"\n")


class TestBatchedTwoByTwo(TestBatchedLines):
    most = 2

    def make_large(self, size):
        return None


class TestBatchedOneByOne(TestBatchedTwoByTwo):
    most = 1


class TestBatchedMarkers(PickerContract):
    def make_picker(self):
        return BatchFramePicker(MarkerFramePicker(b"<aab>", b"</aab>"), 3)

    def examples(self):
        yield PickerExample(b"..<<aab>x</aab>?<aab></aab>!", [b"<aab>x</aab>", b"<aab></aab>"])
        yield PickerExample(b"<aab>1</aab>" * 7 + b"..<aa", [b"<aab>1</aab>"] * 7, b"<aa")


class TestBatchedLengths(PickerContract):
    def make_picker(self):
        return BatchFramePicker(LengthPrefixedFramePicker(2, max_length=300))

    def examples(self):
        yield PickerExample(b"\0\3abc\0\0\0\1d\0\5unf", [b"abc", b"", b"d"], b"\0\5unf")


class Greedy(FramePicker):
    """Lines of digits; it takes what it looks at before it knows that this is none."""

    def pick(self, inbox, ended):
        end = inbox.find(b"\n")
        if end < 0:
            return None
        line = inbox.take(end + 1)
        if not line[:-1].isdigit():
            raise FrameError("no digits", picker=self)
        return Frame(line, inbox.remote_address)


class TestBatchedEnd(PickerContract):
    ends_stream = True

    def make_picker(self):
        return BatchFramePicker(EndOfStreamFramePicker())

    def examples(self):
        yield PickerExample(b"everything\0", [b"everything\0"])
        yield PickerExample(b"", [b""])


def batches(picker: FramePicker, inbox: Inbox, ended: bool = False) -> list[Any]:
    """What is picked until there is nothing: lists of frames, and errors' types (the first ends it)."""
    found: list[Any] = []
    try:
        while inbox and (batch := picker.pick(inbox, ended)) is not None:
            assert type(batch) is FrameBatch
            found.append([frame.data for frame in batch.frames])
    except FrameError as error:
        found += [FrameError] if error.picker is picker else [error.picker]
    return found


@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize("broken", [b"x" * 11 + b"\n", b"x" * 20])
@pytest.mark.parametrize("frames", [0, 1, 3])
def test_a_broken_frame_is_an_error_only_when_it_comes_first(frames: int, broken: bytes, kind: Any) -> None:
    good = [b"%d\n" % number for number in range(frames)]
    for picker in (LINE, Greedy()):
        bad = broken if picker is LINE else b"word\n"
        inbox = Inbox(remote_address=ADDRESS)
        inbox._chunk = kind(b"".join(good) + bad + b"7\n")
        batch = BatchFramePicker(picker)
        assert batches(batch, inbox) == [good, FrameError][not good :]
        if picker is LINE:
            assert inbox.peek(100) == bad + b"7\n"


def test_what_a_broken_frame_took_is_there_again() -> None:
    """A picker that takes bytes before it knows would else have it skipped unseen."""
    inbox = Inbox(b"1\nword\n2\n")
    batch = BatchFramePicker(Greedy())
    assert batch.pick(inbox, False) == FrameBatch([Frame(b"1\n")])
    assert inbox.peek(100) == b"word\n2\n"
    with pytest.raises(FrameError, match="no digits"):
        batch.pick(inbox, False)


@pytest.mark.parametrize(("picker", "left"), [(EmptyFramePicker(), 4), (FixedLengthFramePicker(0), 4)])
def test_a_frame_that_takes_no_byte_ends_the_batch(picker: FramePicker, left: int) -> None:
    inbox = Inbox(b"word", ADDRESS)
    batch = BatchFramePicker(picker).pick(inbox, False)
    assert batch is not None and [frame.data for frame in batch.frames] == [b""]
    assert len(inbox) == left


class Word(FramePicker):
    """A letter, and where a digit stands an empty frame."""

    def pick(self, inbox, ended):
        if not inbox:
            return None
        return Frame(b"") if inbox.peek(1).isdigit() else Frame(inbox.take(1))


def test_it_is_the_last_of_those_before_it() -> None:
    inbox = Inbox(b"ab1c")
    assert batches(BatchFramePicker(Word()), Inbox(b"ab")) == [[b"a", b"b"]]
    batch = BatchFramePicker(Word()).pick(inbox, False)
    assert batch is not None and [frame.data for frame in batch.frames] == [b"a", b"b", b""]
    assert inbox.peek(9) == b"1c"


def test_all_that_has_arrived_is_one_raw_frame() -> None:
    batch = BatchFramePicker(RawFramePicker()).pick(Inbox(b"word", ADDRESS), False)
    assert batch == FrameBatch([Frame(b"word", ADDRESS)], ADDRESS)
    assert BatchFramePicker(RawFramePicker()).pick(Inbox(), True) is None


@pytest.mark.parametrize("most", [1, 2, 3, 1024])
def test_most(most: int) -> None:
    found = batches(BatchFramePicker(LINE, most), Inbox(b"1\n2\n3\n4\n5\n6\n"))
    assert [len(batch) for batch in found] == [most] * (6 // most) + [6 % most] * (6 % most > 0)
    assert b"".join(map(b"".join, found)) == b"1\n2\n3\n4\n5\n6\n"


LINES = st.lists(st.sampled_from([b"\n", b"a\n", b"bcd\n", b"much too long\n"]), max_size=20)


@given(LINES, st.lists(st.integers(1, 9)), st.integers(1, 5), st.booleans())
def test_the_same_frames_as_one_by_one(lines: list[bytes], sizes: list[int], most: int, greedy: bool) -> None:
    """Whatever the cut, the batches' frames are those of the picker alone, up to the same error."""
    single: FramePicker = Greedy() if greedy else LINE
    data = b"".join(lines)
    chunks = []
    for size in sizes:
        chunks.append(data[:size])
        data = data[size:]
    chunks.append(data)
    found = []
    for picker in (single, BatchFramePicker(single, most)):
        inbox, frames, failed = Inbox(), list[bytes](), False
        for chunk in chunks:
            if failed:
                break
            inbox._append(chunk)
            try:
                while inbox and (frame := picker.pick(inbox, False)) is not None:
                    singly = frame.frames if isinstance(frame, FrameBatch) else (frame,)
                    assert len(singly) <= most
                    frames += [each.data for each in singly]
            except FrameError:
                failed = True
        found.append((frames, failed, inbox.peek(1000)))
    assert found[0] == found[1]


def test_a_batch_is_a_frame() -> None:
    frames = [Frame(b"one", ADDRESS), EmptyFrame(ADDRESS), Frame(b"two", ADDRESS)]
    batch = FrameBatch(frames, ADDRESS)
    assert isinstance(batch, Frame) and batch.frames == tuple(frames)
    assert batch.data == bytes(batch) == b"onetwo" and batch.data is batch.data
    assert len(batch) == 6 and batch and not FrameBatch([EmptyFrame()])
    assert batch.remote_address == ADDRESS
    assert repr(batch) == "<FrameBatch of 6 bytes b'onetwo' from ('192.0.2.1', 80)>"
    same = FrameBatch(iter(frames), ADDRESS)
    assert batch == same and hash(batch) == hash(same)
    assert batch != FrameBatch(frames) and batch != FrameBatch([Frame(b"onetwo", ADDRESS)], ADDRESS)
    assert batch != Frame(b"onetwo", ADDRESS) and Frame(b"onetwo", ADDRESS) != batch


def test_data_is_joined_only_when_asked_for() -> None:
    batch = FrameBatch([Frame(b"one")])
    assert batch._data is None and len(batch) == 3
    assert batch.data == b"one" and batch._data == b"one"


@pytest.mark.parametrize("picker", [None, b"\n", RawFramePicker])
def test_what_is_no_picker(picker: Any) -> None:
    with pytest.raises(TypeError, match=r"takes a picker, such as RawFramePicker\(\), got "):
        BatchFramePicker(picker)


@pytest.mark.parametrize(
    ("most", "error", "text"),
    [
        (0, ValueError, "most must be at least 1, for a batch has a frame, got 0"),
        (-3, ValueError, "at least 1, for a batch has a frame, got -3"),
        (True, TypeError, "most must be an int, the frames of a batch, got True"),
        (1.0, TypeError, "got 1.0"),
        (None, TypeError, "got None"),
    ],
)
def test_how_many(most: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        BatchFramePicker(LINE, most)


def test_a_picker_that_gives_no_frame() -> None:
    class Wrong(FramePicker):
        def pick(self, inbox: Inbox, ended: bool) -> Any:
            return inbox.take(1)

    with pytest.raises(TypeError, match="must return a Frame or None, got b'w'"):
        BatchFramePicker(Wrong()).pick(Inbox(b"word"), False)


def test_its_repr() -> None:
    assert repr(BatchFramePicker(RawFramePicker())) == "BatchFramePicker(RawFramePicker(), most=1024)"
