"""The libevent engine: a private event base, run for one iteration per poll.

The whole poll is compiled (`_loop.pyx`): libevent's callbacks record events in C, and the batch is made when
libevent has returned. So each method is one call, which a signal handler cannot interrupt halfway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evsockets.engines.base import Engine

try:
    from . import _loop
except ImportError as error:
    _missing: str | None = (
        f"libevent's shared library cannot be used: {error}; install libevent (Debian: libevent-core-2.1-7, "
        "Fedora and Homebrew: libevent), or build this distribution anew"
    )
else:
    _missing = None


class LibeventEngine(Engine):
    """Readiness from the system's libevent.

    `variant` names one of libevent's methods; None lets libevent choose. `backend` is the method in use,
    `binding` the version of libevent. ValueError for an unknown variant.
    """

    name = "libevent"
    notices_signals = True

    @classmethod
    def available(cls) -> str | None:
        """See `Engine.available`."""
        return _missing

    @classmethod
    def variants(cls) -> Sequence[str]:
        """The methods of this libevent, its own choice first."""
        return () if _missing else _loop.variants()

    def __init__(self, variant: str | None = None) -> None:
        if _missing is not None:
            raise RuntimeError(_missing)
        if variant is not None and variant not in _loop.variants():
            raise ValueError(f"no libevent method {variant!r}; there are {', '.join(_loop.variants())}")
        self._loop = _loop.Loop(variant)
        self.backend = self._loop.backend
        self.binding = f"libevent {_loop.version()}"

    def watch(self, fd: int, interest: int, token: Any) -> None:
        """See `Engine.watch`."""
        self._loop.watch(fd, interest, token)

    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        """See `Engine.poll`."""
        batch = self._loop.poll(timeout)
        if batch is None:
            raise self._loop.take_raised()  # from this frame, which is the one the signal handler was given
        return batch

    def close(self) -> None:
        """See `Engine.close`."""
        self._loop.close()
