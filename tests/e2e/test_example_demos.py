"""The seven demos of the PHP library, as programs of this one, with real peers."""

from __future__ import annotations

import socket
import sys
import time
import urllib.error
import urllib.request

import pytest

from support.certificates import Authority
from support.command import HANGS, ROOT, example, run
from support.optional import library
from support.servers import Nginx

#: How its program does on one engine tells how it does on any.
pytestmark = pytest.mark.once


def demo(engine: str, name: str, *arguments: object) -> list[str]:
    """The lines that the demo prints, run to its end."""
    path = ROOT / "docs" / "examples" / "demos" / f"{name}.py"
    ran = run(sys.executable, str(path), *map(str, arguments), EVSOCKETS_ENGINE=engine)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.splitlines()


def tcp(port: int) -> str:
    return f"tcp://127.0.0.1:{port}"


def test_request_executor_client(engine: str, nginx: Nginx) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow = silent.getsockname()[1]
        shown = demo(engine, "request_executor_client", tcp(nginx.http), tcp(slow))
    quick = [line for line in shown if tcp(nginx.http) in line]
    assert quick[-2].startswith(f"{tcp(nginx.http)} sent ")
    assert quick[-1].startswith("socket.event.disconnected")
    names = [line.split()[0].rpartition(".")[2] for line in shown if line.endswith(str(slow))]
    assert names == ["initialize", "connected", "write", "timeout", "timeout", "disconnected"]


def test_keep_alive_connection(engine: str, nginx: Nginx) -> None:
    shown = demo(engine, "keep_alive_connection", tcp(nginx.http))
    names = [line.rpartition(".")[2] for line in shown if line.startswith("socket.event")]
    again = ["write", "read", "finalize"]
    assert names == ["initialize", "connected", *again, "initialize", *again]
    first, second = (line for line in shown if "bytes" in line)
    assert first == second


def test_socket_pool(engine: str, nginx: Nginx, ca: Authority) -> None:
    (shown,) = demo(engine, "socket_pool", tcp(nginx.https), 64, 8, ca.ca_file)
    assert shown == "read: 64, failed: 0, at once: 8, left: 0"


def test_system_notification(engine: str, nginx: Nginx) -> None:
    library("blinker")
    shown = demo(engine, "system_notification", tcp(nginx.http))
    names = ["initialize", "connected", "write", "read", "disconnected", "finalize"]
    assert shown == [f"notified of socket.event.{name}" for name in names]


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=HANGS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_simple_server(engine: str) -> None:
    with example("demos/simple_server", tcp(0), EVSOCKETS_ENGINE=engine) as server:
        assert get(f"{server.url}/?a=b") == (200, b"<html><a href='/about'>About</a></html>")
        assert get(f"{server.url}/about")[0] == 200 and get(f"{server.url}/other")[0] == 404
        assert server.end() == (0, "")


def test_persistent_sockets(engine: str, nginx: Nginx) -> None:
    with example("demos/persistent_sockets", tcp(0), tcp(nginx.http), EVSOCKETS_ENGINE=engine) as gateway:
        assert [get(gateway.url) for _ in range(3)] == [(200, nginx.page)] * 3
        gateway.process.terminate()
        output, errors = gateway.process.communicate(timeout=HANGS)
    assert (output.splitlines(), errors) == ([f"a connection to {tcp(nginx.http)}"], "")


def test_persistent_sockets_without_the_other_server(engine: str, unused_port: int) -> None:
    with example("demos/persistent_sockets", tcp(0), tcp(unused_port), EVSOCKETS_ENGINE=engine) as gateway:
        assert get(gateway.url)[0] == 502
        code, errors = gateway.end()
    assert code == 0 and "refused" in errors


def test_udp_echo_server(engine: str) -> None:
    with (
        example("demos/udp_echo_server", "udp://127.0.0.1:0", "0.3", EVSOCKETS_ENGINE=engine) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        client.settimeout(HANGS)
        client.connect(("127.0.0.1", server.port))
        began = time.monotonic()
        for word in (b"one", b"two"):
            client.send(word)
        host, port = client.getsockname()
        answers = {client.recv(100), client.recv(100)}
        assert answers == {b"echo for %s:%d: %s" % (host.encode(), port, word) for word in (b"one", b"two")}
        assert time.monotonic() - began >= 0.3
        assert server.end() == (0, "")
