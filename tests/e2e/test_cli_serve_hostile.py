"""`evsockets serve` among clients that break off, say nothing, or talk nonsense."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certificates import Authority
from support.command import HANGS, Serving, program, serving
from support.machine import MIB, comes_true, resident
from support.wire import reset

GET = b"GET /page.txt HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "page.txt").write_text("0123456789")
    with (tmp_path / "big.bin").open("wb") as file:
        file.truncate(64 << 20)
    return tmp_path


@pytest.fixture
def server(site: Path) -> Iterator[Serving]:
    with serving("serve", str(site), "-p", "0") as running:
        yield running


def connect(server: Serving) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def works(server: Serving) -> None:
    with connect(server) as sock:
        sock.sendall(GET)
        assert sock.recv(65536).endswith(b"0123456789")


def settles(server: Serving, descriptors: int) -> None:
    """Descriptors go back to what they were; the server's last events may be on their way."""
    for _ in range(500):
        if server.descriptors() <= descriptors:
            return
        time.sleep(0.01)
    pytest.fail(f"{server.descriptors()} descriptors instead of {descriptors}")


def ends_well(server: Serving) -> None:
    status, errors = server.end()
    assert status == 0, errors
    assert "Traceback" not in errors
    assert "Warning" not in errors


@pytest.mark.parametrize("first", [b"\x16\x03\x01\x02", b"garbage\r\n", b"\r\nGET /\r\n"])
def test_what_is_no_request_is_refused_at_once(engine: str, site: Path, first: bytes) -> None:
    """Before the rest of it, which may never come: not by a time-out, which would be 408 or no answer."""
    with serving("serve", str(site), "-p", "0", "--engine", engine) as server:
        for before in (b"", GET):
            with connect(server) as sock:
                sock.sendall(before)
                assert not before or sock.recv(65536).endswith(b"0123456789")
                sock.sendall(first)
                assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")
        ends_well(server)


def test_clients_that_go_in_the_middle_of_an_answer(server: Serving) -> None:
    works(server)
    before = server.descriptors()
    for number in range(40):
        sock = connect(server)
        sock.sendall(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(1000)
        reset(sock) if number % 2 else sock.close()
    settles(server, before)
    ends_well(server)


def test_a_silent_crowd_delays_nobody(server: Serving) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(connect(server))
        readers = []
        for _ in range(10):
            reader = stack.enter_context(connect(server))
            reader.sendall(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")  # and never reads it
            readers.append(reader)
        for _ in range(50):
            works(server)


@pytest.mark.parametrize("encrypted", [False, True])
def test_unread_answers_are_bounded(engine: str, site: Path, ca: Authority, encrypted: bool) -> None:
    """Clients that ask without end and never read: their questions stay in the kernel, and memory flat."""
    (site / "page.bin").write_bytes(bytes(60_000))
    secret = ca.server.options if encrypted else []
    context = ssl.create_default_context(cafile=ca.ca_file)
    asking = b"GET /page.bin HTTP/1.1\r\nHost: x\r\n\r\n" * 100
    with (
        serving("serve", str(site), "-p", "0", "--engine", engine, *secret) as running,
        contextlib.ExitStack() as stack,
    ):
        clients = []
        for _ in range(20):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            client.settimeout(20)
            client.connect(("127.0.0.1", running.port))
            if encrypted:
                client = stack.enter_context(context.wrap_socket(client, server_hostname="localhost"))
            client.settimeout(0.05)
            clients.append(client)
        before = resident(running.process.pid)
        asked = 0
        for client in clients:
            with contextlib.suppress(TimeoutError):
                while asked < 200 * len(clients) * len(asking):  # never: it stops taking them
                    asked += client.send(asking)
        # All the answers together would be gigabytes; what gathers for one client is at most 64 KiB,
        # beside the piece that is on its way.
        assert asked // len(asking) * 100 * 60_000 > 256 * MIB
        assert resident(running.process.pid) - before < len(clients) * 256 * 1024 + 4 * MIB


def test_out_of_descriptors_and_back(engine: str, site: Path) -> None:
    with serving("serve", str(site), "-p", "0", "--engine", engine, descriptors=48) as running:
        works(running)
        before = running.descriptors()
        with contextlib.ExitStack() as stack:
            for _ in range(80):
                stack.enter_context(connect(running))
            for _ in range(500):
                if running.descriptors() >= 47:
                    break
                time.sleep(0.01)
        for _ in range(500):
            with connect(running) as sock:
                sock.sendall(GET)
                answer = sock.recv(65536)
            if answer.endswith(b"0123456789"):
                break
            # The last of the crowd are still being taken in and found to be gone.
            assert answer.startswith(b"HTTP/1.1 503 ")
        settles(running, before)
        works(running)
        status, errors = running.end()
        assert status == 0, errors
        assert "Traceback" not in errors
        assert 1 <= errors.count("Too many open files") <= 10  # an episode each, not an attempt


def test_limit_holds_others_back_until_one_goes(site: Path) -> None:
    with serving("serve", str(site), "-p", "0", "--limit", "1") as running:
        first = connect(running)
        first.sendall(GET)
        assert first.recv(65536).endswith(b"0123456789")
        with connect(running) as second:
            second.sendall(GET)
            second.settimeout(0.3)
            with pytest.raises(TimeoutError):
                second.recv(65536)
            first.close()
            second.settimeout(20)
            assert second.recv(65536).endswith(b"0123456789")


@pytest.mark.parametrize("how", ["deadline", "second signal"])
def test_an_answer_that_nobody_reads_does_not_hold_up_the_end(engine: str, site: Path, how: str) -> None:
    """Aborted at the deadline, and said so; a second signal ends all at once."""
    seconds = "0.3" if how == "deadline" else "600"
    options = ["-p", "0", "--engine", engine, "--drain", seconds]
    with serving("serve", str(site), *options) as running, connect(running) as busy:
        busy.sendall(b"GET /big.bin HTTP/1.0\r\n\r\n")
        assert busy.recv(100)
        running.process.send_signal(signal.SIGTERM)
        if how == "second signal":
            comes_true(running.refuses, "it still accepts")
            running.process.send_signal(signal.SIGINT)
        _, errors = running.process.communicate(timeout=HANGS)
        assert running.process.returncode == 0
        assert "Traceback" not in errors
        if how == "deadline":
            assert "drained: 0 finished, 0 idle, 1 aborted; aborted <AcceptedSocket" in errors
            assert "writing" in errors


@pytest.mark.parametrize("log", ["2>/dev/full", "2> >(exec true)"])
def test_a_log_that_cannot_be_written_stops_nobody(site: Path, log: str) -> None:
    command = f'exec "$@" {log}'
    arguments = [sys.executable, "-m", "evsockets", "serve", str(site), "-p", "0", "--log"]
    with program("bash", "-c", command, "bash", *arguments) as running:
        for _ in range(20):
            works(running)
        assert running.end()[0] == 0


@pytest.mark.slow
def test_a_byte_a_second_is_too_slow(site: Path) -> None:
    with serving("serve", str(site), "-p", "0") as server, connect(server) as sock:
        sock.settimeout(0.5)
        began = time.monotonic()
        ended = False
        for byte in b"GET /page.txt HTTP/1.1\r\nHost: x\r\nX-Very-Slow: yes":
            with contextlib.suppress(TimeoutError):
                try:
                    sock.sendall(bytes([byte]))
                    ended = sock.recv(100) == b""
                except (BrokenPipeError, ConnectionResetError):
                    ended = True
            if ended:
                break
        assert ended
        assert time.monotonic() - began >= 9
