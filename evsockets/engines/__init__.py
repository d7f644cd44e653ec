"""Engines: the contract, the standard library's engine, and the discovery of others."""

from __future__ import annotations

from .base import CONTRACT, READ, WRITE, Engine, WatchError
from .discovery import available_engines, create_engine
from .stdlib import SelectorsEngine
from .tracing import TracingEngine

__all__ = [
    "CONTRACT",
    "READ",
    "WRITE",
    "Engine",
    "SelectorsEngine",
    "TracingEngine",
    "WatchError",
    "available_engines",
    "create_engine",
]
