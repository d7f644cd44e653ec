"""`evsockets serve --workers` and `evsockets echo --workers`, with real clients."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certificates import Authority
from support.command import HANGS, Serving, run, run_command, serving
from support.machine import comes_true
from support.servers import need


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "page.txt").write_bytes(b"served")
    return str(tmp_path)


@contextlib.contextmanager
def serve(engine: str, folder: str, *options: str) -> Iterator[Serving]:
    arguments = ["serve", folder, "--engine", engine, "--workers", "2", *options]
    with serving(*arguments) as running:
        yield running


def test_serve(engine: str, folder: str) -> None:
    with serve(engine, folder, "--port", "0") as running:
        assert f"on engine {engine}" in running.banner
        for _ in range(20):
            connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=HANGS)
            connection.request("GET", "/page.txt")
            assert connection.getresponse().read() == b"served"
            connection.close()
        code, errors = running.end()
        assert code == 0 and errors.startswith("evsockets: drained: ")


def children(running: Serving) -> set[int]:
    """The processes that it has started."""
    process = running.process.pid
    return set(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


def successors_under_load(running: Serving, scheme: str) -> None:
    """All workers are replaced, and not a request fails."""
    url = f"{scheme}://127.0.0.1:{running.port}/page.txt"
    load = subprocess.Popen(
        [need("wrk"), "-t1", "-c10", "-d60", "--timeout", "60", "-H", "Connection: close", url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        before = children(running)
        running.process.send_signal(signal.SIGHUP)
        # Python's own child, which counts what is shared, stays.
        comes_true(lambda: len(children(running) & before) < 2, "no successors", HANGS)
    finally:
        load.send_signal(signal.SIGINT)
        output, errors = load.communicate(timeout=HANGS)
    assert running.end()[0] == 0
    assert errors == "" and "requests in" in output
    assert "Socket errors" not in output and "Non-2xx" not in output, output


def test_successors_under_load(engine: str, folder: str) -> None:
    with serve(engine, folder, "--port", "0") as running:
        successors_under_load(running, "http")


def test_successors_under_load_over_tls(folder: str, ca: Authority) -> None:
    options = ["--workers", "2", "--address", "tls://127.0.0.1:0", *ca.server.options]
    with serving("serve", folder, *options) as running:
        successors_under_load(running, "https")


def test_echo(engine: str) -> None:
    with serving("echo", "tcp://127.0.0.1:0", "--engine", engine, "--workers", "2") as running:
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", running.port), HANGS) as sock:
                sock.sendall(b"there")
                assert sock.recv(100) == b"there"
        assert running.end(signal.SIGINT)[0] == 0


def test_too_many() -> None:
    refused = run_command("echo", "tcp://127.0.0.1:0", "--workers", "5000")
    assert refused.returncode == 2 and "--workers must be" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_port_in_use(folder: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        refused = run_command("serve", folder, "--workers", "2", "--port", port)
    assert refused.returncode == 1 and refused.stderr.startswith("evsockets: ") and "in use" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_workers_that_cannot_begin_are_told_of_in_a_line(tmp_path: Path) -> None:
    """A script without the usual guard starts the server again in each worker, which is refused."""
    script = tmp_path / "serve.py"
    script.write_text("import sys\nfrom evsockets.cli import main\nsys.exit(main(sys.argv[1:]))\n")
    done = run(sys.executable, str(script), "serve", str(tmp_path), "-p", "0", "--workers", "1")
    assert done.returncode == 1
    guard = "is serve called below `if __name__ == '__main__':`?"
    why = f"a worker ended with exit code 1 before it was ready: {guard}"
    assert done.stderr.endswith(f"\nevsockets: {why}\n")
