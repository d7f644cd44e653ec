"""The examples in the sequential style, with real peers."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from support.certificates import Authority
from support.command import HANGS, ROOT, program
from support.command import run as run_any
from support.machine import comes_true
from support.servers import Exim, Nginx, Redis


def run(engine: str, name: str, *arguments: object, given: str = "") -> tuple[int, str, str]:
    """The example's exit status, output and errors."""
    path = ROOT / "docs" / "examples" / f"{name}.py"
    ran = run_any(sys.executable, path, *arguments, input=given, EVSOCKETS_ENGINE=engine)
    return ran.returncode, ran.stdout, ran.stderr


def tcp(port: int) -> str:
    return f"tcp://127.0.0.1:{port}"


# ---- SMTP ------------------------------------------------------------------------------------------


def test_smtp(engine: str, exim: Exim, ca: Authority) -> None:
    words = f"of {engine}\n.a dot\n"
    people = "tester", "secret", "me@localhost", "you@localhost", ca.ca_file
    code, shown, errors = run(engine, "smtp", tcp(exim.port), *people, given=f"Subject: hi\n\n{words}")
    assert (code, errors) == (0, "") and shown.startswith("OK ")
    comes_true(lambda: exim.mailbox.exists() and words in exim.mailbox.read_text(), "the mail comes")


@pytest.mark.parametrize(("password", "to", "why"), [
    ("wrong", "you@localhost", "535"), ("secret", "you@elsewhere.test", "relay not permitted"),
])  # fmt: skip
def test_smtp_refused(engine: str, exim: Exim, ca: Authority, password: str, to: str, why: str) -> None:
    people = "tester", password, "me@localhost", to, ca.ca_file
    code, shown, errors = run(engine, "smtp", tcp(exim.port), *people, given="x")
    assert (code, errors) == (1, "") and shown.startswith("not sent: ") and why in shown


def test_smtp_with_a_certificate_of_nobody_known(engine: str, exim: Exim) -> None:
    code, shown, _ = run(engine, "smtp", tcp(exim.port), "tester", "secret", "a@localhost", "b@localhost")
    assert code == 1 and "certificate was refused" in shown


# ---- Redis -----------------------------------------------------------------------------------------


def test_redis_pipeline(engine: str, redis: Redis) -> None:
    assert run(engine, "redis", tcp(redis.port), "pipeline", 1000) == (0, "(1000, [b'one', b'two'])\n", "")


def test_redis_subscription(engine: str, redis: Redis) -> None:
    path = ROOT / "docs" / "examples" / "redis.py"
    command = [sys.executable, str(path), tcp(redis.port), "subscribe", f"news-{engine}", "3"]
    with (
        program(*command, EVSOCKETS_ENGINE=engine) as running,
        socket.create_connection(("127.0.0.1", redis.port), HANGS) as publisher,
    ):
        assert running.banner == "subscribed"
        for word in ("one", "two", "three"):
            publisher.sendall(f"PUBLISH news-{engine} {word}\r\n".encode())
            assert publisher.recv(100) == b":1\r\n"
        output, errors = running.process.communicate(timeout=HANGS)
    assert (output, errors) == ("[b'one', b'two', b'three']\n", "")


# ---- the others ------------------------------------------------------------------------------------


def test_http_client(engine: str, nginx: Nginx) -> None:
    size = 500 * len(nginx.page)
    expected = f"500 pages, {size} bytes, 0 failed\n"
    assert run(engine, "http_client", tcp(nginx.http), 500) == (0, expected, "")


@pytest.fixture
def deaf() -> Iterator[int]:
    """The port of a UDP server that answers every third question."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def answer() -> None:
            for number in range(1, 1000):
                question, asker = sock.recvfrom(1000)
                if question == b"end":
                    return
                if number % 3 == 0:
                    sock.sendto(b"it is me", asker)

        thread = threading.Thread(target=answer)
        thread.start()
        port: int = sock.getsockname()[1]
        yield port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", ("127.0.0.1", port))
        thread.join()


def test_udp_with_retries(engine: str, deaf: int) -> None:
    began = time.monotonic()
    assert run(engine, "udp_retry", f"udp://127.0.0.1:{deaf}", "who is there?") == (0, "it is me\n", "")
    assert time.monotonic() - began >= 0.3  # two attempts, of 0.1 s and 0.2 s
