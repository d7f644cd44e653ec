"""A signal handler's exception, as it may come: at any line of the library."""

from __future__ import annotations

import gc
import linecache
import os
import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import evsockets

Line = tuple[str, int, int]
"""File, line, and the how manieth time that it is come to."""

EVERY = bool(os.environ.get("EVSOCKETS_EVERY_LINE"))
"""Whether tests shall interrupt at each line, not at some of them (minutes, not seconds)."""


def library() -> list[str]:
    """The directories whose lines count: the core, and the engines that are distributions of their own."""
    core = str(Path(evsockets.__file__).parent)
    engines = [Path(module.__file__ or "").parent for name, module in sys.modules.items()
               if name in ("evsockets_libev", "evsockets_libevent", "evsockets_gevent")]  # fmt: skip
    return [core, *map(str, engines)]


class _Watch:
    """While it is entered, `at_line` is called for each line of the library that this thread comes to, except
    in a finalizer: what is raised in one Python keeps to itself.

    The cyclic collector is off meanwhile: it runs other tests' finalizers at any line."""

    def __init__(self, at_line: Callable[[str, int], None], where: Iterable[str]) -> None:
        self._at_line = at_line
        self._where = tuple(where)

    def __enter__(self) -> None:
        self._collecting = gc.isenabled()
        gc.disable()
        self._before = sys.gettrace()
        sys.settrace(self._call)

    def __exit__(self, *exception: object) -> None:
        sys.settrace(self._before)
        if self._collecting:
            gc.enable()

    def _call(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._where) or _finalizes(frame):
            return None
        return self._line

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            self._at_line(frame.f_code.co_filename, frame.f_lineno)
        return self._line


def _finalizes(frame: FrameType | None) -> bool:
    """Whether it was called, through others or not, by a finalizer."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def lines_of(call: Callable[[], object], where: Iterable[str] | None = None) -> list[Line]:
    """Each line that `call()` comes to, the first time and the last time."""
    counts: dict[tuple[str, int], int] = {}

    def note(file: str, line: int) -> None:
        counts[file, line] = counts.get((file, line), 0) + 1

    with _Watch(note, library() if where is None else where):
        call()
    return [
        (*at, time) for at, last in counts.items() if not _takes_a_lock(*at) for time in sorted({1, last})
    ]


def _takes_a_lock(file: str, line: int) -> bool:
    """Whether tracing comes to that line again between the end of a block and the release of its lock, where
    the interpreter does not look for signals."""
    return linecache.getline(file, line).strip().startswith("with self._lock")


def some(lines: list[Line], most: int) -> list[Line]:
    """All of them with EVSOCKETS_EVERY_LINE, else as many as `most`, the same ones in every run."""
    return lines if EVERY or len(lines) <= most else random.Random(1).sample(lines, most)


def interrupted(at: Line, call: Callable[[], object], where: Iterable[str] | None = None) -> bool:
    """Call, and raise KeyboardInterrupt at that line. Whether it came to it; AssertionError if the exception
    does not come out."""
    file, line, times = at
    raised = False

    def interrupt(here: str, number: int) -> None:
        nonlocal times, raised
        if number == line and here == file and not raised:
            times -= 1
            if not times:
                raised = True
                raise KeyboardInterrupt

    try:
        with _Watch(interrupt, library() if where is None else where):
            call()
    except KeyboardInterrupt:
        assert raised
        return True
    assert not raised, "the exception was lost"
    return False
