"""Generic classes where they run, and that the names for annotations know what the library knows."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import Any, get_args

import pytest

from evsockets import (
    BatchFramePicker,
    Configuration,
    DatagramOperation,
    Frame,
    FrameBatch,
    FramePicker,
    RawFramePicker,
    ReadEvent,
    ReadOperation,
    StreamContext,
)
from evsockets import typing as names
from evsockets.core.operation import Stepper
from evsockets.event_types import CALLBACKS
from evsockets.settings import WRITABLE

GENERIC: list[Any] = [FramePicker, BatchFramePicker, FrameBatch, ReadOperation, DatagramOperation, ReadEvent]


@pytest.mark.parametrize("kind", GENERIC, ids=lambda kind: kind.__name__)
def test_a_parameter_changes_nothing_where_it_runs(kind: Any) -> None:
    of_frames = kind[Frame]
    assert (of_frames.__origin__, of_frames.__args__) == (kind, (Frame,))

    class Own(of_frames):  # type: ignore[misc]
        __slots__ = ()

    assert Own.__bases__ == (kind,) and Own[Frame].__origin__ is Own


def test_made_with_a_parameter_it_is_the_same_thing() -> None:
    picker = BatchFramePicker[Frame](RawFramePicker(), 5)
    operation = ReadOperation[FrameBatch](picker)
    assert type(picker) is BatchFramePicker and type(operation) is ReadOperation
    assert operation.picker is picker and picker.most == 5
    assert not hasattr(picker, "__dict__") and not hasattr(operation, "__dict__")


@pytest.mark.parametrize(
    ("keywords", "known"),
    [
        (names.StreamKeywords, set(signature(StreamContext).parameters)),
        (names.ConfigurationKeywords, set(signature(Configuration).parameters)),
        (names.MetadataKeywords, set(WRITABLE)),
        (names.EventCallbacks, set(CALLBACKS)),
        (names.SocketKeywords, {*WRITABLE, *CALLBACKS}),
    ],
)
def test_keywords_are_those_that_are_taken(keywords: Any, known: set[str]) -> None:
    assert keywords.__optional_keys__ == known
    assert not keywords.__required_keys__


def test_phases_are_those_that_there_are() -> None:
    def all_of(kind: type[Stepper]) -> Iterator[type[Stepper]]:
        yield kind
        for heir in kind.__subclasses__():
            yield from all_of(heir)

    phases = {kind._phase for kind in all_of(Stepper) if isinstance(kind._phase, str)}
    assert len(phases) > 5 and phases <= set(get_args(names.TimeoutPhase))
