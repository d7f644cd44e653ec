"""`evsockets serve`: files, listings, ranges, and whom it does not let out of the directory."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certificates import Authority
from support.command import Serving, run_here, serving
from support.machine import comes_true

BIG = os.urandom(1 << 20) * 3


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory to serve, with a secret next to it and links of every kind."""
    place = tmp_path_factory.mktemp("place")
    (place / "secret.txt").write_text("secret")
    (place / "site-twin").mkdir()
    (place / "site-twin" / "secret.txt").write_text("secret")
    root = place / "site"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "with-index").mkdir()
    (root / "with-index" / "index.html").write_text("<h1>index</h1>")
    (root / "page.txt").write_text("0123456789")
    (root / "empty").write_bytes(b"")
    (root / "big.bin").write_bytes(BIG)
    (root / "a b<&\"'é.txt").write_text("odd")
    (root / "sub" / "below.txt").write_text("below")
    os.mkfifo(root / "fifo")
    (root / "out.txt").symlink_to(place / "secret.txt")
    (root / "twin").symlink_to(place / "site-twin")
    (root / "sub" / "up").symlink_to("../..")
    (root / "inside.txt").symlink_to("sub/below.txt")
    (root / "loop").symlink_to("loop")
    return root


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[Serving]:
    with serving("serve", str(site), "--port", "0") as running:
        yield running


@pytest.fixture
def client(server: Serving) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    yield connection
    connection.close()


def ask(
    client: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    client.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = client.getresponse()
    return response, response.read()


def raw(server: Serving, request: bytes) -> bytes:
    """What the server says to these bytes, up to its end of the stream."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(request)
        said = b""
        while chunk := sock.recv(65536):
            said += chunk
        return said


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_every_engine_serves(engine: str, site: Path) -> None:
    with serving("serve", str(site), "--engine", engine, "--address", "tcp://127.0.0.1:0") as running:
        assert running.banner.endswith(f"on engine {engine}")
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
        for _ in range(3):
            assert ask(connection, "/page.txt")[1] == b"0123456789"
            assert ask(connection, "/big.bin")[1] == BIG
        connection.close()
        status, errors = running.end()
    assert status == 0
    assert "Traceback" not in errors


def test_the_current_directory_at_the_url_that_is_printed(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site)
    with serving("serve", "--address", "http://127.0.0.1:0/") as running:
        assert re.fullmatch(r"tcp://\S+ serves \. as http://127\.0\.0\.1:\d+/ on engine \w+", running.banner)
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
        assert ask(connection, "/page.txt")[1] == b"0123456789"
        connection.close()


def test_files_with_what_belongs_to_them(client: http.client.HTTPConnection) -> None:
    response, body = ask(client, "/page.txt?query#part")
    assert (response.status, body) == (200, b"0123456789")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    tag, modified = response.headers["ETag"], response.headers["Last-Modified"]
    assert ask(client, "/page.txt", If_None_Match=tag)[0].status == 304
    assert ask(client, "/page.txt", If_Modified_Since=modified)[0].status == 304
    assert ask(client, "/page.txt", If_Modified_Since="yesterday")[0].status == 200
    assert ask(client, "/empty")[1] == b""
    assert ask(client, "/inside.txt")[1] == b"below"
    assert ask(client, "/sub/../page.txt")[0].status == 404
    assert ask(client, "/sub//below.txt")[1] == b"below"


def test_head_is_get_without_the_body(client: http.client.HTTPConnection) -> None:
    for path in ("/page.txt", "/big.bin", "/", "/missing"):
        got, body = ask(client, path)
        head, nothing = ask(client, path, "HEAD")
        assert nothing == b""
        assert head.status == got.status
        assert head.headers["Content-Length"] == got.headers["Content-Length"] == str(len(body))


def test_listing_shows_what_there_is_and_nothing_that_leads_out(client: http.client.HTTPConnection) -> None:
    response, body = ask(client, "/")
    page = body.decode()
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert '<a href="./sub/">sub/</a>' in page
    assert '<a href="./a%20b%3C%26%22%27%C3%A9.txt">a b&lt;&amp;&quot;&#x27;é.txt</a>' in page
    assert "inside.txt" in page
    for hidden in ("out.txt", "twin", "fifo", "loop", "../"):
        assert f">{hidden}" not in page
    assert 'href="../"' in ask(client, "/sub/")[1].decode()
    assert ask(client, "/a%20b%3C%26%22%27%C3%A9.txt")[1] == b"odd"


def test_directories_redirect_to_their_slash_and_show_their_index(client: http.client.HTTPConnection) -> None:
    response, _ = ask(client, "/sub")
    assert (response.status, response.headers["Location"]) == (301, "/sub/")
    response, _ = ask(client, "//sub/deep")
    assert (response.status, response.headers["Location"]) == (301, "/sub/deep/")
    assert ask(client, "/with-index/")[1] == b"<h1>index</h1>"


@pytest.mark.parametrize(
    ("text", "status", "span"),
    [
        ("bytes=0-3", 206, (0, 4)),
        ("bytes=4-", 206, (4, 10)),
        ("bytes=-3", 206, (7, 10)),
        ("bytes=-99", 206, (0, 10)),
        ("bytes=8-99", 206, (8, 10)),
        ("lines=1-2", 200, (0, 10)),
        ("bytes=0-1,4-5", 200, (0, 10)),
        ("bytes=10-", 416, None),
        ("bytes=5-4", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=x-y", 416, None),
        (f"bytes={'9' * 5000}-", 416, None),
    ],
)
def test_ranges(
    client: http.client.HTTPConnection, text: str, status: int, span: tuple[int, int] | None
) -> None:
    response, body = ask(client, "/page.txt", Range=text)
    assert response.status == status
    if span is not None:
        assert body == b"0123456789"[slice(*span)]
    if status == 206:
        assert span is not None
        assert response.headers["Content-Range"] == f"bytes {span[0]}-{span[1] - 1}/10"
    if status == 416:
        assert response.headers["Content-Range"] == "bytes */10"


def test_a_range_of_a_big_file_and_of_a_changed_one(client: http.client.HTTPConnection) -> None:
    response, body = ask(client, "/big.bin", Range="bytes=100000-2999999")
    assert (response.status, body) == (206, BIG[100000:3000000])
    assert ask(client, "/page.txt", Range="bytes=0-1", If_Range='"other"')[0].status == 200


@pytest.mark.parametrize(
    "path",
    [
        b"/../secret.txt",
        b"/sub/../../secret.txt",
        b"/%2e%2e/secret.txt",
        b"/%2E%2E%2Fsecret.txt",
        b"/..%2fsecret.txt",
        b"/.%2e/secret.txt",
        b"//../secret.txt",
        b"/..\\secret.txt",
        b"/out.txt",
        b"/twin/secret.txt",
        b"/twin/",
        b"/sub/up/secret.txt",
        b"/sub/up/",
        b"/loop",
        b"/fifo",
        b"/page.txt/",
        b"/missing",
        b"/" + b"x" * 5000,
        b"/" + b"x/" * 5000,
    ],
)
def test_nothing_outside_the_directory(server: Serving, path: bytes) -> None:
    answer = raw(server, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert status_of(answer) == 404
    assert b"secret" not in answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET page.txt HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\n\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"DELETE /page.txt HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100000 + b"\r\n", 431),
        (b"G" * 20000, 431),
    ],
)
def test_bad_requests_are_answered_and_end_the_connection(
    server: Serving, request_bytes: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(request_bytes)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
    assert status_of(answer) == status
    assert b"Connection: close" in answer
    if status == 405:
        assert b"Allow: GET, HEAD" in answer


def test_pipelined_requests_are_answered_in_order(server: Serving) -> None:
    one = b"GET /page.txt HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"\r\nGET /sub/below.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = raw(server, one * 5 + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 6
    assert answer.count(b"0123456789") == 5
    assert answer.endswith(b"below")


def test_http_1_0_closes_unless_asked_to_stay(server: Serving) -> None:
    assert raw(server, b"GET /page.txt HTTP/1.0\n\n").endswith(b"0123456789")
    answer = raw(
        server, b"GET /page.txt HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /page.txt HTTP/1.0\r\n\r\n"
    )
    assert answer.count(b"0123456789") == 2


def test_a_file_that_shrinks_while_it_is_sent_closes_the_connection(server: Serving, site: Path) -> None:
    size = 64 << 20
    path = site / "shrinking.bin"
    with path.open("wb") as file:
        file.truncate(size)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(b"GET /shrinking.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        received = len(sock.recv(1000))
        os.truncate(path, 1000)
        while chunk := sock.recv(1 << 20):
            received += len(chunk)
    assert received < size
    assert status_of(raw(server, b"GET /page.txt HTTP/1.0\r\n\r\n")) == 200


def test_tls(site: Path, ca: Authority) -> None:
    server = ca.server
    with serving(
        "serve", str(site), "-p", "0", "--certificate", server.certificate, "--key", server.private_key
    ) as running:
        assert running.url.startswith("tls://")
        context = ssl.create_default_context(cafile=ca.ca_file)
        connection = http.client.HTTPSConnection("127.0.0.1", running.port, timeout=20, context=context)
        assert ask(connection, "/big.bin")[1] == BIG
        assert ask(connection, "/page.txt")[1] == b"0123456789"
        connection.close()


def test_unix_socket(site: Path, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with serving("serve", str(site), "--address", f"unix://{path}") as running:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(path))
            sock.sendall(b"GET /page.txt HTTP/1.0\r\n\r\n")
            answer = b""
            while chunk := sock.recv(65536):
                answer += chunk
        assert answer.endswith(b"0123456789")
        assert running.end()[0] == 0
    assert not path.exists()


def test_names_with_a_dot_are_hidden_unless_asked_for(engine: str, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("secret")
    (tmp_path / ".env").write_text("secret")
    (tmp_path / "link.txt").symlink_to(".env")  # a link counts by its own name
    (tmp_path / "tree").symlink_to(".git")
    for options, status in (([], 404), (["--hidden"], 200)):
        with serving("serve", str(tmp_path), "-p", "0", "--engine", engine, *options) as running:
            for path in (b"/.env", b"/.git/config", b"/.git/"):
                assert status_of(raw(running, b"GET %b HTTP/1.0\r\n\r\n" % path)) == status
            for path in (b"/link.txt", b"/tree/config", b"/tree/"):
                assert status_of(raw(running, b"GET %b HTTP/1.0\r\n\r\n" % path)) == 200
            listing = raw(running, b"GET / HTTP/1.0\r\n\r\n")
            assert (b">.env<" in listing) is bool(options)
            assert b">link.txt<" in listing and b">tree/<" in listing


def test_one_page_for_every_path_and_other_origins(engine: str, site: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("start")
    (tmp_path / "app.js").write_text("script")
    options = ["-p", "0", "--engine", engine, "--spa", "--cors", "https://a.example", "--log", "json"]
    with serving("serve", str(tmp_path), *options) as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
        for path, status, body in [
            ("/", 200, b"start"), ("/users/7", 200, b"start"), ("/app.js", 200, b"script"),
            ("/none.js", 404, None), ("/../x", 200, b"start"),
        ]:  # fmt: skip
            response, said = ask(connection, path, Referer=f'"{path}')
            assert response.status == status and body in (None, said)
            assert response.headers["Access-Control-Allow-Origin"] == "https://a.example"
            assert response.headers["Vary"] == "Origin"
        asked, _ = ask(connection, "/app.js", "OPTIONS", Access_Control_Request_Method="GET")
        assert (asked.status, asked.headers["Access-Control-Allow-Methods"]) == (204, "GET, HEAD, OPTIONS")
        connection.close()
        _, errors = running.end()
    told = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    assert [(line["target"], line["status"], line["bytes"]) for line in told[:3]] == [
        ("/", 200, 5), ("/users/7", 200, 5), ("/app.js", 200, 6),
    ]  # fmt: skip
    assert told[0]["client"] == "127.0.0.1" and told[0]["referer"] == '"/' and told[0]["seconds"] >= 0


def test_listings_are_sorted_as_asked_and_404_leads_back(
    client: http.client.HTTPConnection, site: Path
) -> None:
    for query, names in [
        ("", ["sub", "with-index", "a b", "big.bin", "empty", "inside", "page"]),
        ("?sort=name&order=desc", ["with-index", "sub", "page", "inside", "empty", "big.bin", "a b"]),
        ("?sort=size", ["sub", "with-index", "empty", "a b", "inside", "page", "big.bin"]),
        ("?sort=size&order=desc", ["with-index", "sub", "big.bin", "page", "inside", "a b", "empty"]),
        ("?sort=none&order=desc", ["sub", "with-index", "a b", "big.bin", "empty", "inside", "page"]),
    ]:  # fmt: skip
        response, body = ask(client, f"/{query}")
        page = body.decode()
        assert response.status == 200
        places = [page.index(f">{name}") for name in names]
        assert places == sorted(places)
    response, body = ask(client, "/sub/none?x=%22%3E")
    assert response.status == 404 and b'<a href="/sub/">One up</a>' in body and b'<a href="/">' in body
    assert b"<script" not in ask(client, "/%22><script>/x")[1]
    for path in ("//elsewhere.org/x", "/\\elsewhere.org/x"):  # whose parent would be another host's
        assert b'<a href="/elsewhere.org/">One up</a>' in ask(client, path)[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_answers_end_and_idle_clients_go(
    engine: str, site: Path, number: signal.Signals
) -> None:
    with serving("serve", str(site), "-p", "0", "--engine", engine, "--drain", "30") as running:
        idle = socket.create_connection(("127.0.0.1", running.port), timeout=20)
        idle.sendall(b"GET /page.txt HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(65536).endswith(b"0123456789")
        busy = socket.socket()
        busy.settimeout(20)
        busy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        busy.connect(("127.0.0.1", running.port))
        busy.sendall(b"GET /big.bin HTTP/1.0\r\n\r\n")
        received = busy.recv(100)
        began = time.monotonic()
        running.process.send_signal(number)
        assert idle.recv(100) == b""
        comes_true(running.refuses, "it still accepts")
        while chunk := busy.recv(65536):
            received += chunk
        assert received.endswith(BIG[-1000:])
        assert len(received) > len(BIG)
        idle.close()
        busy.close()
        _, errors = running.process.communicate(timeout=60)
        assert running.process.returncode == 0, errors
        assert time.monotonic() - began < 30  # it did not wait for its deadline
        assert "drained" in errors


@pytest.mark.parametrize(("path", "status"), [("/page.txt", b"200"), ("/nowhere", b"404")])
def test_the_last_answer_says_that_the_connection_closes(
    engine: str, site: Path, path: str, status: bytes
) -> None:
    """A request that was there when the server was told to end is answered, and nobody sends another one."""
    with serving("serve", str(site), "-p", "0", "--engine", engine, "--drain", "30") as running:
        with socket.socket() as busy:
            busy.settimeout(20)
            busy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            busy.connect(("127.0.0.1", running.port))
            busy.sendall(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            received = busy.recv(100)
            busy.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
            running.process.send_signal(signal.SIGTERM)
            comes_true(running.refuses, "it still accepts")
            while chunk := busy.recv(65536):
                received += chunk
        first, _, last = received.partition(BIG)
        assert b"Connection: keep-alive" in first
        assert last.startswith(b"HTTP/1.1 " + status) and b"Connection: close" in last
        _, errors = running.process.communicate(timeout=60)
        assert ", 0 aborted" in errors


def test_what_cannot_be_served_is_said_in_one_line(site: Path, server: Serving, tmp_path: Path) -> None:
    for arguments, status, says in [
        (["/no/such/place"], 2, "no directory"),
        ([str(site / "page.txt")], 2, "no directory"),
        ([str(site), "--address", "udp://127.0.0.1:0"], 2, "tcp://"),
        ([str(site), "--address", "nonsense"], 2, "nonsense"),
        ([str(site), "-p", "0", "--certificate", str(tmp_path / "none.pem")], 2, "none.pem"),
        ([str(site), "-p", "0", "--key", "x"], 2, "--certificate"),
        ([str(site), "-p", str(server.port)], 1, "give another port, or port 0"),
    ]:
        done = run_here("serve", *arguments)
        assert done.returncode == status, (arguments, done.stderr)
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
