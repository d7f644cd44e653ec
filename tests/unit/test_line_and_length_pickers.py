"""Lines, netstrings and frames behind a varint."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evsockets.errors import FrameError
from evsockets.frames import (
    Frame,
    FramePicker,
    Inbox,
    LineFramePicker,
    NetstringFramePicker,
    PartialFrame,
    VarintPrefixedFramePicker,
)
from evsockets.testing.pickers import LargeStream, PickerContract, PickerExample
from support.pickers import Batched, all_ways

ADDRESS = ("192.0.2.1", 80)
SIZES = st.lists(st.integers(1, 9), max_size=12)


class TestLine(PickerContract):
    def make_picker(self):
        return LineFramePicker(max_length=10)

    def examples(self):
        yield PickerExample(b"one\ntwo\r\n\n\r\nrest\r", [b"one", b"two", b"", b""], b"rest\r")
        yield PickerExample(b"\r\r\na\rb\n\n\n", [b"\r", b"a\rb", b"", b""])
        yield PickerExample(b"0123456789\r\n0123456789\n", [b"0123456789"] * 2)
        yield PickerExample(b"0123456789\r", [], b"0123456789\r")

    def make_limited(self, limit):
        return LineFramePicker(limit), b"\r text"

    def make_large(self, size):
        return LargeStream(LineFramePicker(None), bytes(size - 2) + b"\r\n")


class TestLineWithItsEnd(TestLine):
    def make_picker(self):
        return LineFramePicker(10, keep_end=True)

    def examples(self):
        yield PickerExample(b"one\ntwo\r\n\n\r\nrest\r", [b"one\n", b"two\r\n", b"\n", b"\r\n"], b"rest\r")
        yield PickerExample(b"0123456789\r\n0123456789\n", [b"0123456789\r\n", b"0123456789\n"])


class TestBatchedLines(Batched, TestLine):
    pass


class TestNetstring(PickerContract):
    def make_picker(self):
        return NetstringFramePicker(max_length=300)

    def examples(self):
        yield PickerExample(b"5:hello,0:,3:a,b,1:x", [b"hello", b"", b"a,b"], b"1:x")
        yield PickerExample(b"258:" + b"7" * 258 + b",25", [b"7" * 258], b"25")
        yield PickerExample(b"300:" + bytes(300) + b",0", [bytes(300)], b"0")

    def make_limited(self, limit):
        return NetstringFramePicker(limit), b"9"

    def make_large(self, size):
        return LargeStream(NetstringFramePicker(None), b"%d:%s," % (size, bytes(size)))


class TestBatchedNetstrings(Batched, TestNetstring):
    pass


class TestVarint(PickerContract):
    def make_picker(self):
        return VarintPrefixedFramePicker(max_length=300)

    def examples(self):
        yield PickerExample(b"\3abc\0\1d\5unf", [b"abc", b"", b"d"], b"\5unf")
        yield PickerExample(b"\xac\2" + b"0" * 300 + b"\x80", [b"0" * 300], b"\x80")
        yield PickerExample(b"\x81\x80\0x", [b"x"])  # longer than need be

    def make_limited(self, limit):
        return VarintPrefixedFramePicker(limit), b"\xff\xff\xff\x07"

    def make_large(self, size):
        return LargeStream(VarintPrefixedFramePicker(None), varint(size) + bytes(size))


class TestVarintWithItsPrefix(TestVarint):
    def make_picker(self):
        return VarintPrefixedFramePicker(include_prefix=True)

    def examples(self):
        yield PickerExample(b"\3abc\0\1d\5unf", [b"\3abc", b"\0", b"\1d"], b"\5unf")
        yield PickerExample(b"\xac\2" + b"0" * 300, [b"\xac\2" + b"0" * 300])


class TestBatchedVarints(Batched, TestVarint):
    pass


def varint(number: int) -> bytes:
    data = b""
    while number > 0x7F:
        data += bytes([number & 0x7F | 0x80])
        number >>= 7
    return data + bytes([number])


@given(st.lists(st.binary(max_size=150)), SIZES)
def test_what_was_framed_comes_back(messages: list[bytes], sizes: list[int]) -> None:
    lines = [message.replace(b"\n", b"") for message in messages]
    bare = [line.removesuffix(b"\r") for line in lines]
    for picker, data, frames in (
        (LineFramePicker(), b"".join(b"%s\n" % line for line in lines), bare),
        (LineFramePicker(), b"".join(b"%s\r\n" % line for line in lines), lines),
        (NetstringFramePicker(), b"".join(b"%d:%s," % (len(one), one) for one in messages), messages),
        (VarintPrefixedFramePicker(), b"".join(varint(len(one)) + one for one in messages), messages),
    ):  # fmt: skip
        assert all_ways(picker, data, sizes) == ([Frame(one) for one in frames], False)


@pytest.mark.parametrize(
    "picker", [LineFramePicker(3), NetstringFramePicker(11), VarintPrefixedFramePicker(130)], ids=repr
)
@given(data=st.text("0123:,a\r\n\x7f\x80\x82\xff", max_size=60), sizes=SIZES)
@example(data="abc\r\nabc\rabcd\r\n", sizes=[4])
def test_whatever_comes_the_cut_decides_nothing(picker: FramePicker, data: str, sizes: list[int]) -> None:
    all_ways(picker, data.encode("latin-1"), sizes)


@pytest.mark.parametrize(
    ("picker", "data", "why", "partial"),
    [
        (LineFramePicker(3), b"abcd", "limit of 3 bytes", b"abc"),
        (LineFramePicker(3), b"abcd\n", "limit of 3 bytes", b"abc"),
        (LineFramePicker(3), b"abc\r\r\n", "limit of 3 bytes", b"abc"),
        (LineFramePicker(0), b"a", "limit of 0 bytes", b""),
        (NetstringFramePicker(), b"x", "cannot begin with b'x'", b"x"),
        (NetstringFramePicker(), b":", "cannot begin with b':'", b":"),
        (NetstringFramePicker(), b"-1:", "cannot begin with b'-1:'", b"-1:"),
        (NetstringFramePicker(), b"1 :", "cannot begin with b'1 :'", b"1 :"),
        (NetstringFramePicker(), b"01:a,", "cannot begin with b'01:a,'", b"01:a,"),
        (NetstringFramePicker(), b"3:abc;", "no comma ends a netstring of 3 bytes", b"3:abc;"),
        (NetstringFramePicker(9), b"10", "limit of 9 bytes", b"10"),
        (NetstringFramePicker(99), b"100", "limit of 99 bytes", b"100"),
        (NetstringFramePicker(98), b"99", "limit of 98 bytes", b"99"),
        (NetstringFramePicker(None), b"1" * 20, "cannot begin with", b"1" * 20),
        (VarintPrefixedFramePicker(128), b"\x81\1", "limit of 128 bytes", b"\x81\1"),
        (VarintPrefixedFramePicker(), b"\xff" * 10, "f{20} begins no varint of 64 bits", b"\xff" * 10),
        (VarintPrefixedFramePicker(None), b"\x80" * 9 + b"\2", "is over 64 bits", b"\x80" * 9 + b"\2"),
    ],
)
def test_what_is_no_frame(picker: FramePicker, data: bytes, why: str, partial: bytes) -> None:
    inbox = Inbox(data, ADDRESS)
    for _ in range(2):  # the bytes stay, and it fails again
        with pytest.raises(FrameError, match=why) as caught:
            picker.pick(inbox, False)
        assert caught.value.picker is picker
        assert caught.value.partial == PartialFrame(Frame(partial, ADDRESS))
    assert inbox.peek(100) == data


def test_the_largest_there_are() -> None:
    top = b"\xff" * 9 + b"\1"
    assert VarintPrefixedFramePicker(None).pick(Inbox(top + b"x"), False) is None
    assert NetstringFramePicker(None).pick(Inbox(b"9" * 19 + b":x"), False) is None
    line = LineFramePicker(None).pick(Inbox(bytes(100_000) + b"\n", ADDRESS), False)
    assert line == Frame(bytes(100_000), ADDRESS)


@pytest.mark.parametrize("picker", [LineFramePicker(), NetstringFramePicker(), VarintPrefixedFramePicker()])
def test_an_unfinished_one_is_none_at_the_end(picker: FramePicker) -> None:
    assert picker.pick(Inbox(), False) is None
    inbox = Inbox(b"3")
    assert picker.pick(inbox, True) is None
    assert len(inbox) == 1


@pytest.mark.parametrize("kind", [LineFramePicker, NetstringFramePicker, VarintPrefixedFramePicker])
@pytest.mark.parametrize(("limit", "error"), [(-1, ValueError), ("1", TypeError), (True, TypeError)])
def test_misuse_is_named(kind: Any, limit: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_length"):
        kind(limit)


def test_their_reprs() -> None:
    assert repr(LineFramePicker()) == "LineFramePicker(max_length=65536, keep_end=False)"
    assert repr(NetstringFramePicker(5)) == "NetstringFramePicker(max_length=5)"
    text = "VarintPrefixedFramePicker(max_length=None, include_prefix=True)"
    assert repr(VarintPrefixedFramePicker(None, True)) == text


def test_many_lines_in_one_chunk_do_not_copy_the_rest() -> None:
    inbox = Inbox()
    inbox._append(b"0123\r\n" * 10_000)
    chunk = inbox._chunk
    for left in range(9_999, 0, -1):
        assert LineFramePicker().pick(inbox, False) == Frame(b"0123")
        assert inbox._chunk is chunk and len(inbox) == 6 * left
