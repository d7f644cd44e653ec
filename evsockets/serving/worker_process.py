"""The parent's record of a worker, and the listening socket of the worker and its successors."""

from __future__ import annotations

import contextlib
import pickle
import socket
import struct
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from typing import Any

# Seconds until a worker that has died is replaced, when others have before: at first and at most.
_PAUSE, _LONGEST_PAUSE = 0.1, 10.0


class Worker:
    """One process. `told` is the last command sent to it: DRAIN or STOP."""

    def __init__(self, place: Place, process: BaseProcess, control: socket.socket) -> None:
        self.place = place
        self.process = process
        self.is_ready = False
        self.told = b""
        self.error: BaseException | None = None
        self._control = control

    def tell(self, what: bytes) -> None:
        """Send it a command to end."""
        if self.told != what:
            self.told = what
            with contextlib.suppress(OSError):
                self._control.send(what)

    def last_words(self, deadline: float) -> Iterator[tuple[str, Any]]:
        """Its messages until it ends, or until the time `deadline` on time.monotonic()."""
        with contextlib.suppress(OSError, EOFError), self._control.makefile("rb") as file:
            while True:
                self._control.settimeout(max(0.001, deadline - time.monotonic()))
                head = file.read(4)
                if len(head) < 4:
                    return
                yield pickle.loads(file.read(*struct.unpack(">I", head)))

    def bury(self, deadline: float) -> int | None:
        """Wait for its end until `deadline`, then kill it; returns its exit code."""
        self.process.join(max(0.0, deadline - time.monotonic()))
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        code = self.process.exitcode
        self.process.close()
        self._control.close()
        return code


class Place:
    """A listening socket and its worker; `deaths` counts workers that died in quick succession."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.worker: Worker | None = None
        self.successor: Worker | None = None
        self.deaths = 0

    def pause(self) -> float:
        """Seconds until the next worker starts: none after the first death."""
        self.deaths += 1
        return 0.0 if self.deaths == 1 else min(_PAUSE * 2.0 ** (self.deaths - 2), _LONGEST_PAUSE)
