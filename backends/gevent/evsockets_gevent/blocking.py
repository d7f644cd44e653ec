"""Blocking calls beside a hub: look-ups by gevent's resolver, other calls cooperative or in its threads."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any


class BlockingCalls:
    """Runs calls in greenlets of the calling thread's hub."""

    def __init__(self) -> None:
        self._greenlets: set[Any] = set()

    def run(self, function: Callable[[], Any], done: Callable[[Any], object]) -> None:
        """Run `function()` without blocking the hub; then call `done(outcome)` in a greenlet.

        `outcome` is the result or the exception. A `functools.partial` of `socket.getaddrinfo` goes to
        gevent's resolver, whichever is configured. Anything else runs in a greenlet where gevent has
        patched `socket.getaddrinfo`, for then it blocks cooperatively; else in the hub's thread pool.
        """
        import gevent

        greenlet = gevent.spawn(_run, function, done)
        self._greenlets.add(greenlet)
        greenlet.link(self._greenlets.discard)

    def close(self) -> None:
        """Give up what is under way; its `done` is not called."""
        for greenlet in list(self._greenlets):
            greenlet.kill(block=False)
        self._greenlets.clear()


def _run(function: Callable[[], Any], done: Callable[[Any], object]) -> None:
    outcome: Any
    try:
        outcome = _call(function)
    except Exception as error:
        outcome = error
    done(outcome)


def _call(function: Callable[[], Any]) -> Any:
    import gevent
    import gevent.monkey
    import gevent.socket

    if isinstance(function, partial):
        plain = gevent.monkey.get_original("socket", "getaddrinfo")
        if function.func in (plain, socket.getaddrinfo, gevent.socket.getaddrinfo):
            return gevent.socket.getaddrinfo(*function.args, **function.keywords)
    if gevent.monkey.is_object_patched("socket", "getaddrinfo"):
        # In a thread of the pool, patched calls would start a hub of its own, which nobody ends.
        return function()
    return gevent.get_hub().threadpool.apply(function)
