"""The answers of `serve`: a file or a part of it, a directory's page, or an error."""

from __future__ import annotations

import functools
import os
import time
from http import HTTPStatus

from ..http import HttpError, Request
from ..http.answers import http_date
from .conditions import CONDITIONS, parse_range, range_applies, refusal
from .directory import Directory, OpenFile, Redirect, path_of
from .file_body import CHUNK, FileBody
from .pages import error_page

_HTML = "text/html; charset=utf-8"
_NO_GUESSING = ("X-Content-Type-Options", "nosniff")


class Reply:
    """An answer: `fields` are its own header fields as they are sent, `content` is a small body in memory;
    `body` is that of a large file, to be sent after the head, and closed."""

    __slots__ = ("body", "content", "fields", "status")

    def __init__(
        self, status: HTTPStatus, fields: bytes, content: bytes = b"", body: FileBody | None = None
    ) -> None:
        self.status = status
        self.fields = fields
        self.content = content
        self.body = body

    def head(self, *, keep_alive: bool) -> bytes:
        """Return the head, with Date, Server and Connection added."""
        return _beginning(self.status, int(time.time())) + self.fields + _ENDS[keep_alive]


_ENDS = (b"Connection: close\r\n\r\n", b"Connection: keep-alive\r\n\r\n")


@functools.lru_cache(maxsize=64)
def _beginning(status: HTTPStatus, second: int) -> bytes:
    """The first line of an answer of this second, its Date, and Server."""
    line = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    return line + _encoded(("Date", http_date(second)), ("Server", "evsockets"))


def _encoded(*fields: tuple[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")


@functools.lru_cache(maxsize=256)
def _validators(modified: int, tag: str) -> bytes:
    return _encoded(("Last-Modified", http_date(modified)), ("ETag", tag), ("Accept-Ranges", "bytes"))


@functools.lru_cache(maxsize=256)
def _of_content(kind: str, length: int) -> bytes:
    return _encoded(("Content-Type", kind), ("Content-Length", str(length)), _NO_GUESSING)


class FileAnswers:
    """Answers from a directory. `spa`: a path without a file, and without an extension, gets the start page,
    whose script handles the path. `cors`: the origin whose scripts may read the answers ("*": any)."""

    def __init__(self, directory: Directory, *, spa: bool = False, cors: str | None = None) -> None:
        self._directory = directory
        self._spa = spa
        self._methods = "GET, HEAD" if cors is None else "GET, HEAD, OPTIONS"
        self._cors = b""
        if cors is not None:
            exposed = "Accept-Ranges, Content-Range, ETag, Last-Modified"
            self._cors = _encoded(
                ("Access-Control-Allow-Origin", cors), ("Access-Control-Expose-Headers", exposed)
            )
            if cors != "*":
                self._cors += _encoded(("Vary", "Origin"))

    def reply(self, request: Request) -> Reply:
        """The answer to a request. HttpError for an error, which `refusal` answers."""
        if request.method not in ("GET", "HEAD"):
            if request.method == "OPTIONS" and self._cors:
                return self._preflight()
            allowed = (("Allow", self._methods),)
            raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, f"only {self._methods} are served", allowed)
        path, query = path_of(request.target)
        try:
            found = self._directory.open(path, query)
        except HttpError as error:
            if not self._spa or error.status != HTTPStatus.NOT_FOUND or b"." in path.rpartition(b"/")[2]:
                raise
            found = self._directory.open(b"/index.html")
        if isinstance(found, OpenFile):
            made = _file(request, found)
        elif isinstance(found, Redirect):
            where = found.location + (f"?{query}" if query else "")
            made = Reply(HTTPStatus.MOVED_PERMANENTLY, _encoded(("Location", where), ("Content-Length", "0")))
        elif _is_refused(request, None, None):
            made = Reply(HTTPStatus.NOT_MODIFIED, b"")
        else:
            made = Reply(HTTPStatus.OK, _of_content(_HTML, len(found.page)), found.page)
        made.fields += self._cors
        if request.method == "HEAD":
            made.content = b""
        return made

    def refusal(self, request: Request | None, error: HttpError) -> Reply:
        """The answer with an error's status."""
        status = HTTPStatus(error.status)
        target = request.target if request is not None and status is HTTPStatus.NOT_FOUND else None
        page = error_page(status, error.reason, target)
        own = [*error.headers, ("Content-Type", _HTML), ("Content-Length", str(len(page)))]
        if request is not None and request.method == "HEAD":
            page = b""
        return Reply(status, _encoded(*own) + self._cors, page)

    def _preflight(self) -> Reply:
        """What a browser asks before another origin's script may ask with headers of its own."""
        allowed = _encoded(
            ("Access-Control-Allow-Methods", self._methods),
            ("Access-Control-Allow-Headers", "*, Authorization"),
            ("Access-Control-Max-Age", "86400"),
            ("Allow", self._methods),
        )
        return Reply(HTTPStatus.NO_CONTENT, self._cors + allowed)

def _file(request: Request, file: OpenFile) -> Reply:
    """The answer with a file, or with what its conditions say; the file is closed, or the reply's body."""
    made: Reply | None = None
    try:
        made = _of_file(request, file)
        return made
    finally:
        if made is None or made.body is None:
            os.close(file.descriptor)


def _of_file(request: Request, file: OpenFile) -> Reply:
    modified = min(file.modified, time.time())  # no date ahead of the answer's own (RFC 9110, 8.8.2.1)
    fields = _validators(int(modified), file.tag)
    status, start, stop = HTTPStatus.OK, 0, file.size
    if not CONDITIONS.isdisjoint(request.headers):
        if _is_refused(request, file.tag, modified):
            return Reply(HTTPStatus.NOT_MODIFIED, fields)
        part = None
        if request.method == "GET" and range_applies(request, file.tag, modified):
            part = parse_range(request.headers.get("range"), file.size)
        if part is not None:
            start, stop = part
            status = HTTPStatus.PARTIAL_CONTENT
            fields += _encoded(("Content-Range", f"bytes {start}-{stop - 1}/{file.size}"))
    size = stop - start
    fields += _of_content(file.content_type, size)
    if request.method == "HEAD":
        return Reply(status, fields)
    if size > CHUNK:
        return Reply(status, fields, body=FileBody(file.descriptor, start, stop))
    try:
        content = os.pread(file.descriptor, size, start)
    except OSError as error:
        why = f"the file cannot be read any more: {error.strerror}"
        raise HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, why) from error
    if len(content) < size:
        raise HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, "the file has shrunk while it was sent")
    return Reply(status, fields, content)


def _is_refused(request: Request, tag: str | None, modified: float | None) -> bool:
    """Whether the client has this already. HttpError if it means something else than what is here."""
    status = refusal(request, tag, modified)
    if status is HTTPStatus.PRECONDITION_FAILED:
        raise HttpError(status, "not what is here now")
    return status is not None
