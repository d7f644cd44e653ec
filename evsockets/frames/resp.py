"""Values of RESP, the protocol of Redis: versions 2 and 3, every type, nested."""

from __future__ import annotations

import sys
from typing import Any

from .base import Frame, FramePicker
from .inbox import Inbox, RemoteAddress
from .limit import DEFAULT_MAX_LENGTH, broken, checked_length, checked_limit, over_limit
from .resp_values import AGGREGATES, SCALARS, Malformed, RespError, count, finished

__all__ = ["RespError", "RespFrame", "RespFramePicker"]

_END = b"\r\n"
_BULK = frozenset(b"$!=")
_CHUNK, _STREAM_END, _ATTRIBUTES, _STRING = b";.|$"
# What a number's line, a length above all, has at most; another line may be as long as a frame.
_LONGEST_LINES: dict[int, int] = {
    **dict.fromkeys(b"*%~>|$!=:#_;.", 32),
    **dict.fromkeys(b"(,", 4300),
    **dict.fromkeys(b"+-", sys.maxsize),
}
# The shortest value: `_`, CR, LF.
_SHORTEST = 3


class RespFrame(Frame):
    """One RESP value: `data` are its bytes, `value` the Python object (see `RespFramePicker`)."""

    __slots__ = ("value",)

    def __init__(self, data: bytes, value: Any, remote_address: RemoteAddress = None) -> None:
        self.data = data
        self.value = value
        self.remote_address = remote_address


class _Reading:
    """How far one frame has been read. `at` is where the next value begins, `searched` how far its line has
    been looked for an end, `open` the aggregates around it: kind, what they hold, and how many values are
    still to come (-1: as many as come until their end is said)."""

    __slots__ = ("at", "open", "searched")

    def __init__(self) -> None:
        self.at = self.searched = 0
        self.open: list[list[Any]] = []


class RespFramePicker(FramePicker[RespFrame]):
    """Gives whole values of RESP2 and RESP3, nested ones too, as frames with a `value`:

    - strings of any kind are bytes (a verbatim one without its `txt:`), numbers int and float, nulls None;
    - an array or push is a list, a map a dict, a set a set. If a key or member is itself one of these, or
      more than 1,024 of them are numbers (whose hashes a peer could make collide), a map is a list of pairs
      and a set a list;
    - an error is an exception with its text, as a value and not raised: `isinstance(frame.value, Exception)`;
    - attributes are part of the data of the value they precede, and not of its `value`.

    A push has the first byte `>`: `frame.data[:1] == b">"`. A value of more than `max_length` bytes (None: no
    limit) raises a `FrameError` as soon as that is known; so does one nested deeper than `max_depth`, and a
    malformed one.
    """

    __slots__ = ("_limit", "max_depth", "max_length")

    def __init__(self, max_length: int | None = DEFAULT_MAX_LENGTH, max_depth: int = 128) -> None:
        self.max_length = checked_limit(max_length)
        self._limit = sys.maxsize if max_length is None else max_length
        self.max_depth = checked_length("max_depth", max_depth)

    def pick(self, inbox: Inbox, ended: bool) -> RespFrame | None:
        """The next value, or None while it is not complete. FrameError if it is malformed."""
        if not inbox._chunk:
            return None
        reading = inbox._recall(self, None) or _Reading()
        try:
            value = self._read(inbox, reading)
        except Malformed as error:
            at = reading.at
            raise broken(self, inbox, f"no RESP at byte {at}: {error}", min(at + 64, len(inbox))) from None
        if value is not _UNFINISHED:
            return RespFrame(inbox.take(reading.at), value, inbox.remote_address)
        if len(inbox) > self._limit:
            raise over_limit(self, inbox, self._limit)
        inbox._remember(self, reading)
        return None

    def _read(self, inbox: Inbox, reading: _Reading) -> Any:
        """Go on with `reading`; the frame's value, or _UNFINISHED."""
        chunk, offset = inbox._chunk, inbox._offset
        size = len(chunk) - offset
        while reading.at < size:
            at = reading.at
            kind = chunk[offset + at]
            longest = _LONGEST_LINES.get(kind)
            if longest is None:
                raise Malformed(f"{bytes((kind,))!r} begins no value")
            end = chunk.find(_END, offset + max(at + 1, reading.searched)) - offset
            if (end if end >= 0 else size - 1) - at - 1 > longest:
                raise Malformed(f"a line of more than {longest} bytes")
            if end < 0:
                reading.searched = size - 1  # it may end in a CR
                break
            reading.searched = end
            line = bytes(chunk[offset + at + 1 : offset + end])
            end += len(_END)
            if end > self._limit:
                raise over_limit(self, inbox, self._limit)
            if reading.open and reading.open[-1][0] == _CHUNK and kind != _CHUNK:
                raise Malformed("a streamed string goes on with `;`")
            if kind in AGGREGATES or (kind == _STRING and line == b"?"):
                value = self._open(inbox, reading, kind, line, end)
            elif kind == _CHUNK or kind in _BULK:
                value = self._bulk(inbox, reading, kind, line, end)
                if value is _UNFINISHED:
                    break
            elif kind == _STREAM_END:
                value = self._close(reading, line)
                reading.at = end
            else:
                value = SCALARS[kind](line)
                reading.at = end
            if value is not _OPEN:
                value = self._add(reading, value)
                if value is not _OPEN:
                    return value
        return _UNFINISHED

    def _open(self, inbox: Inbox, reading: _Reading, kind: int, line: bytes, end: int) -> Any:
        """An aggregate begins: its value if it is empty or null, else _OPEN."""
        if line == b"?" and kind != _ATTRIBUTES:
            number = -1
        elif line == b"-1" and kind == ord("*"):
            reading.at = end
            return None
        else:
            number = count(line) * AGGREGATES[kind]
            if end + _SHORTEST * number > self._limit:
                raise over_limit(self, inbox, self._limit, shown=end)
        if len(reading.open) >= self.max_depth:
            raise Malformed(f"values nested deeper than {self.max_depth}")
        reading.at = end
        if not number:
            return _OPEN if kind == _ATTRIBUTES else finished(kind, [])
        reading.open.append([_CHUNK if kind == _STRING else kind, [], number])
        return _OPEN

    def _bulk(self, inbox: Inbox, reading: _Reading, kind: int, line: bytes, end: int) -> Any:
        """A string whose length is said before it; _UNFINISHED while it is not all there."""
        if line == b"-1" and kind == _STRING:
            reading.at = end
            return None
        length = count(line)
        streamed = bool(reading.open) and reading.open[-1][0] == _CHUNK
        if kind == _CHUNK and not streamed:
            raise Malformed("`;` outside of a streamed string")
        if kind == _CHUNK and not length:
            reading.at = end
            return finished(_CHUNK, reading.open.pop()[1])
        stop = end + length + len(_END)
        if stop > self._limit:
            raise over_limit(self, inbox, self._limit, shown=end)
        if len(inbox) < stop:
            return _UNFINISHED
        if inbox.peek(len(_END), stop - len(_END)) != _END:
            raise Malformed(f"no CR LF after {length} bytes")
        data = inbox.peek(length, end)
        value = data if kind in (_CHUNK, _STRING) else finished(kind, [data])
        reading.at = stop
        if kind == _CHUNK:
            reading.open[-1][1].append(value)
            return _OPEN
        return value

    def _close(self, reading: _Reading, line: bytes) -> Any:
        """The end of an aggregate that said no number: its value."""
        if line or not reading.open or reading.open[-1][2] >= 0:
            raise Malformed("`.` ends nothing")
        kind, items, _ = reading.open[-1]
        if len(items) % AGGREGATES[kind]:
            raise Malformed("a map ends with a key")
        reading.open.pop()
        return finished(kind, items)

    def _add(self, reading: _Reading, value: Any) -> Any:
        """`value` is complete, and so may be those around it: the frame's value, or _OPEN."""
        while reading.open:
            innermost = reading.open[-1]
            kind, items, missing = innermost
            items.append(value)
            if missing != 1:
                innermost[2] = missing - (missing > 0)
                return _OPEN
            reading.open.pop()
            if kind == _ATTRIBUTES:
                return _OPEN
            value = finished(kind, items)
        return value

    def __repr__(self) -> str:
        return f"RespFramePicker(max_length={self.max_length}, max_depth={self.max_depth})"


# What is no value: the frame goes on, for the next value or for bytes that have not come.
_OPEN, _UNFINISHED = object(), object()
