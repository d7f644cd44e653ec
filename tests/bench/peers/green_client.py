"""The client jobs on plain gevent: a greenlet a connection."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .job import CHUNK, HOST, LINE, NAME, RECEIVE, REPLY_SIZE, REQUEST, Finish, Job, parse_job, run_client

gevent: Any = import_module("gevent")
pools: Any = import_module("gevent.pool")
sockets: Any = import_module("gevent.socket")
greenssl: Any = import_module("gevent.ssl")
events: Any = import_module("gevent.event")


def fanout(job: Job, count: int) -> int:
    """Short requests, `job.concurrency` at a time, each read to its end."""
    context = None
    if job.ca:
        context = greenssl.create_default_context(cafile=job.ca)
    pool = pools.Pool(job.concurrency)
    finished = 0

    def request() -> None:
        nonlocal finished
        sock = sockets.create_connection((HOST, job.port))
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname=NAME)
        sock.sendall(REQUEST)
        received = 0
        while data := sock.recv(RECEIVE):
            received += len(data)
        sock.close()
        if received != REPLY_SIZE:
            raise ConnectionError("short reply")
        finished += 1

    for _ in range(count):
        pool.spawn(request)
    pool.join(raise_error=True)
    return finished


def lines(job: Job, count: int, connections: int, finish: Finish) -> int:
    """Lines out and back on `connections` connections, `job.depth` outstanding on each."""
    quota = count // connections
    busy = connections
    finished = events.Event()
    over = events.Event()

    def converse() -> None:
        nonlocal busy
        sock = sockets.create_connection((HOST, job.port))
        sent = min(job.depth, quota)
        sock.sendall(LINE * sent)
        received = 0
        partial = b""
        while received < quota:
            data = sock.recv(RECEIVE)
            if not data:
                raise ConnectionError("the server went away")
            frames = (partial + data).split(b"\n")
            partial = frames.pop()
            received += len(frames)
            more = min(len(frames), quota - sent)
            if more:
                sent += more
                sock.sendall(LINE * more)
        busy -= 1
        if not busy:
            finished.set()
        over.wait()
        sock.close()

    links = [gevent.spawn(converse) for _ in range(connections)]
    finished.wait()
    finish()
    over.set()
    gevent.joinall(links, raise_error=True)
    return quota * connections


def source(job: Job) -> int:
    """Receive everything the server has."""
    sock = sockets.create_connection((HOST, job.port))
    total = 0
    while data := sock.recv(RECEIVE):
        total += len(data)
    return total


def sink(job: Job) -> int:
    """Send `job.count` bytes and wait until the server has them."""
    sock = sockets.create_connection((HOST, job.port))
    for _ in range(job.count // len(CHUNK)):
        sock.sendall(CHUNK)
    sock.shutdown(sockets.SHUT_WR)
    sock.recv(1)
    return job.count


if __name__ == "__main__":
    run_client(parse_job(), fanout, lines, source, sink)
