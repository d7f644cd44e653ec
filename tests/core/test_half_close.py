"""One direction has ended and the other goes on; the end is told exactly once."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    DisconnectedError,
    EndOfStreamFramePicker,
    ReadOperation,
    ShutdownWriteOperation,
    WriteOperation,
)
from support.conversation import READ_LINE, Talk, ends, gets, gets_end, is_told, resets, sends, turns

BIG = bytes(range(256)) * 4096
TO_THE_END = ReadOperation(EndOfStreamFramePicker())


def test_our_end_while_we_still_read(talk: Talk) -> None:
    """The peer answers only after our end of stream; its answer arrives whole."""
    talk(
        WriteOperation(b"question", then=ShutdownWriteOperation(TO_THE_END)), gets_end, sends(BIG), ends,
        told=["WRITE", BIG], sent=b"question",
    )  # fmt: skip


ANSWERS: dict[str, tuple[Callable[[], Any], bytes]] = {
    "short": (lambda: b"answer\n", b"answer\n"),
    "long": (lambda: (BIG[:1000] for _ in range(5000)), BIG[:1000] * 5000),
    "two": (lambda: [b"question", BIG], b"question" + BIG),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("to_the_end", [True, False])
def test_the_peer_ends_before_we_answer(talk: Talk, answer: str, to_the_end: bool) -> None:
    """Its end of stream does not cut our answer."""
    data, sent = ANSWERS[answer]
    first = TO_THE_END if to_the_end else READ_LINE
    talk(
        first, sends(b"question\n"), ends, on={"READ": [WriteOperation(data())]},
        told=[b"question\n", "WRITE"], sent=sent,
    )  # fmt: skip


def test_the_peer_ends_during_a_long_answer(talk: Talk) -> None:
    chunks = (BIG[:1000] for _ in range(5000))
    talk(WriteOperation(chunks), is_told("WRITE"), turns(2), ends, told=["WRITE"], sent=BIG[:1000] * 5000)


def test_writing_to_a_peer_that_has_gone(talk: Talk) -> None:
    """EPIPE or ECONNRESET: a DisconnectedError, once, and no signal."""
    first = WriteOperation(b"x", then=WriteOperation(b"x" * 100 for _ in range(100_000)))
    one = talk(first, gets(b"x"), resets, told=["WRITE", "WRITE", DisconnectedError], sent=None, over="tcp")
    assert one.error.errno in (errno.EPIPE, errno.ECONNRESET)


@pytest.mark.parametrize("then_write", [False, True])
def test_the_end_is_told_once(talk: Talk, then_write: bool) -> None:
    """A second read after the frame that the end completed meets the end again, once; writing works."""
    following = WriteOperation(b"got it", then=READ_LINE) if then_write else READ_LINE
    talk(
        TO_THE_END, sends(b"all"), ends, on={"READ": [following]},
        told=[b"all", *["WRITE"] * then_write, DisconnectedError], sent=b"got it" if then_write else b"",
    )  # fmt: skip


def test_echo_until_the_end(talk: Talk) -> None:
    """An echo server that reads on after each answer ends with its peer."""
    lines = [b"1\n", b"2\n", b"3\n"]
    talk(
        READ_LINE, sends(b"1\n2\n3\n"), ends,
        on={"READ": [WriteOperation(line) for line in lines], "WRITE": [READ_LINE] * 3},
        told=[b"1\n", "WRITE", b"2\n", "WRITE", b"3\n", "WRITE", DisconnectedError], sent=b"1\n2\n3\n",
    )  # fmt: skip
