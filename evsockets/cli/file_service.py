"""The conversation behind `serve`: request head in, file or page out, connection kept or closed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from html import escape
from http import HTTPStatus
from typing import Any

from .. import (
    AcceptEvent,
    CallbackEventHandler,
    DataAlertEvent,
    Event,
    EventType,
    NullOperation,
    Operation,
    ReadEvent,
    ReadOperation,
    SendError,
    ShutdownWriteOperation,
    SocketExceptionEvent,
    WriteOperation,
)
from .directory import Directory, Listing, OpenFile, Redirect, page_head
from .http import (
    HeadPicker,
    HttpError,
    Request,
    http_date,
    not_modified,
    parse_head,
    parse_range,
    range_applies,
    response_head,
)

_CHUNK = 64 * 1024
#: Bytes of a refused request that are read and thrown away, so that its answer is not lost to a reset.
_LINGER = 1024 * 1024
#: Seconds in which a new client has to begin its first request.
_SILENCE = 10.0
_HEAD = HeadPicker()

#: What a stranger may cost: seconds for the handshake, seconds without a byte, and bytes a second.
_CLIENT_LIMITS: dict[str, Any] = {
    "connection_timeout": 10.0,
    "io_timeout": 30.0,
    "min_receive_speed": 16.0,
    "min_receive_speed_duration": 10.0,
    "min_send_speed": 256.0,
    "min_send_speed_duration": 30.0,
}


class FileBody:
    """The bytes of an open file, as chunks; closes the file at its end.

    A file that turns out shorter is a SendError: the promised length cannot be kept any more, and only
    a closed connection tells the client so.
    """

    def __init__(self, file: OpenFile) -> None:
        self._descriptor = file.descriptor
        self._position = 0
        self._stop = file.size

    def select(self, start: int, stop: int) -> None:
        """Give the bytes from `start` to before `stop` only."""
        self._position = start
        self._stop = stop

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        wanted = min(_CHUNK, self._stop - self._position)
        if wanted <= 0:
            self.close()
            raise StopIteration
        try:
            chunk = os.pread(self._descriptor, wanted, self._position)
        except OSError as error:
            raise SendError(
                f"the file cannot be read any more: {error.strerror}", errno=error.errno
            ) from error
        if not chunk:
            raise SendError("the file has shrunk while it was sent")
        self._position += len(chunk)
        return chunk

    def close(self) -> None:
        """Close the file; harmless when done before."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class _Client:
    """What is known of one connection: whether it ever asked, the body under way, and how much is still
    thrown away."""

    __slots__ = ("asked", "body", "lingering")

    def __init__(self) -> None:
        self.asked = False
        self.body: FileBody | None = None
        self.lingering = -1


class FileService:
    """Answers HTTP clients from a directory. `idle_timeout`: seconds between two requests."""

    def __init__(self, directory: Directory, *, log: bool = False, idle_timeout: float = 60.0) -> None:
        self._directory = directory
        self._log = log
        self._idle_timeout = idle_timeout
        self._limits = {**_CLIENT_LIMITS, "idle_timeout": min(idle_timeout, _SILENCE), "keep_alive": True}
        self._idle = NullOperation()
        self._read = ReadOperation(_HEAD)
        self._handler = CallbackEventHandler(
            {
                EventType.READ: self._on_read,
                EventType.DATA_ALERT: self._on_data_alert,
                EventType.EXCEPTION: self._on_exception,
                EventType.FINALIZE: self._on_finalize,
            }
        )

    def accept(self, event: AcceptEvent) -> None:
        """Take a client in."""
        event.executor.socket_bag.add_socket(
            event.client_socket, self._idle, handler=self._handler, user_context=_Client(), **self._limits
        )

    def _on_data_alert(self, event: DataAlertEvent) -> None:
        """The idle client says something: its next request."""
        client: _Client = event.user_context
        if not client.asked:
            client.asked = True
            event.metadata.idle_timeout = self._idle_timeout
        event.next_is(self._read)

    def _on_read(self, event: ReadEvent) -> None:
        client: _Client = event.user_context
        if client.lingering >= 0:
            client.lingering -= len(event.frame)
            if client.lingering >= 0:
                event.next_is_read()
            return
        request: Request | None = None
        try:
            request = parse_head(event.frame.data)
            operation, status = self._answer(event, client, request)
        except HttpError as error:
            operation, status = self._refuse(event, client, request, error)
        if self._log:
            target = f"{request.method} {request.target}" if request is not None else "?"
            print(f"{event.metadata.remote_address} {target!a} {status.value}", file=sys.stderr)
        event.next_is(operation)

    def _answer(self, event: ReadEvent, client: _Client, request: Request) -> tuple[Operation, HTTPStatus]:
        """Return the answer to a well-formed request, as the operation which sends it."""
        if request.method not in ("GET", "HEAD"):
            allowed = (("Allow", "GET, HEAD"),)
            raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are served", allowed)
        found = self._directory.open(request.path)
        if isinstance(found, OpenFile):
            return self._file(event, client, request, found)
        if isinstance(found, Redirect):
            headers = [("Location", found.location), ("Content-Length", "0")]
            return self._whole(event, request, HTTPStatus.MOVED_PERMANENTLY, headers, b"")
        return self._page(event, request, HTTPStatus.OK, found)

    def _file(
        self, event: ReadEvent, client: _Client, request: Request, file: OpenFile
    ) -> tuple[Operation, HTTPStatus]:
        body = FileBody(file)
        try:
            return self._file_answer(event, client, request, file, body)
        finally:
            if client.body is not body:
                body.close()

    def _file_answer(
        self, event: ReadEvent, client: _Client, request: Request, file: OpenFile, body: FileBody
    ) -> tuple[Operation, HTTPStatus]:
        headers = [
            ("Last-Modified", http_date(file.modified)),
            ("ETag", file.tag),
            ("Accept-Ranges", "bytes"),
        ]
        if not_modified(request, file.tag, file.modified):
            return self._whole(event, request, HTTPStatus.NOT_MODIFIED, headers, b"")
        status, start, stop = HTTPStatus.OK, 0, file.size
        if request.method == "GET" and range_applies(request, file.tag, file.modified):
            part = parse_range(request.headers.get("range"), file.size)
            if part is not None:
                start, stop = part
                status = HTTPStatus.PARTIAL_CONTENT
                headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{file.size}"))
        headers += [
            ("Content-Type", file.content_type),
            ("Content-Length", str(stop - start)),
            ("X-Content-Type-Options", "nosniff"),
        ]
        if request.method == "HEAD":
            return self._whole(event, request, status, headers, b"")
        body.select(start, stop)
        if stop - start > _CHUNK:
            client.body = body
            head = response_head(status, headers, keep_alive=self._keep(event, request))
            return WriteOperation(_joined(head, body)), status
        try:
            content = b"".join(body)
        except SendError as error:
            raise HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, str(error)) from error
        return self._whole(event, request, status, headers, content)

    def _page(
        self, event: ReadEvent, request: Request, status: HTTPStatus, listing: Listing
    ) -> tuple[Operation, HTTPStatus]:
        headers = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(listing.page))),
            ("X-Content-Type-Options", "nosniff"),
        ]
        return self._whole(event, request, status, headers, listing.page)

    def _whole(
        self,
        event: ReadEvent,
        request: Request,
        status: HTTPStatus,
        headers: list[tuple[str, str]],
        content: bytes,
    ) -> tuple[Operation, HTTPStatus]:
        """An answer that fits into memory: head and body leave in one piece."""
        head = response_head(status, headers, keep_alive=self._keep(event, request))
        return WriteOperation(head if request.method == "HEAD" else head + content), status

    def _keep(self, event: Event, request: Request) -> bool:
        """Whether the connection goes on after this answer; if not, it closes once that is sent."""
        if not request.keep_alive:
            event.metadata.keep_alive = False
        return request.keep_alive

    def _refuse(
        self, event: ReadEvent, client: _Client, request: Request | None, error: HttpError
    ) -> tuple[Operation, HTTPStatus]:
        """The answer to a request that gets no file.

        A connection whose next request can be found goes on. Any other closes: first our direction, and
        the rest when the client has seen that, because closing with bytes unread would reset the
        connection and could take the answer away from under the client.
        """
        status = error.status
        title = f"{status.value} {status.phrase}"
        body = f"<body>\n<h1>{title}</h1>\n<p>{escape(str(error))}</p>\n</body>\n</html>\n"
        page = (page_head(title) + body).encode()
        known = status in (
            HTTPStatus.NOT_FOUND,
            HTTPStatus.FORBIDDEN,
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        )
        keep = request is not None and known and request.keep_alive
        headers = [
            *error.headers,
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(page))),
        ]
        answer = response_head(status, headers, keep_alive=keep)
        if request is None or request.method != "HEAD":
            answer += page
        if keep:
            return WriteOperation(answer), status
        client.lingering = _LINGER
        event.metadata.keep_alive = False
        event.metadata.io_timeout = 2.0
        return WriteOperation(answer, then=ShutdownWriteOperation(then=ReadOperation())), status

    def _on_exception(self, event: SocketExceptionEvent) -> None:
        """Nobody is left to answer; what ended the client is worth a line in the log."""
        if self._log:
            print(f"{event.metadata.remote_address} {str(event.exception)!a}", file=sys.stderr)

    def _on_finalize(self, event: Event) -> None:
        client: _Client = event.user_context
        if client.body is not None:
            client.body.close()


def _joined(head: bytes, body: FileBody) -> Iterator[bytes]:
    """The head with the body's first chunk, and then the others. There is a first chunk."""
    yield head + next(body)
    yield from body
