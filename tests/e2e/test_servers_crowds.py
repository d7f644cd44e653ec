"""Crowds: many connections open at once, and silent ones beside those that work."""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import ssl
import statistics
import time
from collections.abc import Iterator

import pytest

from support.certificates import Authority
from support.command import Serving, serving
from support.machine import comes_true, descriptors, processor_time, resident

MANY = 10_000
SILENT = 1000
WORKING = 100


class Crowd(list[socket.socket]):
    """Connections to one server, closed together."""

    def __init__(self, server: Serving, count: int) -> None:
        super().__init__()
        try:
            for number in range(count):
                sock = socket.socket()
                self.append(sock)
                sock.settimeout(20)
                # More than one source address, so that a port of its own is there for each.
                sock.bind((f"127.0.0.{number % 4 + 1}", 0))
                sock.connect(("127.0.0.1", server.port))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        for sock in self:
            sock.close()

    def talk(self, data: bytes) -> None:
        """Each says `data` and hears it again."""
        for sock in self:
            sock.sendall(data)
        for sock in self:
            assert sock.recv(100) == data


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_connections_at_once(engine: str) -> None:
    with (
        descriptors(MANY + 500) as allowed,
        serving("echo", "tcp://127.0.0.1:0", "--engine", engine) as server,
    ):
        count = min(MANY, allowed - 400)
        with Crowd(server, 1) as first:
            first.talk(b"hello")  # the engine's own descriptors are there from now on
            before = server.descriptors() - 1
        memory = resident(server.process.pid)
        with Crowd(server, count) as crowd:
            crowd.talk(b"hello")
            comes_true(lambda: server.descriptors() - before == count, "not all are open")
            used = processor_time(server.process.pid)
            time.sleep(0.5)  # the measured time itself: what ten thousand idle ones cost
            assert processor_time(server.process.pid) - used < 0.25
            assert (resident(server.process.pid) - memory) / count < 8192
            crowd.talk(b"again")
        with Crowd(server, 1) as another:
            another.talk(b"still there")
        comes_true(lambda: server.descriptors() <= before, "descriptors are left open")
        assert server.end()[0] == 0
    if count < MANY:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        pytest.skip(
            f"{count} were served; this machine allows a process {hard} descriptors, not {MANY + 400}"
        )


def latency(working: list[socket.socket], rounds: int) -> float:
    """The median time of an echo, all of them asking at once, seconds."""
    taken = []
    with selectors.DefaultSelector() as selector:
        for sock in working:
            selector.register(sock, selectors.EVENT_READ)
        for _ in range(rounds):
            asked = {}
            for sock in working:
                sock.sendall(b"x" * 64)
                asked[sock] = time.perf_counter()
            while asked:
                ready = selector.select(20)
                assert ready, f"{len(asked)} are never answered"
                for key, _ in ready:
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    assert sock.recv(100) == b"x" * 64
                    taken.append(time.perf_counter() - asked.pop(sock))
    return statistics.median(taken)


@contextlib.contextmanager
def wrapped(working: list[socket.socket], ca: Authority) -> Iterator[list[socket.socket]]:
    context = ssl.create_default_context(cafile=ca.ca_file)
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(context.wrap_socket(sock, server_hostname="localhost")) for sock in working
        ]


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_silent_ones_do_not_slow_the_working_ones(engine: str, ca: Authority, scheme: str) -> None:
    """A thousand that connect and say nothing (in TLS: never begin the handshake) beside a hundred that
    work: the median latency moves by less than a factor of two. Compared within the same seconds, on the
    same connections; a disturbed comparison is repeated."""
    secret = ca.server.options
    address = f"{scheme}://127.0.0.1:0"
    with (
        descriptors(SILENT + WORKING + 400) as allowed,
        serving("echo", address, "--engine", engine, *(secret if scheme == "tls" else [])) as server,
        Crowd(server, WORKING) as plain,
        wrapped(plain, ca) if scheme == "tls" else contextlib.nullcontext(plain) as working,
    ):
        assert allowed >= SILENT + WORKING + 100
        latency(working, 3)
        before = server.descriptors()
        ratios = []
        for _ in range(5):
            alone = latency(working, 10)
            with Crowd(server, SILENT):
                comes_true(lambda: server.descriptors() >= before + SILENT, "not all are accepted")
                beside = latency(working, 10)
            ratios.append(beside / alone)
            if ratios[-1] < 2:
                break
            comes_true(lambda: server.descriptors() <= before, "not all have gone")
        assert min(ratios) < 2, ratios
