"""The `selectors` engine, directly on the functions of the standard library's `select` module.

`selectors` itself is left out on purpose: its `modify` compares the data it holds (tokens are opaque
here) and its bookkeeping costs more than the system call. The `select` functions are the originals
also after gevent has monkey-patched them, and are looked up when an engine is made.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any

from .base import READ, WRITE, Engine
from .multiplexers import IN, MULTIPLEXERS, OUT, Events, exists

try:
    from ._epoll import Epoll  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    Epoll = None

_BITS = (0, IN, OUT, IN | OUT)
_BOTH = READ | WRITE
_WRONG = "interest must be 0, READ, WRITE or both, not %r"


def _closed(timeout: float | None) -> Events:
    raise RuntimeError("this engine is closed")


class SelectorsEngine(Engine):
    """Readiness straight from epoll, kqueue, poll or select.

    `variant` names one of them; None takes the best of this system. ValueError for an unknown one.
    `binding` is the name of the one in use.
    """

    name = "selectors"

    @classmethod
    def variants(cls) -> Sequence[str]:
        """The multiplexers of this system, the best one first."""
        return [variant for variant in MULTIPLEXERS if exists(variant)]

    def __init__(self, variant: str | None = None) -> None:
        if variant is None:
            variant = next(filter(exists, MULTIPLEXERS))  # the others need not be looked for
        elif variant not in (known := self.variants()):
            raise ValueError(f"no variant {variant!r} on this system; there are {', '.join(known)}")
        self.binding = variant
        self._multiplexer = MULTIPLEXERS[variant]()
        self._wait = self._multiplexer.wait
        # By descriptor; an interest of 0: it is not watched. These cost a sixth of a dict of pairs.
        self._tokens: list[Any] = []
        self._interests = bytearray()
        self._duplex: set[int] = set()
        # Numbers the kernel refused to drop: closed before being forgotten, perhaps alive in a copy.
        self._suspects: set[int] = set()
        self._in_c: Any = None
        own = (type(self).watch, type(self).poll) == (SelectorsEngine.watch, SelectorsEngine.poll)
        if Epoll is not None and variant == "epoll" and own:
            # The same in C. The descriptor stays, also when the kernel's object is made anew.
            self._in_c = Epoll(self, self.fileno(), self._tokens, self._interests, self._suspects)
            self.watch = self._in_c.watch  # type: ignore[method-assign]
            self.poll = self._in_c.poll  # type: ignore[method-assign]

    def watch(self, fd: int, interest: int, token: Any) -> None:
        """See `Engine.watch`."""
        interests = self._interests
        if not (0 <= fd < len(interests) and interests[fd]):
            self._begin(fd, interest, token)
        elif interest == 0:
            if not self._multiplexer.drop(fd):
                self._suspects.add(fd)
            # After the kernel: a signal handler may raise in between.
            interests[fd], self._tokens[fd] = 0, None
            if self._duplex:
                self._duplex.discard(fd)
        elif 0 < interest <= _BOTH:
            self._multiplexer.change(fd, _BITS[interest])
            self._set(fd, interest, token)
        else:
            raise ValueError(_WRONG % (interest,))

    def _begin(self, fd: int, interest: int, token: Any) -> None:
        """Watch a descriptor that is not watched yet."""
        if fd < 0:
            raise OSError(errno.EBADF, f"not a descriptor: {fd}")
        if self._wait is _closed:
            raise RuntimeError("this engine is closed")
        if interest == 0:
            return
        if not 0 < interest <= _BOTH:
            raise ValueError(_WRONG % (interest,))
        if fd in self._suspects:
            self._rebuild()
        try:
            self._multiplexer.add(fd, _BITS[interest])
            if fd >= len(self._interests):  # the kernel knows it: no number is out of this world
                # An eighth more, so that a growing crowd is not copied for each newcomer.
                size = fd + 1 + fd // 8
                self._tokens.extend([None] * (size - len(self._tokens)))
                self._interests.extend(bytes(size - len(self._interests)))
            self._set(fd, interest, token)
        except OSError:
            raise
        except BaseException:  # a signal handler's: what the kernel watches must be known here
            self._multiplexer.drop(fd)
            raise

    def _set(self, fd: int, interest: int, token: Any) -> None:
        if interest == _BOTH:
            self._duplex.add(fd)
        elif self._duplex:
            self._duplex.discard(fd)
        # The token last: the former one's destructor may close this engine, or watch more.
        self._interests[fd], self._tokens[fd] = interest, token

    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        """See `Engine.poll`."""
        events = self._wait(timeout)
        tokens, interests = self._tokens, self._interests
        if not (self._duplex or self._suspects):  # the one thing asked for is what any event means
            return [(tokens[fd], interests[fd]) for fd, _ in events]
        batch = []
        for fd, bits in events:
            mask = interests[fd]
            if not mask:
                # A number forgotten too late: its file lives on in a copy, and the kernel still reports it.
                self._rebuild()
                return []
            if mask == _BOTH:
                if bits == IN:
                    mask = READ
                elif bits == OUT:
                    mask = WRITE
            batch.append((tokens[fd], mask))
        return batch

    def _rebuild(self) -> None:
        """Start over with a fresh kernel object under the same descriptor, if it has one."""
        old, self._multiplexer = self._multiplexer, MULTIPLEXERS[self.binding]()
        number, fresh = old.fileno(), self._multiplexer.fileno()
        if number is not None and fresh is not None:
            os.dup2(fresh, number, inheritable=False)
            self._multiplexer.close()
            self._multiplexer = old
        self._wait = self._multiplexer.wait
        self._suspects.clear()
        for fd, interest in enumerate(self._interests):
            if interest:
                try:
                    self._multiplexer.add(fd, _BITS[interest])
                except OSError:
                    pass  # closed without being forgotten

    def fileno(self) -> int:
        """The descriptor of the epoll or kqueue; UnsupportedOperationError with the other variants."""
        number = self._multiplexer.fileno()
        return super().fileno() if number is None else number

    def close(self) -> None:
        """See `Engine.close`."""
        if self._wait is not _closed:
            self._wait = _closed
            if self._in_c is not None:  # the methods in Python say that it is closed
                self._in_c.close()
                for name in ("watch", "poll"):
                    if vars(self).get(name) == getattr(self._in_c, name):
                        delattr(self, name)
            self._multiplexer.close()
            self._interests.clear()
            self._duplex.clear()
            self._tokens.clear()  # last, for their destructors
