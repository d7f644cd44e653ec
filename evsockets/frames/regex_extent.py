"""How long the matches of a regular expression can be, and whether one depends on the bytes after it."""

from __future__ import annotations

import importlib
import math
import re
from typing import Any, NamedTuple


class Extent(NamedTuple):
    """Bytes of a match: the `least` it has, and the most that it and what it looks ahead at have (`reach`,
    infinite where there is no most)."""

    least: int
    reach: float


class LooksBeyond(ValueError):
    """Whether it matches is not known before the byte after the match has come; the message is what asks."""


def extent(pattern: re.Pattern[bytes]) -> Extent:
    """The extent of `pattern`. Raises LooksBeyond."""
    try:
        parser: Any = importlib.import_module("re._parser")  # of the standard library, where it has that
    except ImportError:
        return Extent(0 if pattern.search(b"") else 1, math.inf)
    return _sequence(parser.parse(pattern.pattern, pattern.flags), 0, bool(pattern.flags & re.MULTILINE))


def _sequence(items: Any, after: int, multiline: bool) -> Extent:
    """Of one after the other; at least `after` bytes match behind them."""
    least, reach = 0, 0.0
    for code, argument in reversed(items):
        found = _one(code.name, argument, after + least, multiline)
        least, reach = least + found.least, reach + found.reach
    return Extent(least, reach)


def _one(name: str, argument: Any, after: int, multiline: bool) -> Extent:
    if name in ("LITERAL", "NOT_LITERAL", "ANY", "ANY_ALL", "IN"):
        return Extent(1, 1)
    if name == "AT":
        _check_place(argument.name, after, multiline)
        return Extent(0, 0)
    if name in ("ASSERT", "ASSERT_NOT"):
        direction, body = argument
        return Extent(0, 0) if direction < 0 else _look_ahead(name, body, after, multiline)
    if name in ("BRANCH", "GROUPREF_EXISTS"):
        branches = argument[1] if name == "BRANCH" else argument[1:]
        found = [_sequence(branch or [], after, multiline) for branch in branches]
        return Extent(min(each.least for each in found), max(each.reach for each in found))
    if name.endswith("_REPEAT"):
        low, high, body = argument
        each = _sequence(body, after, multiline)
        endless = high.__class__ is not int  # a constant of its own
        return Extent(low * each.least, (math.inf if endless else high) * each.reach if each.reach else 0)
    if name == "SUBPATTERN":
        _, added, taken, body = argument
        multiline = bool((multiline or added & re.MULTILINE) and not taken & re.MULTILINE)
        return _sequence(body, after, multiline)
    if name == "ATOMIC_GROUP":
        return _sequence(argument, after, multiline)
    return Extent(0, math.inf)  # a group again, above all


def _check_place(name: str, after: int, multiline: bool) -> None:
    """Raise LooksBeyond for a place that is known by the next byte, which is none of the match."""
    if name.startswith("AT_BEGINNING"):
        return
    if after and (name.endswith("BOUNDARY") or (name == "AT_END" and multiline)):
        return
    written = {"AT_END": "$", "AT_END_STRING": r"\Z", "AT_BOUNDARY": r"\b", "AT_NON_BOUNDARY": r"\B"}
    raise LooksBeyond(written.get(name, name))


def _look_ahead(name: str, body: Any, after: int, multiline: bool) -> Extent:
    found = _sequence(body, 0, multiline)
    if name == "ASSERT":
        return Extent(0, found.reach)
    if found.reach > after:
        raise LooksBeyond("(?!...)")
    return Extent(0, 0)
