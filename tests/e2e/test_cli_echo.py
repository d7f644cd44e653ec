"""`evsockets echo`: every transport, at once and late, and its orderly end."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.certificates import Authority
from support.command import environment, run_here, serving


def test_tcp_on_every_engine_gives_back_what_it_gets(engine: str) -> None:
    data = os.urandom(1 << 20)
    with serving("echo", "tcp://127.0.0.1:0", "--engine", engine) as running:
        assert running.banner.endswith(f"on engine {engine}")
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as sock:
            got = b""
            for at in range(0, len(data), 65536):
                sock.sendall(data[at : at + 65536])
                while len(got) < at + 65536:
                    got += sock.recv(65536)
            assert got == data
            sock.sendall(b"last")
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(10) == b"last"
            assert sock.recv(10) == b""
        status, errors = running.end()
        assert status == 0
        assert re.fullmatch(r"evsockets: drained: [01] finished, [01] idle, 0 aborted\n", errors)


def test_udp_gives_back_every_datagram_empty_ones_too(engine: str) -> None:
    with serving("echo", "udp://127.0.0.1:0", "--engine", engine) as running:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(20)
            sock.connect(("127.0.0.1", running.port))
            for data in (b"one", b"", b"x" * 60000):
                sock.send(data)
                assert sock.recv(65536) == data
        assert running.end()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_idle_clients_at_once(engine: str, number: signal.Signals) -> None:
    with (
        serving("echo", "tcp://127.0.0.1:0", "--drain", "40", "--engine", engine) as running,
        socket.create_connection(("127.0.0.1", running.port), timeout=20) as talkative,
        socket.create_connection(("127.0.0.1", running.port), timeout=20) as silent,
    ):
        talkative.sendall(b"x")
        assert talkative.recv(10) == b"x"
        began = time.monotonic()
        status, errors = running.end(number)
        assert time.monotonic() - began < 20  # not the deadline
        assert status == 0
        # Either may not have come as far as idling: then it is the end of its operation that counts.
        assert re.fullmatch(r"evsockets: drained: \d finished, \d idle, 0 aborted\n", errors)
        assert talkative.recv(10) == silent.recv(10) == b""


@pytest.mark.parametrize("scheme", ["unix", "udg"])
def test_unix_paths(scheme: str, tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    kind = socket.SOCK_STREAM if scheme == "unix" else socket.SOCK_DGRAM
    with serving("echo", f"{scheme}://{path}") as running:
        with socket.socket(socket.AF_UNIX, kind) as sock:
            sock.settimeout(20)
            sock.bind(str(tmp_path / "client.sock"))
            sock.connect(str(path))
            sock.send(b"hello")
            assert sock.recv(100) == b"hello"
        assert running.end()[0] == 0
    assert not path.exists()


def test_tls(ca: Authority) -> None:
    with serving("echo", "tls://127.0.0.1:0", *ca.server.options) as running:
        context = ssl.create_default_context(cafile=ca.ca_file)
        with (
            socket.create_connection(("127.0.0.1", running.port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
        ):
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"


def test_answers_are_held_back_and_never_early(engine: str) -> None:
    with (
        serving("echo", "tcp://127.0.0.1:0", "--delay", "0.3", "--engine", engine) as running,
        contextlib.ExitStack() as stack,
    ):
        socks = [
            stack.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=20))
            for _ in range(3)
        ]
        began = time.monotonic()
        for sock in socks:
            sock.sendall(b"late")
        for sock in socks:
            assert sock.recv(10) == b"late"
            assert time.monotonic() - began >= 0.3


def test_a_held_back_answer_has_its_bar_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "evsockets", "echo", "tcp://127.0.0.1:0", "--delay", "1.5"],
        env={name: value for name, value in environment(TERM="xterm").items() if name != "NO_COLOR"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    try:
        os.close(theirs)
        assert process.stdout is not None
        port = int(process.stdout.readline().split()[0].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            sock.sendall(b"late")
            assert sock.recv(10) == b"late"
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shown = os.read(ours, 1 << 20).decode()
        assert "4 bytes" in shown
        # The part done (in a colour of its own) grows, and the bar goes with its answer.
        done = [len(part) for part in re.findall("\x1b\\[91m(━+)", shown)]
        assert len(done) >= 2 and done == sorted(done) and done[-1] > done[0]
        assert "━" not in shown.rpartition("\x1b[2K")[2]
        assert "Traceback" not in shown
    finally:
        process.kill()
        process.wait(60)
        os.close(ours)
        process.communicate()


def test_what_is_wrong_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, status, says in [
            (["tcp://127.0.0.1"], 2, "port"),
            (["tls://127.0.0.1:0"], 2, "--certificate"),
            ([f"tcp://127.0.0.1:{port}"], 1, "cannot serve"),
            (["tcp://127.0.0.1:0", "--engine", "steam"], 2, "steam"),
        ]:
            done = run_here("echo", *arguments)
            assert done.returncode == status, done.stderr
            assert says in done.stderr
            assert done.stderr.count("\n") == 1
