"""Programs that others wrote, as clients of `serve` and `echo`, on every engine."""

from __future__ import annotations

import contextlib
import html.parser
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certificates import Authority
from support.command import HANGS, Serving, environment, serving
from support.machine import comes_true
from support.servers import can_connect, free_port, need

BIG = os.urandom(1 << 20) * 8
REQUESTS = 1000


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "page.txt").write_text("0123456789")
    (folder / "big.bin").write_bytes(BIG)
    return folder


@pytest.fixture
def secret(ca: Authority) -> list[str]:
    return ca.server.options


def run(*command: str, data: bytes = b"") -> bytes:
    """What a program says to `data` on its standard input."""
    done = subprocess.run(
        [need(command[0]), *command[1:]], input=data, capture_output=True, timeout=HANGS, check=False
    )
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def converse(*command: str) -> None:
    """Lines to a program's standard input come back from its standard output."""
    client = subprocess.Popen(
        [need(command[0]), *command[1:]],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with client:
        assert client.stdin is not None and client.stdout is not None
        for line in (b"hello\n", b"once more\n"):
            client.stdin.write(line)
            client.stdin.flush()
            assert client.stdout.readline() == line
        client.stdin.close()
        assert client.wait(HANGS) == 0


@pytest.fixture(params=["tcp", "tls"])
def web(request: pytest.FixtureRequest, engine: str, site: Path, secret: list[str]) -> Iterator[Serving]:
    options = secret if request.param == "tls" else []
    with serving("serve", str(site), "-p", "0", "--engine", engine, *options) as running:
        yield running
        status, errors = running.end()
        assert status == 0
        assert "Traceback" not in errors and "Warning" not in errors


def url(web: Serving, path: str = "/page.txt") -> str:
    scheme = "https" if web.url.startswith("tls") else "http"
    return f"{scheme}://localhost:{web.port}{path}"


# ---- HTTP --------------------------------------------------------------------------------------------


def test_curl(web: Serving, ca: Authority) -> None:
    curl = ["curl", "-sS", "--fail", "--cacert", ca.ca_file]
    assert run(*curl, url(web)) == b"0123456789"
    assert run(*curl, url(web, "/big.bin")) == BIG
    assert run(*curl, "--http1.0", url(web)) == b"0123456789"
    assert run(*curl, "-r", "2-4", url(web)) == b"234"
    assert b"Content-Length: 10" in run(*curl, "-I", url(web))
    assert b'<a href="./page.txt">' in run(*curl, url(web, "/"))
    several = ["--next", *curl[1:], url(web)] * 3
    told = run(*curl, "-v", "--stderr", "-", url(web), *several)
    assert told.count(b"0123456789") == 4
    assert b"Re-using existing connection" in told
    together = run(*curl, "-Z", *[url(web, f"/page.txt?{number}") for number in range(50)])
    assert together == b"0123456789" * 50


def test_ab(web: Serving) -> None:
    for keep in ([], ["-k"]):
        told = run("ab", "-q", "-n", str(REQUESTS), "-c", "50", *keep, url(web)).decode()
        assert re.search(rf"Complete requests: +{REQUESTS}\n", told), told
        assert re.search(r"Failed requests: +0\n", told), told
        assert "Non-2xx" not in told
        kept = re.search(r"Keep-Alive requests: +(\d+)", told)
        assert (kept is not None and int(kept[1]) == REQUESTS) == bool(keep), told


def test_wrk(web: Serving) -> None:
    told = run("wrk", "-t", "2", "-c", "100", "-d", "1", "--latency", url(web)).decode()
    assert re.search(r"[1-9]\d* requests in", told), told
    assert "Non-2xx" not in told and "Socket errors" not in told, told


def test_h2load(web: Serving) -> None:
    options = ["--h1", "-n", str(REQUESTS), "-c", "50", "-m", "4"]
    told = run("h2load", *options, url(web)).decode()
    assert f"{REQUESTS} succeeded, 0 failed, 0 errored" in told, told
    assert f"{REQUESTS} 2xx" in told, told


def test_openssl_s_client_asks_for_a_page(engine: str, site: Path, secret: list[str], ca: Authority) -> None:
    with serving("serve", str(site), "-p", "0", "--engine", engine, *secret) as running:
        for version in ("-tls1_2", "-tls1_3"):
            answer = run(
                "openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile", ca.ca_file, version,
                "-connect", f"127.0.0.1:{running.port}", "-servername", "localhost", "-ign_eof",
                data=b"GET /page.txt HTTP/1.0\r\n\r\n",
            )  # fmt: skip
            assert answer.startswith(b"HTTP/1.1 200 OK") and answer.endswith(b"0123456789")


def test_ncat_asks_for_a_page_by_hand(engine: str, site: Path) -> None:
    with serving("serve", str(site), "-p", "0", "--engine", engine) as running:
        answer = run("ncat", "127.0.0.1", str(running.port), data=b"GET /page.txt HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"0123456789")


def test_chromium_reads_a_listing_and_follows_its_links(engine: str, tmp_path: Path) -> None:
    """A real browser: names that are no HTML are text in its document, and each link leads to its file."""
    folder = tmp_path / "listed"
    (folder / "sub").mkdir(parents=True)
    names = ["page.txt", "a b<i>&\"'é#?%.txt", "sub/"]
    for number, name in enumerate(names[:2]):
        (folder / name).write_text(f"content {number}")
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/own"]
    with serving("serve", str(folder), "-p", "0", "--engine", engine) as running:
        site = f"http://127.0.0.1:{running.port}/"
        links = Links(run(*browser, "--dump-dom", site).decode()).found
        files = {href: name for href, name in links.items() if not href.startswith("?")}  # others sort
        assert sorted(files.values()) == sorted(names)
        for href, name in files.items():
            shown = run(*browser, "--dump-dom", site + href).decode()
            expected = "Name" if name.endswith("/") else f"content {names.index(name)}"
            assert expected in shown, (href, shown)
        status, errors = running.end()
    assert status == 0
    assert "Traceback" not in errors


class Links(html.parser.HTMLParser):
    """The links of a document: where each leads to its text."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._open: str | None = None
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self._open = dict(attrs)["href"] or ""
            self.found[self._open] = ""

    def handle_endtag(self, tag: str) -> None:
        self._open = None if tag == "a" else self._open

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self.found[self._open] += data


# ---- echo --------------------------------------------------------------------------------------------


@pytest.fixture(params=["tcp", "tls", "unix", "abstract"])
def echo(request: pytest.FixtureRequest, engine: str, tmp_path: Path, secret: list[str]) -> Iterator[Serving]:
    address = {
        "tcp": "tcp://127.0.0.1:0",
        "tls": "tls://127.0.0.1:0",
        "unix": f"unix://{tmp_path}/echo.sock",
        "abstract": f"unix://@evsockets-echo-{os.getpid()}",
    }[request.param]
    options = secret if request.param == "tls" else []
    with serving("echo", address, "--engine", engine, *options) as running:
        yield running
        assert running.end()[0] == 0


def test_socat_streams(echo: Serving, ca: Authority) -> None:
    """Its end of stream comes first; everything comes back before ours."""
    target = echo.url.partition("://")[2]
    if echo.url.startswith("tls"):
        address = f"OPENSSL:{target},cafile={ca.ca_file},commonname=localhost"
    elif echo.url.startswith("tcp"):
        address = f"TCP4:{target}"
    elif target.startswith("@"):
        address = f"ABSTRACT-CONNECT:{target[1:]}"
    else:
        address = f"UNIX-CONNECT:{target}"
    assert run("socat", "-t", "20", "-", address, data=BIG) == BIG


def test_ncat_streams(echo: Serving, ca: Authority) -> None:
    target = echo.url.partition("://")[2]
    if target.startswith("@"):
        return  # it knows no abstract names
    where = ["-U", target] if echo.url.startswith("unix") else target.split(":")
    if echo.url.startswith("tls"):
        where = ["--ssl-verify", "--ssl-trustfile", ca.ca_file, "--ssl-servername", "localhost", *where]
    assert run("ncat", *where, data=BIG[:100_000]) == BIG[:100_000]


def test_openssl_s_client_talks_to_the_echo(engine: str, secret: list[str], ca: Authority) -> None:
    with serving("echo", "tls://127.0.0.1:0", "--engine", engine, *secret) as running:
        for version in ("-tls1_2", "-tls1_3"):
            converse(
                "openssl", "s_client", version, "-quiet", "-no_ign_eof", "-verify_return_error",
                "-CAfile", ca.ca_file, "-connect", f"127.0.0.1:{running.port}",
            )  # fmt: skip
        assert running.end()[0] == 0


@pytest.mark.parametrize("how", ["socat", "ncat"])
def test_datagrams(engine: str, how: str) -> None:
    with serving("echo", "udp://127.0.0.1:0", "--engine", engine) as running:
        port = str(running.port)
        if how == "socat":
            converse("socat", "-", f"UDP4:127.0.0.1:{port}")
        else:
            converse("ncat", "-u", "127.0.0.1", port)
        assert running.end()[0] == 0


def test_socat_sends_unix_datagrams(engine: str, tmp_path: Path) -> None:
    with serving("echo", f"udg://{tmp_path}/echo.sock", "--engine", engine) as running:
        address = f"UNIX-SENDTO:{tmp_path}/echo.sock,bind={tmp_path}/client.sock"
        converse("socat", "-", address)
        assert running.end()[0] == 0


# ---- sockets that somebody else opened ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stream", "datagram", "unix"])
def test_systemd_hands_its_socket_over(engine: str, tmp_path: Path, kind: str) -> None:
    """systemd-socket-activate listens, and starts the server when somebody comes: LISTEN_FDS, fd://3."""
    options = ["--datagram"] if kind == "datagram" else []
    address: str | tuple[str, int] = str(tmp_path / "activated.sock")
    listen = address
    if kind != "unix":
        port = free_port(socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM)
        address, listen = ("127.0.0.1", port), f"127.0.0.1:{port}"
    for name in environment():
        options += ["-E", name]
    process = subprocess.Popen(
        [
            need("systemd-socket-activate"), *options, "-l", str(listen),
            sys.executable, "-m", "evsockets", "echo", "fd://3", "--engine", engine,
        ],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
        with contextlib.ExitStack() as stack:
            if kind == "datagram":
                comes_true(lambda: asks(address), "no datagram comes back")
            else:
                comes_true(lambda: can_connect(family, address)(), "nobody listens")
                for _ in range(3):
                    sock = stack.enter_context(socket.socket(family))
                    sock.settimeout(20)
                    sock.connect(address)
                    sock.sendall(b"hello")
                    assert sock.recv(100) == b"hello"
        process.terminate()
        output, errors = process.communicate(timeout=HANGS)
        assert process.returncode == 0, errors
        assert f"on engine {engine}" in output
        assert "drained" in errors
    finally:
        process.kill()
        process.communicate()


def asks(address: object) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        try:
            sock.connect(address)  # type: ignore[arg-type]
            sock.send(b"hello")
            return sock.recv(100) == b"hello"
        except OSError:
            return False
