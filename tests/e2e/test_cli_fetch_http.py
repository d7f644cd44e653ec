"""`evsockets fetch` of URLs: statuses, redirects, decoded bodies, headers."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from support.certificates import Authority
from support.command import run_command, run_here, serving
from support.optional import library

library("httptools")


class _Site(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        port = self.server.server_address[1]
        places = {"/a": "/b?c", "/b?c": f"http://localhost:{port}/headers", "/loop": "loop"}
        if self.path in places:
            self._answer(302, b"", Location=places[self.path], Content_Length="0")
        elif self.path == "/gzip":
            body = gzip.compress(b"page " * 1000)
            chunks = b"".join(b"%x\r\n%s\r\n" % (1, body[at : at + 1]) for at in range(len(body)))
            self._answer(200, chunks + b"0\r\n\r\n", Content_Encoding="gzip", Transfer_Encoding="chunked")
        elif self.path == "/broken":
            self._answer(200, b"no gzip", Content_Encoding="gzip", Content_Length="7")
        elif self.path == "/headers":
            body = str(self.headers).encode()
            self._answer(200, body, Content_Length=str(len(body)))
        else:
            self._answer(404, b"", Content_Length="0")

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    """The URL of a site with redirects and bodies of all kinds."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def fetched(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    done = run_here("fetch", "--json", "--data", *arguments)
    return done.returncode, json.loads(done.stdout)["results"]


def test_urls(engine: str, site: str) -> None:
    paths = ["/a", "/loop", "/gzip", "/broken", "/none", "/headers"]
    options = ["--engine", engine, "--location", "--fail", "--header", "X-Mine: yes"]
    status, found = fetched(*options, *(site + path for path in paths))
    assert status == 1
    moved, loop, packed, broken, none, plain = found
    assert [one["outcome"] for one in found] == [
        "complete", "bad redirect", "complete", "bad answer", "HTTP 404", "complete",
    ]  # fmt: skip
    assert (moved["status"], moved["redirects"]) == (200, 2)
    assert moved["url"].startswith("http://localhost:") and moved["url"].endswith("/headers")
    assert "X-Mine" not in moved["data"]
    assert f"Host: {moved['url'].split('/')[2]}" in moved["data"]
    assert "X-Mine: yes" in plain["data"]
    assert (loop["redirects"], loop["status"]) == (10, 302)
    assert packed["data"] == "page " * 1000
    assert ["Content-Encoding", "gzip"] in packed["headers"]
    assert "no gzip" in broken["error"]
    assert none["status"] == 404


def test_what_curl_prints_silently(site: str) -> None:
    """--data --quiet prints the body and nothing else."""
    done = run_command("fetch", "--data", "--quiet", f"{site}/gzip")
    assert (done.returncode, done.stdout, done.stderr) == (0, "page " * 1000, "")


def test_what_is_no_failure(site: str) -> None:
    table = run_here("fetch", f"{site}/none", f"{site}/a", f"tcp{site[4:]}", "--http", "headers")
    assert table.returncode == 0
    assert [line.split()[:3] for line in table.stdout.splitlines()[2:5]] == [
        [f"{site}/none", "complete", "404"],
        [f"{site}/a", "complete", "302"],
        [f"tcp{site[4:]}", "complete", "200"],
    ]
    status, (one,) = fetched(f"{site}/none", "--connect-only")
    assert (status, "status" in one) == (0, False)


def test_https_where_http_is_spoken(site: str) -> None:
    status, (result,) = fetched(site.replace("http://", "https://", 1))
    assert (status, result["outcome"]) == (1, "TLS failed")
    assert "no TLS: http:// and tcp:// do without" in result["error"]


def test_http_where_tls_is_spoken(ca: Authority) -> None:
    """Those who expect TLS end the stream, or send an alert first."""
    with serving("serve", "--address", "tls://127.0.0.1:0", *ca.server.options) as server:
        status, (result,) = fetched(server.url.replace("tls://", "http://", 1))
    assert (status, result["outcome"]) == (1, "disconnected")
    assert result["error"].endswith("; if it speaks TLS, write https:// (or tls://)")
    with _answering(b"\x15\x03\x01\x00\x02\x02F") as url:
        status, (result,) = fetched(url)
    assert (status, result["outcome"]) == (1, "bad answer")
    assert result["error"].endswith("; if it speaks TLS, write https:// (or tls://)")
    with _answering(b"HTTP/1.1 20") as url:
        assert "TLS" not in fetched(url)[1][0]["error"]


@contextlib.contextmanager
def _answering(answer: bytes) -> Iterator[str]:
    """The URL of who answers one client by these bytes."""

    def talk() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(1000)
            client.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()
