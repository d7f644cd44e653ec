"""Looks host names up (getaddrinfo) in daemon threads, which never delay the interpreter's exit."""

from __future__ import annotations

import _socket
import socket
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from .._unpatched import original
from ..address import SockAddr

Candidate = tuple[int, SockAddr]
Outcome = list[Candidate] | BaseException
Done = Callable[[Outcome], object]
Lookup = Callable[..., Any]
Run = Callable[[Callable[[], Any], Callable[..., object]], object]
Key = tuple[str, int, int]


class Ticket:
    """One caller's share in a look-up."""

    __slots__ = ("_resolver", "done", "key")

    def __init__(self, resolver: Resolver, key: Key, done: Done) -> None:
        self._resolver = resolver
        self.key = key
        self.done: Done | None = done

    def cancel(self) -> None:
        """Lose interest: `done` is not called any more, unless another thread has already begun to."""
        self.done = None
        self._resolver._forget(self)


class Resolver:
    """Looks host names up without blocking the caller.

    `lookup` is a blocking callable like `socket.getaddrinfo`, called as `lookup(host, port, 0, type)`; None
    is `socket.getaddrinfo` itself, in threads as it was before any monkey-patching. `run(function, done)`, if
    given, makes the look-ups instead of this resolver's own threads: it must call `function()` where that may
    block, then `done` with the result or the exception. Identical look-ups in flight are made once, and
    `at_once` different ones at a time: as many can hang before another has to wait. A thread ends when
    nothing is left to look up.
    """

    def __init__(self, lookup: Lookup | None = None, run: Run | None = None, at_once: int = 64) -> None:
        self.closed = False
        self._lookup = lookup
        self._run = run
        self._at_once = at_once
        self._lock = original("_thread", "allocate_lock")()
        self._start_thread = original("_thread", "start_new_thread")
        self._tickets: dict[Key, dict[Ticket, None]] = {}  # of every look-up, waiting or in flight
        self._queue: OrderedDict[Key, None] = OrderedDict()  # those that wait
        self._working = 0  # threads, or look-ups that `run` has been given

    def resolve(self, host: str, port: int, type: int, done: Done) -> Ticket:
        """Look `host` up; `done` is called once, in another thread (or as `run` does), with the outcome.

        The outcome is a non-empty list of different `(family, sockaddr)` in the order to try them, or an
        exception: an OSError (socket.gaierror) when there is no answer, whatever `lookup` raised otherwise.
        Raises RuntimeError after `close`.
        """
        if self.closed:
            raise RuntimeError("the resolver is closed")
        key = (host, port, int(type))
        ticket = Ticket(self, key, done)
        more = False
        with self._lock:
            if key not in self._tickets:
                self._tickets[key] = {}
                self._queue[key] = None
                more = self._working < self._at_once
                self._working += more
            self._tickets[key][ticket] = None
        if more and self._run is not None:
            self._hand_over(self._run)
        elif more:
            try:
                self._start_thread(self._work, ())
            except RuntimeError:
                self._no_thread(key)
        return ticket

    def close(self) -> None:
        """Forget all look-ups; none of the waiting is told. Threads end when their current look-up does."""
        self.closed = True
        with self._lock:
            for tickets in self._tickets.values():
                for ticket in tickets:
                    ticket.done = None
            self._tickets.clear()
            self._queue.clear()

    def _no_thread(self, key: Key) -> None:
        """The system gives no thread: one that runs will do; without any, the look-up has failed."""
        with self._lock:
            self._working -= 1
            if self._working > 0 or key not in self._queue:
                return
            del self._queue[key]
        self._finish(key, OSError("no thread can be started for the look-up"))

    def _next(self) -> Key | None:
        """The look-up to be made next; None: whoever asks has nothing more to do."""
        with self._lock:
            if self._queue:
                return self._queue.popitem(last=False)[0]
            self._working -= 1
            return None

    def _work(self) -> None:
        while (key := self._next()) is not None:
            found: Any
            try:
                found = self._call(key)()
            except BaseException as error:
                found = error
            self._finish(key, found)

    def _hand_over(self, run: Run) -> None:
        key = self._next()
        if key is None:
            return

        def done(found: Any = None) -> None:
            self._finish(key, found)
            self._hand_over(run)

        run(self._call(key), done)

    def _call(self, key: Key) -> Callable[[], Any]:
        host, port, type = key
        lookup = self._lookup
        if lookup is None:
            lookup = original("socket", "getaddrinfo") if self._run is None else socket.getaddrinfo
        return partial(lookup, host, port, 0, type)

    def _finish(self, key: Key, found: Any) -> None:
        """Tell everybody."""
        outcome = _outcome(found)
        with self._lock:
            tickets = self._tickets.pop(key, {})
        for ticket in tickets:
            done, ticket.done = ticket.done, None
            try:
                if done is not None:
                    done(outcome)
            except RuntimeError:
                # The executor that waits is closed and takes no more calls; the others are told all the same.
                pass

    def _forget(self, ticket: Ticket) -> None:
        key = ticket.key
        with self._lock:
            tickets = self._tickets.get(key, {})
            tickets.pop(ticket, None)
            if not tickets and key in self._queue:
                del self._queue[key]
                self._tickets.pop(key, None)


def _outcome(found: Any) -> Outcome:
    """What `lookup` returned or raised, as those who wait are told."""
    if isinstance(found, UnicodeError):
        error = socket.gaierror(_socket.EAI_NONAME, f"not a host name: {found}")
        error.__cause__ = found
        return error
    if isinstance(found, BaseException):
        return found
    if found is None:
        return OSError("the look-up was abandoned")
    candidates: dict[Candidate, None] = {}
    try:
        for family, _, _, _, sockaddr in found:
            if family in (_socket.AF_INET, _socket.AF_INET6) and isinstance(sockaddr[0], str):
                candidates[int(family), tuple(sockaddr)] = None
    except Exception as error:  # no list of addresses
        return error
    return list(candidates) or socket.gaierror(_socket.EAI_NONAME, "the name has no address")
