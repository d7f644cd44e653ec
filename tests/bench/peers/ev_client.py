"""The client jobs straight on libev's watchers, as gevent's core binds them: callbacks, no greenlet for each.

The flavour says which loop: one of its own, or `hub`, gevent's, with the main greenlet waiting for the end.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from importlib import import_module
from typing import Any

from .job import HOST, LINE, RECEIVE, REPLY_SIZE, REQUEST, Finish, Job, Stopwatch, parse_job, run_client
from .raw_client import Link, dial

READ, WRITE = 1, 2


class PrivateLoop:
    """A libev loop that is nobody's."""

    def __init__(self) -> None:
        self.loop: Any = import_module("gevent.libev.corecext").loop(default=False)
        self.io: Callable[[int, int], Any] = self.loop.io

    def run(self) -> None:
        """Let watchers fire until `end`."""
        self.loop.run()

    def end(self) -> None:
        """Have `run` return; called in a callback."""
        self.loop.break_()

    def close(self) -> None:
        """Give it back."""
        self.loop.destroy()


class HubLoop:
    """gevent's own loop; the greenlet that calls `run` waits meanwhile."""

    def __init__(self) -> None:
        hub: Any = import_module("gevent").get_hub()
        self.waiter: Any = None
        self.make_waiter: Callable[[], Any] = import_module("gevent.hub").Waiter
        self.io: Callable[[int, int], Any] = hub.loop.io

    def run(self) -> None:
        """Let watchers fire until `end`."""
        self.waiter = self.make_waiter()
        self.waiter.get()

    def end(self) -> None:
        """Have `run` return; called in a callback."""
        self.waiter.switch(None)

    def close(self) -> None:
        """It stays gevent's."""


def make_loop(job: Job) -> PrivateLoop | HubLoop:
    """The loop the flavour asks for."""
    return HubLoop() if job.flavour == "hub" else PrivateLoop()


def fanout(job: Job, count: int) -> int:
    """Short requests, `job.concurrency` at a time, each read to its end."""
    loop = make_loop(job)
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
        elif finished == count:
            loop.end()

    for _ in range(min(count, job.concurrency)):
        start()
    loop.run()
    loop.close()
    return finished


def lines(job: Job, count: int, connections: int, finish: Finish) -> int:
    """Lines out and back on `connections` connections, `job.depth` outstanding on each."""
    loop = make_loop(job)
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
                loop.end()

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
    loop.close()
    return quota * connections


def turn(job: Job) -> None:
    """One pair of busy sockets beside `job.concurrency` idle ones; see the library's program."""
    loop = make_loop(job)
    passed = 0
    idle = [socket.create_connection((HOST, job.port)) for _ in range(job.concurrency)]
    watchers = []
    pair = socket.socketpair()

    def pass_on(sock: socket.socket) -> None:
        nonlocal passed
        sock.send(sock.recv(RECEIVE))
        passed += 1
        if passed == job.count:
            loop.end()

    def never() -> None:
        raise ConnectionError("an idle connection is not idle")

    for sock in idle:
        watcher = loop.io(sock.fileno(), READ)
        watcher.start(never)
        watchers.append(watcher)
    for sock in pair:
        sock.setblocking(False)
        watcher = loop.io(sock.fileno(), READ)
        watcher.start(pass_on, sock)
        watchers.append(watcher)
    pair[0].send(LINE)
    watch = Stopwatch()
    loop.run()
    watch.report(job.count)
    for watcher in watchers:
        watcher.stop()


if __name__ == "__main__":
    chosen = parse_job()
    if chosen.work == "turn":
        turn(chosen)
    else:
        run_client(chosen, fanout, lines)
