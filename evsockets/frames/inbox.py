"""The receive buffer of a socket: bytes that no frame has taken yet."""

from __future__ import annotations

from typing import Any, TypeAlias

from .seeker import seeker_of

RemoteAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str | None
"""An address in the form of the module `socket`: (host, port), the IPv6 4-tuple, a path, or None."""

_FAR = 1024
"""A marker found this near to where the search began is cheaper to find again than to remember."""

_MOST_REMEMBERED = 16
"""Searches remembered at once; a picker repeats the same few, so more would only hold memory."""

_SPARED = 512
"""So many taken bytes may stay in front of the remaining ones: freeing them would copy the remaining ones."""

_FIRST_WINDOW = 256
_LARGEST_WINDOW = 65536


class Inbox:
    """Received bytes, oldest first.

    A frame picker inspects them with `len`, `find` and `peek`, and removes them with `take` and `drop`.
    Positions count from the oldest byte present. The bytes are one sequence, however they arrived. The inbox
    remembers how far it was searched for each marker, so a picker may search from the start at every chunk.
    `remote_address` is the sender's address, copied to frames.
    """

    # What is left is _chunk[_offset:]; _chunk is empty exactly if the inbox is. It is the received object
    # itself as long as that can be, so that it can become a frame without a copy. Pickers of this package
    # use these attributes directly: a small message spends much of its time here.
    __slots__ = ("_arrived", "_chunk", "_offset", "_searched", "remote_address")

    def __init__(self, data: bytes = b"", remote_address: RemoteAddress = None) -> None:
        self._chunk: bytes | bytearray = data if type(data) is bytes else bytes(data)
        self._offset = 0
        # What was found out: (marker, start, ignoring case) -> where to go on, a picker -> what it remembers.
        # All counted from _offset, so void when it moves.
        self._searched: dict[Any, Any] | None = None
        self.remote_address = remote_address
        self._arrived: Any = None  # when the first byte did; the channel says so

    def __len__(self) -> int:
        return len(self._chunk) - self._offset

    def __repr__(self) -> str:
        return f"<Inbox of {len(self)} bytes from {self.remote_address!r}>"

    def _append(self, data: bytes) -> None:
        """Add received bytes at the end. The object is kept, not copied, when the inbox was empty."""
        chunk = self._chunk
        if not chunk:
            self._chunk = data
            return
        offset = self._offset
        left = len(chunk) - offset
        if left <= len(data):
            # Joining costs no more than twice the new bytes, and what comes out is bytes again.
            self._chunk = bytes(chunk[offset:]) + data
            self._offset = 0
        elif isinstance(chunk, bytes):
            self._chunk = bytearray(chunk[offset:])
            self._chunk += data
            self._offset = 0
        else:
            chunk += data

    def find(self, marker: bytes | bytearray | memoryview, start: int = 0) -> int:
        """The position of the first `marker` at or after `start`, or -1.

        A call with the same arguments after more bytes have arrived goes on where the last search ended.
        ValueError for a negative `start`.
        """
        return self._find(bytes(memoryview(marker)), start, False)

    def peek(self, n: int, start: int = 0) -> bytes:
        """The oldest `n` bytes from position `start` on, or all if there are fewer; they stay in the inbox.

        ValueError for a negative number."""
        if n < 0 or start < 0:
            raise ValueError(f"cannot look at {n} bytes from {start} on")
        chunk = self._chunk
        offset = self._offset + start
        if isinstance(chunk, bytes):
            return chunk[offset : offset + n]  # the same object, if that is all of it
        with memoryview(chunk) as view:
            return bytes(view[offset : offset + n])

    def take(self, n: int) -> bytes:
        """Remove and return the oldest `n` bytes, or all if there are fewer. ValueError if negative."""
        chunk = self._chunk
        if n < 0 or not isinstance(chunk, bytes):
            data = self.peek(n)
            self.drop(n)
            return data
        offset = self._offset
        stop = offset + n
        self._searched = None
        if stop < len(chunk):
            self._offset = stop
            return chunk[offset:stop]
        self._chunk = b""
        self._offset = 0
        return chunk[offset:]

    def _take_whole(self) -> bytes:
        """Everything, without a copy if nothing was taken of it before."""
        chunk = self._chunk
        if self._offset or type(chunk) is not bytes:
            return self.take(len(self))
        self._chunk = b""
        self._searched = None
        return chunk

    def _take_through(self, marker: seeker_of, limit: int) -> bytes | None:
        """What ends with the first `marker`, no more than `limit` bytes; None if there is none in the one
        chunk that was received, or the search goes on where an earlier one ended."""
        if type(self._chunk) is not bytes or self._searched is not None:
            return None
        data, offset, size = self._chunk, self._offset, len(self._chunk)
        stop = marker.find(data, offset) + marker.size
        if stop < offset + marker.size or stop - offset > limit:
            return None
        if stop != size:
            self._offset = stop
        else:
            self._chunk = b""
            self._offset = 0
            if not offset:
                return data
        text = data  # compiled, its characters
        return text[offset:stop]

    def drop(self, n: int) -> None:
        """Remove the oldest `n` bytes, or all if there are fewer. ValueError if negative."""
        if n < 0:
            raise ValueError(f"cannot drop {n} bytes")
        offset = self._offset + n
        if offset >= len(self._chunk):
            self._clear()
        elif n:
            self._offset = offset
            self._searched = None
            chunk = self._chunk
            if isinstance(chunk, bytearray) and offset > len(chunk) - offset:
                # More is gone than left: give the memory back (each byte moves at most once on average).
                del chunk[:offset]
                self._offset = 0

    def _tidy(self) -> None:
        """Free the memory of taken bytes, if they are more than the remaining ones. Called when a picker has
        found no frame, so that several frames in one chunk are not copied for it."""
        offset = self._offset
        if offset > _SPARED and 2 * offset > len(self._chunk):
            # Each byte moves at most once on average. Searches count from the first byte left: they stand.
            self._chunk = self._chunk[offset:]
            self._offset = 0

    def _clear(self) -> None:
        self._chunk = b""
        self._offset = 0
        self._searched = None

    def _find(self, marker: bytes, start: int, folded: bool) -> int:
        # A `folded` marker is lower-case already.
        if start < 0:
            raise ValueError(f"cannot search from {start}")
        chunk = self._chunk
        offset = self._offset
        key = (marker, start, folded)
        searched = self._searched
        reached = start if searched is None else searched.get(key, start)
        begin = offset + reached
        index = (_find_folded(chunk, marker, begin) if folded else chunk.find(marker, begin)) - offset
        if index >= 0:
            if index - reached > _FAR:
                self._remember(key, index)
            return index
        # A marker may have begun in the last bytes and end in those to come.
        stop = len(chunk) - offset - len(marker) + 1
        if stop > reached:
            self._remember(key, stop)
        return -1

    def _remember(self, key: Any, found: Any) -> None:
        """Keep what was found out under `key`, until the first byte here is another one."""
        searched = self._searched
        if searched is None:
            searched = self._searched = {}
        elif len(searched) >= _MOST_REMEMBERED and key not in searched:
            searched.clear()
        searched[key] = found

    def _recall(self, key: Any, default: Any) -> Any:
        """What was kept under `key`; `default` if nothing is known."""
        searched = self._searched
        return default if searched is None else searched.get(key, default)


def _find_folded(chunk: bytes | bytearray, marker: bytes, begin: int) -> int:
    """The first lower-case `marker` in the lower-cased `chunk` from `begin` on, or -1.

    Lower-casing goes window by growing window, so that many small frames in one chunk do not each pay
    for all of it.
    """
    size = len(chunk)
    overlap = len(marker) - 1
    window = max(_FIRST_WINDOW, 2 * len(marker))
    while begin + overlap < size:
        index = chunk[begin : begin + window + overlap].lower().find(marker)
        if index >= 0:
            return begin + index
        begin += window
        window = max(window, min(2 * window, _LARGEST_WINDOW))
    return -1
