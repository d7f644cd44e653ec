"""RegexFramePicker: the shortest beginning in which the pattern is found."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsockets.errors import FrameError
from evsockets.frames import Frame, Inbox, PartialFrame, RegexFramePicker
from evsockets.frames.regex_automaton import automaton
from evsockets.frames.regex_extent import extent
from evsockets.testing.pickers import LargeStream, PickerContract, PickerExample
from support.pickers import Batched, all_ways

ADDRESS = ("192.0.2.1", 80)


class TestBlankLine(PickerContract):
    pattern = re.compile(rb"\r?\n\r?\n")

    def make_picker(self):
        return RegexFramePicker(self.pattern, 1000)

    def examples(self):
        yield PickerExample(b"a\r\nb\r\n\r\nc\n\n\n", [b"a\r\nb\r\n\r\n", b"c\n\n"], b"\n")
        yield PickerExample(b"x" * 700 + b"\n\r\n\r", [b"x" * 700 + b"\n\r\n"], b"\r")
        yield PickerExample(b"unfinished\r\n\r", [], b"unfinished\r\n\r")

    def make_limited(self, limit):
        return RegexFramePicker(self.pattern, limit), b"\r text"

    def make_large(self, size):
        return LargeStream(RegexFramePicker(self.pattern, None), bytes(size - 2) + b"\n\n")


class TestBatchedBlankLine(Batched, TestBlankLine):
    pass


class TestGreedy(PickerContract):
    """A match that could become longer has ended: what follows is another frame's."""

    large_size = 1024 * 1024

    def make_picker(self):
        return RegexFramePicker(re.compile(rb"x+|ab.*c", re.DOTALL), 1000)

    def examples(self):
        yield PickerExample(b"..xx.x", [b"..x", b"x", b".x"])
        yield PickerExample(b"abcc-ab--cxc", [b"abc", b"c-ab--c", b"x"], b"c")

    def make_limited(self, limit):
        return RegexFramePicker(re.compile(rb"x+|ab.*c", re.DOTALL), limit), b"ab"

    def make_large(self, size):
        picker = RegexFramePicker(re.compile(rb"x+|ab.*c", re.DOTALL), None)
        return LargeStream(picker, b"ab" * (size // 2) + b"c")


class TestBeginningOfTheFrame(PickerContract):
    """Neither `^` nor lookbehind sees the frame before."""

    def make_picker(self):
        return RegexFramePicker(re.compile(rb"^a|(?<=b)c|\bd"), 1000)

    def examples(self):
        yield PickerExample(b"aaxabcbcxd.d,", [b"a", b"a", b"xabc", b"bc", b"xd.d"], b",")


def test_the_byte_that_was_looked_ahead_at_stays() -> None:
    """A header with its folded lines."""
    picker = RegexFramePicker(re.compile(rb"\r\n(?=[^ \t])"), 1000)
    inbox = Inbox(b"A: 1\r\n 2\r\n")
    assert picker.pick(inbox, False) is None
    inbox._append(b"B")
    assert picker.pick(inbox, False) == Frame(b"A: 1\r\n 2\r\n")
    assert inbox.peek(9) == b"B"


PATTERNS = [
    rb"ab", rb"a|bc", rb"a+b", rb"a{2,3}b?", rb"(a|b)c(?=.)", rb"(?<=a)b", rb"^ab|cc", rb"(?s)a.*b",
    rb"(a)b*\1", rb"(?i)A.B", rb"a(?=b+c)", rb"(?m)^b|c$\n", rb"(?!ab)a.", rb"a??b", rb"\bb\b.",
    rb"(?:(?!ab).)*ab", rb"(?>a+)b", rb"(?:a|bc*)+?a", rb"[^a-b\n]*\s", rb"(?i:A)+[^B]+.", rb"(?is)a.+\W*B",
    rb"(?:a*b?)*c{2,}", rb"(?:ab*){2,3}c*\n", rb"\w{2,}[\Wb]",
]  # fmt: skip


def one_by_one(pattern: bytes, data: bytes, limit: int) -> tuple[list[bytes], bool]:
    """The rule as it is said: after each byte, is there a match in what has come?"""
    frames, begin = [], 0
    while begin < len(data):
        for end in range(begin + 1, min(len(data), begin + limit) + 1):
            if found := re.search(pattern, data[begin:end]):
                frames.append(data[begin : begin + found.end()])
                begin += found.end()
                break
        else:
            return frames, len(data) - begin > limit
    return frames, False


@pytest.mark.parametrize("pattern", PATTERNS)
@given(data=st.text("abc\n", max_size=40), sizes=st.lists(st.integers(1, 9), max_size=9))
def test_the_shortest_beginning_with_a_match(pattern: bytes, data: str, sizes: list[int]) -> None:
    picker = RegexFramePicker(re.compile(pattern), 12)
    frames, failed = all_ways(picker, data.encode(), sizes)
    assert ([frame.data for frame in frames], failed) == one_by_one(pattern, data.encode(), 12)


@pytest.mark.parametrize(
    ("pattern", "whether"),
    [
        (rb"a+b", True),
        (rb"(?s)(?:a|[^b-d]\w)*?(?P<x>\n)", True),
        (rb"(a)b*\1", False),
        (rb"^a*b", False),
        (rb"a*(?=b)c", False),
        (rb"(?>a*)b", False),
        (rb"a{400}b{100}c*d", False),
        (rb"(?L)a*b", False),
    ],
)
def test_what_has_an_automaton(pattern: bytes, whether: bool) -> None:
    assert (automaton(re.compile(pattern)) is not None) is whether


@pytest.mark.parametrize(
    "pattern", [rb"\d", rb"\D", rb"\s", rb"\S", rb"\w", rb"\W", rb".", rb"[^a\dF-Z]", rb"[a\W]", rb"[^\xe4k]"]
)
@pytest.mark.parametrize("flags", [0, re.IGNORECASE, re.DOTALL])
def test_one_byte_of_an_automaton(pattern: bytes, flags: int) -> None:
    compiled = re.compile(pattern, flags)
    machine = automaton(compiled)
    assert machine is not None
    for byte in range(256):
        one = bytes([byte])
        assert machine.run(machine.start, one)[1] == bool(compiled.match(one))


def test_an_automaton_holds_so_much_and_no_more() -> None:
    """Two to the power of twelve sets of states are met, and forgotten again."""
    machine = automaton(re.compile(rb"a.{12}b*c"))
    assert machine is not None
    dice, node = random.Random(5), machine.start
    for _ in range(20):
        node, _ = machine.run(node, bytes(dice.choices(b"ab", k=500)))
        assert len(machine._nodes) <= 300
        assert sum(len(one.next) for one in machine._nodes.values()) <= 700
    data = bytes(dice.choices(b"ab", k=5000))
    assert machine.run(node, data + b"c")[1] == len(data) + 1


@pytest.mark.parametrize("size", [250, 255, 256, 257, 511, 512, 768, 5000])
@pytest.mark.parametrize("pattern", [rb"abc", rb"a(?s:.)*c", rb"ab?c+", rb"b(?=c)"])
def test_across_the_windows(pattern: bytes, size: int) -> None:
    data = b"x" * size + b"abcc" + b"y" * size
    picker = RegexFramePicker(re.compile(pattern), None)
    frames, failed = all_ways(picker, data, [size - 3, *[1] * 10])
    assert ([frame.data for frame in frames][:1], failed) == (one_by_one(pattern, data, 20_000)[0][:1], False)


@pytest.mark.parametrize(
    ("pattern", "least", "reach"),
    [
        (rb"abc", 3, 3),
        (rb"\r?\n", 1, 2),
        (rb"a|bcd", 1, 3),
        (rb"a{2,5}", 2, 5),
        (rb"(?:ab){3}?", 6, 6),
        (rb"a*b", 1, float("inf")),
        (rb"(a)\1", 1, float("inf")),
        (rb"(a)?(?(1)b|cd)", 1, 3),
        (rb"a(?=bc)", 1, 3),
        (rb"(?<=abc)a", 1, 1),
        (rb"(?<!abc)a", 1, 1),
        (rb"\bfoo", 3, 3),
        (rb"(?m)a$\n", 2, 2),
        (rb"(?m:a$)\n", 2, 2),
        (rb"(?!ab)[a-z]{2}", 2, 2),
        (rb"(?>ab|c)d++", 2, float("inf")),
        (rb"[^\n]\d.", 3, 3),
        (rb"(?x) a b  # spaced", 2, 2),
    ],
)
def test_how_long_a_match_is(pattern: bytes, least: int, reach: float) -> None:
    assert extent(re.compile(pattern)) == (least, reach)


@pytest.mark.parametrize(
    ("pattern", "error", "text"),
    [
        (b"\n", TypeError, r"a compiled bytes pattern, re.compile\(rb'...'\), got b'\\n'"),
        ("\n", TypeError, "a compiled bytes pattern"),
        (re.compile("\n"), TypeError, r"got re.compile\('\\n'\)"),
        (None, TypeError, "got None"),
        (re.compile(b""), ValueError, "b'' matches without a byte"),
        (re.compile(rb"x*"), ValueError, "matches without a byte"),
        (re.compile(rb"x|(?=y)"), ValueError, "matches without a byte"),
        (re.compile(rb"x$"), ValueError, r"ends no frame: \$ asks what comes after its match"),
        (re.compile(rb"x$\n"), ValueError, r"\$ asks"),
        (re.compile(rb"(?m)x$"), ValueError, r"\$ asks"),
        (re.compile(rb"x\Z"), ValueError, r"\\Z asks"),
        (re.compile(rb"x\b"), ValueError, r"\\b asks"),
        (re.compile(rb"x\B"), ValueError, r"\\B asks"),
        (re.compile(rb"x(?!y)"), ValueError, r"\(\?!\.\.\.\) asks .* \(\?=\.\.\.\) waits for it"),
        (re.compile(rb"(?!xyz)xy?"), ValueError, "asks"),
        (re.compile(rb"(?:y|x\b)"), ValueError, "asks"),
    ],
)
def test_patterns_that_end_no_frame(pattern: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        RegexFramePicker(pattern, 100)


@pytest.mark.parametrize(("limit", "error"), [(-1, ValueError), ("1", TypeError), (1.0, TypeError)])
def test_a_limit_that_is_none(limit: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_length"):
        RegexFramePicker(re.compile(b"x"), limit)
    with pytest.raises(TypeError):
        RegexFramePicker(re.compile(b"x"))  # type: ignore[call-arg]


@pytest.mark.parametrize("data", [b"abcdef", b"abcde\n"])
def test_the_limit_is_exact(data: bytes) -> None:
    picker = RegexFramePicker(re.compile(rb"\r?\n"), 5)
    assert picker.pick(Inbox(b"abcd\nx", ADDRESS), False) == Frame(b"abcd\n", ADDRESS)
    assert picker.pick(Inbox(data[:5]), False) is None
    with pytest.raises(FrameError, match="limit of 5 bytes") as caught:
        picker.pick(Inbox(data, ADDRESS), False)
    assert caught.value.picker is picker
    assert caught.value.partial == PartialFrame(Frame(b"abcde", ADDRESS))


@pytest.mark.parametrize("pattern", [rb"x", rb"x*y", rb"(x)\1*"])
def test_no_byte_is_allowed(pattern: bytes) -> None:
    picker = RegexFramePicker(re.compile(pattern), 0)
    assert picker.pick(Inbox(), False) is None
    with pytest.raises(FrameError, match="limit of 0 bytes"):
        picker.pick(Inbox(b"x"), False)


def test_many_small_frames_in_one_chunk_do_not_copy_the_rest() -> None:
    inbox = Inbox()
    inbox._append(b"0123\r\n" * 10_000)
    chunk = inbox._chunk
    picker = RegexFramePicker(re.compile(rb"\r?\n"), 100)
    for _ in range(9_999):
        assert picker.pick(inbox, False) == Frame(b"0123\r\n")
        assert inbox._chunk is chunk


def test_its_repr() -> None:
    picker = RegexFramePicker(re.compile(b"x"), 5)
    assert repr(picker) == "RegexFramePicker(re.compile(b'x'), max_length=5)"
