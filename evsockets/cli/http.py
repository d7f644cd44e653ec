"""HTTP/1.1 as `serve` needs it: request heads in, response heads out. Knows no sockets and no files."""

from __future__ import annotations

import functools
import re
import time
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from .. import EmptyFrame, Frame, FramePicker, Inbox

#: A longer request head is answered with 431.
MAX_HEAD = 16 * 1024

# What a peer sends is matched in linear time: no two repetitions beside each other may take the same bytes.
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"{1,32}) ([!-~\x80-\xff]+) HTTP/(\d)\.(\d)")
_NAME = re.compile(_TOKEN + rb"+")
_BAD_VALUE = re.compile(rb"[\0\r\n]")
_HOST = re.compile(r"(?:[\w\-.~%!$&'()*+,;=]*|\[[\w\-.~%:]+\])(?::[0-9]*)?", re.ASCII)
_LENGTH = re.compile(r"[0-9]+")
_ABSOLUTE = re.compile(rb"https?://[^/?#]+", re.IGNORECASE)
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# Both spellings of an empty line after LF.
_END = re.compile(rb"\n\r?\n")


class HttpError(Exception):
    """A request that gets no file. `status` is the answer's; `headers` go with it."""

    def __init__(self, status: HTTPStatus, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class HeadPicker(FramePicker):
    """Takes one request head, up to and with its empty line; each head of each client has a picker.

    Empty lines before it are dropped. Of a head that is not whole after `seconds` (None: any time), or has
    `MAX_HEAD` bytes and no end, the frame is what has come so far: it is to be answered, so it must not be
    an error here. The time counts from the first byte, and is looked at when more of them come.
    """

    __slots__ = ("_due", "_searched")

    def __init__(self, seconds: float | None = None) -> None:
        self._due = None if seconds is None else time.monotonic() + seconds
        self._searched = 0

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        while inbox.peek(1) in (b"\r", b"\n"):
            lines = inbox.peek(MAX_HEAD)
            inbox.drop(len(lines) - len(lines.lstrip(b"\r\n")))
        start = self._searched
        end = _END.search(inbox.peek(MAX_HEAD - start, start))
        size = MAX_HEAD if end is None else start + end.end()
        late = self._due is not None and time.monotonic() > self._due
        if end is None and len(inbox) < MAX_HEAD and not late:
            self._searched = max(0, len(inbox) - 2)
            return None
        self._searched = 0
        return Frame(inbox.take(size), inbox.remote_address)


class RestPicker(FramePicker):
    """Throws away what a client still sends; one picker for each client.

    Its frame, an `EmptyFrame`, comes with the end of the stream, or when it is enough: after `most` bytes,
    or the first bytes later than `seconds` from the first call on.
    """

    __slots__ = ("_due", "_left", "_seconds")

    def __init__(self, most: int, seconds: float) -> None:
        self._left = most
        self._seconds = seconds
        self._due: float | None = None

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        now = time.monotonic()
        if self._due is None:
            self._due = now + self._seconds
        size = len(inbox)
        self._left -= size
        inbox.drop(size)
        enough = self._left < 0 or (size and now > self._due)
        return EmptyFrame(inbox.remote_address) if ended or enough else None


@dataclass(slots=True)
class Request:
    """A request head. `path` is percent-decoded bytes, `headers` have lower-case names."""

    method: str
    target: str
    path: bytes
    version: tuple[int, int]
    headers: dict[str, str]

    @property
    def has_body(self) -> bool:
        """Whether bytes follow the head that belong to the request (RFC 9112, 6.3)."""
        return bool(self.headers.get("content-length", "").strip("0")) or "transfer-encoding" in self.headers

    @property
    def keep_alive(self) -> bool:
        """Whether the client lets the connection live on after this request.

        A request with a body does not: nobody here reads bodies.
        """
        if self.has_body:
            return False
        options = {option.strip().lower() for option in self.headers.get("connection", "").split(",")}
        if "close" in options:
            return False
        return self.version >= (1, 1) or "keep-alive" in options


def parse_head(head: bytes) -> Request:
    """Return the request in `head`; HttpError with the status to answer if it is none."""
    if not head.endswith(b"\n\r\n") and not head.endswith(b"\n\n"):
        if len(head) < MAX_HEAD:
            raise HttpError(HTTPStatus.REQUEST_TIMEOUT, "the head took too long")
        raise HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head is over {MAX_HEAD} bytes")
    lines = [line.removesuffix(b"\r") for line in head.split(b"\n")]
    match = _REQUEST_LINE.fullmatch(lines[0])
    if match is None:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the request line is malformed")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise HttpError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    version = (int(major), int(minor))
    headers = _headers(lines[1:-2])
    _check_host(version, headers)
    _check_framing(version, headers)
    return Request(method.decode("ascii"), target.decode("latin-1"), _path_of(target), version, headers)


def _headers(lines: list[bytes]) -> dict[str, str]:
    """The header fields by lower-case name; values given several times are joined by commas."""
    values: dict[str, list[str]] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or _NAME.fullmatch(name) is None or _BAD_VALUE.search(value):
            raise HttpError(HTTPStatus.BAD_REQUEST, "a header line is malformed")
        values.setdefault(name.decode("ascii").lower(), []).append(value.strip(b" \t").decode("latin-1"))
    for single in ("host", "content-length"):
        if len(values.get(single, [])) > 1:
            raise HttpError(HTTPStatus.BAD_REQUEST, f"{single} is given twice")
    return {lower: ", ".join(given) for lower, given in values.items()}


def _check_host(version: tuple[int, int], headers: dict[str, str]) -> None:
    """RFC 9112, 3.2: a client of HTTP/1.1 names the host, and only a possible one."""
    host = headers.get("host")
    if host is None and version >= (1, 1):
        raise HttpError(HTTPStatus.BAD_REQUEST, "the Host header is missing")
    if host is not None and _HOST.fullmatch(host) is None:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the Host header is malformed")


def _check_framing(version: tuple[int, int], headers: dict[str, str]) -> None:
    """RFC 9112, 6.1 to 6.3: no request whose end could be somewhere else for somebody else."""
    length = headers.get("content-length")
    if length is not None and _LENGTH.fullmatch(length) is None:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the Content-Length is no number")
    text = headers.get("transfer-encoding")
    if text is None:
        return
    codings = [coding for one in text.split(",") if (coding := one.strip(" \t").lower())]
    if version < (1, 1) or length is not None or not codings or "chunked" in codings[:-1]:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the Transfer-Encoding leaves the request's end unclear")
    if codings != ["chunked"]:
        raise HttpError(HTTPStatus.NOT_IMPLEMENTED, "the only transfer coding known here is chunked")


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
