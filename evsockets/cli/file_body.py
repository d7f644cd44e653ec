"""The bytes of a file on their way to a client of `serve`."""

from __future__ import annotations

import os
from collections.abc import Iterator

from .. import SendError
from .directory import OpenFile

#: How much of a file is read at once.
CHUNK = 64 * 1024


class FileBody:
    """The bytes of an open file, as chunks; closes the file at its end.

    A file that turns out shorter is a SendError: the promised length cannot be kept any more, and only
    a closed connection tells the client so.
    """

    def __init__(self, file: OpenFile) -> None:
        self._descriptor = file.descriptor
        self._position = 0
        self._stop = file.size

    def select(self, start: int, stop: int) -> None:
        """Give the bytes from `start` to before `stop` only."""
        self._position = start
        self._stop = stop

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        wanted = min(CHUNK, self._stop - self._position)
        if wanted <= 0:
            self.close()
            raise StopIteration
        try:
            chunk = os.pread(self._descriptor, wanted, self._position)
        except OSError as error:
            raise SendError(
                f"the file cannot be read any more: {error.strerror}", errno=error.errno
            ) from error
        if not chunk:
            raise SendError("the file has shrunk while it was sent")
        self._position += len(chunk)
        return chunk

    def close(self) -> None:
        """Close the file; harmless when done before."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
