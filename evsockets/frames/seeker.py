"""A marker to be searched for: in C where that was built."""

from __future__ import annotations

try:
    from ._seeker import Seeker as seeker_of  # type: ignore[import-not-found, unused-ignore]
except ImportError:

    class seeker_of:  # type: ignore[no-redef]
        """`marker` and its `size`; `find(data, start)`: where it first is in `data` from there, or -1."""

        __slots__ = ("marker", "size")

        def __init__(self, marker: bytes) -> None:
            self.marker = marker
            self.size = len(marker)

        def find(self, data: bytes, start: int) -> int:
            return data.find(self.marker, start)


__all__ = ["seeker_of"]
