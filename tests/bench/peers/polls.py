"""An engine alone: 100 descriptors watched, `--concurrency` of them ready, polled `--count` times.

The flavour is the engine's name; `epoll` is `select.epoll` with the token looked up, `pyev` pyev's
`Loop.poll`, and `libev-gevent` the engine `libev` on gevent's core.
"""

from __future__ import annotations

import contextlib
import gc
import socket
import sys
from collections.abc import Callable
from typing import Any

from .job import Stopwatch, parse_job

WATCHED = 100
ENGINES: list[object] = []  # which must outlive their methods written in C

Poll = Callable[[float], list[Any]]


def on_epoll(watched: list[socket.socket], tokens: list[object]) -> Poll:
    """`select.epoll`."""
    import select

    epoll = select.epoll()
    known = {}
    for sock, token in zip(watched, tokens, strict=True):
        epoll.register(sock, select.EPOLLIN)
        known[sock.fileno()] = token

    def poll(timeout: float) -> list[Any]:
        events = epoll.poll(timeout)
        for number, _bits in events:
            known[number]
        return events

    return poll


def on_pyev(watched: list[socket.socket], tokens: list[object]) -> Poll:
    """pyev itself."""
    import pyev

    loop = pyev.Loop()
    loop.data = [loop.io(sock, pyev.EV_READ, print) for sock in watched]
    for watcher, token in zip(loop.data, tokens, strict=True):
        watcher.watch(pyev.EV_READ, token)
    poll: Poll = loop.poll
    return poll


def on_engine(name: str, watched: list[socket.socket], tokens: list[object]) -> Poll:
    """One of the library's engines."""
    from evsockets.engines import READ, create_engine

    if name == "libev-gevent":
        name, sys.modules["pyev"] = "libev", None  # type: ignore[assignment]
    engine = create_engine(name)
    ENGINES.append(engine)
    for sock, token in zip(watched, tokens, strict=True):
        engine.watch(sock.fileno(), READ, token)
    return engine.poll


def main() -> None:
    """Poll, and say how many events there were."""
    job = parse_job()
    with contextlib.ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(WATCHED)]
        for each in (sock for pair in pairs for sock in pair):
            stack.enter_context(each)
        for _, right in pairs[: job.concurrency]:
            right.send(b"x")
        make = {"epoll": on_epoll, "pyev": on_pyev}.get(
            job.flavour, lambda *arguments: on_engine(job.flavour, *arguments)
        )
        poll = make([left for left, _ in pairs], [object() for _ in pairs])
        found = 0
        gc.disable()
        for _ in range(100):
            poll(1.0)
        watch = Stopwatch()
        for _ in range(job.count):
            for _token, _mask in poll(1.0):
                found += 1
        watch.report(found)


if __name__ == "__main__":
    main()
