"""The error of a message that is malformed or too large."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import FrameError


class HttpError(FrameError):
    """A peer's message is malformed, too large, or not supported.

    `status` is that of a server's answer (400, 413, 431, 501, 505); `reason` is the message of the error
    without its address and phase; `headers` are fields for the answer.
    """

    def __init__(self, status: int, reason: str = "", headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(f"{reason} (HTTP)")
        self.status = status
        self.reason = reason
        self.headers = tuple(headers)
        self._unplaced = True
