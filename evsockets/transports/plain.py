"""Receiving and sending by the descriptor in the compiled build, else by the socket."""

from __future__ import annotations

import _socket
import contextlib
from typing import Any

from .stream import RECEIVE_SIZE

# What one receive brings at most: compiled, more than RECEIVE_SIZE where the one before was as large as that.
MOST_RECEIVED = RECEIVE_SIZE


def plain(sock: _socket.socket) -> Any:
    """`sock` itself, whose `recv` and `send` these are."""
    return sock


class ReceiveBuffer:
    """64 KiB of memory to receive into; `part` lends a part of it, the last one asked for, `head` copies."""

    __slots__ = ("_memory",)

    def __init__(self) -> None:
        self._memory = memoryview(bytearray(65536))

    def receive(self, sock: _socket.socket) -> int:
        """How many bytes `sock` had, 0 at the end of the stream, -1 if there is nothing now."""
        try:
            return sock.recv_into(self._memory)
        except BlockingIOError:
            return -1

    def part(self, start: int, stop: int) -> Any:
        """The bytes from `start` to `stop`, to be read or written by who takes a buffer."""
        return self._memory[start:stop]

    def head(self, size: int) -> bytes:
        """A copy of the first `size` bytes."""
        return bytes(self._memory[:size])


with contextlib.suppress(ImportError):
    from .._native import (  # type: ignore[import-not-found, no-redef, unused-ignore]
        MOST_RECEIVED,
        ReceiveBuffer,
        plain,
    )

__all__ = ["MOST_RECEIVED", "ReceiveBuffer", "plain"]
