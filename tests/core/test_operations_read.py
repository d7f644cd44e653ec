"""Reading: frames one after the other, the end while a read is pending, and a picker's own errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    DisconnectedError,
    EmptyFramePicker,
    EndOfStreamFramePicker,
    FixedLengthFramePicker,
    FrameError,
    FramePicker,
    Inbox,
    LengthPrefixedFramePicker,
    MarkerFramePicker,
    ReadOperation,
    ReadWriteOperation,
    WriteOperation,
)
from support.conversation import (
    LINE,
    READ_LINE,
    Talk,
    closes,
    ends,
    fixed,
    gets,
    is_told,
    resets,
    sends,
    sends_apart,
)

TO_THE_END = EndOfStreamFramePicker()


# ---- frames ----------------------------------------------------------------------------------------


def test_leftovers_are_offered_to_the_next_picker_first(talk: Talk) -> None:
    data = bytes(range(20))
    frames = [data[:2], data[2:6], data[6:9], data[9:10], data[10:18], data[18:]]
    one = talk(
        fixed(2), sends(data), told=frames, on={"READ": [fixed(4), fixed(3), fixed(1), fixed(8), fixed(2)]}
    )
    assert one.metadata.bytes_received == 20


def test_byte_by_byte(talk: Talk) -> None:
    talk(READ_LINE, sends_apart(b"one\ntwo\n"), told=[b"one\n", b"two\n"], on={"READ": [READ_LINE]})


@pytest.mark.parametrize("lines", [1, 63, 64, 65, 1000])
def test_the_same_read_again_and_again(talk: Talk, lines: int) -> None:
    """The operation just done may be named as the next one: what was received with it is not forgotten."""
    data = b"line\n" * lines + b"end\n"
    talk(READ_LINE, sends(data), told=data.splitlines(True), on={"READ": [READ_LINE] * lines})


def test_echo_with_the_same_two_objects(talk: Talk) -> None:
    write = WriteOperation(b"", then=READ_LINE)

    def echo(event: Any) -> None:
        if event.frame.data != b"end\n":
            write.data = event.frame.data
            event.next_is(write)

    talk(
        READ_LINE, sends(b"a\nb\nc\nend\n"), on={"READ": echo},
        told=[b"a\n", "WRITE", b"b\n", "WRITE", b"c\n", "WRITE", b"end\n"], sent=b"a\nb\nc\n",
    )  # fmt: skip


def test_empty_frame_picker_takes_nothing(talk: Talk) -> None:
    def on_read(event: Any) -> None:
        assert event.frame.remote_address == event.metadata.remote_address
        if event.frame.data == b"":
            event.next_is_read()

    talk(ReadOperation(EmptyFramePicker()), sends(b"hello"), told=[b"", b"hello"], on={"READ": on_read})


def test_zero_length_read_is_there_at_once(talk: Talk) -> None:
    talk(fixed(0), told=[b""])


def test_frames_carry_the_peers_address(talk: Talk) -> None:
    one = talk(ReadOperation(), sends(b"hi"), told=[b"hi"], over="tcp")
    frame = one.events[2].frame
    assert frame.remote_address == one.peer_name
    assert bytes(frame) == b"hi" and len(frame) == 2


def test_an_endless_source_is_not_read_further_than_a_frame_needs(talk: Talk) -> None:
    one = talk.begin(fixed(12), sends(bytes(1 << 24)))
    talk.run()
    assert one.told == ["INITIALIZE", "CONNECTED", bytes(12), "DISCONNECTED", "FINALIZE"]
    assert 12 <= one.metadata.bytes_received <= 2 * 65536
    assert one.progress < 1 << 24


# ---- the end ---------------------------------------------------------------------------------------

BOUNDARY, RAW = [DisconnectedError], list[Any]()
ENDINGS = [
    # picker, what comes before the end, what is told, what is left at the end of it
    (LINE, b"half a li", [FrameError], b"half a li"),
    (FixedLengthFramePicker(10), b"abc", [FrameError], b"abc"),
    (LengthPrefixedFramePicker(), b"abc", [FrameError], b"abc"),
    (MarkerFramePicker(b"ab", b"!"), b"abc", [FrameError], b"abc"),
    (LINE, b"one\ntwo\nthr", [b"one\n", b"two\n", FrameError], b"thr"),
    (MarkerFramePicker(None, b"\n", max_length=10), b"x" * 100, [FrameError], None),
    (LINE, b"1\n22\n333\n", [b"1\n", b"22\n", b"333\n", DisconnectedError], None),
    (LINE, b"", [DisconnectedError], None),
    (FixedLengthFramePicker(10), b"", [DisconnectedError], None),
    (LengthPrefixedFramePicker(), b"", [DisconnectedError], None),
    (None, b"", [], None),
    (None, b"abc", [b"abc"], None),
    (EmptyFramePicker(), b"", [b""], None),
    (TO_THE_END, b"", [b"", DisconnectedError], None),
    (TO_THE_END, b"0", [b"0", DisconnectedError], None),
    (TO_THE_END, b"everything" * 50_000, [b"everything" * 50_000, DisconnectedError], None),
]


@pytest.mark.parametrize("how", [ends, closes])
@pytest.mark.parametrize(("picker", "data", "told", "partial"), ENDINGS, ids=range(len(ENDINGS)))
def test_the_end(talk: Talk, how: Any, picker: Any, data: bytes, told: list[Any], partial: Any) -> None:
    """What came before the end is delivered first, the end once: as an error for a read of frames."""
    following = READ_LINE if picker is TO_THE_END else ReadOperation(picker)
    answers = [] if isinstance(picker, EmptyFramePicker) else [following] * 9
    one = talk(ReadOperation(picker), sends(data), how, told=told, on={"READ": answers})
    for error in one.errors:
        assert error.socket is one.client and error.errno is None
        assert one.metadata.address in str(error) and "reading" in str(error)
        if isinstance(error, FrameError):
            assert error.picker is picker
        if partial is not None:
            assert error.partial.data == partial == bytes(error.partial)


@pytest.mark.parametrize("picker", [None, LINE, TO_THE_END], ids=["raw", "line", "end"])
def test_reset_while_reading(talk: Talk, picker: Any) -> None:
    one = talk(
        WriteOperation(b"hello", then=ReadOperation(picker)), gets(b"hello"), resets, over="tcp",
        told=["WRITE", DisconnectedError], sent=b"hello",
    )  # fmt: skip
    assert one.error.errno == 104


def test_what_came_before_a_reset_is_delivered_first(talk: Talk) -> None:
    """A unix peer that closes with unread bytes of ours resets; what it wrote before still counts."""
    talk(
        WriteOperation(b"unread", then=READ_LINE), sends(b"last words\n"), is_told("WRITE"), closes,
        told=["WRITE", b"last words\n", DisconnectedError], sent=None, on={"READ": [READ_LINE]},
    )  # fmt: skip


# ---- a picker's own errors -------------------------------------------------------------------------


class Own(FramePicker):
    """A picker of a user's own, which does what it is told."""

    def __init__(self, then: Callable[[Inbox], Any]) -> None:
        self.then = then

    def pick(self, inbox: Inbox, ended: bool) -> Any:
        return self.then(inbox) if inbox else None


def refuse(inbox: Inbox) -> None:
    raise FrameError("no such word")


def in_two_directions(picker: FramePicker) -> ReadWriteOperation:
    return ReadWriteOperation(operations=[ReadOperation(picker)])


@pytest.mark.parametrize("make", [ReadOperation, in_two_directions])
def test_what_a_picker_gives_is_a_frame(talk: Talk, make: Any) -> None:
    with pytest.raises(TypeError, match="must return a Frame or None, got b'word'"):
        talk(make(Own(lambda inbox: inbox.take(4))), sends(b"word"))


@pytest.mark.parametrize("make", [ReadOperation, in_two_directions])
def test_a_pickers_own_error_is_completed(talk: Talk, make: Any) -> None:
    picker = Own(refuse)
    one = talk(make(picker), sends(b"word"), told=[FrameError])
    assert one.error.picker is picker and one.error.socket is one.client
    assert one.error.partial.data == b"word"
