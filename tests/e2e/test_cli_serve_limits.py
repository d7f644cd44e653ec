"""`evsockets serve` among clients that never stop sending, a little at a time: each has its time."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certificates import Authority
from support.command import Serving, serving

#: Seconds a request may take; much more than a busy machine keeps a packet waiting.
LIMIT = 1.5
GET = b"GET /page.txt HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = b"GET /page.txt HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "page.txt").write_text("0123456789")
    return tmp_path


@pytest.fixture
def server(site: Path) -> Iterator[Serving]:
    options = ["-p", "0", "--request-timeout", str(LIMIT), "--log"]
    with serving("serve", str(site), *options) as running:
        yield running


def connect(server: Serving) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def drip(began: float, clients: list[tuple[socket.socket, bytes]]) -> list[tuple[float, bytes]]:
    """Have each client send its piece every tenth of a second until its connection is closed; how long after
    `began`, a moment before any of them said something, that is, and the answer.

    Closed is what cannot be written to any more: the end of the answer alone does not stop such a client.
    """
    answers = [b""] * len(clients)
    held = [0.0] * len(clients)
    for sock, _ in clients:
        sock.settimeout(0.001)
    for _ in range(300):
        time.sleep(0.1)
        for number, (sock, piece) in enumerate(clients):
            if not held[number]:
                try:
                    with contextlib.suppress(TimeoutError):
                        answers[number] += sock.recv(65536)
                    sock.sendall(piece)
                except OSError:
                    held[number] = time.monotonic() - began
        if all(held):
            return list(zip(held, answers, strict=True))
    pytest.fail(f"still held after {time.monotonic() - began:.0f} s: {held}, {answers}")


def test_a_head_has_its_time(server: Serving) -> None:
    """With 408 (RFC 9110, 15.5.9), whatever it is that drips, on a new connection and on a kept one."""
    kinds = [
        (HEAD, b"X-a: aaaaaaaaaaaaa\r\n"),
        (HEAD + b"X: ", b"a" * 80),
        (b"", b"\r\n" * 40),
        (b"", b"\n" * 80),
        (b"", b"G" * 80),
    ]
    with contextlib.ExitStack() as stack:
        clients = []
        for number, (_, piece) in enumerate(kinds * 2):
            sock = stack.enter_context(connect(server))
            for _ in range(number // len(kinds)):
                sock.sendall(GET)
                assert sock.recv(65536).endswith(b"0123456789")
            clients.append((sock, piece))
        began = time.monotonic()
        for (sock, _), (before, _) in zip(clients, kinds * 2, strict=True):
            sock.sendall(before)
        for held, answer in drip(began, clients):
            assert held >= LIMIT
            assert answer.startswith(b"HTTP/1.1 408 ") or not answer  # a reset may take the answer away
    status, errors = server.end()
    assert status == 0
    assert "408" in errors.split()


def test_what_follows_the_last_answer_has_its_time(server: Serving) -> None:
    with contextlib.ExitStack() as stack:
        clients = []
        began = time.monotonic()
        for before in (POST, HEAD + b"Content-Length: 1000000\r\n\r\n", b"NONSENSE\r\n\r\n"):
            sock = stack.enter_context(connect(server))
            sock.sendall(before)
            assert sock.recv(65536).startswith((b"HTTP/1.1 4", b"HTTP/1.1 200 "))
            clients.append((sock, b"x" * 40))
        for held, more in drip(began, clients):
            assert held >= LIMIT
            assert more == b""


def test_a_crowd_that_drips_shuts_nobody_out(site: Path) -> None:
    options = ["-p", "0", "--request-timeout", "0.5", "--limit", "2"]
    with serving("serve", str(site), *options) as running, contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connect(running)) for _ in range(4)]
        for sock in crowd:
            sock.sendall(HEAD)
            sock.settimeout(0.01)
        with connect(running) as sock:
            sock.sendall(GET)
            sock.settimeout(0.1)
            for _ in range(200):
                for one in crowd:
                    with contextlib.suppress(OSError):
                        one.send(b"X-a: aaaaaaaaaaaaa\r\n")
                with contextlib.suppress(TimeoutError):
                    assert sock.recv(65536).endswith(b"0123456789")
                    return
    pytest.fail("the crowd holds both places")


def test_over_tls_too(site: Path, ca: Authority) -> None:
    secret = ca.server.options
    context = ssl.create_default_context(cafile=ca.ca_file)
    with serving("serve", str(site), "-p", "0", "--request-timeout", str(LIMIT), *secret) as running:
        plain = socket.create_connection(("127.0.0.1", running.port), timeout=20)
        with context.wrap_socket(plain, server_hostname="localhost") as sock:
            began = time.monotonic()
            sock.sendall(HEAD)
            assert drip(began, [(sock, b"X-a: aaaaaaaaaaaaa\r\n")])[0][0] >= LIMIT


def test_requests_one_after_the_other_have_each_their_own_time(server: Serving) -> None:
    with connect(server) as sock:
        began = time.monotonic()
        while time.monotonic() - began < 2 * LIMIT:
            for part in (GET[:20], GET[20:]):
                sock.sendall(part)
            assert sock.recv(65536).endswith(b"0123456789")


def test_a_late_head_that_comes_at_once_is_answered(server: Serving) -> None:
    """The time counts from a request's first byte: before that it is the idle time that does."""
    with connect(server) as sock:
        sock.settimeout(LIMIT + 0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.sendall(GET)
        sock.settimeout(20)
        assert sock.recv(65536).endswith(b"0123456789")


def test_who_falls_silent_is_cut_too(server: Serving) -> None:
    with connect(server) as begun, connect(server) as empty:
        begun.sendall(HEAD)
        empty.sendall(b"\r\n")
        for sock in (begun, empty):
            while sock.recv(65536):
                pass
