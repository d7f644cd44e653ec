"""Collects exceptions while something ends: the first one is raised, later ones are its notes."""

from __future__ import annotations

from collections.abc import Iterator
from types import FrameType
from typing import Any

from ..errors import NetworkSocketError

_PACKAGE = __name__.partition(".")[0] + "."
_LATER = "later, "


def raise_kept(owner: Any) -> None:
    """Raise the exception that `owner` keeps as its `_failure`, if any; without the cycle that the traceback
    of a kept one would make."""
    failure, owner._failure = owner._failure, None
    if failure is not None:
        try:
            raise failure
        finally:
            del failure


def later(first: BaseException | None, channel: Any, error: BaseException) -> BaseException:
    """What counts once `error` was raised on the way to a channel's end."""
    return noted(first, error, f"of {channel.socket!r}")


def noted(first: BaseException | None, later: BaseException, where: str) -> BaseException:
    """The first of two exceptions, the other a note on it."""
    if first is None:
        return later
    first.add_note(f"{_LATER}{where}: {later!r}")
    for note in getattr(later, "__notes__", ()):
        if note.startswith(_LATER):  # what was later still
            first.add_note(note)
    empty_frames(later)
    return first


def empty_frames(error: BaseException) -> None:
    """The library's frames on the way of what leaves a run hold sockets' lives, and names for the error
    itself, which are cycles: their locals go. A user's frames stay as they are."""
    for frame in _frames(error):
        if _is_ours(frame):
            try:
                frame.clear()
            except RuntimeError:  # it runs: the one that takes the turns
                pass


def drop_frames(error: BaseException) -> None:
    """Once told, what the library raised keeps no frames: whoever keeps the error would keep the channel, and
    one kept in the socket's own metadata would be a cycle. What a user's code raised stays as it is."""
    known = [error]
    for one in known:
        *_, raising = None, *_frames(one)
        if raising is not None and not _is_ours(raising):
            continue
        one.__traceback__ = None
        tried = (failed[1] for failed in getattr(one, "attempts", ()))
        for other in (one.__cause__, one.__context__, *tried):
            if isinstance(other, OSError | NetworkSocketError) and other not in known:
                known.append(other)


def _frames(error: BaseException) -> Iterator[FrameType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _is_ours(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").startswith(_PACKAGE)  # type: ignore[no-any-return]


class Unraisable:
    """Brings an exception to `sys.unraisablehook`, whose argument the interpreter alone can make."""

    def __init__(self, bug: BaseException) -> None:
        self._bug = bug

    def raised_by_an_event_handler(self) -> None:
        try:
            raise self._bug
        finally:
            del self._bug  # the traceback refers back to here

    __del__ = raised_by_an_event_handler
