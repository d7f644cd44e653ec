"""The client jobs as hand-written `select.epoll` loops: what every ratio is to."""

from __future__ import annotations

import select
import socket
import ssl

from .job import (
    CHUNK,
    HOST,
    LINE,
    NAME,
    RECEIVE,
    REPLY_SIZE,
    REQUEST,
    Finish,
    Job,
    Stopwatch,
    parse_job,
    run_client,
)

IN, OUT = select.EPOLLIN, select.EPOLLOUT


class Link:
    """One connection."""

    __slots__ = ("partial", "received", "sent", "sock", "stage")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.stage = 0
        self.sent = self.received = 0
        self.partial = b""


def dial(port: int) -> socket.socket:
    """A non-blocking socket on its way to the server."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.connect_ex((HOST, port))
    return sock


def fanout(job: Job, count: int) -> int:
    """Short requests, `job.concurrency` at a time, each read to its end."""
    context = job.client_context()
    poller = select.epoll()
    links: dict[int, Link] = {}
    started = finished = 0
    while finished < count:
        while started < count and len(links) < job.concurrency:
            sock = dial(job.port)
            links[sock.fileno()] = Link(sock)
            poller.register(sock.fileno(), OUT)
            started += 1
        for fd, _ in poller.poll():
            link = links[fd]
            if link.stage == 0:
                problem = link.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if problem:
                    raise OSError(problem, "connect")
                if context is None:
                    link.sock.send(REQUEST)
                    link.stage = 2
                    poller.modify(fd, IN)
                    continue
                link.sock = context.wrap_socket(
                    link.sock, server_hostname=NAME, do_handshake_on_connect=False
                )
                link.stage = 1
                poller.modify(fd, IN)
            if link.stage == 1:
                assert isinstance(link.sock, ssl.SSLSocket)
                try:
                    link.sock.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                link.sock.send(REQUEST)
                link.stage = 2
                continue
            try:
                data = link.sock.recv(RECEIVE)
            except ssl.SSLWantReadError:
                continue
            if data:
                link.received += len(data)
                continue
            if link.received != REPLY_SIZE:
                raise ConnectionError("short reply")
            del links[fd]
            link.sock.close()
            finished += 1
    poller.close()
    return finished


def lines(job: Job, count: int, connections: int, finish: Finish) -> int:
    """Lines out and back on `connections` connections, `job.depth` outstanding on each."""
    quota = count // connections
    poller = select.epoll()
    links: dict[int, Link] = {}
    for _ in range(connections):
        sock = dial(job.port)
        links[sock.fileno()] = Link(sock)
        poller.register(sock.fileno(), OUT)
    busy = connections
    while busy:
        for fd, _ in poller.poll():
            link = links[fd]
            if not link.stage:
                link.stage = 1
                link.sent = min(job.depth, quota)
                link.sock.send(LINE * link.sent)
                poller.modify(fd, IN)
                continue
            data = link.sock.recv(RECEIVE)
            if not data:
                raise ConnectionError("the server went away")
            frames = (link.partial + data).split(b"\n")
            link.partial = frames.pop()
            link.received += len(frames)
            more = min(len(frames), quota - link.sent)
            if more:
                link.sent += more
                link.sock.send(LINE * more)
            elif link.received == quota:
                busy -= 1
    finish()
    for link in links.values():
        link.sock.close()
    poller.close()
    return quota * connections


def source(job: Job) -> int:
    """Receive everything the server has."""
    poller = select.epoll()
    sock = dial(job.port)
    poller.register(sock.fileno(), IN)
    total = 0
    if job.flavour == "into":
        buffer = bytearray(262144)
        while True:
            poller.poll()
            got = sock.recv_into(buffer)
            if not got:
                return total
            total += got
    while True:
        poller.poll()
        data = sock.recv(RECEIVE)
        if not data:
            return total
        total += len(data)


def sink(job: Job) -> int:
    """Send `job.count` bytes and wait until the server has them."""
    poller = select.epoll()
    sock = dial(job.port)
    poller.register(sock.fileno(), OUT)
    chunk = memoryview(CHUNK * 4 if job.flavour == "into" else CHUNK)
    left = job.count
    offset = 0
    while left:
        poller.poll()
        sent = sock.send(chunk[offset : offset + left])
        left -= sent
        offset = (offset + sent) % len(chunk)
    sock.shutdown(socket.SHUT_WR)
    poller.modify(sock.fileno(), IN)
    poller.poll()
    if sock.recv(1) != b"k":
        raise ConnectionError("the server did not take everything")
    return job.count


def turn(job: Job) -> None:
    """One pair of busy sockets beside `job.concurrency` idle ones; see the library's program."""
    idle = [socket.create_connection((HOST, job.port)) for _ in range(job.concurrency)]
    poller = select.epoll()
    for sock in idle:
        poller.register(sock.fileno(), IN)
    pair = socket.socketpair()
    ends = {sock.fileno(): sock for sock in pair}
    for sock in pair:
        sock.setblocking(False)
        poller.register(sock.fileno(), IN)
    pair[0].send(LINE)
    watch = Stopwatch()
    for _ in range(job.count):
        for fd, _mask in poller.poll():
            ends[fd].send(ends[fd].recv(RECEIVE))
    watch.report(job.count)


if __name__ == "__main__":
    chosen = parse_job()
    if chosen.work == "turn":
        turn(chosen)
    else:
        run_client(chosen, fanout, lines, source, sink)
