"""Receiving and sending of a plain stream: by its descriptor in the compiled build, else by its socket."""

from __future__ import annotations

import _socket
from typing import Any

try:
    from .._native import plain  # type: ignore[import-not-found, unused-ignore]
except ImportError:

    def plain(sock: _socket.socket) -> Any:
        """`sock` itself, whose `recv` and `send` these are."""
        return sock


__all__ = ["plain"]
