"""The answers of `serve`: a file or a part of it, a directory's page, or an error."""

from __future__ import annotations

import time
from dataclasses import dataclass
from http import HTTPStatus

from .. import SendError
from ..http import HttpError, Request
from ..http.answers import http_date
from ..http.headers import head
from .conditions import parse_range, range_applies, refusal
from .directory import Directory, OpenFile, Redirect, path_of
from .file_body import CHUNK, FileBody
from .pages import error_page

_HTML = ("Content-Type", "text/html; charset=utf-8")
_NO_GUESSING = ("X-Content-Type-Options", "nosniff")


@dataclass(slots=True)
class Reply:
    """An answer: `content` is a small body in memory; `body` is that of a large file, to be sent after the
    head, and closed."""

    status: HTTPStatus
    headers: list[tuple[str, str]]
    content: bytes = b""
    body: FileBody | None = None

    def head(self, *, keep_alive: bool) -> bytes:
        """Return the head, with Date, Server and Connection added."""
        fields = [
            ("Date", http_date(time.time())),
            ("Server", "evsockets"),
            *self.headers,
            ("Connection", "keep-alive" if keep_alive else "close"),
        ]
        return head(f"HTTP/1.1 {self.status.value} {self.status.phrase}", fields)


class FileAnswers:
    """Answers from a directory. `spa`: a path without a file, and without an extension, gets the start page,
    whose script handles the path. `cors`: the origin whose scripts may read the answers ("*": any)."""

    def __init__(self, directory: Directory, *, spa: bool = False, cors: str | None = None) -> None:
        self._directory = directory
        self._spa = spa
        self._methods = "GET, HEAD" if cors is None else "GET, HEAD, OPTIONS"
        self._cors: list[tuple[str, str]] = []
        if cors is not None:
            exposed = "Accept-Ranges, Content-Range, ETag, Last-Modified"
            self._cors = [("Access-Control-Allow-Origin", cors), ("Access-Control-Expose-Headers", exposed)]
            if cors != "*":
                self._cors.append(("Vary", "Origin"))

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
            made = self._file(request, found)
        elif isinstance(found, Redirect):
            where = found.location + (f"?{query}" if query else "")
            made = Reply(HTTPStatus.MOVED_PERMANENTLY, [("Location", where), ("Content-Length", "0")])
        elif _is_refused(request, None, None):
            made = Reply(HTTPStatus.NOT_MODIFIED, [])
        else:
            headers = [_HTML, ("Content-Length", str(len(found.page))), _NO_GUESSING]
            made = Reply(HTTPStatus.OK, headers, found.page)
        made.headers += self._cors
        if request.method == "HEAD":
            made.content = b""
        return made

    def refusal(self, request: Request | None, error: HttpError) -> Reply:
        """The answer with an error's status."""
        status = HTTPStatus(error.status)
        target = request.target if request is not None and status is HTTPStatus.NOT_FOUND else None
        page = error_page(status, error.reason, target)
        headers = [*error.headers, _HTML, ("Content-Length", str(len(page))), *self._cors]
        return Reply(status, headers, b"" if request is not None and request.method == "HEAD" else page)

    def _preflight(self) -> Reply:
        """What a browser asks before another origin's script may ask with headers of its own."""
        headers = [
            *self._cors,
            ("Access-Control-Allow-Methods", self._methods),
            ("Access-Control-Allow-Headers", "*, Authorization"),
            ("Access-Control-Max-Age", "86400"),
            ("Allow", self._methods),
        ]
        return Reply(HTTPStatus.NO_CONTENT, headers)

    def _file(self, request: Request, file: OpenFile) -> Reply:
        body = FileBody(file)
        made: Reply | None = None
        try:
            made = self._of_file(request, file, body)
            return made
        finally:
            if made is None or made.body is None:
                body.close()

    def _of_file(self, request: Request, file: OpenFile, body: FileBody) -> Reply:
        modified = min(file.modified, time.time())  # no date ahead of the answer's own (RFC 9110, 8.8.2.1)
        headers = [("Last-Modified", http_date(modified)), ("ETag", file.tag), ("Accept-Ranges", "bytes")]
        if _is_refused(request, file.tag, modified):
            return Reply(HTTPStatus.NOT_MODIFIED, headers)
        status, start, stop = HTTPStatus.OK, 0, file.size
        if request.method == "GET" and range_applies(request, file.tag, modified):
            part = parse_range(request.headers.get("range"), file.size)
            if part is not None:
                start, stop = part
                status = HTTPStatus.PARTIAL_CONTENT
                headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{file.size}"))
        headers += [
            ("Content-Type", file.content_type),
            ("Content-Length", str(stop - start)),
            _NO_GUESSING,
        ]
        if request.method == "HEAD":
            return Reply(status, headers)
        body.select(start, stop)
        if stop - start > CHUNK:
            return Reply(status, headers, body=body)
        try:
            return Reply(status, headers, b"".join(body))
        except SendError as error:
            raise HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, str(error)) from error


def _is_refused(request: Request, tag: str | None, modified: float | None) -> bool:
    """Whether the client has this already. HttpError if it means something else than what is here."""
    status = refusal(request, tag, modified)
    if status is HTTPStatus.PRECONDITION_FAILED:
        raise HttpError(status, "not what is here now")
    return status is not None
