"""What is raised of a message that is none, or too large."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import FrameError


class HttpError(FrameError):
    """A peer's message that cannot be taken: malformed, too large, or of a kind that is not spoken here.

    `status` is what a server answers (400, 413, 431, 501, 505); `reason` says why, without the address and
    phase that the message of an error has; `headers` belong into the answer.
    """

    def __init__(self, status: int, reason: str = "", headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(f"{reason} (HTTP)")
        self.status = status
        self.reason = reason
        self.headers = tuple(headers)
        self._unplaced = True
