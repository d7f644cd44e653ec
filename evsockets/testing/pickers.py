"""The promises of a frame picker, as tests for any picker."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..errors import FrameError
from ..frames import Frame, FramePicker, Inbox

_CHUNK = 4096


class PickerExample(NamedTuple):
    """What a picker makes of a stream: the `frames` in it, and the bytes `left` in the inbox after them."""

    stream: bytes
    frames: Sequence[bytes]
    left: bytes = b""


class LargeStream(NamedTuple):
    """A picker without a limit in the way, and a stream for it: one frame, of about the size asked for."""

    picker: FramePicker
    stream: bytes


class PickerContract:
    """A pytest class: subclass it (its name beginning with Test), and give `make_picker` and `examples`.

    `make_limited` and `make_large` add the promises on memory and on work. A picker that gives frames
    without taking bytes (as `EmptyFramePicker`) or whose frames are as the bytes come (`RawFramePicker`)
    is not for this suite: its frames depend on the cut by design.
    """

    ends_stream = False
    """True for a picker whose frame comes only at the end of the stream."""

    large_size = 64 * 1024 * 1024
    """The size, in bytes, of the frame that proves linear work."""

    def make_picker(self) -> FramePicker:
        """A fresh picker, as configured for the examples."""
        raise NotImplementedError("a subclass of PickerContract gives make_picker(self)")

    def examples(self) -> Iterable[PickerExample]:
        """Streams and what becomes of them; for a good suite also frames back to back and unfinished ones.

        Plain tuples `(stream, frames)` and `(stream, frames, left)` are fine."""
        raise NotImplementedError("a subclass of PickerContract gives examples(self)")

    def make_limited(self, limit: int) -> tuple[FramePicker, bytes] | None:
        """A picker limited to `limit` bytes, and a piece of data whose endless repetition must exceed it.

        None (the default) for a picker whose frames cannot grow."""
        return None

    def make_large(self, size: int) -> LargeStream | None:
        """One frame of about `size` bytes; None (the default) skips the promise on work."""
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
            inbox.append(chunk)
            _drain(picker, inbox, frames)
        if self.ends_stream:
            frame = picker.pick(inbox, True)
            assert frame is not None, "no frame at the end of the stream"
            frames.append(frame)
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
        """A frame takes no byte beyond its own end, whatever follows."""
        if self.ends_stream:
            return
        for example in self._examples():
            picker = self.make_picker()
            for end, expected in self._frame_ends(example):
                for tail in (b"\x00", b"\xff" * 50, example.stream):
                    inbox = Inbox(example.stream[:end] + tail)
                    frames = [picker.pick(inbox, False) for _ in range(expected)]
                    found = [None if frame is None else frame.data for frame in frames]
                    assert found == list(example.frames[:expected])
                    assert inbox.peek(len(inbox)) == tail

    def _frame_ends(self, example: PickerExample) -> list[tuple[int, int]]:
        """(bytes needed, frames they complete) for each point of the stream where a frame completes."""
        ends = []
        inbox, picker, frames = Inbox(), self.make_picker(), list[Frame]()
        for index in range(len(example.stream)):
            inbox.append(example.stream[index : index + 1])
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
                    inbox.append(example.stream[index : index + 1])
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
                inbox.append(chunk)
                _drain(picker, inbox, frames)
            if inbox and (last := picker.pick(inbox, True)) is not None:
                frames.append(last)
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
                inbox.append(stream[begin : begin + size])
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
        large = self.make_large(self.large_size)
        eighth = self.make_large(self.large_size // 8)
        if large is None or eighth is None:
            return
        # Quadratic work would be 64 times, and hundreds of times that of only gathering the chunks. The more
        # memory is taken the more it may cost, but then gathering does so, too. Single runs are disturbed by
        # others' load, so the best of a few counts.
        best_large = best_eighth = best_gathering = float("inf")
        for _ in range(5):
            best_eighth = min(best_eighth, _time(*eighth))
            best_large = min(best_large, _time(*large))
            best_gathering = min(best_gathering, _time_gathering(large[1]))
            if best_large < 24 * best_eighth or best_large < 20 * best_gathering:
                return
        raise AssertionError(
            f"8 times the frame took {best_large / best_eighth:.1f} times as long, and "
            f"{best_large / best_gathering:.0f} times as long as to gather its chunks"
        )


def _drain(picker: FramePicker, inbox: Inbox, frames: list[Frame]) -> None:
    """Add all the frames there are to `frames`, until there is none or no byte is left."""
    while inbox:
        before = len(inbox)
        frame = picker.pick(inbox, False)
        if frame is None:
            break
        assert len(inbox) < before, "a frame was picked without taking a byte"
        frames.append(frame)


def _time(picker: FramePicker, stream: bytes) -> float:
    """The CPU seconds one frame takes in small chunks."""
    inbox = Inbox()
    pieces = _pieces(stream)
    frame = None
    start = time.process_time()
    for piece in pieces:
        inbox.append(piece)
        frame = picker.pick(inbox, False)
    if frame is None:
        frame = picker.pick(inbox, True)
    spent = time.process_time() - start
    assert frame is not None
    assert len(frame) >= len(stream) // 2
    return spent


def _time_gathering(stream: bytes) -> float:
    """The CPU seconds it takes to put the same chunks together and no more."""
    pieces = _pieces(stream)
    start = time.process_time()
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
    whole = bytes(gathered)
    spent = time.process_time() - start
    assert len(whole) == len(stream)
    return spent


def _pieces(stream: bytes) -> list[bytes]:
    return [stream[begin : begin + _CHUNK] for begin in range(0, len(stream), _CHUNK)]
