"""The client jobs straight on libev's watchers, as gevent's core binds them: callbacks, no greenlets."""

from __future__ import annotations

import socket
from importlib import import_module
from typing import Any

from .job import LINE, RECEIVE, REPLY_SIZE, REQUEST, Finish, Job, parse_job, run_client
from .raw_client import Link, dial

corecext: Any = import_module("gevent.libev.corecext")
READ, WRITE = 1, 2


def fanout(job: Job, count: int) -> int:
    """Short requests, `job.concurrency` at a time, each read to its end."""
    loop = corecext.loop(default=False)
    started = finished = 0

    def start() -> None:
        nonlocal started
        started += 1
        link = Link(dial(job.port))
        watcher = loop.io(link.sock.fileno(), WRITE)
        watcher.start(ready, link, watcher)

    def ready(link: Link, watcher: Any) -> None:
        nonlocal finished
        if link.stage == 0:
            problem = link.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if problem:
                raise OSError(problem, "connect")
            link.sock.send(REQUEST)
            link.stage = 2
            watcher.stop()
            watcher.events = READ
            watcher.start(ready, link, watcher)
            return
        data = link.sock.recv(RECEIVE)
        if data:
            link.received += len(data)
            return
        if link.received != REPLY_SIZE:
            raise ConnectionError("short reply")
        watcher.stop()
        watcher.close()
        link.sock.close()
        finished += 1
        if started < count:
            start()

    for _ in range(min(count, job.concurrency)):
        start()
    loop.run()
    loop.destroy()
    return finished


def lines(job: Job, count: int, connections: int, finish: Finish) -> int:
    """Lines out and back on `connections` connections, `job.depth` outstanding on each."""
    loop = corecext.loop(default=False)
    quota = count // connections
    busy = connections
    watchers = []

    def ready(link: Link, watcher: Any) -> None:
        nonlocal busy
        if not link.stage:
            link.stage = 1
            link.sent = min(job.depth, quota)
            link.sock.send(LINE * link.sent)
            watcher.stop()
            watcher.events = READ
            watcher.start(ready, link, watcher)
            return
        data = link.sock.recv(RECEIVE)
        frames = (link.partial + data).split(b"\n")
        link.partial = frames.pop()
        link.received += len(frames)
        more = min(len(frames), quota - link.sent)
        if more:
            link.sent += more
            link.sock.send(LINE * more)
        elif link.received == quota:
            busy -= 1
            if not busy:
                loop.break_()

    for _ in range(connections):
        link = Link(dial(job.port))
        watcher = loop.io(link.sock.fileno(), WRITE)
        watcher.start(ready, link, watcher)
        watchers.append((link, watcher))
    loop.run()
    finish()
    for link, watcher in watchers:
        watcher.stop()
        watcher.close()
        link.sock.close()
    loop.destroy()
    return quota * connections


if __name__ == "__main__":
    run_client(parse_job(), fanout, lines)
