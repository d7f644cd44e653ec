"""The engine contract: an engine reports which descriptors are ready, and nothing else.

An engine has three methods and a name. Time is the argument `timeout`, wake-ups are an ordinary
descriptor, and the core handles TLS and out-of-band data. Promises that every engine keeps, each with a
test of the same number in `evsockets.testing.EngineContract`:

1. Level-triggered: a descriptor that is still ready is reported again.
2. A token is reported at most once per poll; its mask lies within the interest.
3. An error or a hang-up is reported as the whole interest.
4. `watch` replaces both interest and token.
5. An interest of 0 for an unknown or already closed descriptor raises nothing.
6. A descriptor number that is used again after an interest of 0 reports only its new token.
7. `poll(0)` never blocks; `poll(None)` does; `poll(t)` may return early and empty, but must not spin.
8. With nothing watched, `poll(t)` still sleeps.
9. An exception of a signal handler leaves `poll`; after any signal no readiness is lost. Wherever in `watch`
   or `poll` a handler raised, the same call can be made again.
10. A bad descriptor raises OSError and changes nothing; a negative one with any interest.
11. A second `close` has no effect; after `close` the other methods raise RuntimeError.
12. Tokens are opaque: never called, hashed or compared.
13. Every ready descriptor is reported within as many polls as there are ready ones.
14. It watches more descriptors than select(2) can, if the system allows.
15. Two engines in one process do not disturb each other.
16. A descriptor that the system refuses to watch (no memory, a limit reached) is reported, by an OSError of
    `watch`, or by a WatchError of the next poll, which no longer watches it; others are not disturbed.
17. A token that is no longer watched, or was replaced, is released by the end of the next poll.
18. If the system refuses to wait, `poll` raises an OSError or EngineError; afterwards the engine can be
    used.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Any, ClassVar, Final, TypeVar

from .._unpatched import original
from ..errors import UnsupportedOperationError

READ: Final = 1
"""Interest in, or readiness for, receiving (also accepting)."""
WRITE: Final = 2
"""Interest in, or readiness for, sending (also the end of a connect)."""
CONTRACT: Final = 1
"""The version of this contract; an engine written for another one is refused."""

_Self = TypeVar("_Self", bound="Engine")


class WatchError(OSError):
    """Raised by `poll` if the system refuses descriptors that `watch` had accepted; `tokens` are theirs.

    They are no longer watched. For engines that pass a watch to the system only when they wait.
    """

    def __init__(self, number: int, reason: str, tokens: Sequence[Any]) -> None:
        super().__init__(number, reason)
        self.tokens = tokens

    @classmethod
    def about(cls, fd: int, tokens: Sequence[Any]) -> WatchError:
        """The error for `fd`, if a library gives no reason: it is found by asking the system again."""
        number = errno.ENOSPC
        try:
            with original("select", "epoll")() as asked:
                asked.register(fd)
        except OSError as error:
            number = error.errno or number
        except (AttributeError, KeyError):  # no epoll here
            pass
        return cls(number, os.strerror(number), tokens)


class Engine(ABC):
    """Reports which descriptors are ready. Not thread-safe: one thread makes all calls.

    A subclass must have `watch`, `poll` and `close`. It need not call `Engine.__init__`. With a method
    `run_blocking(function, done)` the core gives it blocking calls (resolving names) instead of using
    threads: it must return at once, run `function()` without blocking `poll` and then call `done(outcome)`
    once, from any thread, with the result or the exception. With `clock`, a callable that returns seconds,
    the core reads the time from it. With `notices_signals` true the core sets no wake-up descriptor for
    signals while the engine waits.

    An exception of `poll` ends the run as the cause of an EngineError, but for an EngineError itself, an
    exception of a signal handler, and WatchError. With `runs_others` true other code runs inside `poll`
    (greenlets): then only an EngineError is the engine's, and any other exception is passed on unchanged.
    """

    name: str = "custom"
    """The name by which users select the engine, without a variant."""
    contract: ClassVar[int] = CONTRACT
    """The version of the contract that the engine was written for."""

    @classmethod
    def available(cls) -> str | None:
        """None if the engine can be used here, else why not and what to install."""
        return None

    @classmethod
    def variants(cls) -> Sequence[str]:
        """The variants of `name:variant`; the class takes one as its only argument."""
        return ()

    @abstractmethod
    def watch(self, fd: int, interest: int, token: Any) -> None:
        """Report `token` whenever `fd` is ready for `interest` (READ, WRITE, or both; 0 stops watching it).

        OSError for a bad descriptor, RuntimeError if the engine is closed. Before a descriptor is closed it
        must be watched no more.
        """

    @abstractmethod
    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        """Return `(token, mask)` of ready descriptors, after waiting up to `timeout` seconds for the first.

        `timeout` is 0 to 86 400, or None for no limit. The list may be empty before the time has passed.
        """

    @abstractmethod
    def close(self) -> None:
        """Release everything the engine holds; the watched descriptors stay open."""

    def fileno(self) -> int:
        """A descriptor that is readable whenever `poll(0)` would return something.

        Watches made since the last poll count, too. UnsupportedOperationError if there is none.
        """
        cure = "an executor of 'selectors:epoll' or 'selectors:kqueue' has one"
        raise UnsupportedOperationError(f"the engine {self.name!r} has no descriptor of its own; {cure}")

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"
