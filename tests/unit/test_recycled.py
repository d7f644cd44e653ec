"""Objects in memory that others had before them know nothing of those, and are freed like any other."""

from __future__ import annotations

import gc
import sys

import pytest

from evsockets import Frame, ReadOperation, WriteOperation
from evsockets.recycled import recycled

MANY = 200  # more than are kept


class Numbered(Frame):
    __slots__ = ("number",)
    number: int


def test_what_comes_next_has_nothing_of_what_was_freed() -> None:
    for round in range(3):
        frames = [Frame(b"%d" % number, ("host", number)) for number in range(MANY)]
        writes = [WriteOperation(b"%d" % number, then=ReadOperation()) for number in range(MANY)]
        assert [frame.data for frame in frames] == [b"%d" % number for number in range(MANY)], round
        assert [write.data for write in writes] == [b"%d" % number for number in range(MANY)], round
        assert len({id(one) for one in [*frames, *writes]}) == 2 * MANY
        del frames, writes
    assert WriteOperation().then is None
    assert Frame(b"").remote_address is None


def test_what_they_refer_to_is_freed_with_them() -> None:
    data = b"x" * 1000
    before = sys.getrefcount(data)
    frames = [Frame(data) for _ in range(MANY)]
    assert sys.getrefcount(data) == before + MANY
    frames.clear()
    assert sys.getrefcount(data) == before


def test_they_are_collected_in_a_cycle() -> None:
    for _ in range(MANY):
        write = WriteOperation(b"x")
        write.then = WriteOperation(b"y", then=write)
    del write
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is WriteOperation and one.data == b"y"]
    assert gc.is_tracked(WriteOperation(b"x"))


def test_subclasses_have_memory_of_their_own() -> None:
    for number in range(MANY):
        one = Numbered(b"x")
        one.number = number
        del one
        assert not hasattr(Numbered(b"y"), "number")
        Frame(b"z")


@pytest.mark.skipif(recycled.__module__ == "evsockets.recycled", reason="nothing is compiled")
def test_only_compiled_classes_can_be() -> None:
    with pytest.raises(TypeError, match="Numbered"):
        recycled(Numbered)
