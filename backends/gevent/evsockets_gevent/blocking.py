"""Blocking calls beside a hub: in greenlets where they are cooperative, else each in a thread of its own.

gevent's own thread pool is not used: it has ten threads for the whole program, and as many names that hang
would stop everything else that goes through it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any


class BlockingCalls:
    """Runs calls in greenlets of the calling thread's hub, and in threads. How many at a time is the
    caller's affair."""

    def __init__(self) -> None:
        self._greenlets: set[Any] = set()
        self._closed = False

    def run(self, function: Callable[[], Any], done: Callable[[Any], object]) -> None:
        """Run `function()` without blocking the hub; then call `done(outcome)` in a greenlet or a thread.

        `outcome` is the result or the exception. A `functools.partial` of `socket.getaddrinfo` goes to
        gevent's resolver if it is one without threads (`GEVENT_RESOLVER`), else to the system's. Anything
        else runs in a greenlet where gevent has patched `socket.getaddrinfo`, for then it blocks
        cooperatively.
        """
        import gevent
        from gevent.monkey import get_original

        function, cooperative = _prepare(function)
        if not cooperative:
            try:
                get_original("_thread", "start_new_thread")(self._thread, (function, done))
            except RuntimeError as error:  # the system gives none
                gevent.spawn(done, OSError(f"no thread can be started: {error}"))
            return
        greenlet = gevent.spawn(_greenlet, function, done)
        self._greenlets.add(greenlet)
        greenlet.link(self._greenlets.discard)

    def _thread(self, function: Callable[[], Any], done: Callable[[Any], object]) -> None:
        from gevent._hub_local import get_hub_if_exists

        outcome: Any
        try:
            outcome = function()
        except BaseException as error:
            outcome = error
        hub = get_hub_if_exists()
        if hub is not None:  # the function used gevent: what that made for this thread ends with it
            hub.destroy(destroy_loop=True)
        if not self._closed:
            done(outcome)

    def close(self) -> None:
        """Give up what is under way; its `done` is not called."""
        self._closed = True
        for greenlet in list(self._greenlets):
            greenlet.kill(block=False)
        self._greenlets.clear()


def _greenlet(function: Callable[[], Any], done: Callable[[Any], object]) -> None:
    outcome: Any
    try:
        outcome = function()
    except Exception as error:
        outcome = error
    done(outcome)


def _prepare(function: Callable[[], Any]) -> tuple[Callable[[], Any], bool]:
    """What to call for `function`, and whether that is cooperative."""
    import gevent
    import gevent.monkey
    import gevent.socket
    from gevent.resolver.thread import Resolver

    if isinstance(function, partial):
        plain = gevent.monkey.get_original("socket", "getaddrinfo")
        if function.func in (plain, socket.getaddrinfo, gevent.socket.getaddrinfo):
            cooperative = not isinstance(gevent.get_hub().resolver, Resolver)
            look_up = gevent.socket.getaddrinfo if cooperative else plain
            return partial(look_up, *function.args, **function.keywords), cooperative
    # In a thread, patched calls would have a hub of its own.
    return function, gevent.monkey.is_object_patched("socket", "getaddrinfo")
