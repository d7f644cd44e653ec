"""`evsockets serve`: conditions and parts (RFC 9110, 13 and 14), and where requests end (RFC 9112, 6)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from support.command import Serving, serving

#: 1994-11-06 08:49:37 UTC, and the file's time: half a second later.
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
MODIFIED_NS = 784111777_500_000_000
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"
HUGE = "9" * 5000
NONE = '"none"'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    root = tmp_path_factory.mktemp("site")
    (root / "page.txt").write_text("0123456789")
    (root / "sub").mkdir()
    os.utime(root / "page.txt", ns=(MODIFIED_NS, MODIFIED_NS))
    # Somewhere else than UTC: dates are not meant in local time.
    with serving("serve", str(root), "--port", "0", TZ="Asia/Tokyo") as running:
        yield running


@pytest.fixture(scope="module")
def tag(server: Serving) -> str:
    head, _ = ask(server)
    return next(line[6:] for line in head.split("\r\n") if line.startswith("ETag: "))


def ask(
    server: Serving, *headers: str, method: str = "GET", path: str = "/page.txt", version: str = "1.1"
) -> tuple[str, bytes]:
    """The head and the body of the answer; after it the connection takes another request, or is closed."""
    lines = "".join(f"{line}\r\n" for line in headers)
    request = f"{method} {path} HTTP/{version}\r\nHost: x\r\n{lines}\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(request.encode("latin-1"))
        file = sock.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = file.readline()
            assert line, f"the head ends after {head!r}"
            head += line
        text = head.decode("latin-1")
        body = b""
        if method != "HEAD" and "Content-Length: " in text:
            body = file.read(int(text.partition("Content-Length: ")[2].split()[0]))
        if "Connection: keep-alive" in text:
            sock.sendall(b"GET /sub HTTP/1.0\r\n\r\n")
            assert file.read().startswith(b"HTTP/1.1 301 ")
        elif version == "1.1":
            assert file.read() == b""
        file.close()
    return text, body


def status(server: Serving, *headers: str, **how: str) -> int:
    return int(ask(server, *headers, **how)[0].split(" ", 2)[1])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        # 13.1.1, If-Match: any of these, compared strongly
        (["If-Match: {tag}"], 200),
        (["If-Match: *"], 200),
        (['If-Match: "a,b", {tag}'], 200),
        (['If-Match: "a"', "If-Match: {tag}"], 200),
        ([f"If-Match: {NONE}"], 412),
        (["If-Match: W/{tag}"], 412),
        (["If-Match: none"], 412),
        (["If-Match: "], 412),
        # 13.1.2, If-None-Match: none of these, compared weakly
        (["If-None-Match: {tag}"], 304),
        (["If-None-Match: W/{tag}"], 304),
        (["If-None-Match: *"], 304),
        (['If-None-Match: "a", "b,c" ,W/{tag}'], 304),
        ([f"If-None-Match: {NONE}"], 200),
        # 13.1.3, If-Modified-Since: ignored if it is no date
        ([f"If-Modified-Since: {DATE}"], 304),
        ([f"If-Modified-Since: {AFTER}"], 304),
        ([f"If-Modified-Since: {BEFORE}"], 200),
        (["If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"], 304),
        (["If-Modified-Since: Sun Nov  6 08:49:37 1994"], 304),
        (["If-Modified-Since: Sun Nov  6 08:49:36 1994"], 200),
        (["If-Modified-Since: Sun, 06 Nov 2094 08:49:60 GMT"], 304),
        (["If-Modified-Since: yesterday"], 200),
        (["If-Modified-Since: 2094-11-06T08:49:37Z"], 200),
        (["If-Modified-Since: Sun, 31 Feb 2094 08:49:37 GMT"], 200),
        (["If-Modified-Since: Sun, 06 Nov 2094 24:49:37 GMT"], 200),
        (["If-Modified-Since: Sun, 06 Nov 2094 08:49:37 +0100"], 200),
        ([f"If-Modified-Since: {AFTER}, {AFTER}"], 200),
        # 13.1.4, If-Unmodified-Since: likewise
        ([f"If-Unmodified-Since: {DATE}"], 200),
        ([f"If-Unmodified-Since: {BEFORE}"], 412),
        (["If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT"], 412),
        (["If-Unmodified-Since: Sunday, 06-Nov-94 08:49:36 GMT"], 412),
        (["If-Unmodified-Since: Sun Nov  6 08:49:36 1994"], 412),
        (["If-Unmodified-Since: 0"], 200),
        ([f"If-Unmodified-Since: {BEFORE}", f"If-Unmodified-Since: {BEFORE}"], 200),
        # 13.2.2, which of them count, and in which order
        (["If-Match: {tag}", f"If-Unmodified-Since: {BEFORE}"], 200),
        ([f"If-Match: {NONE}", f"If-Unmodified-Since: {AFTER}"], 412),
        ([f"If-Match: {NONE}", "If-None-Match: {tag}"], 412),
        (["If-Match: {tag}", "If-None-Match: {tag}"], 304),
        ([f"If-Unmodified-Since: {BEFORE}", "If-None-Match: {tag}"], 412),
        ([f"If-Unmodified-Since: {AFTER}", f"If-Modified-Since: {AFTER}"], 304),
        ([f"If-None-Match: {NONE}", f"If-Modified-Since: {AFTER}"], 200),
        (["If-None-Match: {tag}", f"If-Modified-Since: {BEFORE}"], 304),
        (["If-Match: {tag}", f"If-None-Match: {NONE}", f"If-Modified-Since: {AFTER}"], 200),
    ],
)
def test_conditions(server: Serving, tag: str, method: str, headers: list[str], expected: int) -> None:
    head, body = ask(server, *(line.replace("{tag}", tag) for line in headers), method=method)
    assert int(head.split(" ", 2)[1]) == expected
    if expected == 304:
        assert f"ETag: {tag}" in head and "Date: " in head
        assert "Content-Length" not in head and body == b""
    assert "Connection: keep-alive" in head


@pytest.mark.parametrize(
    ("path", "header", "expected"),
    [
        ("/none", f"If-Match: {NONE}", 404),
        ("/none", "If-None-Match: *", 404),
        ("/sub", f"If-Match: {NONE}", 301),
        ("/sub", "If-None-Match: *", 301),
        # a listing has neither tag nor date
        ("/sub/", f"If-Match: {NONE}", 412),
        ("/sub/", "If-Match: *", 200),
        ("/sub/", "If-None-Match: *", 304),
        ("/sub/", f"If-None-Match: {NONE}", 200),
        ("/sub/", f"If-Unmodified-Since: {BEFORE}", 200),
        ("/sub/", "If-Modified-Since: Sun, 06 Nov 2094 08:49:37 GMT", 200),
    ],
)
def test_conditions_count_where_the_answer_were_200(
    server: Serving, path: str, header: str, expected: int
) -> None:
    assert status(server, header, path=path) == expected
    assert status(server, f"If-Match: {NONE}", path=path, method="DELETE") == 405


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (["Range: bytes=2-4"], b"234"),
        (["Range: BYTES=2-4"], b"234"),
        (["Range: bytes=002-0000004"], b"234"),
        ([f"Range: bytes=2-{HUGE}"], b"23456789"),
        ([f"Range: bytes=-{HUGE}"], b"0123456789"),
        ([f"Range: bytes={HUGE}-"], 416),
        ([f"Range: bytes={HUGE}-{HUGE}"], 416),
        (["Range: bytes=4-2"], 416),
        (["Range: bytes=-"], 416),
        (["Range: bytes=- 1"], 416),
        # 14.2: a unit that is not known, or no specifier at all, is ignored
        (["Range: bytesx=0-1"], 200),
        (["Range: xbytes=0-1"], 200),
        (["Range: byte=0-1"], 200),
        (["Range: bytes0-1"], 200),
        (["Range: bytes"], 200),
        (["Range: items=0-1"], 200),
        (["Range: =0-1"], 200),
        (["Range: "], 200),
        (["Range: bytes=0-1", "Range: bytes=3-4"], 200),
        # 13.1.5, If-Range: the same file, compared strongly, or everything
        (["Range: bytes=2-4", "If-Range: {tag}"], b"234"),
        (["Range: bytes=2-4", f"If-Range: {DATE}"], b"234"),
        (["Range: bytes=2-4", "If-Range: Sunday, 06-Nov-94 08:49:37 GMT"], b"234"),
        (["Range: bytes=2-4", "If-Range: W/{tag}"], 200),
        (["Range: bytes=2-4", f"If-Range: {NONE}"], 200),
        (["Range: bytes=2-4", f"If-Range: {AFTER}"], 200),
        (["Range: bytes=99-", f"If-Range: {NONE}"], 200),
        # the other conditions come before
        (["Range: bytes=2-4", f"If-Match: {NONE}"], 412),
        (["Range: bytes=2-4", "If-None-Match: {tag}"], 304),
        (["Range: bytes=99-", f"If-Unmodified-Since: {BEFORE}"], 412),
        (["Range: bytes=99-", f"If-Modified-Since: {DATE}"], 304),
        (["Range: bytes=2-4", "If-Match: {tag}", f"If-Modified-Since: {BEFORE}"], b"234"),
    ],
)
def test_ranges(server: Serving, tag: str, headers: list[str], expected: int | bytes) -> None:
    head, body = ask(server, *(line.replace("{tag}", tag) for line in headers))
    if isinstance(expected, bytes):
        assert (head.split(" ", 2)[1], body) == ("206", expected)
    else:
        assert int(head.split(" ", 2)[1]) == expected
        assert body == b"0123456789" or expected != 200


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        # RFC 9112, 6.2 and 6.3: an invalid length is no length
        (["Content-Length: abc"], 400),
        (["Content-Length: -1"], 400),
        (["Content-Length: +1"], 400),
        (["Content-Length: 1.0"], 400),
        (["Content-Length: 0x1"], 400),
        (["Content-Length: 1 1"], 400),
        (["Content-Length: 5,6"], 400),
        (["Content-Length: 5, 5"], 400),
        (["Content-Length: 5", "Content-Length: 5"], 400),
        (["Content-Length: "], 400),
        (["Content-Length: \xb2"], 400),
        (["Content-Length: 0"], 200),
        (["Content-Length: 000"], 200),
        ([f"Content-Length: {HUGE}"], 400),
        # 6.1: a coding that is not known
        (["Transfer-Encoding: xchunked"], 501),
        (["Transfer-Encoding: chunkedx"], 501),
        (["Transfer-Encoding: gzip"], 501),
        (["Transfer-Encoding: gzip, chunked"], 501),
        (["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"], 501),
        (["Transfer-Encoding: identity"], 501),
        (['Transfer-Encoding: chunked;a="b"'], 501),
        # 6.1 and 6.3: chunked is the last and comes once, there is no length beside it, nor in HTTP/1.0
        (["Transfer-Encoding: chunked, gzip"], 400),
        (["Transfer-Encoding: chunked, chunked"], 400),
        (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], 400),
        (["Transfer-Encoding: "], 400),
        (["Transfer-Encoding: ,"], 400),
        (["Transfer-Encoding: chunked", "Content-Length: 5"], 400),
        (["Content-Length: 0", "Transfer-Encoding: xchunked"], 400),
        (["Transfer-Encoding: Chunked"], 200),
        (["Transfer-Encoding: , chunked ,"], 400),
    ],
)
def test_where_a_request_ends_is_clear(server: Serving, headers: list[str], expected: int) -> None:
    head, body = ask_with_body(server, headers)
    assert int(head.split(" ", 2)[1]) == expected
    assert body == b"0123456789" or expected != 200
    assert status(server, *headers, method="POST") == (405 if expected == 200 else expected)


def ask_with_body(server: Serving, headers: list[str]) -> tuple[str, bytes]:
    """The answer to a request that is followed by a body, which is not taken for requests."""
    lines = "".join(f"{line}\r\n" for line in headers)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(f"GET /page.txt HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode("latin-1"))
        if headers not in (["Content-Length: 0"], ["Content-Length: 000"]):
            sock.sendall(b"5\r\nGET /page.txt HTTP/1.0\r\n\r\n" * 1000)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
    assert answer.count(b"HTTP/1.1 ") == 1
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode("latin-1"), body


def test_http_1_0_knows_no_transfer_coding(server: Serving) -> None:
    assert status(server, "Transfer-Encoding: chunked", version="1.0") == 400


@pytest.mark.parametrize(
    ("host", "expected"),
    [("", 200), ("x:80", 200), ("[::1]:80", 200), ("a_b.example:", 200), ("%41", 200)]
    + [(host, 400) for host in ("a b", "a/b", "a@b", "x:y", "[::1", "::1", "\x7f", "\xe4", "x:1:2")],
)
def test_the_host_is_a_possible_one(server: Serving, host: str, expected: int) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("latin-1"))
        assert int(sock.recv(65536).split(b" ", 2)[1]) == expected
