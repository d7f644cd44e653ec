"""The conversation behind `serve`: request head in, answer out, connection kept or closed."""

from __future__ import annotations

import socket
import struct
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
    ShutdownWriteOperation,
    SlowTransferError,
    SocketExceptionEvent,
    TimeoutEvent,
    WriteOperation,
)
from ..http import HttpError, Request
from .access_log import AccessLog, Entry
from .file_answers import FileAnswers, Reply
from .file_body import FileBody
from .request_pickers import RestPicker, TimedHeadPicker, parse_head

#: Bytes after a request that are read and thrown away, so that its answer is not lost to a reset.
_LINGER = 1024 * 1024
#: struct linger of <sys/socket.h>: on, 0 seconds.
_AT_ONCE = struct.pack("ii", 1, 0)
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
#: After these the connection goes on: where the next request begins is known.
_HARMLESS = (
    HTTPStatus.NOT_FOUND,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.PRECONDITION_FAILED,
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
)


class _Client:
    """What is known of one connection: the body under way, and what will be told of it when it is over."""

    __slots__ = ("body", "entry")

    def __init__(self) -> None:
        self.body: FileBody | None = None
        self.entry: Entry | None = None


class FileService:
    """Serves HTTP clients, by handlers.

    `idle_timeout`: seconds between two requests. `request_timeout`: seconds from a request's first byte to
    the end of its head, and as long for what a client sends after an answer that ends the connection.
    """

    def __init__(
        self,
        answers: FileAnswers,
        log: AccessLog,
        *,
        idle_timeout: float = 60.0,
        request_timeout: float = 30.0,
    ) -> None:
        self._answers = answers
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
                EventType.TIMEOUT: self._on_timeout,
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
        event.next_is_read(TimedHeadPicker(self._request_timeout))

    def _on_read(self, event: ReadEvent) -> None:
        if event.operation is self._first:
            if event._channel.inbox:  # else it has ended without a request, as an idle one may
                event.executor.socket_bag.set_metadata(event.socket, **self._limits)
                event.next_is_read(TimedHeadPicker(self._request_timeout))
            return
        if isinstance(event.frame, EmptyFrame):
            return  # what came after the last answer is over, and so is the connection
        request: Request | None = None
        entry = Entry(event.metadata.remote_address) if self._log.wanted else None
        try:
            request = parse_head(event.frame.data)
            reply = self._answers.reply(request)
            refused = False
        except HttpError as error:
            reply = self._answers.refusal(request, error)
            refused = reply.status not in _HARMLESS
        if entry is not None:
            entry.request, entry.status, entry.bytes = request, reply.status.value, len(reply.content)
            event.user_context.entry = entry
        event.next_is(self._writing(event, request, reply, refused))
        if reply.body is None and entry is not None:
            self._over(event.user_context)

    def _writing(self, event: ReadEvent, request: Request | None, reply: Reply, refused: bool) -> Operation:
        """Return the operation that sends the answer. Where the connection ends with it, the client is told
        so, and may go on sending for a while. A server that ends says so in its last answer (RFC 9112,
        9.6)."""
        keep = not refused and request is not None and request.keep_alive and not request.has_body
        keep = keep and event.executor._loop.draining is None
        then: Operation | None = None
        if not keep:
            event.metadata.keep_alive = False
        if refused or request is None:
            event.metadata.io_timeout = 2.0
            late = reply.status is HTTPStatus.REQUEST_TIMEOUT
            then = _ending(0.0 if late else self._request_timeout)
        elif request.has_body:
            then = _ending(self._request_timeout)
        head = reply.head(keep_alive=keep)
        if reply.body is None:
            return WriteOperation(head + reply.content, then=then)
        client: _Client = event.user_context
        client.body = reply.body
        return reply.body.writing(head, event.metadata.tls is None, then, lambda: self._over(client))

    def _over(self, client: _Client) -> None:
        """An answer has been given to the kernel, or never will be: it is told of, and its file closed."""
        body, client.body = client.body, None
        entry, client.entry = client.entry, None
        if body is not None:
            body.close()
        if entry is not None:
            if body is not None:
                entry.bytes = body.sent
            self._log.write(entry)

    def _on_exception(self, event: SocketExceptionEvent) -> None:
        """Nobody is left to answer; what ended the client is worth a line in the log."""
        error = event.exception
        if isinstance(error, SlowTransferError) and error.direction == "send":
            _have_reset(event)
        self._log.error(event.metadata.remote_address, error)

    def _on_timeout(self, event: TimeoutEvent) -> None:
        """A silent client is no news."""
        if event.phase == "writing":
            _have_reset(event)

    def _on_finalize(self, event: Event) -> None:
        self._over(event.user_context)


def _have_reset(event: Event) -> None:
    """Have the connection reset when it is closed, because its answer is broken off: the kernel would keep
    the megabytes that the client does not take, for minutes, and the client would take its time to notice."""
    event._channel.transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)


def _ending(seconds: float) -> Operation:
    """The end of a connection on which the client may still be sending: our direction first.

    Closing with bytes unread would reset the connection, and could take the answer away from under the
    client. It has `seconds`.
    """
    return ShutdownWriteOperation(then=ReadOperation(RestPicker(_LINGER, seconds)))
