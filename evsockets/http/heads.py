"""Heads of messages, parsed by llhttp (the package httptools), with further checks of RFC 9112."""

from __future__ import annotations

import re
from typing import TypeAlias, TypeVar

import httptools

from ..frames.base import Frame, FramePicker
from ..frames.inbox import Inbox
from .bodies import CHUNKED, UNTIL_END
from .error import HttpError
from .headers import TOKEN, Headers
from .messages import Request, Response

#: Longer heads are refused: of requests, and of responses, whose cookies are many.
MAX_HEAD = 16 * 1024
MAX_RESPONSE_HEAD = 64 * 1024

# Both spellings of an empty line after LF.
_END = re.compile(rb"\n\r?\n")
_LINE_ENDS = re.compile(rb"[\r\n]*")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")


class HeadPicker(FramePicker):
    """Gives a head, up to and with its empty line; empty lines before it are dropped (RFC 9112, 2.2).

    HttpError (431) for one over `max_head` bytes.
    """

    __slots__ = ("max_head",)

    def __init__(self, max_head: int) -> None:
        self.max_head = max_head

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        size = head_size(inbox, self, self.max_head)
        if size > self.max_head:
            raise HttpError(431, f"the head is over {self.max_head} bytes")
        return Frame(inbox.take(size), inbox.remote_address) if size else None


def head_size(inbox: Inbox, picker: FramePicker, limit: int) -> int:
    """The size of the head that begins `inbox`, 0 if it is not whole yet, more than `limit` if it is too
    large. The inbox remembers how far it was searched, for `picker`."""
    start = 0
    chunk, offset = inbox._chunk, inbox._offset
    if not chunk:
        return 0
    if chunk[offset] in b"\r\n":
        blank = _LINE_ENDS.match(chunk, offset)
        assert blank is not None
        inbox.drop(blank.end() - offset)
        chunk, offset = inbox._chunk, inbox._offset
    else:
        start = inbox._recall(picker, 0)
    match = _END.search(chunk, offset + start, offset + limit)
    if match is not None:
        return match.end() - offset
    if len(inbox) >= limit:
        return limit + 1
    inbox._remember(picker, max(0, len(inbox) - 2))
    return 0


_Parser: TypeAlias = httptools.HttpRequestParser | httptools.HttpResponseParser


class _Judge:
    """What llhttp tells of a head."""

    __slots__ = ("fields", "reason", "target", "whole")

    def __init__(self) -> None:
        self.fields: list[tuple[str, str]] = []
        self.reason = self.target = b""
        self.whole = False

    def on_url(self, target: bytes) -> None:
        self.target += target

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.decode("latin-1"), value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        self.whole = True


RequestT = TypeVar("RequestT", bound=Request)


def parse_request(head: bytes, kind: type[RequestT]) -> RequestT:
    """The request in the bytes of `head`, without its body, as a `kind`. HttpError if it is malformed."""
    judge = _Judge()
    parser = httptools.HttpRequestParser(judge)
    if not head.isascii():  # as browsers do; obs-text belongs into no target (RFC 9112, 3.2)
        line, end, rest = head.partition(b"\n")
        head = _BEYOND_ASCII.sub(lambda byte: b"%%%02X" % byte[0][0], line) + end + rest
    _feed(judge, parser, head)
    version = _version(parser)
    if not judge.whole:
        raise HttpError(400, "the head is malformed")
    headers = Headers(judge.fields)
    headers.check_host(needed=version >= (1, 1))
    request = kind(version, headers, _request_framing(version, headers))
    request.method = parser.get_method().decode("ascii")
    request.target = judge.target.decode("latin-1")
    return request


def parse_response(head: bytes, method: str) -> Response:
    """The response to a request of `method`, without its body. HttpError if it is malformed."""
    judge = _Judge()
    parser = httptools.HttpResponseParser(judge)
    _feed(judge, parser, head)
    version = _version(parser)
    if not judge.whole:
        raise HttpError(400, "the head is malformed")
    headers = Headers(judge.fields)
    status: int = parser.get_status_code()
    response = Response(version, headers, _response_framing(method, status, headers))
    response.status = status
    response.reason = judge.reason.decode("latin-1")
    response._is_last = False
    return response


def _feed(judge: _Judge, parser: _Parser, head: bytes) -> None:
    """Have llhttp judge exactly one head."""
    if head.endswith(b"\n\n"):  # written without CR (RFC 9112, 2.2)
        head = head.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:  # whether to is our affair
        pass
    except httptools.HttpParserInvalidMethodError:
        word = head[:64].split(b" ", 1)[0].decode("latin-1")
        known = TOKEN.fullmatch(word) is not None
        raise HttpError(501 if known else 400, "the method is not known here") from None
    except httptools.HttpParserError as error:
        if judge.whole:
            return  # what is left is how the body ends, which is judged below
        _version(parser)
        raise HttpError(400, f"the head is malformed: {error}") from None


def _version(parser: _Parser) -> tuple[int, int]:
    """The message's version; HttpError (505) for one that is not spoken here."""
    version = parser.get_http_version()
    if version == "1.1":
        return 1, 1
    major, _, minor = version.partition(".")
    if major not in "01":
        raise HttpError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if major == "0" and minor == "9":
        raise HttpError(400, "the request line has no version")
    return int(major), int(minor)


def _request_framing(version: tuple[int, int], headers: Headers) -> int:
    """How the body of a request ends (RFC 9112, 6.3): nobody else may find its end somewhere else."""
    if "transfer-encoding" not in headers:
        length = headers.get("content-length")
        return 0 if length is None else _length(length)
    codings = headers.options("transfer-encoding")
    if version < (1, 1) or "content-length" in headers or not codings or "chunked" in codings[:-1]:
        raise HttpError(400, "the Transfer-Encoding leaves the request's end unclear")
    if codings != ["chunked"]:
        raise HttpError(501, "the only transfer coding known here is chunked")
    return CHUNKED


def _response_framing(method: str, status: int, headers: Headers) -> int:
    """The same of a response."""
    if method == "HEAD" or status < 200 or status in (204, 304) or (method == "CONNECT" and status < 300):
        return 0
    codings = headers.options("transfer-encoding")
    if codings:
        if codings != ["chunked"] or "content-length" in headers:
            raise HttpError(501, f"the body's transfer coding is not understood: {', '.join(codings)[:80]}")
        return CHUNKED
    length = headers.get("content-length")
    return UNTIL_END if length is None else _length(length)


def _length(digits: str) -> int:
    """A length of digits that llhttp has judged: they fit into 64 bits but for zeros in front."""
    return int(digits.lstrip("0") or "0")
