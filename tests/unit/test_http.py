"""HTTP messages as frames: the promises of a picker, what is refused, and work in proportion to the bytes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evsockets.frames import FramePicker, Inbox
from evsockets.http import Headers, HttpError, Request, RequestPicker, Response, ResponsePicker
from evsockets.http.bodies import ChunkedPicker
from evsockets.testing.pickers import LargeStream, PickerContract, PickerExample
from support.command import run_python
from support.linear import grows_linearly
from support.pickers import Batched

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class TestRequestPicker(PickerContract):
    large_size = 4 * 1024 * 1024

    def make_picker(self) -> FramePicker:
        return RequestPicker(max_head=200, max_body=1000)

    def examples(self) -> Iterator[PickerExample]:
        yield PickerExample(GET + b"\r\n", [b""])
        yield PickerExample(b"\r\n\n" + GET + b"\r\n" + b"GET / HTTP/1.0\n\n", [b"", b""])
        yield PickerExample(POST + b"Content-Length: 3\r\n\r\nabc" + GET + b"\r\n", [b"abc", b""])
        yield PickerExample(CHUNKED + b"3;x=y\r\nabc\r\n1\r\n\n\r\n0\r\nA: b\r\n\r\n" + GET, [b"abc\n"], GET)
        yield PickerExample(CHUNKED + b"2\r\nab\r\n0\r\n\r\n" + CHUNKED + b"0\r\n\r\n", [b"ab", b""])
        yield PickerExample(POST + b"Content-Length: 3\r\n\r\nab", [], POST + b"Content-Length: 3\r\n\r\nab")

    def make_limited(self, limit: int) -> tuple[FramePicker, bytes]:
        return RequestPicker(max_head=limit, max_body=limit), b"x"

    def make_large(self, size: int) -> LargeStream:
        body = (b"%x\r\n%b\r\n" % (100, b"x" * 100)) * (size // 100) + b"0\r\n\r\n"
        return LargeStream(RequestPicker(max_body=2 * size), CHUNKED + body)


class TestBatches(Batched, TestRequestPicker):
    pass


class TestResponsePicker(PickerContract):
    large_size = 4 * 1024 * 1024

    def make_picker(self) -> FramePicker:
        return ResponsePicker(max_body=1000)

    def examples(self) -> Iterator[PickerExample]:
        ok = b"HTTP/1.1 200 OK\r\n"
        interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n"
        yield PickerExample(ok + b"Content-Length: 2\r\n\r\nokHTTP/1.1 204\r\n\r\n", [b"ok", b""])
        yield PickerExample(interim, [b"", b""])
        yield PickerExample(ok + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", [b"a"])

    def make_large(self, size: int) -> LargeStream:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
        return LargeStream(ResponsePicker(max_body=size), head + bytes(size))


class TestUntilTheEnd(PickerContract):
    ends_stream = True

    def make_picker(self) -> FramePicker:
        return ResponsePicker()

    def examples(self) -> Iterator[PickerExample]:
        yield PickerExample(b"HTTP/1.0 200 OK\r\n\r\nto the end", [b"to the end"])


def test_what_a_request_says() -> None:
    data = b"PUT /a%20b?c=\xc3\xa9 HTTP/1.1\r\nHost: x\r\nA: 1\r\na:2 \r\nB: \xe9\r\n"
    data += b"Content-Length: 2\r\n\r\nok"
    request = RequestPicker().pick(Inbox(data, ("192.0.2.1", 7)), False)
    assert request is not None and request.remote_address == ("192.0.2.1", 7)
    assert (request.method, request.target, request.version) == ("PUT", "/a%20b?c=%C3%A9", (1, 1))
    assert request.body == request.data == b"ok" and request.keep_alive and request.has_body
    headers = request.headers
    assert headers["A"] == headers["a"] == "1, 2" and headers.get_all("a") == ["1", "2"]
    assert headers["b"] == "é" and "c" not in headers and dict(headers)["host"] == "x"
    assert headers.pairs[1:3] == (("A", "1"), ("a", "2"))
    other = RequestPicker().pick(Inbox(data.replace(b"PUT", b"POST"), ("192.0.2.1", 7)), False)
    again = pickle.loads(pickle.dumps(request))
    assert again == request != other and hash(again) == hash(request)


@pytest.mark.parametrize(("head", "kept"), [
    (GET, True), (GET + b"Connection: a, Close\r\n", False), (b"GET / HTTP/1.0\r\n", False),
    (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n", True),
])  # fmt: skip
def test_who_keeps_the_connection(head: bytes, kept: bool) -> None:
    request = RequestPicker().pick(Inbox(head + b"\r\n"), False)
    assert request is not None and request.keep_alive is kept
    assert (b"Connection: keep-alive" in request.response(200)) is kept


def length(text: str) -> bytes:
    return POST + f"Content-Length: {text}\r\n\r\naaa".encode()


def coding(text: str, more: bytes = b"") -> bytes:
    return POST + f"Transfer-Encoding: {text}\r\n".encode() + more + b"\r\n0\r\n\r\n"


#: RFC 9112 section 2 to 7, and what request smuggling is made of.
REFUSED: dict[bytes, int] = {
    b"GET / HTTP/1.1\r\n\r\n": 400,
    GET + b"Host: y\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: a b/\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost : x\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\n Host: x\r\n\r\n": 400,
    GET + b"A: b\r\n c\r\n\r\n": 400,
    GET + b"A: b\rc\r\n\r\n": 400,
    GET + b"A: b\nB: c\r\n\r\n": 400,
    GET + b"A: b\0c\r\n\r\n": 400,
    GET + b"A: b\x01c\r\n\r\n": 400,
    GET + b": b\r\n\r\n": 400,
    GET + b"A(: b\r\n\r\n": 400,
    GET + b"abc\r\n\r\n": 400,
    b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n": 400,
    b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n": 400,
    b"GET page HTTP/1.1\r\nHost: x\r\n\r\n": 400,
    b"GET /\r\n\r\n": 400,
    b"\x16\x03\x01\x02\x00\n\n": 400,
    b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n": 501,
    b"GET / HTTP/2.0\r\nHost: x\r\n\r\n": 505,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": 505,
    length("1\r\nContent-Length: 1"): 400,
    length("1, 1"): 400,
    length("+1"): 400,
    length("1 1"): 400,
    length("0x1"): 400,
    length(""): 400,
    length("9" * 30): 400,
    length("1001"): 413,
    coding("chunked", b"Content-Length: 5\r\n"): 400,
    coding("identity"): 501,
    coding("chunked, gzip"): 400,
    coding("chunked, chunked"): 400,
    coding("chunked\r\nTransfer-Encoding: chunked"): 400,
    coding("xchunked"): 501,
    coding("gzip, chunked"): 501,
    coding("chunked").replace(b"HTTP/1.1", b"HTTP/1.0"): 400,
    CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n": 400,
    CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n": 400,
    CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n": 400,
    CHUNKED + b"\r\nabc\r\n0\r\n\r\n": 400,
    CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n": 400,
    CHUNKED + b"3_0\r\nabc\r\n0\r\n\r\n": 400,
    CHUNKED + b"f" * 17 + b"\r\n": 400,
    CHUNKED + b"3\nabc\r\n0\r\n\r\n": 400,
    CHUNKED + b'3;a="\n"\r\nabc\r\n0\r\n\r\n': 400,
    CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n": 400,
    CHUNKED + b"3\r\nabc0\r\n\r\n": 400,
    CHUNKED + b"3\r\nabc\n0\r\n\r\n": 400,
    CHUNKED + b"0\r\nA b\r\n\r\n": 400,
    CHUNKED + b"3e9\r\n" + b"x" * 1001: 413,
    CHUNKED + b"1;" + b"a" * 5000: 400,
    CHUNKED + b"1;aaaaaaaaaaaaaaaaaaaa\r\nx\r\n" * 900: 400,
    CHUNKED + b"0\r\n" + b"A: b\r\n" * 4000: 400,
    GET + b"A: " + b"a" * 20000: 431,
    b"A" * 20000: 431,
}


@pytest.mark.parametrize("data", REFUSED, ids=lambda data: repr(data[-60:]))
def test_what_is_refused(data: bytes) -> None:
    for step in (len(data), 1):
        picker, inbox = RequestPicker(max_body=1000), Inbox()
        with pytest.raises(HttpError) as caught:
            for begin in range(0, len(data), step):
                inbox._append(data[begin : begin + step])
                assert picker.pick(inbox, False) is None
            pytest.fail("a request was taken, or is waited for")
        assert (caught.value.status, caught.value.picker) == (REFUSED[data], picker)
        assert caught.value.reason and str(caught.value)


@pytest.mark.parametrize("data", [
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", b"HTTP/2.0 200 OK\r\n\r\n", b"SSH-2.0-x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", b"HTTP/1.1 99 X\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
])  # fmt: skip
def test_what_is_no_response(data: bytes) -> None:
    with pytest.raises(HttpError):
        ResponsePicker().pick(Inbox(data), False)


def test_which_responses_have_a_body() -> None:
    head = b"HTTP/1.1 %d x\r\nContent-Length: 3\r\n\r\n"
    for method, status, size in [
        ("GET", 200, 3), ("HEAD", 200, 0), ("GET", 204, 0), ("GET", 304, 0), ("GET", 101, 0),
        ("CONNECT", 200, 0), ("CONNECT", 403, 3),
    ]:  # fmt: skip
        inbox = Inbox(head % status + b"abc")
        response = ResponsePicker(method).pick(inbox, False)
        assert type(response) is Response and response.status == status
        assert (len(response.body), len(inbox)) == (size, 3 - size)


def ask(method: str = "GET", version: str = "1.1") -> Request:
    request = RequestPicker().pick(Inbox(f"{method} / HTTP/{version}\r\nHost: x\r\n\r\n".encode()), False)
    assert request is not None
    return request


def test_how_a_response_is_made() -> None:
    response = ask().response(200, {"A": "é"}, b"ok")
    assert response.startswith(b"HTTP/1.1 200 OK\r\nA: \xe9\r\nContent-Length: 2\r\nDate: ")
    assert response.endswith(b"GMT\r\nConnection: keep-alive\r\n\r\nok")
    assert b"\r\nContent-Length: 2\r\n" in ask("HEAD").response(200, (), b"ok")
    assert ask("HEAD").response(200, (), b"ok").endswith(b"\r\n\r\n")
    for status in (204, 304, 101):
        assert b"Content-Length" not in ask().response(status)
    assert b"HTTP/1.1 299 \r\n" in ask().response(299)


@pytest.mark.parametrize(("status", "headers", "body", "says"), [
    (200, {"A\r\nB": "x"}, b"", "no header name"), (200, {"A": "x\r\nB: y"}, b"", "A: 'x"),
    (200, {"A": "\u20ac"}, b"", "sign"), (204, {}, b"x", "204"), (200, {"Content-Length": "3"}, b"x", "3"),
    (200, {"Content-Length": "x"}, b"x", "number"), (200, {"Transfer-Encoding": "gzip"}, b"", "added"),
    (99, {}, b"", "99"),
    (200, [("Content-Length", "1"), ("content-length", "1")], b"x", "one number, not '1, 1'"),
])  # fmt: skip
def test_what_makes_no_response(status: int, headers: Any, body: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ask().response(status, headers, body)


def test_headers_of_other_types() -> None:
    with pytest.raises(TypeError, match="both str"):
        ask().response(200, [("A", 1)])  # type: ignore[list-item]
    assert Headers([("A", "b")]) == {"a": "b"} and repr(Headers([("A", "b")])) == "Headers([('A', 'b')])"


def test_without_the_library_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['httptools'] = None; import evsockets.http"
    answer = run_python(code)
    assert answer.returncode == 1 and "pip install 'evsockets[http]'" in answer.stderr


@pytest.mark.parametrize("piece", [b"\r\n", b"GET / HTTP/1.0\n\n", GET + b"\r\n", b"\n\r", b"x", b"\nx"])
def test_heads_are_found_in_linear_time(piece: bytes) -> None:
    def work(size: int) -> Callable[[], object]:
        data = b"" if piece.startswith(b"G") else b"x"
        data += piece * (size // len(piece))

        def pick() -> None:
            inbox, picker = Inbox(), RequestPicker(max_head=1 << 30)
            for begin in range(0, len(data), 700):
                inbox._append(data[begin : begin + 700])
                try:
                    while inbox and picker.pick(inbox, False) is not None:
                        pass
                except HttpError:
                    break

        return pick

    grows_linearly(work, 64 * 1024)


@pytest.mark.parametrize("piece", [b"1\r\nx\r\n", b"1" * 10, b"3;a\r\nabc\r\n", b"0\r\nA: b\r\n"])
def test_chunks_are_decoded_in_linear_time(piece: bytes) -> None:
    def work(size: int) -> Callable[[], object]:
        data = piece * (size // len(piece))

        def decode() -> None:
            inbox, picker = Inbox(), ChunkedPicker()
            try:
                for begin in range(0, len(data), 7):
                    inbox._append(data[begin : begin + 7])
                    picker.pick(inbox, False)
            except HttpError:
                pass

        return decode

    grows_linearly(work, 64 * 1024)
