"""Classes whose objects come and go with every message."""

from __future__ import annotations

from typing import Any

try:
    from ._recycled import recycled as recycled  # type: ignore[import-not-found, unused-ignore]
except ImportError:

    def recycled(kind: type[Any]) -> None:
        """Where `kind` is compiled, keep the memory of a few of its freed objects for the next ones."""


__all__ = ["recycled"]
