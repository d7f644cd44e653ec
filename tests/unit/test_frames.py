"""Frames and the shipped pickers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsockets.errors import FrameError
from evsockets.frames import (
    AcceptedFrame,
    EmptyFrame,
    EmptyFramePicker,
    EndOfStreamFramePicker,
    FixedLengthFramePicker,
    Frame,
    FramePicker,
    Inbox,
    LengthPrefixedFramePicker,
    MarkerFramePicker,
    PartialFrame,
    RawFramePicker,
)
from evsockets.testing.pickers import LargeStream, PickerContract, PickerExample

ADDRESS = ("192.0.2.1", 80)


class TestFixedLengthContract(PickerContract):
    def make_picker(self):
        return FixedLengthFramePicker(10)

    def examples(self):
        yield PickerExample(b"0123456789", [b"0123456789"])
        yield PickerExample(b"0123456789012345", [b"0123456789"], b"012345")
        yield PickerExample(b"0" * 35, [b"0" * 10] * 3, b"0" * 5)
        yield PickerExample(b"short", [], b"short")

    def make_large(self, size):
        return LargeStream(FixedLengthFramePicker(size), bytes(size))


class TestMarkerContract(PickerContract):
    def make_picker(self):
        return MarkerFramePicker(None, b"\r\n")

    def examples(self):
        yield PickerExample(b"one\r\ntwo\r\n\r\nrest\r", [b"one\r\n", b"two\r\n", b"\r\n"], b"rest\r")
        yield PickerExample(b"\r\r\n\n\r\n", [b"\r\r\n", b"\n\r\n"])

    def make_limited(self, limit):
        return MarkerFramePicker(None, b"\r\n", max_length=limit), b"\r text"

    def make_large(self, size):
        return LargeStream(MarkerFramePicker(None, b"\n", max_length=None), bytes(size - 1) + b"\n")


class TestTwoMarkersContract(PickerContract):
    def make_picker(self):
        return MarkerFramePicker(b"<aab>", b"</aab>", case_sensitive=False)

    def examples(self):
        yield PickerExample(b"..<<aAb>x</aab><aab></aab>!", [b"<aAb>x</aab>", b"<aab></aab>"])
        yield PickerExample(b"</aab><aab></aa</aab>..<aa", [b"<aab></aa</aab>"], b"<aa")
        yield PickerExample(b"<aab>" + b"x" * 700 + b"</AAB>", [b"<aab>" + b"x" * 700 + b"</AAB>"])

    def make_limited(self, limit):
        return MarkerFramePicker(b"<", b">", max_length=limit), b"<aab>"[:-1]

    def make_large(self, size):
        picker = MarkerFramePicker(b"<A>", b"</a>", case_sensitive=False, max_length=None)
        return LargeStream(picker, b"<a>" + bytes(size - 7) + b"</A>")


class TestLengthPrefixedContract(PickerContract):
    def make_picker(self):
        return LengthPrefixedFramePicker(2, max_length=300)

    def examples(self):
        yield PickerExample(b"\0\3abc\0\0\0\1d\0\5unf", [b"abc", b"", b"d"], b"\0\5unf")
        yield PickerExample(b"\1\2" + b"0" * 258 + b"\0", [b"0" * 258], b"\0")

    def make_limited(self, limit):
        return LengthPrefixedFramePicker(4, max_length=limit), b"\x7f\xff\xff\xff"

    def make_large(self, size):
        picker = LengthPrefixedFramePicker(4, max_length=None)
        return LargeStream(picker, size.to_bytes(4, "big") + bytes(size))


class TestEndOfStreamContract(PickerContract):
    ends_stream = True

    def make_picker(self):
        return EndOfStreamFramePicker()

    def examples(self):
        yield PickerExample(b"everything\0", [b"everything\0"])
        yield PickerExample(b"", [b""])

    def make_limited(self, limit):
        return EndOfStreamFramePicker(max_length=limit), b"text"

    def make_large(self, size):
        return LargeStream(EndOfStreamFramePicker(max_length=None), bytes(size))


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=8), st.lists(st.integers(1, 9)))
def test_left_over_bytes_are_offered_to_the_next_picker(data, cuts, lengths):
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pickers = [FixedLengthFramePicker(length) for length in lengths]
    inbox, frames = Inbox(), []
    for begin, end in itertools.pairwise(edges):
        inbox._append(data[begin:end])
        while pickers and (frame := pickers[0].pick(inbox, False)) is not None:
            frames.append(frame.data)
            pickers.pop(0)
    taken = b"".join(frames)
    assert [len(frame) for frame in frames] == lengths[: len(frames)]
    assert taken + inbox.peek(100) == data


@given(st.text("ab<>", max_size=40).map(str.encode), st.booleans(), st.lists(st.integers(0, 40), max_size=6))
def test_marker_frames_do_not_depend_on_the_cut(data, both, cuts):
    picker = MarkerFramePicker(b"<a" if both else None, b"a>", case_sensitive=False, max_length=12)

    def outcome(chunks):
        inbox, frames = Inbox(), []
        try:
            for chunk in chunks:
                inbox._append(chunk)
                while (frame := picker.pick(inbox, False)) is not None:
                    frames.append(frame.data)
        except FrameError as error:
            return frames, bytes(error.partial)
        return frames, inbox.peek(100)

    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[begin:end] for begin, end in itertools.pairwise(edges)]
    assert outcome(chunks) == outcome([data]) == outcome([data[i : i + 1] for i in range(len(data))])


def test_frame():
    frame = Frame(b"data", ADDRESS)
    assert (frame.data, bytes(frame), len(frame), frame.remote_address) == (b"data", b"data", 4, ADDRESS)
    assert frame == Frame(b"data", ADDRESS) != Frame(b"data")
    assert frame != EmptyFrame(ADDRESS)
    assert frame != b"data"
    assert len({frame, Frame(b"data", ADDRESS)}) == 1
    assert "4 bytes b'data'" in repr(frame)
    assert len(repr(Frame(b"x" * 1000))) < 120
    assert Frame(b"").remote_address is None


def test_partial_frame_is_what_it_wraps():
    inner = Frame(b"da", ADDRESS)
    partial = PartialFrame(inner)
    assert partial.frame is inner
    assert (partial.data, bytes(partial), len(partial), partial.remote_address) == (b"da", b"da", 2, ADDRESS)


def test_empty_frame():
    frame = EmptyFrame(ADDRESS)
    assert (frame.data, bytes(frame), len(frame), frame.remote_address) == (b"", b"", 0, ADDRESS)
    assert EmptyFrame().remote_address is None


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("127.0.0.1", 80), b"127.0.0.1:80"),
        (("::1", 80, 0, 0), b"[::1]:80"),
        ("/run/a.sock", b"/run/a.sock"),
        (None, b""),
    ],
)
def test_accepted_frame(address, text):
    client = object()
    frame = AcceptedFrame(client, address)
    assert frame.client_socket is client
    assert frame.remote_address == address
    assert frame.data == bytes(frame) == text


def test_every_picker_asks_for_more_without_bytes():
    for picker in (
        RawFramePicker(),
        EmptyFramePicker(),
        FixedLengthFramePicker(1),
        MarkerFramePicker(None, b"x"),
        MarkerFramePicker(b"x", b"y"),
        LengthPrefixedFramePicker(),
        EndOfStreamFramePicker(),
    ):
        assert isinstance(picker, FramePicker)
        assert picker.pick(Inbox(), False) is None
        assert type(picker).__name__ in repr(picker)


def test_raw_picker_gives_what_is_there():
    data = b"some data"
    inbox = Inbox(remote_address=ADDRESS)
    inbox._append(data)
    frame = RawFramePicker().pick(inbox, False)
    assert frame is not None
    assert frame.data is data
    assert frame.remote_address == ADDRESS
    assert RawFramePicker().pick(inbox, True) is None
    for part in (b"abcdef", b"gh", b"i"):
        inbox._append(part)
    inbox.drop(2)
    assert RawFramePicker().pick(inbox, True) == Frame(b"cdefghi", ADDRESS)
    assert len(inbox) == 0


def test_empty_picker_takes_nothing():
    inbox = Inbox(b"data", ADDRESS)
    assert EmptyFramePicker().pick(inbox, False) == EmptyFrame(ADDRESS)
    assert inbox.peek(10) == b"data"
    assert EmptyFramePicker().pick(Inbox(remote_address=ADDRESS), True) == EmptyFrame(ADDRESS)


def test_fixed_length_of_nothing_is_there_at_once():
    assert FixedLengthFramePicker(0).pick(Inbox(), False) == Frame(b"")
    inbox = Inbox(b"data")
    assert FixedLengthFramePicker(0).pick(inbox, False) == Frame(b"")
    assert len(inbox) == 4


def test_unfinished_frames_are_none_at_the_end():
    for picker in (FixedLengthFramePicker(9), MarkerFramePicker(None, b"\n"), LengthPrefixedFramePicker(1)):
        inbox = Inbox(b"\5data")
        assert picker.pick(inbox, True) is None
        assert inbox.peek(9) == b"\5data"


@pytest.mark.parametrize("start", [None, b"<"])
def test_marker_limit_is_exact(start):
    prefix = b"garbage before the start" if start else b""
    picker = MarkerFramePicker(start, b">", max_length=6)
    inbox = Inbox(prefix + b"<body>rest")
    assert picker.pick(inbox, False) == Frame(b"<body>")
    for data in (b"<body1>", b"<body12"):
        inbox = Inbox(prefix + data, ADDRESS)
        with pytest.raises(FrameError, match="limit of 6 bytes") as caught:
            picker.pick(inbox, False)
        assert caught.value.picker is picker
        assert caught.value.partial == PartialFrame(Frame(data[:6], ADDRESS))
    assert picker.pick(Inbox(prefix + b"<body1"), False) is None


def test_bytes_before_the_start_marker_are_not_gathered():
    picker = MarkerFramePicker(b"<start>", b"<end>", max_length=100)
    inbox = Inbox()
    for _ in range(1000):
        inbox._append(b"no start <sta" * 10)
        assert picker.pick(inbox, False) is None
        assert len(inbox) < len(b"<start>")


def test_many_small_frames_in_one_chunk_do_not_copy_the_rest():
    for case_sensitive in (True, False):
        picker = MarkerFramePicker(None, b"a\n", case_sensitive=case_sensitive)
        inbox = Inbox()
        inbox._append(b"0123a\n" * 10_000)
        chunk = inbox._chunk
        for left in range(9_999, 0, -1):
            assert picker.pick(inbox, False) is not None
            assert inbox._chunk is chunk
            assert len(inbox) == 6 * left


def test_length_prefix():
    picker = LengthPrefixedFramePicker(2, "little", include_prefix=True)
    assert picker.pick(Inbox(b"\3\0abcd", ADDRESS), False) == Frame(b"\3\0abc", ADDRESS)
    picker = LengthPrefixedFramePicker(max_length=3)
    assert picker.pick(Inbox(b"\0\0\0\3abc"), False) == Frame(b"abc")
    with pytest.raises(FrameError, match="limit of 3 bytes") as caught:
        picker.pick(Inbox(b"\0\0\0\4"), False)
    assert caught.value.partial == PartialFrame(Frame(b"\0\0\0\4"))
    assert LengthPrefixedFramePicker().max_length == 16 * 1024 * 1024


def test_end_of_stream():
    picker = EndOfStreamFramePicker(max_length=4)
    assert picker.pick(Inbox(), True) == Frame(b"")
    inbox = Inbox(b"1234")
    assert picker.pick(inbox, False) is None
    assert picker.pick(inbox, True) == Frame(b"1234")
    for ended in (False, True):
        with pytest.raises(FrameError) as caught:
            picker.pick(Inbox(b"12345"), ended)
        assert caught.value.partial == PartialFrame(Frame(b"1234"))


def test_no_limit():
    picker = MarkerFramePicker(None, b"\n", max_length=None)
    frame = picker.pick(Inbox(bytes(17 * 1024 * 1024) + b"\n"), False)
    assert frame is not None
    assert len(frame) == 17 * 1024 * 1024 + 1


@pytest.mark.parametrize(
    ("make", "error", "word"),
    [
        (lambda: MarkerFramePicker(None, b""), ValueError, "end"),
        (lambda: MarkerFramePicker(None, "x"), TypeError, "end"),
        (lambda: MarkerFramePicker("x", b"x"), TypeError, "start"),
        (lambda: MarkerFramePicker(None, 5), TypeError, "end"),
        (lambda: MarkerFramePicker(None, None), TypeError, "end"),
        (lambda: MarkerFramePicker(None, b"x", max_length=-1), ValueError, "max_length"),
        (lambda: FixedLengthFramePicker(-1), ValueError, "length"),
        (lambda: FixedLengthFramePicker("1"), TypeError, "length"),
        (lambda: FixedLengthFramePicker(True), TypeError, "length"),
        (lambda: LengthPrefixedFramePicker(0), ValueError, "size"),
        (lambda: LengthPrefixedFramePicker(byteorder="middle"), ValueError, "byteorder"),
        (lambda: LengthPrefixedFramePicker(max_length=-1), ValueError, "max_length"),
        (lambda: EndOfStreamFramePicker(max_length=1.5), TypeError, "max_length"),
    ],
)
def test_misuse_is_named(make, error, word):
    with pytest.raises(error, match=word):
        make()


def test_a_picker_without_pick_says_so():
    class Lazy(FramePicker):
        pass

    with pytest.raises(NotImplementedError, match=r"Lazy has no pick\(inbox, ended\)"):
        Lazy().pick(Inbox(), False)
