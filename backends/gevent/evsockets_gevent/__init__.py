"""The gevent engine of evsockets."""

from __future__ import annotations

from .engine import GeventEngine

__all__ = ["GeventEngine"]
