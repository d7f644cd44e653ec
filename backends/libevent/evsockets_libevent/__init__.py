"""The libevent engine of evsockets."""

from __future__ import annotations

from .engine import LibeventEngine

__all__ = ["LibeventEngine"]
