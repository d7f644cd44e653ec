"""The executor's clock as a turn reads it: in C where that was built, else the callable itself."""

from __future__ import annotations

from collections.abc import Callable

try:
    from .._native import Clock as clock_of  # type: ignore[import-not-found, unused-ignore]
except ImportError:

    class clock_of:  # type: ignore[no-redef]
        """`read()` gives the seconds of `source`."""

        __slots__ = ("read",)

        def __init__(self, source: Callable[[], float]) -> None:
            self.read = source


__all__ = ["clock_of"]
