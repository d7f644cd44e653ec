"""The lines of a file, a pipe or standard input, as they arrive."""

from __future__ import annotations

import os
import select
import stat
from collections import deque

from .common import CommandError

#: Bytes of a line that are kept: nothing that long is an address.
LONGEST = 4096
_CHUNK = 65536


class Lines:
    """Numbered lines of `path` ("-": standard input), read only as they are taken.

    `ended`: all has been read. `size` is that of the file in bytes, None if unknown; `taken` counts the bytes
    of the lines taken. A line longer than `LONGEST` is cut. CommandError if the file cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.name = "standard input" if path == "-" else path
        self.size: int | None = None
        self.taken = 0
        self.ended = False
        self._number = 0
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._descriptor = -1
        try:
            self._descriptor = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            status = os.fstat(self._descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(None, "is a directory")
        except OSError as error:
            self.close()
            raise CommandError(
                f"--from: cannot read {self.name}: {error.strerror}; give a file with an address a line"
            ) from error
        self._regular = stat.S_ISREG(status.st_mode)
        if self._regular:
            self.size = status.st_size

    def close(self) -> None:
        """Close the file."""
        if self._descriptor > 0:
            os.close(self._descriptor)
        self._descriptor = -1
        self.ended = True

    @property
    def exhausted(self) -> bool:
        """Whether every line has been taken."""
        return self.ended and not self._lines

    def take(self, *, wait: bool) -> tuple[int, str] | None:
        """The next line and its number; None if there is none, or, unless `wait`, none yet."""
        while not self._lines:
            if self.ended or not (wait or self._regular or self._is_ready()):
                return None
            self._read()
        line = self._lines.popleft()
        self._number += 1
        self.taken += len(line) + 1
        text = line[:LONGEST].decode("utf-8", "surrogateescape")
        return self._number, text.removeprefix("\ufeff") if self._number == 1 else text

    def _is_ready(self) -> bool:
        return bool(select.select([self._descriptor], [], [], 0)[0])

    def _read(self) -> None:
        try:
            chunk = os.read(self._descriptor, _CHUNK)
        except OSError as error:
            self.close()
            raise CommandError(f"--from: cannot go on reading {self.name}: {error.strerror}", 1) from error
        *whole, rest = (self._rest + chunk).split(b"\n")
        if not chunk:
            whole = [rest] if rest else []
            rest = b""
            self.close()
        self._lines.extend(whole)
        self._rest = rest[: LONGEST + 1]
