"""The promises of a frame picker, as tests for any picker."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..errors import FrameError
from ..frames import Frame, FrameBatch, FramePicker, Inbox

_CHUNK = 4096

#: The proof of linear work: pieces so small, frames from so large on, each compared with one of an eighth.
_PIECE = 256
_SMALLEST = 16 * 1024
#: Eight times the frame may cost this many times as much: linear work costs 8 times, quadratic 64.
_MOST_GROWTH = 24
#: Nor is it too much what costs so many times the gathering of the same pieces. The more memory is taken
#: the more it may cost, and gathering shows that, too.
_MOST_GATHERING = 20
#: Others' load disturbs single runs, so the best of a few counts.
_TRIES = 5
#: Processor seconds a frame has to cost for larger ones to prove nothing more.
_ENOUGH = 0.5


class PickerExample(NamedTuple):
    """A `stream`, the `frames` that a picker finds in it, and the bytes `left` in the inbox after them."""

    stream: bytes
    frames: Sequence[bytes]
    left: bytes = b""


class LargeStream(NamedTuple):
    """A picker with a sufficient limit, and a stream of one frame of about the requested size."""

    picker: FramePicker
    stream: bytes


class PickerContract:
    """A pytest class: subclass it (its name beginning with Test), and define `make_picker` and `examples`.

    `make_limited` and `make_large` add the tests of memory and work. The suite is not for a picker that gives
    frames without taking bytes (as `EmptyFramePicker`) or the bytes as they arrive (`RawFramePicker`), whose
    frames depend on how the bytes are divided. Of batches (`FrameBatch`) only the single frames are compared,
    since their number in a batch depends on that, too.
    """

    ends_stream = False
    """True for a picker whose frame comes only at the end of the stream."""

    large_size = 64 * 1024 * 1024
    """The size, in bytes, of the largest frame in the test of linear work: sizes double up to it, or until
    a frame costs so much that the growth is clear."""

    def make_picker(self) -> FramePicker:
        """Return a new picker, configured for the examples."""
        raise NotImplementedError("a subclass of PickerContract gives make_picker(self)")

    def examples(self) -> Iterable[PickerExample]:
        """Return streams and their frames; for a good suite also adjacent and unfinished frames.

        Plain tuples `(stream, frames)` and `(stream, frames, left)` may be used."""
        raise NotImplementedError("a subclass of PickerContract gives examples(self)")

    def make_limited(self, limit: int) -> tuple[FramePicker, bytes] | None:
        """Return a picker limited to `limit` bytes, and bytes whose endless repetition must exceed that.

        None (the default) for a picker whose frames cannot grow."""
        return None

    def make_large(self, size: int) -> LargeStream | None:
        """Return one frame of about `size` bytes; None (the default) skips the test of work."""
        return None

    def _examples(self) -> list[PickerExample]:
        found = [PickerExample(*example) for example in self.examples()]
        assert found, "examples() gave none: nothing would be proven"
        return found

    def _feed(self, chunks: Iterable[bytes], picker: FramePicker | None = None) -> tuple[list[bytes], bytes]:
        """The frames picked from `chunks`, and what is left."""
        picker = picker or self.make_picker()
        inbox = Inbox(remote_address=("192.0.2.1", 7))
        frames: list[Frame] = []
        for chunk in chunks:
            inbox._append(chunk)
            _drain(picker, inbox, frames)
        if self.ends_stream:
            frame = picker.pick(inbox, True)
            assert frame is not None, "no frame at the end of the stream"
            frames += _singly(frame)
        for frame in frames:
            assert frame.remote_address == inbox.remote_address, "a frame carries inbox.remote_address"
        return [frame.data for frame in frames], inbox.peek(len(inbox))

    def test_whole_stream(self) -> None:
        """The examples hold for streams that arrive in one piece."""
        for example in self._examples():
            assert self._feed([example.stream]) == (list(example.frames), example.left)

    def test_byte_by_byte(self) -> None:
        """Streams that arrive byte by byte give the same frames and leave the same bytes."""
        for example in self._examples():
            chunks = [example.stream[i : i + 1] for i in range(len(example.stream))]
            assert self._feed(chunks) == (list(example.frames), example.left)

    def test_any_cut(self) -> None:
        """Any way of cutting the stream gives the same frames and leaves the same bytes."""
        rng = random.Random(20)
        for example in self._examples():
            size = len(example.stream)
            cuts = [[cut] for cut in range(min(size, 200))]
            cuts += [sorted(rng.choices(range(size + 1), k=rng.randint(2, 9))) for _ in range(100)]
            for cut in cuts:
                edges = [0, *cut, size]
                chunks = [example.stream[a:b] for a, b in itertools.pairwise(edges)]
                assert self._feed(chunks) == (list(example.frames), example.left), f"cut at {cut}"

    def test_trailing_bytes_stay(self) -> None:
        """A frame takes no byte beyond its own end, whatever follows. A batch may hold more frames."""
        if self.ends_stream:
            return
        for example in self._examples():
            picker = self.make_picker()
            for end, expected in self._frame_ends(example):
                for tail in (b"\x00", b"\xff" * 50, example.stream):
                    inbox = Inbox(example.stream[:end] + tail)
                    found: list[bytes | None] = []
                    frame: Frame | None = None
                    while len(found) < expected:
                        frame = picker.pick(inbox, False)
                        assert frame is None or _singly(frame), "a batch without a frame"
                        found += [None] if frame is None else [each.data for each in _singly(frame)]
                    assert found[:expected] == list(example.frames[:expected])
                    if not isinstance(frame, FrameBatch):
                        assert inbox.peek(len(inbox)) == tail

    def _frame_ends(self, example: PickerExample) -> list[tuple[int, int]]:
        """(bytes needed, frames they complete) for each point of the stream where a frame completes."""
        ends = []
        inbox, picker, frames = Inbox(), self.make_picker(), list[Frame]()
        for index in range(len(example.stream)):
            inbox._append(example.stream[index : index + 1])
            before = len(frames)
            _drain(picker, inbox, frames)
            if len(frames) > before:
                ends.append((index + 1, len(frames)))
        return ends

    def test_one_picker_serves_many(self) -> None:
        """One picker serves several inboxes in turn: it keeps nothing between calls."""
        if self.ends_stream:
            return
        picker = self.make_picker()
        for example in self._examples():
            inboxes = [Inbox(), Inbox(), Inbox()]
            frames: list[list[Frame]] = [[], [], []]
            for index in range(len(example.stream)):
                for inbox, found in zip(inboxes, frames, strict=True):
                    inbox._append(example.stream[index : index + 1])
                    _drain(picker, inbox, found)
            for found in frames:
                assert [frame.data for frame in found] == list(example.frames)

    def test_called_for_nothing(self) -> None:
        """Asking again without a new byte gives nothing, and changes nothing."""
        for example in self._examples():
            picker = self.make_picker()
            inbox = Inbox(example.stream)
            _drain(picker, inbox, [])
            before = inbox.peek(len(inbox))
            assert picker.pick(inbox, False) is None
            assert inbox.peek(len(inbox)) == before

    def test_garbage(self) -> None:
        """Whatever comes, the answer is a frame, None or a FrameError naming the picker, with any cut."""
        rng = random.Random(7)
        alphabets = [bytes(range(256)), b"\x00\xff", b"\r\n<>ax"]
        for number in range(60):
            alphabet = alphabets[number % len(alphabets)]
            data = bytes(rng.choices(alphabet, k=rng.randint(1, 300)))
            whole = self._outcome([data])
            assert self._outcome([data[i : i + 1] for i in range(len(data))]) == whole

    def _outcome(self, chunks: Iterable[bytes]) -> tuple[list[bytes], bool]:
        """The frames and whether a FrameError came, the end of the stream included."""
        picker, inbox = self.make_picker(), Inbox()
        frames: list[Frame] = []
        failure = None
        try:
            for chunk in chunks:
                inbox._append(chunk)
                _drain(picker, inbox, frames)
            if inbox and (last := picker.pick(inbox, True)) is not None:
                frames += _singly(last)
        except FrameError as error:
            failure = error
        assert failure is None or failure.picker is picker, "a FrameError names its picker: picker=self"
        return [frame.data for frame in frames], failure is not None

    def test_bounded_memory(self) -> None:
        """A frame over the limit is a FrameError before much more than the limit has gathered."""
        for limit, size in ((1000, 1), (1000, 70), (100_000, _CHUNK)):
            limited = self.make_limited(limit)
            if limited is None:
                return
            picker, piece = limited
            inbox = Inbox()
            stream = piece * (2 * (limit + size) // len(piece) + 2)
            failure = None
            for begin in range(0, len(stream), size):
                inbox._append(stream[begin : begin + size])
                try:
                    picked = picker.pick(inbox, False)
                except FrameError as error:
                    failure = error
                    break
                assert picked is None, "the data was to exceed the limit, not to make a frame"
                assert len(inbox) <= limit + size
            assert failure is not None, f"no FrameError after {len(stream)} bytes with a limit of {limit}"
            assert failure.picker is picker, "a FrameError names its picker: picker=self"
            assert failure.partial is None or len(failure.partial) <= limit + size

    def test_linear_work(self) -> None:
        """A frame eight times as large costs about eight times as much, however many chunks it comes in."""
        size = self.large_size
        while size // 2 >= _SMALLEST:
            size //= 2
        while size <= self.large_size and self._growth_proven(size) < _ENOUGH:
            size *= 2

    def _growth_proven(self, size: int) -> float:
        """The processor seconds that a frame of `size` bytes costs; none if there is no frame.

        AssertionError if the cost grows faster than the frame. That is known as soon as it is exceeded, so
        nobody waits for the end of quadratic work.
        """
        large = self.make_large(size)
        eighth = self.make_large(size // 8)
        if large is None or eighth is None:
            return math.inf
        (picker, stream), (picker_of_few, short) = large, eighth
        pieces, few = _pieces(stream), _pieces(short)
        best_eighth = best_gathering = math.inf
        for _ in range(_TRIES):
            best_eighth = min(best_eighth, _time(picker_of_few, few))
            best_gathering = min(best_gathering, _time_gathering(pieces))
            most = max(_MOST_GROWTH * best_eighth, _MOST_GATHERING * best_gathering)
            spent = _time(picker, pieces, most)
            if spent < most:
                return spent
        raise AssertionError(
            f"8 times the frame took more than {most / best_eighth:.0f} times as long ({size} bytes in "
            f"pieces of {_PIECE}), and {most / best_gathering:.0f} times as long as to gather its pieces"
        )


def _drain(picker: FramePicker, inbox: Inbox, frames: list[Frame]) -> None:
    """Add all the frames there are to `frames`, until there is none or no byte is left."""
    while inbox:
        before = len(inbox)
        frame = picker.pick(inbox, False)
        if frame is None:
            break
        assert len(inbox) < before, "a frame was picked without taking a byte"
        frames += _singly(frame)


def _singly(picked: Frame) -> Sequence[Frame]:
    """The frames of a batch; another one alone."""
    return picked.frames if isinstance(picked, FrameBatch) else (picked,)


def _time(picker: FramePicker, pieces: Sequence[bytes], most: float = math.inf) -> float:
    """The processor seconds one frame takes in these pieces; about `most` if it takes more."""
    inbox = Inbox()
    frame = None
    start = time.thread_time()
    for number, piece in enumerate(pieces):
        inbox._append(piece)
        frame = picker.pick(inbox, False)
        if not number % 16 and time.thread_time() - start > most:
            return most
    if frame is None:
        frame = picker.pick(inbox, True)
    spent = time.thread_time() - start
    assert frame is not None
    assert len(frame) >= sum(map(len, pieces)) // 2
    return spent


def _time_gathering(pieces: Sequence[bytes]) -> float:
    """The processor seconds it takes to put the same pieces together and no more."""
    start = time.thread_time()
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
    whole = bytes(gathered)
    spent = time.thread_time() - start
    assert len(whole) == sum(map(len, pieces))
    return spent


def _pieces(stream: bytes) -> list[bytes]:
    return [stream[begin : begin + _PIECE] for begin in range(0, len(stream), _PIECE)]
