"""The inbox: one run of bytes, whatever the cuts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsockets.frames import Inbox

BYTES = st.binary(max_size=12)
TEXT = st.text("abAB", max_size=10).map(str.encode)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), TEXT),
        st.tuples(st.just("take"), st.integers(0, 8)),
        st.tuples(st.just("drop"), st.integers(0, 8)),
        st.tuples(st.just("peek"), st.integers(0, 8)),
        st.tuples(st.just("find"), st.tuples(st.text("abAB", max_size=3).map(str.encode), st.integers(0, 9))),
        st.tuples(st.just("take all"), st.none()),
    ),
    max_size=60,
)


@given(STEPS)
def test_behaves_as_plain_bytes(steps):
    inbox, model = Inbox(), b""
    for verb, argument in steps:
        if verb == "append":
            inbox._append(argument)
            model += argument
        elif verb == "take":
            assert inbox.take(argument) == model[:argument]
            model = model[argument:]
        elif verb == "drop":
            inbox.drop(argument)
            model = model[argument:]
        elif verb == "peek":
            assert inbox.peek(argument) == model[:argument]
            assert inbox.peek(argument, 3) == model[3:][:argument]
        elif verb == "find":
            marker, start = argument
            assert inbox.find(marker, start) == model.find(marker, start)
            assert inbox._find(marker.lower(), start, True) == model.lower().find(marker.lower(), start)
        else:
            assert inbox.take(len(inbox)) == model
            model = b""
        assert len(inbox) == len(model)
        assert bool(inbox) == bool(model)
    taken = inbox.take(len(inbox))
    assert taken == model
    assert type(taken) is bytes


@given(st.lists(BYTES), st.binary(min_size=1, max_size=3))
def test_find_goes_on_where_it_stopped(chunks, marker):
    inbox, model = Inbox(), b""
    for chunk in chunks:
        inbox._append(chunk)
        model += chunk
        assert inbox.find(marker) == model.find(marker)
        assert inbox.find(marker, 2) == model.find(marker, 2)


def test_a_whole_chunk_is_not_copied():
    chunk = bytes(range(100))
    for take in (lambda inbox: inbox.take(100), lambda inbox: inbox.peek(200)):
        inbox = Inbox()
        inbox._append(chunk)
        assert take(inbox) is chunk


def test_what_is_taken_is_bytes_after_many_appends():
    inbox = Inbox()
    for _ in range(10):
        inbox._append(b"abc")
    assert type(inbox.take(7)) is bytes
    assert type(inbox.peek(7)) is bytes
    assert inbox.take(100) == (b"abc" * 10)[7:]
    assert len(inbox) == 0


def test_memory_goes_back_when_most_is_taken():
    inbox = Inbox()
    for _ in range(256):
        inbox._append(bytes(4096))
    inbox.take(256 * 4096 - 10)
    assert inbox._chunk.__sizeof__() < 4096
    assert inbox.take(len(inbox)) == bytes(10)


def test_searched_bytes_are_not_searched_again():
    class Counting(bytearray):
        looked_at = 0

        def find(self, marker, start=0):
            Counting.looked_at += len(self) - start
            return super().find(marker, start)

    inbox = Inbox()
    inbox._append(b"x" * 100)
    inbox._chunk = Counting(inbox._chunk)
    for _ in range(1000):
        inbox._append(b"x" * 10)
        assert inbox.find(b"\r\n") == -1
        assert inbox.find(b"\r\n\r\n", 5) == -1
    assert Counting.looked_at < 2 * (10_100 + 1000 * 4)


def test_a_far_marker_is_remembered_too():
    inbox = Inbox(b"x" * 100_000 + b"\n" + b"y" * 10)
    assert inbox.find(b"\n") == 100_000
    assert inbox._searched == {(b"\n", 0, False): 100_000}
    assert inbox.find(b"\n") == 100_000
    inbox.drop(1)
    assert inbox.find(b"\n") == 99_999


def test_many_different_searches_are_not_hoarded():
    inbox = Inbox(b"x" * 5000)
    for number in range(1000):
        assert inbox.find(b"%d" % number) == -1
    assert len(inbox._searched or ()) <= 16


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 300, 511, 768, 1024, 70_000])
def test_ignoring_case_across_the_search_windows(size):
    inbox = Inbox(b"x" * size + b"</HtMl>" + b"y" * size)
    assert inbox._find(b"</html>", 0, True) == size
    assert inbox._find(b"</html>", size + 1, True) == -1


def test_misuse():
    inbox = Inbox(b"abc")
    calls = (inbox.take, inbox.drop, inbox.peek, lambda n: inbox.peek(1, n), lambda n: inbox.find(b"a", n))
    for call in calls:
        with pytest.raises(ValueError, match="-1"):
            call(-1)
    with pytest.raises(TypeError):
        inbox.find("a")
    assert inbox.find(bytearray(b"c")) == 2
    assert inbox.find(b"") == 0
    assert inbox.take(3) == b"abc"
