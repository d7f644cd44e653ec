"""HTTP/1.1 as `serve` needs it: request heads in, response heads out. Knows no sockets and no files."""

from __future__ import annotations

import functools
import re
import time
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from .. import Frame, FramePicker, Inbox

#: A longer request head is answered with 431.
MAX_HEAD = 16 * 1024

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) (\S+) HTTP/(\d)\.(\d)")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\0\r\n]*?)[ \t]*")
_ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
_RANGE = re.compile(r"bytes[ \t]*=[ \t]*(\d{0,18})-(\d{0,18})", re.ASCII)
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class HttpError(Exception):
    """A request that gets no file. `status` is the answer's; `headers` go with it."""

    def __init__(self, status: HTTPStatus, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class HeadPicker(FramePicker):
    """Takes one request head, up to and with its empty line.

    Empty lines before it are dropped. Of a head over `MAX_HEAD` bytes the frame is what has come so far,
    without an empty line at its end: it is to be answered, so it must not be an error here.
    """

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        while len(inbox) and inbox.peek(1) in (b"\r", b"\n"):
            inbox.drop(1)
        # Both spellings of an empty line after LF; "\n\r\n" is the tail of the usual "\r\n\r\n".
        ends = [at + len(mark) for mark in (b"\n\r\n", b"\n\n") if (at := inbox.find(mark)) >= 0]
        size = min(ends, default=0)
        if 0 < size <= MAX_HEAD:
            return Frame(inbox.take(size), inbox.remote_address)
        if size or len(inbox) > MAX_HEAD:
            return Frame(inbox.take(MAX_HEAD), inbox.remote_address)
        return None


@dataclass(slots=True)
class Request:
    """A request head. `path` is percent-decoded bytes, `headers` have lower-case names."""

    method: str
    target: str
    path: bytes
    version: tuple[int, int]
    headers: dict[str, str]

    @property
    def keep_alive(self) -> bool:
        """Whether the client lets the connection live on after this request.

        A request with a body does not: nobody here reads bodies.
        """
        if self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers:
            return False
        options = {option.strip().lower() for option in self.headers.get("connection", "").split(",")}
        if "close" in options:
            return False
        return self.version >= (1, 1) or "keep-alive" in options


def parse_head(head: bytes) -> Request:
    """Return the request in `head`; HttpError with the status to answer if it is none."""
    if not head.endswith(b"\n\r\n") and not head.endswith(b"\n\n"):
        raise HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head is over {MAX_HEAD} bytes")
    lines = [line.removesuffix(b"\r") for line in head.split(b"\n")]
    match = _REQUEST_LINE.fullmatch(lines[0])
    if match is None:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the request line is malformed")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise HttpError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    version = (int(major), int(minor))
    headers: dict[str, str] = {}
    for line in lines[1:-2]:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise HttpError(HTTPStatus.BAD_REQUEST, "a header line is malformed")
        name = match.group(1).decode("ascii").lower()
        value = match.group(2).decode("latin-1")
        if name in headers:
            if name in ("host", "content-length"):
                raise HttpError(HTTPStatus.BAD_REQUEST, f"{name} is given twice")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    if version >= (1, 1) and "host" not in headers:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the Host header is missing")
    return Request(method.decode("ascii"), target.decode("latin-1"), _path_of(target), version, headers)


def _path_of(target: bytes) -> bytes:
    """The decoded path of a request target, in origin or absolute form."""
    absolute = _ABSOLUTE.match(target)
    if absolute:
        target = target[absolute.end() :] or b"/"
    path = re.split(rb"[?#]", target, maxsplit=1)[0]
    if not path.startswith(b"/"):
        raise HttpError(HTTPStatus.BAD_REQUEST, "the request target is no path")
    if _BAD_ESCAPE.search(path):
        raise HttpError(HTTPStatus.BAD_REQUEST, "the path has a malformed percent escape")
    decoded = unquote_to_bytes(path)
    if b"\0" in decoded:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the path has a NUL byte")
    return decoded


def parse_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Return the `(start, stop)` that a Range header asks of `size` bytes; None for everything.

    Other units than bytes and several ranges at once are ignored, as HTTP allows. HttpError 416 for one
    that is malformed or has no byte in it.
    """
    if text is None or not text.lower().startswith("bytes") or "," in text:
        return None
    match = _RANGE.fullmatch(text.strip().lower())
    if match is not None:
        first, last = match.groups()
        if first:
            start, stop = int(first), min(int(last) + 1, size) if last else size
            if start < stop and start < size:
                return start, stop
        elif last and int(last) and size:
            return max(0, size - int(last)), size
    raise HttpError(
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        "no such range",
        (("Content-Range", f"bytes */{size}"),),
    )


def not_modified(request: Request, tag: str, modified: float) -> bool:
    """Whether the client's copy, named by its conditional headers, is still good."""
    wanted = request.headers.get("if-none-match")
    if wanted is not None:
        return wanted.strip() == "*" or tag in [one.strip().removeprefix("W/") for one in wanted.split(",")]
    since = request.headers.get("if-modified-since")
    if since is None:
        return False
    try:
        return int(modified) <= parsedate_to_datetime(since).timestamp()
    except (ValueError, OverflowError):
        return False


def range_applies(request: Request, tag: str, modified: float) -> bool:
    """Whether the Range header counts: If-Range is absent, or names the file as it is now."""
    condition = request.headers.get("if-range")
    return condition is None or condition.strip() in (tag, http_date(modified))


def response_head(status: HTTPStatus, headers: list[tuple[str, str]], *, keep_alive: bool) -> bytes:
    """Return the head of a response, with Date, Server and Connection added."""
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Date: {http_date(time.time())}",
        "Server: evsockets",
        *(f"{name}: {value}" for name, value in headers),
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        "\r\n",
    ]
    return "\r\n".join(lines).encode("latin-1")


def http_date(timestamp: float) -> str:
    """Return a Unix timestamp as HTTP writes it."""
    return _date(int(timestamp))


@functools.lru_cache(maxsize=256)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
