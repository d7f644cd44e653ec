"""RespFramePicker: every type of RESP2 and RESP3, nested, and what a hostile peer may send."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsockets.errors import FrameError
from evsockets.frames import Inbox, RespError, RespFrame, RespFramePicker
from evsockets.testing.pickers import LargeStream, PickerContract, PickerExample
from support.pickers import Batched, all_ways

ADDRESS = ("192.0.2.1", 6379)
ROWS = [
    # RESP2
    (b"+OK\r\n", b"OK"),
    (b"+\r\n", b""),
    (b"+a\nb\rc\r\n", b"a\nb\rc"),
    (b":1000\r\n", 1000),
    (b":-7\r\n", -7),
    (b":+7\r\n", 7),
    (b"$5\r\nhel\r\n\r\n", b"hel\r\n"),
    (b"$0\r\n\r\n", b""),
    (b"$-1\r\n", None),
    (b"*0\r\n", []),
    (b"*-1\r\n", None),
    (b"*3\r\n:1\r\n*2\r\n+a\r\n$-1\r\n$1\r\nb\r\n", [1, [b"a", None], b"b"]),
    # RESP3
    (b"_\r\n", None),
    (b"#t\r\n", True),
    (b"#f\r\n", False),
    (b",1.5\r\n", 1.5),
    (b",10\r\n", 10.0),
    (b",-1.5E-3\r\n", -0.0015),
    (b",inf\r\n", math.inf),
    (b",-inf\r\n", -math.inf),
    (b"(3492890328409238509324850943850943825024385\r\n", 3492890328409238509324850943850943825024385),
    (b"=15\r\ntxt:Some string\r\n", b"Some string"),
    (b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n#t\r\n", {b"a": 1, b"b": [True]}),
    (b"%1\r\n*1\r\n:1\r\n+v\r\n", [([1], b"v")]),
    (b"%0\r\n", {}),
    (b"~3\r\n:1\r\n+a\r\n:1\r\n", {1, b"a"}),
    (b"~2\r\n*0\r\n*0\r\n", [[], []]),
    (b">2\r\n+message\r\n+hi\r\n", [b"message", b"hi"]),
    (b"|1\r\n+ttl\r\n:3600\r\n*1\r\n:5\r\n", [5]),
    (b"*2\r\n:1\r\n|1\r\n+ttl\r\n:3600\r\n:2\r\n", [1, 2]),
    (b"|0\r\n+OK\r\n", b"OK"),
    # RESP3, streamed
    (b"$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;1\r\nd\r\n;0\r\n", b"Hello word"),
    (b"$?\r\n;0\r\n", b""),
    (b"*?\r\n:1\r\n:2\r\n.\r\n", [1, 2]),
    (b"*?\r\n.\r\n", []),
    (b"%?\r\n+a\r\n*?\r\n$?\r\n;1\r\nx\r\n;0\r\n.\r\n.\r\n", {b"a": [b"x"]}),
    (b"~?\r\n+a\r\n+b\r\n.\r\n", {b"a", b"b"}),
]


def value(data: bytes, picker: RespFramePicker | None = None) -> Any:
    """Of the one value that `data` is."""
    inbox = Inbox(data, ADDRESS)
    frame = (picker or RespFramePicker()).pick(inbox, False)
    assert type(frame) is RespFrame and frame.data == data and frame.remote_address == ADDRESS
    assert not inbox
    return frame.value


@pytest.mark.parametrize(("data", "meaning"), ROWS)
def test_what_they_mean(data: bytes, meaning: Any) -> None:
    got = value(data)
    assert got == meaning and type(got) is type(meaning)
    for short in range(len(data)):
        assert RespFramePicker().pick(Inbox(data[:short]), True) is None


def test_not_a_number() -> None:
    assert math.isnan(value(b",nan\r\n")) and math.isnan(value(b",-nan\r\n"))


def test_errors_are_given_and_not_raised() -> None:
    for data in (b"-ERR no such\xff\r\n", b"!12\r\nERR no such\xff\r\n"):
        (error,) = value(b"*1\r\n" + data)
        assert isinstance(error, RespError) and str(error) == "ERR no such\\xff"
        with pytest.raises(RespError, match="ERR no such"):
            raise value(data)


def test_a_push_is_told_by_its_first_byte() -> None:
    frame = RespFramePicker().pick(Inbox(b">1\r\n+a\r\n"), False)
    assert frame is not None and frame.data[:1] == b">"


class TestResp(PickerContract):
    def make_picker(self):
        return RespFramePicker(max_length=300)

    def examples(self):
        stream = b"".join(data for data, _ in ROWS)
        yield PickerExample(stream, [data for data, _ in ROWS])
        yield PickerExample(b"*2\r\n+a\r\n", [], b"*2\r\n+a\r\n")
        yield PickerExample(b"+OK\r\n$5\r\nhel", [b"+OK\r\n"], b"$5\r\nhel")
        yield PickerExample(b"+" + b"x" * 297 + b"\r\n:", [b"+" + b"x" * 297 + b"\r\n"], b":")

    def make_limited(self, limit):
        return RespFramePicker(limit), b"+-text"

    def make_large(self, size):
        return LargeStream(RespFramePicker(None), b"$%d\r\n%s\r\n" % (size, bytes(size)))


class TestRespManySmall(TestResp):
    """The work for a value does not grow with those read before it."""

    large_size = 1024 * 1024

    def make_limited(self, limit):
        return RespFramePicker(limit), b"|0\r\n"

    def make_large(self, size):
        item = b"$3\r\nabc\r\n"
        number = size // len(item)
        return LargeStream(RespFramePicker(None), b"*%d\r\n%s" % (number, item * number))


class TestRespLongLine(TestResp):
    def make_limited(self, limit):
        return RespFramePicker(limit), b"-\r"

    def make_large(self, size):
        return LargeStream(RespFramePicker(None), b"+" + b"\r" * size + b"\r\n")


class TestBatchedResp(Batched, TestResp):
    pass


def encoded(thing: Any) -> bytes:
    if thing is None:
        return b"_\r\n"
    if isinstance(thing, bool):
        return b"#t\r\n" if thing else b"#f\r\n"
    if isinstance(thing, int):
        return b":%d\r\n" % thing
    if isinstance(thing, float):
        return b",%s\r\n" % repr(thing).encode()
    if isinstance(thing, bytes):
        return b"$%d\r\n%s\r\n" % (len(thing), thing)
    if isinstance(thing, dict):
        pairs = [encoded(key) + encoded(one) for key, one in thing.items()]
        return b"%%%d\r\n%s" % (len(pairs), b"".join(pairs))
    kind = b"~" if isinstance(thing, set) else b"*"
    return b"%s%d\r\n%s" % (kind, len(thing), b"".join(map(encoded, thing)))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.binary(max_size=20),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.sets(SCALARS, max_size=5), st.dictionaries(SCALARS, inner, max_size=5)
    ),
    max_leaves=20,
)
SIZES = st.lists(st.integers(1, 9), max_size=12)


@given(st.lists(VALUES, max_size=4), SIZES)
def test_what_was_encoded_comes_back(things: list[Any], sizes: list[int]) -> None:
    frames, failed = all_ways(RespFramePicker(), b"".join(map(encoded, things)), sizes)
    assert not failed and [frame.value for frame in frames] == things  # type: ignore[attr-defined]


@given(st.text("*$:+-_#,(%~>|=!;.?0123t\r\n\r\n", max_size=60), SIZES)
def test_whatever_comes_the_cut_decides_nothing(text: str, sizes: list[int]) -> None:
    all_ways(RespFramePicker(40, max_depth=3), text.replace("\n", "\r\n").encode(), sizes)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"PING\r\n", "no RESP at byte 0: b'P' begins no value"),
        (b"*2\r\n:1\r\nx", "no RESP at byte 8: b'x' begins no value"),
        (b":\r\n", "b'' is no integer"),
        (b":1_0\r\n", "b'1_0' is no integer"),
        (b": 1\r\n", "no integer"),
        (b":1.5\r\n", "no integer"),
        (b":" + b"1" * 34, "a line of more than 32 bytes"),
        (b"(" + b"1" * 4302, "a line of more than 4300 bytes"),
        (b",1,5\r\n", "b'1,5' is no double"),
        (b",\r\n", "no double"),
        (b",1_0\r\n", "no double"),
        (b"#true\r\n", "b'true' is no boolean"),
        (b"_null\r\n", "b'null' in a null"),
        (b"$x\r\n", "b'x' is no length"),
        (b"$-2\r\n", "b'-2' is no length"),
        (b"$+1\r\n", "b'\\+1' is no length"),
        (b"=-1\r\n", "b'-1' is no length"),
        (b"%-1\r\n", "b'-1' is no length"),
        (b"$3\r\nabcde", "no CR LF after 3 bytes"),
        (b"=3\r\nabc\r\n", "a verbatim string cannot begin with b'abc'"),
        (b";1\r\na\r\n", "`;` outside of a streamed string"),
        (b"$?\r\n+a\r\n", "a streamed string goes on with `;`"),
        (b"$?\r\n;?\r\n", "b'\\?' is no length"),
        (b"|?\r\n", "b'\\?' is no length"),
        (b".\r\n", "`.` ends nothing"),
        (b"*1\r\n.\r\n", "`.` ends nothing"),
        (b"*?\r\n.x\r\n", "`.` ends nothing"),
        (b"%?\r\n+a\r\n.\r\n", "a map ends with a key"),
        (b"*1\r\n" * 129, "values nested deeper than 128"),
        (b"%1\r\n" * 129, "values nested deeper than 128"),
        (b"|1\r\n" * 129, "values nested deeper than 128"),
        (b"*?\r\n" * 100_000, "values nested deeper than 128"),
    ],
)
def test_what_is_no_resp(data: bytes, why: str) -> None:
    picker = RespFramePicker()
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        inbox = Inbox(remote_address=ADDRESS)
        error = None
        for piece in pieces:
            inbox._append(piece)
            try:
                assert picker.pick(inbox, False) is None
            except FrameError as raised:
                error = raised
                break
        with pytest.raises(FrameError, match=why) as again:  # the bytes stay, and it fails again
            picker.pick(inbox, False)
        assert error is not None and str(error) == str(again.value)
        assert again.value.picker is picker and again.value.partial is not None
        assert data.startswith(again.value.partial.data) and again.value.partial.remote_address == ADDRESS


@pytest.mark.parametrize(
    "data",
    [
        b"$94\r\n",
        b"!1000000000000\r\n",
        b"*32\r\n",
        b"%16\r\n",
        b"*1000000000000\r\n",
        b"*2\r\n$90\r\n",
        b"$?\r\n;90\r\n",
    ],
)
def test_what_is_too_long_is_told_by_its_length(data: bytes) -> None:
    with pytest.raises(FrameError, match="limit of 100 bytes"):
        RespFramePicker(100).pick(Inbox(data), False)


@pytest.mark.parametrize(
    "data", [b"$93\r\n%s\r\n" % bytes(93), b"+%s\r\n" % bytes(97), b"*32\r\n" + b"_\r\n" * 32]
)
def test_the_limit_is_exact(data: bytes) -> None:
    size = len(data)
    assert RespFramePicker(size).pick(Inbox(data), True) is not None
    with pytest.raises(FrameError, match=f"limit of {size - 1} bytes"):
        RespFramePicker(size - 1).pick(Inbox(data), False)


def test_numbers_that_the_interpreter_does_not_take() -> None:
    data = b"(" + b"7" * 4300 + b"\r\n"
    assert value(data) > 10**4299
    most = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        with pytest.raises(FrameError, match="is no integer"):
            value(data)
    finally:
        sys.set_int_max_str_digits(most)


def test_as_deep_as_it_may_be() -> None:
    got = value(b"*1\r\n" * 127 + b"*0\r\n" + b"", RespFramePicker(max_depth=128))
    for _ in range(127):
        (got,) = got
    assert got == []
    assert value(b":1\r\n", RespFramePicker(max_depth=0)) == 1
    with pytest.raises(FrameError, match="deeper than 0"):
        value(b"*1\r\n", RespFramePicker(max_depth=0))


def test_numbers_with_one_place_in_a_table_cost_no_more_than_others() -> None:
    """Multiples of hash(int)'s modulus all have the same, so that a set takes the square of their number."""
    modulus = sys.hash_info.modulus

    def spent(step: int) -> float:
        data = b"~20000\r\n" + b"".join(b"(%d\r\n" % (step * number) for number in range(20_000))
        start = time.thread_time()
        assert len(value(data)) == 20_000
        return time.thread_time() - start

    assert min(spent(modulus) for _ in range(3)) < 10 * min(spent(modulus - 1) for _ in range(3))
    assert type(value(encoded(set(range(1024))))) is set
    assert type(value(b"~1025\r\n" + b"".join(map(encoded, range(1025))))) is list
    many = {b"%d" % number: number for number in range(5000)}
    assert value(encoded(many)) == many


@pytest.mark.parametrize(
    ("settings", "error", "word"),
    [
        ({"max_length": -1}, ValueError, "max_length"),
        ({"max_length": 1.5}, TypeError, "max_length"),
        ({"max_depth": -1}, ValueError, "max_depth"),
        ({"max_depth": None}, TypeError, "max_depth"),
    ],
)
def test_misuse_is_named(settings: dict[str, Any], error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        RespFramePicker(**settings)


def test_its_repr() -> None:
    assert repr(RespFramePicker(5)) == "RespFramePicker(max_length=5, max_depth=128)"
