"""Header fields: received ones, with case-insensitive names, and fields as bytes to be sent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias, TypeVar

from .._generic import overload
from .error import HttpError

HeaderSource: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""Header fields to be sent: a mapping, or pairs of name and value such as `Headers.pairs`."""

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
T = TypeVar("T")

_BAD_VALUE = re.compile(r"[^\t -~\x80-\xff]")
_HOST = re.compile(r"(?:[\w\-.~%!$&'()*+,;=]*|\[[\w\-.~%:]+\])(?::[0-9]*)?", re.ASCII)


class Headers(Mapping[str, str]):
    """The header fields of a message; `pairs` has them in order, each a name and a value.

    As a mapping its names are case-insensitive, and lower case in iteration; the values of a repeated name
    are joined by ", " (RFC 9110, 5.3). Set-Cookie must not be joined: see `get_all`.
    """

    __slots__ = ("_values", "pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs: tuple[tuple[str, str], ...] = tuple(pairs)
        values: dict[str, str] = {}
        repeated: dict[str, list[str]] | None = None
        for name, value in self.pairs:
            key = name.lower()
            if key in values:  # joined at the end: joining at each would copy the earlier ones again
                repeated = repeated or {}
                repeated.setdefault(key, [values[key]]).append(value)
            else:
                values[key] = value
        for key, several in (repeated or {}).items():
            values[key] = ", ".join(several)
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    @overload
    def get(self, name: str) -> str | None: ...

    @overload
    def get(self, name: str, default: T) -> str | T: ...

    def get(self, name: str, default: object = None) -> object:
        """The value of `name`, or `default`; faster than Mapping's, which catches a KeyError."""
        return self._values.get(name.lower(), default)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def get_all(self, name: str) -> list[str]:
        """Every value of `name`, in order; an empty list if there is none."""
        lower = name.lower()
        return [value for one, value in self.pairs if one.lower() == lower]

    def options(self, name: str) -> list[str]:
        """The members of a list such as Connection, in lower case (RFC 9110, 5.6.1)."""
        text = self._values.get(name, "")
        return [member for part in text.split(",") if (member := part.strip(" \t").lower())] if text else []

    def check_host(self, *, needed: bool) -> None:
        """RFC 9112, 3.2: HttpError (400) for no Host where one is `needed`, for two (which are joined by a
        blank), and for an impossible one."""
        host = self._values.get("host")
        if host is None:
            if needed:
                raise HttpError(400, "the Host header is missing")
        elif _HOST.fullmatch(host) is None:
            raise HttpError(400, "the Host header is malformed, or given twice")

    def __repr__(self) -> str:
        return f"Headers({list(self.pairs)!r})"


def listed(headers: HeaderSource) -> list[tuple[str, str]]:
    """The fields of `headers`, each checked. ValueError for a malformed field (RFC 9110, 5.5), which could
    inject a message; TypeError unless text."""
    fields = list(headers.items() if isinstance(headers, Mapping) else headers)
    for name, value in fields:
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"a header is a name and a value, both str; got {name!r} and {value!r}")
        if TOKEN.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no header name: letters, digits and hyphens make one")
        if _BAD_VALUE.search(value):
            raise ValueError(f"{name}: {value!r} has a sign that no header may have: encode it")
    return fields


def names(fields: Iterable[tuple[str, str]]) -> set[str]:
    """The names in `fields`, in lower case."""
    return {name.lower() for name, _ in fields}


def closes(fields: Iterable[tuple[str, str]]) -> bool:
    """Whether one of `fields` is `Connection: close` (RFC 9112, 9.6)."""
    return any(name.lower() == "connection" and "close" in value.lower() for name, value in fields)


def head(first: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """A message's head: its first line, its fields, and the empty line (RFC 9112, 2.1)."""
    return "\r\n".join([first, *[f"{name}: {value}" for name, value in fields], "\r\n"]).encode("latin-1")
