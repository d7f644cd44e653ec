"""The libev engine of evsockets."""

from __future__ import annotations

from .engine import LibevEngine

__all__ = ["LibevEngine"]
