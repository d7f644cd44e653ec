"""The system calls of the `selectors` engine with one interface: descriptors and poll(2)'s bits."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from typing import Protocol

from .._unpatched import original

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

IN, OUT, NVAL = 1, 4, 32
"""poll(2)'s bits, which epoll shares; every multiplexer below reports with them."""
_SELECT_LIMIT = 1024

Events = Iterable[tuple[int, int]]


class Multiplexer(Protocol):
    """One system call's worth of watching; descriptors and poll(2)'s bits only."""

    wait: Callable[[float | None], Events]

    def add(self, fd: int, bits: int) -> None: ...
    def change(self, fd: int, bits: int) -> None: ...
    def drop(self, fd: int) -> bool: ...  # False: the kernel refused; it may know another by that number
    def close(self) -> None: ...
    def fileno(self) -> int | None: ...


class _Epoll:
    def __init__(self) -> None:
        self._epoll = original("select", "epoll")()
        self.wait: Callable[[float | None], Events] = self._epoll.poll
        self._register = self._epoll.register
        self._modify = self._epoll.modify
        self._unregister = self._epoll.unregister

    def add(self, fd: int, bits: int) -> None:
        try:
            self._register(fd, bits)
        except FileExistsError:
            self._modify(fd, bits)

    def change(self, fd: int, bits: int) -> None:
        try:
            self._modify(fd, bits)
        except FileNotFoundError:  # the number was closed and is another file by now
            self._register(fd, bits)

    def drop(self, fd: int) -> bool:
        try:
            self._unregister(fd)
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._epoll.close()

    def fileno(self) -> int | None:
        return int(self._epoll.fileno())


class _Poll:
    def __init__(self) -> None:
        self._poll = original("select", "poll")()
        self.wait: Callable[[float | None], Events] = self._wait

    def add(self, fd: int, bits: int) -> None:
        _check_open(fd)
        self._poll.register(fd, bits)

    change = add

    def drop(self, fd: int) -> bool:
        try:
            self._poll.unregister(fd)
        except KeyError:
            pass
        return True

    def _wait(self, timeout: float | None) -> Events:
        events: list[tuple[int, int]] = self._poll.poll(None if timeout is None else timeout * 1000)
        closed = [fd for fd, bits in events if bits & NVAL]
        if not closed:
            return events
        for fd in closed:  # closed without being forgotten: vanishes, as it does with epoll
            self._poll.unregister(fd)
        return [event for event in events if not event[1] & NVAL]

    def close(self) -> None:
        pass

    def fileno(self) -> int | None:
        return None


class _Select:
    def __init__(self) -> None:
        self._select = original("select", "select")
        self._readers: set[int] = set()
        self._writers: set[int] = set()
        self.wait: Callable[[float | None], Events] = self._wait

    def add(self, fd: int, bits: int) -> None:
        _check_open(fd)
        if fd >= _SELECT_LIMIT:
            raise OSError(errno.EMFILE, f"select(2) takes descriptors below {_SELECT_LIMIT} only, not {fd}")
        (self._readers.add if bits & IN else self._readers.discard)(fd)
        (self._writers.add if bits & OUT else self._writers.discard)(fd)

    change = add

    def drop(self, fd: int) -> bool:
        self._readers.discard(fd)
        self._writers.discard(fd)
        return True

    def _wait(self, timeout: float | None) -> Events:
        try:
            readers, writers, _ = self._select(self._readers, self._writers, (), timeout)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            for fd in [fd for fd in self._readers | self._writers if not _is_open(fd)]:
                self.drop(fd)  # closed without being forgotten: vanishes, as it does with epoll
            return []
        events = dict.fromkeys(readers, IN)
        for fd in writers:
            events[fd] = events.get(fd, 0) | OUT
        return events.items()

    def close(self) -> None:
        pass

    def fileno(self) -> int | None:
        return None


class _Kqueue:
    def __init__(self) -> None:
        self._queue = original("select", "kqueue")()
        self._kevent = original("select", "kevent")
        constants = ("KQ_FILTER_READ", "KQ_FILTER_WRITE", "KQ_EV_ADD", "KQ_EV_DELETE")
        self._read, self._write, self._add, self._delete = (original("select", each) for each in constants)
        self._bits: dict[int, int] = {}
        self.wait: Callable[[float | None], Events] = self._wait

    def add(self, fd: int, bits: int) -> None:
        _check_open(fd)
        known = self._bits.get(fd, 0)
        for bit, kind in ((IN, self._read), (OUT, self._write)):
            if bits & bit:
                self._queue.control([self._kevent(fd, kind, self._add)], 0, 0)
            elif known & bit:
                self._remove(fd, kind)
        self._bits[fd] = bits

    change = add

    def drop(self, fd: int) -> bool:
        known = self._bits.pop(fd, 0)
        for bit, kind in ((IN, self._read), (OUT, self._write)):
            if known & bit:
                self._remove(fd, kind)
        return True

    def _remove(self, fd: int, kind: int) -> None:
        try:
            self._queue.control([self._kevent(fd, kind, self._delete)], 0, 0)
        except OSError:
            pass  # closed descriptors leave a kqueue by themselves

    def _wait(self, timeout: float | None) -> Events:
        events: dict[int, int] = {}
        for event in self._queue.control(None, max(2 * len(self._bits), 1), timeout):
            bit = IN if event.filter == self._read else OUT
            events[event.ident] = events.get(event.ident, 0) | bit
        return events.items()

    def close(self) -> None:
        self._queue.close()

    def fileno(self) -> int | None:
        return int(self._queue.fileno())


MULTIPLEXERS: dict[str, Callable[[], Multiplexer]] = {
    "epoll": _Epoll,
    "kqueue": _Kqueue,
    "poll": _Poll,
    "select": _Select,
}
"""By preference."""


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _check_open(fd: int) -> None:
    if fcntl is not None:
        fcntl.fcntl(fd, fcntl.F_GETFD)


def exists(variant: str) -> bool:
    try:
        original("select", variant)
    except (AttributeError, KeyError):
        return False
    return True
