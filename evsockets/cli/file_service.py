"""The conversation behind `serve`: request head in, file or page out, connection kept or closed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html import escape
from http import HTTPStatus
from typing import Any

from .. import (
    AcceptEvent,
    CallbackEventHandler,
    DataAlertEvent,
    EmptyFrame,
    EmptyFramePicker,
    Event,
    EventType,
    Operation,
    ReadEvent,
    ReadOperation,
    SendError,
    ShutdownWriteOperation,
    SocketExceptionEvent,
    WriteOperation,
)
from .conditions import parse_range, range_applies, refusal
from .directory import Directory, Listing, OpenFile, Redirect, page_head
from .file_body import CHUNK, FileBody
from .http import HeadPicker, HttpError, Request, RestPicker, http_date, parse_head, response_head

#: Bytes after a request that are read and thrown away, so that its answer is not lost to a reset.
_LINGER = 1024 * 1024
#: Seconds in which a new client has to begin its first request.
_SILENCE = 10.0

#: What a stranger may cost: seconds for the handshake, seconds without a byte, and bytes a second.
_CLIENT_LIMITS: dict[str, Any] = {
    "connection_timeout": 10.0,
    "io_timeout": 30.0,
    "min_receive_speed": 16.0,
    "min_send_speed": 256.0,
    "min_send_speed_duration": 30.0,
}


class _Client:
    """What is known of one connection: the body under way."""

    __slots__ = ("body",)

    def __init__(self) -> None:
        self.body: FileBody | None = None


class FileService:
    """Answers HTTP clients from a directory.

    `idle_timeout`: seconds between two requests. `request_timeout`: seconds from a request's first byte to
    the end of its head, and as long for what a client sends after an answer that ends the connection.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        log: bool = False,
        idle_timeout: float = 60.0,
        request_timeout: float = 30.0,
    ) -> None:
        self._directory = directory
        self._log = log
        self._request_timeout = request_timeout
        self._limits = {
            **_CLIENT_LIMITS,
            # The pickers look at the clock when bytes come; who sends none is too slow.
            "min_receive_speed_duration": min(request_timeout, _SILENCE) or None,
            "idle_timeout": idle_timeout,
            "keep_alive": True,
        }
        # A new client's first byte is read for: it is not idle, and so not closed at once by a drain.
        self._first = ReadOperation(EmptyFramePicker())
        self._silent = {**self._limits, "io_timeout": min(idle_timeout, _SILENCE), "min_receive_speed": None}
        self._handler = CallbackEventHandler(
            {
                EventType.READ: self._on_read,
                EventType.DATA_ALERT: self._on_data_alert,
                EventType.EXCEPTION: self._on_exception,
                EventType.TIMEOUT: lambda event: None,  # a silent client is no news
                EventType.FINALIZE: self._on_finalize,
            }
        )

    def accept(self, event: AcceptEvent) -> None:
        """Take a client in."""
        event.executor.socket_bag.add_socket(
            event.client_socket,
            self._first,
            handler=self._handler,
            user_context=_Client(),
            **self._silent,
        )

    def _on_data_alert(self, event: DataAlertEvent) -> None:
        """The idle client says something: its next request."""
        event.next_is_read(HeadPicker(self._request_timeout))

    def _on_read(self, event: ReadEvent) -> None:
        client: _Client = event.user_context
        if event.operation is self._first:
            if event._channel.inbox:  # else it has ended without a request, as an idle one may
                event.executor.socket_bag.set_metadata(event.socket, **self._limits)
                event.next_is_read(HeadPicker(self._request_timeout))
            return
        if isinstance(event.frame, EmptyFrame):
            return  # what came after the last answer is over, and so is the connection
        request: Request | None = None
        try:
            request = parse_head(event.frame.data)
            operation, status = self._answer(event, client, request)
        except HttpError as error:
            operation, status = self._refuse(event, request, error)
        if self._log:
            target = f"{request.method} {request.target}" if request is not None else "?"
            print(f"{event.metadata.remote_address!a} {target!a} {status.value}", file=sys.stderr)
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
        return self._page(event, request, found)

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
        if self._is_refused(request, file.tag, file.modified):
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
        if stop - start > CHUNK:
            client.body = body
            head = response_head(status, headers, keep_alive=self._keep(event, request))
            return WriteOperation(_joined(head, body), then=self._rest(request)), status
        try:
            content = b"".join(body)
        except SendError as error:
            raise HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, str(error)) from error
        return self._whole(event, request, status, headers, content)

    def _page(self, event: ReadEvent, request: Request, listing: Listing) -> tuple[Operation, HTTPStatus]:
        if self._is_refused(request, None, None):
            return self._whole(event, request, HTTPStatus.NOT_MODIFIED, [], b"")
        headers = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(listing.page))),
            ("X-Content-Type-Options", "nosniff"),
        ]
        return self._whole(event, request, HTTPStatus.OK, headers, listing.page)

    def _is_refused(self, request: Request, tag: str | None, modified: float | None) -> bool:
        """Whether the client has this already. HttpError if it means something else than what is here."""
        status = refusal(request, tag, modified)
        if status is HTTPStatus.PRECONDITION_FAILED:
            raise HttpError(status, "not what is here now")
        return status is not None

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
        content = head if request.method == "HEAD" else head + content
        return WriteOperation(content, then=self._rest(request)), status

    def _keep(self, event: Event, request: Request) -> bool:
        """Whether the connection goes on after this answer; if not, it closes once that is sent. A server
        that ends says so in its last answer (RFC 9112, 9.6)."""
        keep = request.keep_alive and event.executor._loop.draining is None
        if not keep:
            event.metadata.keep_alive = False
        return keep

    def _rest(self, request: Request) -> Operation | None:
        """What follows the answer: for a request with a body, the throwing away of that."""
        return _ending(self._request_timeout) if request.has_body else None

    def _refuse(
        self, event: ReadEvent, request: Request | None, error: HttpError
    ) -> tuple[Operation, HTTPStatus]:
        """The answer to a request that gets no file. A connection whose next request can be found goes on."""
        status = error.status
        title = f"{status.value} {status.phrase}"
        body = f"<body>\n<h1>{title}</h1>\n<p>{escape(str(error))}</p>\n</body>\n</html>\n"
        page = (page_head(title) + body).encode()
        known = status in (
            HTTPStatus.NOT_FOUND,
            HTTPStatus.FORBIDDEN,
            HTTPStatus.PRECONDITION_FAILED,
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        )
        keep = request is not None and known and self._keep(event, request)
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
        event.metadata.keep_alive = False
        event.metadata.io_timeout = 2.0
        patience = 0.0 if status is HTTPStatus.REQUEST_TIMEOUT else self._request_timeout
        return WriteOperation(answer, then=_ending(patience)), status

    def _on_exception(self, event: SocketExceptionEvent) -> None:
        """Nobody is left to answer; what ended the client is worth a line in the log."""
        if self._log:
            print(f"{event.metadata.remote_address!a} {str(event.exception)!a}", file=sys.stderr)

    def _on_finalize(self, event: Event) -> None:
        client: _Client = event.user_context
        if client.body is not None:
            client.body.close()


def _ending(seconds: float) -> Operation:
    """The end of a connection on which the client may still be sending: our direction first.

    Closing with bytes unread would reset the connection, and could take the answer away from under the
    client. It has `seconds`.
    """
    return ShutdownWriteOperation(then=ReadOperation(RestPicker(_LINGER, seconds)))


def _joined(head: bytes, body: FileBody) -> Iterator[bytes]:
    """The head with the body's first chunk, and then the others. There is a first chunk."""
    yield head + next(body)
    yield from body
