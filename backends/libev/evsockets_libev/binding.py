"""What the engine asks of a binding, and what those lack that only run: a timer, a look at new watchers."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

Batch = list[tuple[Any, int]]
NOTHING = (None,)
"""What a watcher stands for that has not been started."""
_DAY = 86_400.0


class Refused(Exception):
    """The system refused what `watchers` watch; they are stopped."""

    def __init__(self, watchers: Sequence[Any]) -> None:
        super().__init__("the system refused to watch")
        self.watchers = watchers


class Binding(Protocol):
    """A loop of its own; watchers are opaque but for `fd`.

    `poll` returns what fired, each token once, and keeps no token of a watcher that has been stopped; it may
    return early. Where libev has stopped watchers that the system refuses, it raises `refusal` with them as
    `watchers`; those whose descriptor was closed vanish. A wait that the system refuses raises.

    `start` takes any watcher, active or not, and tells libev that the number may be another file by now; an
    OSError for a closed descriptor, and then nothing has changed. `stop` returns the watcher's token.
    """

    name: str
    backend: str
    refusal: type[Any]

    @property
    def poll(self) -> Callable[[float | None], Batch]: ...
    @classmethod
    def variants(cls) -> Sequence[str]: ...
    @classmethod
    def version(cls) -> tuple[int, int]: ...
    def __init__(self, variant: str | None) -> None: ...
    def watcher(self, fd: int) -> Any: ...
    def start(self, watcher: Any, interest: int, token: Any) -> None: ...
    def stop(self, watcher: Any) -> Any: ...
    def fileno(self) -> int | None: ...
    def close(self) -> None: ...


class Plain:
    """`start`, `stop` and `poll` for a loop that only runs and has timers.

    One timer stays armed and is moved only when a poll must end sooner; where it goes off first, that poll
    returns early, once.

    libev tells the kernel of new watchers when it runs, and only there learns what the kernel refuses: it
    stops the watcher, and then waits all the same. So a poll with new watchers first runs the loop without
    waiting, and looks at them.
    """

    refusal: type[Any] = Refused
    _armed = 0.0  # when the timer goes off; 0.0 if none is armed

    def __init__(self) -> None:
        self._fresh: dict[int, Any] = {}  # by descriptor: watchers started since the last poll
        self._kernel = self._kernel_object()

    def start(self, watcher: Any, interest: int, token: Any) -> None:
        """See `Binding`."""
        os.get_blocking(watcher.fd)  # an OSError for a bad one: libev finds out too late
        self.end(watcher)
        self._fresh[watcher.fd] = watcher
        self.begin(watcher, interest, token)

    def stop(self, watcher: Any) -> Any:
        """See `Binding`."""
        self._fresh.pop(watcher.fd, None)
        return self.end(watcher)

    def poll(self, timeout: float | None) -> Batch:
        """See `Binding`."""
        if self._fresh and ((batch := self._begin()) or timeout == 0):
            return batch
        return self.iterate(timeout)

    def iterate(self, timeout: float | None) -> Batch:
        """One iteration."""
        if timeout == 0:
            return self.run_now()
        now = time.monotonic()
        until = now + (_DAY if timeout is None else timeout)
        if not now < self._armed <= until:
            self._armed = 0.0  # until it is
            self.arm(until - now)
            self._armed = until
        return self.run_once()

    def _begin(self) -> Batch:
        """The first run with new watchers: does not wait."""
        if self._kernel_object() != self._kernel:
            raise OSError(errno.EBADF, "the descriptor of libev's loop was closed by somebody else")
        for fd, watcher in [*self._fresh.items()]:
            try:
                os.get_blocking(fd)  # libev aborts the process over what is bad when it tells the kernel
            except OSError:  # closed without being forgotten: vanishes, as it does with epoll
                self.stop(watcher)
        batch = self.iterate(0)
        refused = [watcher for watcher in self._fresh.values() if not watcher.active]
        self._fresh.clear()
        if refused:
            raise Refused(refused)
        return batch

    def _kernel_object(self) -> tuple[int, int] | None:
        """What the loop's own descriptor stands for; None without one."""
        number = self.fileno()
        if number is None:
            return None
        try:
            found = os.fstat(number)
        except OSError:
            return 0, 0
        return found.st_dev, found.st_ino

    def begin(self, watcher: Any, interest: int, token: Any) -> None:
        """Have libev start a watcher that is not active."""
        raise NotImplementedError

    def end(self, watcher: Any) -> Any:
        """Have libev stop it; what it stood for."""
        raise NotImplementedError

    def arm(self, seconds: float) -> None:
        """Have an iteration end then."""
        raise NotImplementedError

    def run_once(self) -> Batch:
        """An iteration that waits."""
        raise NotImplementedError

    def run_now(self) -> Batch:
        """An iteration that does not."""
        raise NotImplementedError

    def fileno(self) -> int | None:
        """See `Binding`."""
        raise NotImplementedError
