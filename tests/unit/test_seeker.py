"""Where a marker is first: as `bytes.find` says, compiled or not."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsockets import MarkerFramePicker
from evsockets.frames.inbox import Inbox
from evsockets.frames.seeker import seeker_of

LETTERS = st.sampled_from([b"a", b"\n", b"\r", b"\0", b"\xff"])
TEXTS = st.lists(LETTERS, max_size=12).map(b"".join)


@given(st.lists(LETTERS, min_size=1, max_size=4).map(b"".join), TEXTS, st.integers(0, 12))
def test_it_finds_what_bytes_find(marker: bytes, data: bytes, start: int) -> None:
    seeker = seeker_of(marker)
    assert seeker.find(data, min(start, len(data))) == data.find(marker, min(start, len(data)))
    assert (seeker.marker, seeker.size) == (marker, len(marker))


@pytest.mark.parametrize("marker", [b"\n", b"\r\n", b"<end>"])
def test_a_picker_that_was_pickled_finds_the_same_frames(marker: bytes) -> None:
    inbox = Inbox(b"one" + marker + b"\0two" + marker + b"rest")
    picker = pickle.loads(pickle.dumps(MarkerFramePicker(None, marker)))
    assert [bytes(picker.pick(inbox, False)) for _ in range(2)] == [b"one" + marker, b"\0two" + marker]
    assert picker.pick(inbox, False) is None
    assert inbox.peek(len(inbox)) == b"rest"
