"""Host names to addresses, in daemon threads that never delay the interpreter's exit."""

from __future__ import annotations

import _socket
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from ._unpatched import original
from .address import SockAddr, numeric_address

Candidate = tuple[int, SockAddr]
Outcome = list[Candidate] | BaseException
Done = Callable[[Outcome], object]
Lookup = Callable[..., Any]
Run = Callable[[Callable[[], object], Callable[..., object]], object]

_MAX_THREADS = 4


def numeric(host: str, port: int) -> list[Candidate] | None:
    """Return `[(family, sockaddr)]` for a numeric `host` (IPv6 with its zone), None for a name.

    Nothing is looked up. A zone that is no interface's is an OSError.
    """
    found = numeric_address(host, port)
    return None if found is None else [found]


class Ticket:
    """One caller's share in a look-up."""

    __slots__ = ("_done", "_inquiry", "cancelled")

    def __init__(self, done: Done) -> None:
        self.cancelled = False
        self._done: Done | None = done
        self._inquiry: _Inquiry | None = None

    def cancel(self) -> None:
        """Lose interest: `done` is not called any more, unless another thread has already begun to."""
        self.cancelled = True
        self._done = None
        inquiry, self._inquiry = self._inquiry, None
        if inquiry is not None:
            inquiry.resolver._forget(inquiry, self)

    def _tell(self, outcome: Outcome) -> None:
        done, self._done = self._done, None
        self._inquiry = None
        if done is not None:
            done(outcome)


class _Inquiry:
    """One look-up in flight and everybody who waits for it."""

    __slots__ = ("key", "outcome", "resolver", "tickets")

    def __init__(self, resolver: Resolver, key: tuple[str, int, int]) -> None:
        self.resolver = resolver
        self.key = key
        self.tickets: list[Ticket] = []
        self.outcome: Outcome | None = None

    def __call__(self) -> None:
        """Make the look-up; its outcome, also an error, is kept for `finish`."""
        try:
            self.outcome = self.resolver._look_up(*self.key)
        except Exception as error:
            self.outcome = error
        except BaseException as error:
            # Somebody ends this greenlet or thread: the waiting ones learn it, and it goes on.
            self.outcome = error
            raise

    def finish(self, *_: object) -> None:
        """Tell everybody."""
        outcome = self.outcome
        if outcome is None:
            outcome = OSError("the look-up was abandoned")
        for ticket in self.resolver._take_tickets(self):
            try:
                ticket._tell(outcome)
            except RuntimeError:
                # An executor that closes takes no more calls. What it does not hear is nobody else's affair.
                pass


class Resolver:
    """Look host names up without blocking the caller.

    `lookup` is a blocking callable like `socket.getaddrinfo`, called as `lookup(host, port, 0, type)`; None
    is `socket.getaddrinfo` itself, in threads as it was before any monkey-patching. `run(function, done)`, if
    given, makes the look-ups instead of this resolver's own threads (at most four, each ends when nothing
    is left to look up): it must call `function()` where that may block, then `done` with anything.
    Identical look-ups in flight are made once.
    """

    def __init__(self, lookup: Lookup | None = None, run: Run | None = None) -> None:
        self.closed = False
        self._lookup = lookup
        self._run = run
        self._lock = original("_thread", "allocate_lock")()
        self._start_thread = original("_thread", "start_new_thread")
        self._inquiries: dict[tuple[str, int, int], _Inquiry] = {}
        self._queue: deque[_Inquiry] = deque()
        self._threads = 0
        self._pid = os.getpid()

    def resolve(self, host: str, port: int, type: int, done: Done) -> Ticket:
        """Look `host` up; `done` is called once, in another thread (or as `run` does), with the outcome.

        The outcome is a non-empty list of `(family, sockaddr)` in the order to try them, or an exception:
        an OSError (socket.gaierror) when there is no answer, whatever `lookup` raised otherwise.
        Raises RuntimeError after `close`.
        """
        if self.closed:
            raise RuntimeError("the resolver is closed")
        ticket = Ticket(done)
        key = (host, port, int(type))
        with self._lock:
            self._check_fork()
            inquiry = self._inquiries.get(key)
            new = inquiry is None
            if inquiry is None:
                inquiry = self._inquiries[key] = _Inquiry(self, key)
            ticket._inquiry = inquiry
            inquiry.tickets.append(ticket)
            start = False
            if new and self._run is None:
                self._queue.append(inquiry)
                start = self._threads < _MAX_THREADS
                self._threads += start
        if start:
            try:
                self._start_thread(self._work, ())
            except RuntimeError:
                self._no_thread(inquiry)
        elif new and self._run is not None:
            self._run(inquiry, inquiry.finish)
        return ticket

    def close(self) -> None:
        """Forget all look-ups; none of the waiting is told. Threads end when their current look-up does."""
        self.closed = True
        with self._lock:
            waiting = [ticket for inquiry in self._inquiries.values() for ticket in inquiry.tickets]
            self._inquiries.clear()
            self._queue.clear()
        for ticket in waiting:
            ticket.cancel()

    def _check_fork(self) -> None:
        if self._pid != os.getpid():
            # The threads stayed with the parent, and so did whoever waited for them.
            self._pid = os.getpid()
            self._threads = 0
            self._inquiries.clear()
            self._queue.clear()

    def _no_thread(self, inquiry: _Inquiry) -> None:
        """The system gives no thread: one that runs will do; without any, the look-up has failed."""
        with self._lock:
            self._threads -= 1
            if self._threads > 0 or inquiry not in self._queue:
                return
            self._queue.remove(inquiry)
        inquiry.outcome = OSError("no thread can be started for the look-up")
        inquiry.finish()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._threads -= 1
                    return
                inquiry = self._queue.popleft()
            try:
                inquiry()
            except BaseException:
                pass
            inquiry.finish()

    def _take_tickets(self, inquiry: _Inquiry) -> list[Ticket]:
        with self._lock:
            if self._inquiries.get(inquiry.key) is inquiry:
                del self._inquiries[inquiry.key]
            tickets, inquiry.tickets = inquiry.tickets, []
        return tickets

    def _forget(self, inquiry: _Inquiry, ticket: Ticket) -> None:
        with self._lock:
            if ticket in inquiry.tickets:
                inquiry.tickets.remove(ticket)
            if not inquiry.tickets and inquiry in self._queue:
                self._queue.remove(inquiry)
                if self._inquiries.get(inquiry.key) is inquiry:
                    del self._inquiries[inquiry.key]

    def _look_up(self, host: str, port: int, type: int) -> list[Candidate]:
        lookup = self._lookup
        if lookup is None:
            lookup = original("socket", "getaddrinfo") if self._run is None else socket.getaddrinfo
        try:
            entries = lookup(host, port, 0, type)
        except UnicodeError as error:
            raise socket.gaierror(_socket.EAI_NONAME, f"not a host name: {error}") from error
        found: dict[Candidate, None] = {}
        for family, _, _, _, sockaddr in entries:
            if family in (_socket.AF_INET, _socket.AF_INET6) and isinstance(sockaddr[0], str):
                found[int(family), tuple(sockaddr)] = None
        if not found:
            raise socket.gaierror(_socket.EAI_NONAME, "the name has no address")
        return list(found)
