"""Reads by the shipped pickers of protocols: frames however they come, the end, and what is no frame."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest

from evsockets import (
    BatchFramePicker,
    DisconnectedError,
    FrameError,
    FramePicker,
    LineFramePicker,
    NetstringFramePicker,
    ReadOperation,
    RegexFramePicker,
    RespFramePicker,
    VarintPrefixedFramePicker,
)
from support.conversation import Talk, closes, ends, sends, sends_apart


class Row(NamedTuple):
    """A picker; two frames as they come, and as they are told; the beginning of one; and what is none."""

    picker: FramePicker
    sent: list[bytes]
    told: list[bytes]
    begun: bytes
    bad: bytes


RESP = [b"$3\r\none\r\n", b"*1\r\n_\r\n"]
ROWS = [
    Row(LineFramePicker(9), [b"one\r\n", b"two\n"], [b"one", b"two"], b"thr", b"0123456789"),
    Row(NetstringFramePicker(9), [b"3:one,", b"0:,"], [b"one", b""], b"3:t", b"3:one;"),
    Row(VarintPrefixedFramePicker(99), [b"\3one", b"\0"], [b"one", b""], b"\x80", b"\xff\x7f"),
    Row(RegexFramePicker(re.compile(rb"[.!]"), 9), [b"1.", b"2!"], [b"1.", b"2!"], b"3", b"0123456789"),
    Row(RespFramePicker(), RESP, RESP, b"+OK", b"OK\r\n"),
]
each = pytest.mark.parametrize("row", ROWS, ids=[type(row.picker).__name__ for row in ROWS])


@each
@pytest.mark.parametrize("apart", [False, True])
def test_frames_and_the_end(talk: Talk, row: Row, apart: bool) -> None:
    read = ReadOperation(row.picker)
    send = sends_apart if apart else sends
    talk(
        read, send(b"".join(row.sent)), closes, told=[*row.told, DisconnectedError], on={"READ": [read, read]}
    )


@each
@pytest.mark.parametrize("what", ["begun", "bad"])
def test_what_does_not_become_one(talk: Talk, row: Row, what: str) -> None:
    """An unfinished one at the end, and what never can be: the error has what there is, and names address and
    picker."""
    read = ReadOperation(row.picker)
    data = row.begun if what == "begun" else row.bad
    one = talk(read, sends(row.sent[0] + data), ends, told=[row.told[0], FrameError], on={"READ": [read]})
    (error,) = one.errors
    assert error.picker is row.picker and error.socket is not None
    assert "while reading" in str(error) and data.startswith(error.partial.data)


@each
def test_a_batch_of_them(talk: Talk, row: Row) -> None:
    read = ReadOperation(BatchFramePicker(row.picker))
    batches: list[Any] = []

    def keep(event: Any) -> None:
        batches.append([frame.data for frame in event.frame.frames])
        event.next_is(read)

    talk(
        read, sends(b"".join(row.sent) + row.bad), told=[b"".join(row.told), FrameError], on={"READ": keep},
    )  # fmt: skip
    assert batches == [row.told]


def test_a_reply_is_what_it_means(talk: Talk) -> None:
    values: list[Any] = []
    read = ReadOperation(RespFramePicker())

    def keep(event: Any) -> None:
        values.append(event.frame.value)
        if len(values) < 3:
            event.next_is(read)

    told = [b"%1\r\n+a\r\n~1\r\n:1\r\n", b">2\r\n+b\r\n#t\r\n", b"*?\r\n,1.5\r\n.\r\n"]
    talk(read, sends_apart(b"".join(told)), told=told, on={"READ": keep})
    assert values == [{b"a": {1}}, [b"b", True], [1.5]]
