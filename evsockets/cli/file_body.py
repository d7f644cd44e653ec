"""The bytes of a file, sent to a client of `serve`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from .. import Operation, SendError, WriteOperation
from ..operations.sendfile import SendFileOperation, can_send_files

#: How much of a file is read at once.
CHUNK = 64 * 1024


class FileBody:
    """The bytes of an open file from `start` to before `stop`, as chunks or as an operation; `close` closes
    the file.

    A file that has become shorter gives a SendError: the announced length cannot be sent any more, and only
    closing the connection shows that to the client. `sent` is the number of bytes sent, or read for sending.
    """

    def __init__(self, descriptor: int, start: int, stop: int) -> None:
        self._descriptor = descriptor
        self._start = self._position = start
        self._stop = stop
        self._sending: SendFileOperation | None = None

    @property
    def sent(self) -> int:
        """The number of bytes sent, or read for sending."""
        position = self._position if self._sending is None else self._sending.position
        return position - self._start

    def writing(
        self, head: bytes, plain: bool, then: Operation | None, done: Callable[[], object]
    ) -> Operation:
        """Return an operation that sends `head` and the bytes, then calls `done`; `plain`: without TLS."""
        if plain and can_send_files():
            descriptor, start, stop = self._descriptor, self._position, self._stop
            self._sending = SendFileOperation(descriptor, start, stop, then, done, head)
            return self._sending
        return WriteOperation(self._joined(head, done), then=then)

    def _joined(self, head: bytes, done: Callable[[], object]) -> Iterator[bytes]:
        """The head with the body's first chunk, and then the others. There is a first chunk."""
        yield head + next(self)
        yield from self
        done()

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
        """Close the file; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
