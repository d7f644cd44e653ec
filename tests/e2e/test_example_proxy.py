"""The streaming proxy of the examples: in front curl and sockets, behind it Redis and nginx."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clients import Resp
from support.command import HANGS, Serving, example, run
from support.machine import MIB, comes_true, most_resident
from support.servers import HUGE_FILE, Nginx, Redis, need
from support.wire import reset

#: What a proxy may grow by while any number of bytes passes: its slots, and a little of everything else.
#: How its program does on one engine tells how it does on any.
pytestmark = pytest.mark.once

ROOM = 8 * MIB


@pytest.fixture
def proxy(engine: str, redis: Redis, nginx: Nginx) -> Iterator[Serving]:
    routes = {"app": f"tcp://127.0.0.1:{nginx.http}", "dead": "tcp://127.0.0.1:1", "odd": "nonsense"}
    tell(redis, *[(b"SET", b"route:" + name.encode(), url.encode()) for name, url in routes.items()])
    with example(
        "proxy", "tcp://127.0.0.1:0", f"tcp://127.0.0.1:{redis.port}", EVSOCKETS_ENGINE=engine
    ) as running:
        yield running


def tell(redis: Redis, *commands: tuple[bytes, ...]) -> None:
    with socket.create_connection(("127.0.0.1", redis.port), timeout=20) as sock:
        for command in commands:
            sock.sendall(Resp._encode(command))
            assert sock.recv(100) == b"+OK\r\n"


def connect(proxy: Serving, receive_buffer: int | None = None) -> socket.socket:
    sock = socket.socket()
    sock.settimeout(20)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.connect(("127.0.0.1", proxy.port))
    return sock


def answer(proxy: Serving, request: bytes) -> bytes:
    with connect(proxy) as sock:
        sock.sendall(request)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def get(proxy: Serving, path: str) -> bytes:
    return answer(proxy, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def curl(proxy: Serving, path: str, *options: str) -> list[str]:
    """The status, and how many bytes went up and down."""
    shows = ["-o", os.devnull, "-w", "%{http_code} %{size_upload} %{size_download}"]
    done = run(need("curl"), "-sS", *shows, *options, f"http://127.0.0.1:{proxy.port}{path}")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def ends_well(proxy: Serving) -> None:
    assert proxy.end() == (0, "")


def test_pages_and_what_goes_wrong(proxy: Serving, nginx: Nginx) -> None:
    for _ in range(3):
        whole = get(proxy, "/app/")
        assert whole.startswith(b"HTTP/1.1 200 OK") and whole.endswith(nginx.page)
    for path, status in {
        "/app/missing": 404, "/unknown/": 404, "/dead/": 502, "/odd/": 502, "/": 400, "/app/%20%": 400,
    }.items():  # fmt: skip
        assert get(proxy, path).split()[1] == b"%d" % status, path
    for head in (b"Transfer-Encoding: chunked", b"Content-Length: x", b"no header", b"Content-Length : 3"):
        assert answer(proxy, b"POST /app/ HTTP/1.1\r\n" + head + b"\r\n\r\n").split()[1] == b"400"
    ends_well(proxy)


def test_a_large_file_streams_through(proxy: Serving) -> None:
    """On its way from nginx nothing piles up."""
    get(proxy, "/app/big")  # whatever is allocated once
    before = most_resident(proxy.process.pid)
    assert curl(proxy, "/app/huge") == ["200", "0", str(HUGE_FILE)]
    assert most_resident(proxy.process.pid) - before < ROOM
    ends_well(proxy)


class Hashing:
    """A server for one upload of `size` bytes, which it answers with the digest."""

    def __init__(self, size: int, start: threading.Event) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.taken = 0
        self._size = size
        self._start = start
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        sock, _ = self.listener.accept()
        with sock, sock.makefile("rb") as file:
            sock.settimeout(20)
            while file.readline() != b"\r\n":
                pass
            self._start.wait(20)
            digest = hashlib.sha256()
            while self.taken < self._size:
                chunk = file.read1(65536)
                self.taken += len(chunk)
                digest.update(chunk)
            body = digest.hexdigest().encode()
            sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)

    def wait(self) -> None:
        self._thread.join(20)
        self.listener.close()


def test_an_upload_waits_for_its_reader(proxy: Serving, redis: Redis) -> None:
    """A server that does not read yet holds the client back, and nothing piles up in between."""
    get(proxy, "/app/big")
    before = most_resident(proxy.process.pid)
    start = threading.Event()
    data = os.urandom(MIB) * 128
    server = Hashing(len(data), start)
    tell(redis, (b"SET", b"route:up", b"tcp://127.0.0.1:%d" % server.listener.getsockname()[1]))
    with connect(proxy) as sock, memoryview(data) as view:
        sock.sendall(b"PUT /up/x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data))
        sock.settimeout(1)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < len(data):
                sent += sock.send(view[sent : sent + 65536])
        sock.settimeout(20)
        start.set()
        sock.sendall(view[sent:])
        whole = b"".join(iter(lambda: sock.recv(65536), b""))
    server.wait()
    assert whole.endswith(hashlib.sha256(data).hexdigest().encode())
    assert most_resident(proxy.process.pid) - before < ROOM
    ends_well(proxy)


def test_curl_uploads(proxy: Serving, redis: Redis, tmp_path: Path) -> None:
    """It wants to be told to go on before it sends a body."""
    data = os.urandom(MIB) * 40
    path = tmp_path / "body"
    path.write_bytes(data)
    start = threading.Event()
    start.set()
    server = Hashing(len(data), start)
    tell(redis, (b"SET", b"route:up", b"tcp://127.0.0.1:%d" % server.listener.getsockname()[1]))
    status, up, _ = curl(proxy, "/up/x", "-T", str(path), "-H", "Expect: 100-continue")
    server.wait()
    assert (status, up) == ("200", str(len(data)))
    ends_well(proxy)


def test_a_client_that_does_not_read_holds_up_its_server_alone(proxy: Serving, redis: Redis) -> None:
    get(proxy, "/app/big")
    before = most_resident(proxy.process.pid)
    with socket.create_server(("127.0.0.1", 0)) as upstream, connect(proxy, 65536) as client:
        tell(redis, (b"SET", b"route:down", b"tcp://127.0.0.1:%d" % upstream.getsockname()[1]))
        client.sendall(b"GET /down/x HTTP/1.1\r\n\r\n")
        server, _ = upstream.accept()
        with server:
            server.settimeout(1)
            data = bytes(65536)
            sent = 0
            with pytest.raises(TimeoutError):
                while sent < HUGE_FILE:
                    sent += server.send(data)
            assert get(proxy, "/app/").startswith(b"HTTP/1.1 200 OK")
            server.shutdown(socket.SHUT_WR)
            received = 0
            while chunk := client.recv(MIB):
                received += len(chunk)
        assert received == sent
    assert most_resident(proxy.process.pid) - before < ROOM
    ends_well(proxy)


def test_whoever_goes_takes_the_other_along(proxy: Serving, redis: Redis) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(20)
        tell(redis, (b"SET", b"route:gone", b"tcp://127.0.0.1:%d" % upstream.getsockname()[1]))
        get(proxy, "/app/")
        before = proxy.descriptors()
        for who in ("client", "server"):
            client = connect(proxy)
            client.sendall(b"GET /gone/x HTTP/1.1\r\n\r\n")
            server, _ = upstream.accept()
            server.settimeout(20)
            server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
            assert client.recv(100)
            if who == "client":
                client.close()
                with pytest.raises((BrokenPipeError, ConnectionResetError)):
                    for _ in range(10_000):
                        server.sendall(bytes(10_000))
                server.close()
            else:
                reset(server)
                while client.recv(100):
                    pass
                client.close()
        comes_true(lambda: proxy.descriptors() <= before, "descriptors are left open")
    ends_well(proxy)


def test_a_proxy_without_its_redis(engine: str, unused_port: int) -> None:
    with example(
        "proxy", "tcp://127.0.0.1:0", f"tcp://127.0.0.1:{unused_port}", EVSOCKETS_ENGINE=engine
    ) as proxy:
        assert get(proxy, "/app/").startswith(b"HTTP/1.1 502 ")
        ends_well(proxy)


def test_a_running_answer_survives_the_orderly_end(proxy: Serving, redis: Redis) -> None:
    """The server behind is asked although the proxy is told to end meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as upstream, connect(proxy) as client:
        upstream.settimeout(20)
        tell(redis, (b"SET", b"route:late", b"tcp://127.0.0.1:%d" % upstream.getsockname()[1]))
        client.sendall(b"GET /late/x HTTP/1.1\r\n\r\n")
        server, _ = upstream.accept()
        with server:
            proxy.process.terminate()
            comes_true(lambda: refused(proxy), "it goes on listening")
            server.sendall(b"HTTP/1.1 200 OK\r\n\r\nlate")
        assert b"".join(iter(lambda: client.recv(100), b"")).endswith(b"late")
    assert proxy.process.wait(HANGS) == 0


def refused(proxy: Serving) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", proxy.port)) != 0
