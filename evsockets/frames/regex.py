"""Frames that end where a regular expression does."""

from __future__ import annotations

import math
import re
import sys
from typing import Any

from .base import Frame, FramePicker
from .inbox import Inbox
from .limit import checked_limit, over_limit
from .regex_automaton import automaton
from .regex_extent import LooksBeyond, extent

# So many bytes are searched at first, then twice as many: what lies behind the end is not paid for.
_FIRST_WINDOW = 256


class RegexFramePicker(FramePicker):
    """Gives frames that end with a match of `pattern`, a compiled bytes pattern; bytes before the match
    belong to the frame.

    The frame is the shortest possible: it ends with the first byte that completes a match, as if the bytes
    arrived one by one. So `x+` ends at the first x, and a greedy pattern equals a lazy one. Lookahead waits
    for the bytes it needs, and leaves them. `^` is the beginning of the frame; earlier bytes are not seen.
    More than `max_length` bytes (None: no limit) without a match raise a `FrameError`.

    Each byte is searched once. For a match of unbounded length (`*`, `+`) Python code does this byte by byte:
    `{0,40}` for `*` is faster. Only an unbounded pattern without an automaton (with a backreference or a
    look-around) is searched anew for each chunk, `max_length` bytes at most.

    Raises TypeError unless given a compiled bytes pattern, ValueError for one that matches without a byte,
    and for one whose match depends on the bytes after it: `$`, `\\Z`, `\\b` and `(?!...)` at its end.
    """

    __slots__ = ("_automaton", "_least", "_limit", "_reach", "max_length", "pattern")

    def __init__(self, pattern: re.Pattern[bytes], max_length: int | None) -> None:
        if not isinstance(pattern, re.Pattern) or isinstance(pattern.pattern, str):
            raise TypeError(f"pattern must be a compiled bytes pattern, re.compile(rb'...'), got {pattern!r}")
        try:
            self._least, self._reach = extent(pattern)
        except LooksBeyond as error:
            raise ValueError(
                f"the pattern {pattern.pattern!r} ends no frame: {error} asks what comes after its match, "
                "which has not come yet; (?=...) waits for it"
            ) from None
        if self._least < 1:
            raise ValueError(f"the pattern {pattern.pattern!r} matches without a byte: it ends no frame")
        self._automaton = automaton(pattern) if self._reach == math.inf else None
        self.pattern = pattern
        self.max_length = checked_limit(max_length)
        self._limit = sys.maxsize if max_length is None else max_length

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        """The next frame, or None while it is not complete. FrameError over the limit."""
        if not inbox._chunk:
            return None
        size = min(len(inbox), self._limit)
        end = self._search(inbox, size) if self._automaton is None else self._run(inbox, size)
        if end:
            return Frame(inbox.take(end), inbox.remote_address)
        if len(inbox) > self._limit:
            raise over_limit(self, inbox, self._limit)
        return None

    def _run(self, inbox: Inbox, size: int) -> int:
        """Where the match ends in the shortest beginning that has one; 0: none of `size` bytes has."""
        machine = self._automaton
        assert machine is not None
        reached, node = inbox._recall(self, (0, machine.start))
        step = _FIRST_WINDOW
        while reached < size:
            data = inbox.peek(min(step, size - reached), reached)
            node, end = machine.run(node, data)
            if end:
                return int(reached + end)
            reached += len(data)
            step *= 2
        inbox._remember(self, (reached, node))
        return 0

    def _search(self, inbox: Inbox, size: int) -> int:
        """The same by searches."""
        chunk, offset = inbox._chunk, inbox._offset
        reached: int = inbox._recall(self, 0)
        if reached >= size:
            return 0
        if not offset and type(chunk) is bytes:
            reached, end = self._search_in(chunk, reached, size)
        else:
            # Nothing before the frame may be seen, and nothing is copied.
            with memoryview(chunk) as whole, whole[offset:] as rest:
                reached, end = self._search_in(rest, reached, size)
        if not end:
            inbox._remember(self, reached)
        return end

    def _search_in(self, data: Any, reached: int, size: int) -> tuple[int, int]:
        """How far there is no match, from `reached` on, and where the first one ends (0: there is none)."""
        search, reach = self.pattern.search, self._reach
        step = _FIRST_WINDOW
        while reached < size:
            begin = int(max(0, reached + 1 - reach))
            stop = min(reached + step, size)
            # The first match needs a byte that was not searched: it begins at `begin` or later.
            found = search(data, begin, stop)
            if found is not None:
                return reached, self._shortest(data, begin, found, reached, stop)
            reached = stop
            step *= 2
        return reached, 0

    def _shortest(self, data: Any, begin: int, found: re.Match[bytes], without: int, within: int) -> int:
        """Where the match ends in the shortest beginning of `data` that has one: longer than `without`, at
        most `within`, in which `found` is the match that begins first. What has one has one whatever follows.
        """
        search = self.pattern.search
        without = max(without, found.start() + self._least - 1)
        within = int(min(within, found.start() + self._reach))
        while within - without > 1:
            middle = (without + within) // 2
            match = search(data, begin, middle)
            if match is None:
                without = middle
            else:
                found, within = match, middle
        return found.end()

    def __repr__(self) -> str:
        return f"RegexFramePicker({self.pattern!r}, max_length={self.max_length})"
