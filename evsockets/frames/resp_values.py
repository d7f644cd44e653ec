"""RESP values as Python objects."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..errors import NetworkSocketError


class RespError(NetworkSocketError):
    """An error that a RESP peer sent, with its text: `frame.value`, or a part of it. It is not raised."""


class Malformed(ValueError):
    """No RESP; the message says why."""


AGGREGATES = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}
"""The kinds that hold others, and how many values each one counted in their line is."""

_MOST_NUMBERS = 1024
_PLAIN = frozenset({bytes, bool, type(None)})
_NUMBERS = frozenset({int, float})
_DOUBLE = re.compile(rb"[+-]?(?:\d+\.?\d*(?:e[+-]?\d+)?|inf|nan)", re.IGNORECASE)


def count(line: bytes) -> int:
    """A length, or how many values there are."""
    if not line.isdigit() or len(line) > 19:
        raise Malformed(f"{line!r} is no length")
    return int(line)


def finished(kind: int, items: list[Any]) -> Any:
    """The value of what held these."""
    return _FINISHED[kind](items)


def _integer(line: bytes) -> int:
    digits = line[1:] if line[:1] in (b"+", b"-") else line
    try:
        if digits.isdigit():
            return int(line)
    except ValueError:  # more digits than the interpreter may be asked to take
        pass
    raise Malformed(f"{line[:32]!r} is no integer")


def _double(line: bytes) -> float:
    if _DOUBLE.fullmatch(line) is None:
        raise Malformed(f"{line[:32]!r} is no double")
    return float(line)


def _boolean(line: bytes) -> bool:
    if line not in (b"t", b"f"):
        raise Malformed(f"{line!r} is no boolean")
    return line == b"t"


def _null(line: bytes) -> None:
    if line:
        raise Malformed(f"{line!r} in a null")


def _error(line: bytes) -> RespError:
    return RespError(line.decode("utf-8", "backslashreplace"))


def _verbatim(items: list[Any]) -> bytes:
    data: bytes = items[0]
    if data[3:4] != b":":
        raise Malformed(f"a verbatim string cannot begin with {data[:4]!r}")
    return data[4:]


def _can_be_looked_up(keys: list[Any]) -> bool:
    """Whether `keys` go into a table. A table's places for numbers can be chosen by whoever sends them, so
    that many would take the square of their number."""
    kinds = {*map(type, keys)}
    return kinds <= _PLAIN or (kinds <= _PLAIN | _NUMBERS and len(keys) <= _MOST_NUMBERS)


def _set(items: list[Any]) -> Any:
    return set(items) if _can_be_looked_up(items) else items


def _map(items: list[Any]) -> Any:
    keys = items[::2]
    pairs = zip(keys, items[1::2], strict=True)
    return dict(pairs) if _can_be_looked_up(keys) else list(pairs)


def _as_it_is(line: bytes) -> bytes:
    return line


SCALARS: dict[int, Callable[[bytes], Any]] = {
    ord("+"): _as_it_is,
    ord("-"): _error,
    ord(":"): _integer,
    ord("("): _integer,
    ord(","): _double,
    ord("#"): _boolean,
    ord("_"): _null,
}
"""The kinds that are one line, and what it means."""

_FINISHED: dict[int, Callable[[list[Any]], Any]] = {
    ord("*"): list,
    ord(">"): list,
    ord("~"): _set,
    ord("%"): _map,
    ord(";"): b"".join,
    ord("!"): lambda items: _error(items[0]),
    ord("="): _verbatim,
}
