"""The shipped pickers cost in proportion to what a hostile peer sends, however it is cut."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

import pytest

from evsockets.frames import (
    EmptyFrame,
    EmptyFramePicker,
    EndOfStreamFramePicker,
    FixedLengthFramePicker,
    FramePicker,
    Inbox,
    LengthPrefixedFramePicker,
    LineFramePicker,
    MarkerFramePicker,
    NetstringFramePicker,
    RawFramePicker,
    RegexFramePicker,
    RespFramePicker,
    VarintPrefixedFramePicker,
)
from support.linear import grows_linearly

LONG = b"a" * 200 + b"b"

#: A picker, what comes first, and what then comes again and again.
CASES: list[tuple[FramePicker, bytes, bytes]] = [
    *(
        (MarkerFramePicker(None, end, case_sensitive=exact, max_length=None), b"", piece)
        for end, pieces in {
            b"\r\n": [b"x", b"\r", b"\r\n", b"x" * 50 + b"\r\n"],
            b"</html>": [b"x", b"</HTM", b"</htm", b"</html></HTML>", b"x" * 400 + b"</html>"],
            b"aaaaaaab": [b"a", b"A", b"aaaaaaac", b"aaaaaaab"],
            LONG: [b"a", b"a" * 199 + b"c", LONG],
        }.items()
        for piece in pieces
        for exact in (True, False)
    ),
    *(
        (MarkerFramePicker(start, b"</end>", case_sensitive=exact, max_length=None), first, piece)
        for start, pieces in {
            b"<start>": [b"x", b"<star", b"<STAR", b"<start>", b"</end>", b"<STart>x</END>"],
            b"aaaaaaab": [b"a", b"aaaaaaac", b"ab", b"aaaaaaab</end>", b"aaaaaaaab</end>"],
            b"abababac": [b"ab", b"ababababac</end>"],
            LONG: [b"a", b"a" * 199 + b"c", b"a" * 100 + b"c", LONG + b"</end>"],
        }.items()
        for piece in pieces
        for first in (b"", start)
        for exact in (True, False)
    ),
    (LengthPrefixedFramePicker(1), b"", b"\0"),
    (LengthPrefixedFramePicker(1), b"", b"\1"),
    (LengthPrefixedFramePicker(4, max_length=None), b"\x7f\xff\xff\xff", b"x"),
    (LengthPrefixedFramePicker(4, include_prefix=True), b"", b"\0\0\0\1x"),
    (LengthPrefixedFramePicker(64, max_length=None), b"\0" * 60 + b"\x7f\xff\xff\xff", b"x"),
    (FixedLengthFramePicker(1), b"", b"x"),
    (FixedLengthFramePicker(1 << 30), b"", b"x"),
    (EndOfStreamFramePicker(max_length=None), b"", b"x"),
    *((LineFramePicker(None), b"", piece) for piece in [b"x", b"\r", b"\n", b"\r\n", b"x" * 50 + b"\r\n"]),
    *((NetstringFramePicker(None), b"", piece) for piece in [b"0:,", b"3:abc,"]),
    (NetstringFramePicker(None), b"9" * 10 + b":", b"x"),
    *((VarintPrefixedFramePicker(None), b"", piece) for piece in [b"\0", b"\1x", b"\x80\0"]),
    (VarintPrefixedFramePicker(None), b"\xff\xff\xff\x7f", b"x"),
    *(
        (RegexFramePicker(re.compile(pattern), None), b"", piece)
        for pattern, pieces in {
            rb"\r?\n\r?\n": [b"x", b"\r", b"\r\n.", b"x" * 50 + b"\r\n\r\n"],
            rb"(?s)a.{0,40}b": [b"a", b"b", b"ab", b"a" * 41 + b"b", b"ac"],
            rb"(?s)ab.*c": [b"ab", b"abc", b"a", b"abbbbbbb"],
            rb"(?:a|b)*a(?:a|b){6}c|x+": [b"a", b"ab", b"x", b"aaaaaaaac"],
            rb"a{7}b|;(?=[^ ])": [b"a", b"aaaaaaab", b"; "],
        }.items()
        for piece in pieces
    ),
    *(
        (RespFramePicker(None), first, piece)
        for first, pieces in {
            b"": [b"+\r\n", b":1\r\n", b"$3\r\nabc\r\n", b"*0\r\n", b"*2\r\n_\r\n_\r\n", b"|0\r\n"],
            b"+": [b"x", b"\r"],
            b"$1000000000\r\n": [b"x", b"\r\n"],
            b"*1000000000\r\n": [b"+\r\n", b":1\r\n", b"$3\r\nabc\r\n", b"*1\r\n_\r\n", b"~0\r\n", b"|0\r\n"],
            b"*?\r\n": [b"_\r\n", b"*?\r\n.\r\n"],
            b"$?\r\n": [b";1\r\nx\r\n"],
            b"~1000000000\r\n": [b":1\r\n"],
        }.items()
        for piece in pieces
    ),
    (RawFramePicker(), b"", b"x"),
    (EmptyFramePicker(), b"", b"x"),
]  # fmt: skip

#: How the bytes are cut: sizes of chunks, from the first on and again; and how many KiB there are at most.
CUTS = {
    "bytes": ((1,), 16),
    "small": ((32,), 256),
    "lumps": ((20_000, *[1] * 20), 256),
    "one": ((1 << 20,), 256),
}


def chunks(data: bytes, sizes: tuple[int, ...]) -> Iterator[bytes]:
    begin = 0
    for size in itertools.cycle(sizes):
        if begin >= len(data):
            return
        yield data[begin : begin + size]
        begin += size


def pick(picker: FramePicker, data: bytes, sizes: tuple[int, ...]) -> int:
    """How many frames there are in `data`, cut like this."""
    inbox = Inbox()
    frames = 0
    for chunk in chunks(data, sizes):
        inbox._append(chunk)
        while inbox and (frame := picker.pick(inbox, False)) is not None:
            frames += 1
            if isinstance(frame, EmptyFrame):
                break  # the bytes stay: another picker's
    return frames


@pytest.mark.parametrize(("picker", "first", "piece"), CASES)
def test_frames_are_found_in_linear_time(picker: FramePicker, first: bytes, piece: bytes) -> None:
    for sizes, kibibytes in CUTS.values():

        def work(size: int, sizes: tuple[int, ...] = sizes) -> Callable[[], object]:
            data = first + piece * (size // len(piece))
            return lambda: pick(picker, data, sizes)

        largest = kibibytes * 1024
        grows_linearly(work, largest, smallest=largest, looks=1.0)
