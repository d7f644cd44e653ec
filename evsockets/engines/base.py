"""The engine contract: which descriptors are ready, and nothing else.

An engine is three verbs and a name. Time comes in as `timeout`, wake-ups are an ordinary descriptor,
TLS and out-of-band data are the core's. Promises every engine keeps, each with a test of the same
number in `evsockets.testing.EngineContract`:

1. Level-triggered: what is still ready is reported again.
2. A token comes at most once per poll; its mask lies within the interest.
3. An error or a hang-up is reported as everything that was asked for.
4. `watch` replaces both interest and token.
5. Forgetting an unknown or already closed descriptor is silent.
6. After forgetting, a number that is used again reports only its new token.
7. `poll(0)` never blocks; `poll(None)` does; `poll(t)` may return early and empty, but must not spin.
8. With nothing watched, `poll(t)` still sleeps.
9. A signal handler that raises gets out of `poll`; one that does not loses nothing. Wherever in `watch` or
   `poll` it raised, the same call can be made again.
10. A bad descriptor raises OSError and changes nothing; a negative one whatever the interest.
11. `close` twice is fine; afterwards the other verbs raise RuntimeError.
12. Tokens are opaque: never called, hashed or compared.
13. Every ready descriptor is seen within as many polls as there are ready ones.
14. More descriptors than select(2) takes, where the system allows.
15. Two engines in one process do not disturb each other.
16. What the system refuses to watch (no memory, a limit reached) is never silent: an OSError of `watch`, or
    a WatchError of the poll that follows, by which it is forgotten; the others are not disturbed.
17. A token that is forgotten or replaced is let go by the end of the poll that follows.
18. A wait that the system refuses gets out of `poll` as an OSError or EngineError; afterwards the engine
    can be used.
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
    """`poll` raises it where the system refuses to watch what `watch` had taken: `tokens` says whose.

    They are forgotten. It is for engines that tell the system of a watch only when they wait.
    """

    def __init__(self, number: int, reason: str, tokens: Sequence[Any]) -> None:
        super().__init__(number, reason)
        self.tokens = tokens

    @classmethod
    def about(cls, fd: int, tokens: Sequence[Any]) -> WatchError:
        """For a library that does not say why: the system's answer for `fd` when it is asked again."""
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
    """Says which descriptors are ready. Not thread-safe: one thread makes all calls.

    A subclass must have `watch`, `poll` and `close`. It need not call `Engine.__init__`. If it carries
    `run_blocking(function, done)`, the core gives it blocking calls (name look-ups) instead of using
    threads: the engine must return at once, run `function()` without blocking `poll` and then call
    `done(outcome)` once, from any thread, with the result or the exception. If it carries `clock`, a
    callable returning seconds, the core reads the time from it. Where `notices_signals` is true the core
    does not have signals wake it while it waits.

    What leaves `poll` ends the run as the cause of an EngineError, but for EngineErrors themselves, what a
    signal handler raised, and WatchError. Where `runs_others` is true, code that is not the engine's runs
    inside `poll` (greenlets): only EngineErrors are then the engine's, everything else is passed on as it is.
    """

    name: str = "custom"
    """The name users choose it by, without a variant."""
    contract: ClassVar[int] = CONTRACT
    """The contract version it was written for."""

    @classmethod
    def available(cls) -> str | None:
        """None if the engine can be used here, else why not and what to install."""
        return None

    @classmethod
    def variants(cls) -> Sequence[str]:
        """What may follow the name, as in `name:variant`; the class takes one as its only argument."""
        return ()

    @abstractmethod
    def watch(self, fd: int, interest: int, token: Any) -> None:
        """Make it so: report `token` whenever `fd` is ready for `interest` (READ, WRITE, both; 0 forgets).

        A bad descriptor is an OSError, a closed engine a RuntimeError. A descriptor must be forgotten
        before it is closed.
        """

    @abstractmethod
    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        """Return `(token, mask)` for what is ready, after waiting up to `timeout` seconds for the first.

        `timeout` is 0 to 86 400, or None to wait until something is ready. An empty list may come early.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back everything the engine holds; the watched descriptors stay open."""

    def fileno(self) -> int:
        """A descriptor that is readable whenever `poll(0)` would return something.

        It counts watches made since the last poll. UnsupportedOperationError where there is none.
        """
        raise UnsupportedOperationError(f"the engine {self.name!r} has no descriptor of its own")

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"
