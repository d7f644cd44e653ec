"""HTTP/1.1 of a server in a conversation: each request is answered before the next is read."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from ..conversations.conversation import Conversation
from ..errors import DisconnectedError, NetworkSocketError, SocketTimeoutError
from ..frames.base import EmptyFrame, Frame, FramePicker
from ..frames.inbox import Inbox
from ..frames.limit import checked_length
from ..validation import check_timeout
from .answers import CONTINUE, Answer, phrase
from .bodies import LengthPicker, body_picker, too_large
from .error import HttpError
from .headers import HeaderSource, head
from .heads import MAX_HEAD, HeadPicker, parse_request
from .messages import Request
from .outgoing import Body
from .pickers import MAX_BODY

#: So much of a body that nobody read is read and thrown away, to have the next request.
_SKIPPED = 64 * 1024
#: The same, and the seconds it may take, where the connection ends: else a reset could take the answer away.
_LINGER = 1024 * 1024
_LINGER_SECONDS = 5.0


class Pieces(AsyncIterator[bytes]):
    """See `ServerRequest.pieces`."""

    __slots__ = ("_request",)

    def __init__(self, request: ServerRequest) -> None:
        self._request = request

    async def __anext__(self) -> bytes:
        request = self._request
        picker = request._picker
        if picker is None:
            raise StopAsyncIteration
        if request._expects:
            request._expects = False
            await request._talk.write(CONTINUE)
        frame = await request._talk.read(picker)
        if not frame.data:
            request._picker = None
            raise StopAsyncIteration
        return frame.data


class ServerRequest(Request):
    """A request from `requests`, to be answered with `answer`."""

    __slots__ = ("_answer", "_expects", "_picker", "_talk")

    _talk: Conversation
    _expects: bool  # to be told that its body is wanted
    _picker: FramePicker | None  # of the body that is still to be read
    _answer: Answer | None

    def pieces(self) -> AsyncIterator[bytes]:
        """`async for piece in request.pieces()`: the body as it arrives, with `requests(talk, stream=True)`.

        The first use sends 100 (Continue) to a client that expects it (RFC 9110, 10.1.1)."""
        return Pieces(self)

    async def answer(self, status: int, headers: HeaderSource = (), body: Body = b"") -> None:
        """Send the response; returns when the kernel has accepted it.

        `headers` is a mapping or pairs; Date, Connection, and Content-Length or (for an iterable `body`)
        Transfer-Encoding are added. An iterable, asynchronous or not, is iterated as fast as the peer
        receives; for HTTP/1.0 its end closes the connection. HEAD gets only the headers. ValueError for an
        invalid field, a body with 204 or 304, and a Content-Length that is not the body's; RuntimeError for a
        second answer, and for an iterable that is not as long as its Content-Length."""
        if self._answer is not None:
            raise RuntimeError(f"{self!r} is answered already")
        talk = self._talk
        keep = self.keep_alive and not talk.draining and self._can_be_skipped
        answer = self._answer = Answer(self.method, self.version, status, headers, body, keep=keep)
        await answer.body.send(talk, answer.head)

    @property
    def _can_be_skipped(self) -> bool:
        """Whether what is left of the body is worth reading for the next request's sake."""
        picker = self._picker
        if picker is None:
            return True
        return isinstance(picker, LengthPicker) and picker.left <= _SKIPPED and not self._expects

    async def _skip(self) -> None:
        picker = self._picker
        while picker is not None and (await self._talk.read(picker)).data:
            pass
        self._picker = None


class _Begun(FramePicker):
    """A head if it is whole; else an EmptyFrame as soon as one has begun, whose time counts from there."""

    __slots__ = ("head",)

    def __init__(self, head: HeadPicker) -> None:
        self.head = head

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        begun = bool(inbox)  # with an empty line, too, which is dropped
        frame = self.head.pick(inbox, ended)
        return EmptyFrame(inbox.remote_address) if frame is None and begun else frame


class Requests(AsyncIterator[ServerRequest]):
    """See `requests`."""

    __slots__ = ("_begun", "_frames", "_last", "_max_body", "_stream", "_talk", "_timeout")

    def __init__(
        self, talk: Conversation, max_head: int, max_body: int, timeout: float | None, stream: bool
    ) -> None:
        self._talk = talk
        self._begun = _Begun(HeadPicker(checked_length("max_head", max_head)))
        self._frames: AsyncIterator[Frame] | None = None
        self._last: ServerRequest | None = None
        self._max_body = checked_length("max_body", max_body)
        self._timeout = check_timeout("timeout", timeout)
        self._stream = stream

    async def __anext__(self) -> ServerRequest:
        last = self._last
        if last is not None:
            if last._answer is None:
                raise RuntimeError(f"{last!r} has no answer: await its answer() before the next request")
            if not last._answer.keep:
                if last._picker is not None:
                    await _linger(self._talk)
                raise StopAsyncIteration
            if last._picker is not None:
                with self._talk.timeout(self._timeout):
                    await last._skip()
            self._last = None
        try:
            request = await self._next()
        except HttpError as error:
            await self._refuse(error)
            raise StopAsyncIteration from None
        if request is None:
            raise StopAsyncIteration
        self._last = request
        return request

    async def _next(self) -> ServerRequest | None:
        talk = self._talk
        frame = await self._first_bytes()
        if frame is None:
            return None
        if not frame.data:
            try:
                with talk.timeout(self._timeout):
                    frame = await talk.read(self._begun.head)
            except SocketTimeoutError:
                raise HttpError(408, "the head took too long") from None
            except DisconnectedError as error:
                if error.clean:  # after an empty line
                    return None
                raise
        request = parse_request(frame.data, ServerRequest)
        request.remote_address = frame.remote_address
        request._talk = talk
        request._answer = None
        request._expects = False
        request._picker = None
        if request.has_body:
            await self._read_body(request)
        return request

    async def _first_bytes(self) -> Frame | None:
        """A head, or an empty frame when one has begun; None when no more requests come. A client that has
        said nothing yet is served even when a drain is on."""
        try:
            if self._frames is None:
                frame = await self._talk.read(self._begun)
                self._frames = self._talk.frames(self._begun)
                return frame
            return await self._frames.__anext__()
        except StopAsyncIteration:
            return None
        except DisconnectedError as error:
            if error.clean:
                return None
            raise
        except SocketTimeoutError:  # a silent client is no news
            return None

    async def _read_body(self, request: ServerRequest) -> None:
        expects = request.headers.get("expect", "").lower()
        if expects not in ("", "100-continue"):
            raise HttpError(417, "the only expectation known here is 100-continue")
        request._expects = expects != "" and request.version >= (1, 1)
        if request._framing > self._max_body and not self._stream:
            raise too_large(self._max_body)
        request._picker = body_picker(request._framing)
        if self._stream:
            return
        pieces: list[bytes] = []
        size = 0
        try:
            with self._talk.timeout(self._timeout):
                async for piece in request.pieces():
                    pieces.append(piece)
                    size += len(piece)
                    if size > self._max_body:
                        raise too_large(self._max_body)
        except SocketTimeoutError:
            raise HttpError(408, "the body took too long") from None
        request.data = b"".join(pieces)

    async def _refuse(self, error: HttpError) -> None:
        """Answer what is no request, and end the connection: nobody knows where the next one begins."""
        text = f"{error.reason}\n".encode()
        fields = [*error.headers, ("Content-Type", "text/plain; charset=utf-8")]
        fields += [("Content-Length", str(len(text))), ("Connection", "close")]
        await self._talk.write(head(f"HTTP/1.1 {error.status} {phrase(error.status)}", fields) + text)
        if error.status != 408:  # who is slow gets no more time
            await _linger(self._talk)


def requests(
    talk: Conversation,
    *,
    max_head: int = MAX_HEAD,
    max_body: int = MAX_BODY,
    timeout: float | None = 30.0,
    stream: bool = False,
) -> Requests:
    """`async for request in requests(talk)`: each request of the client, a `ServerRequest` with `method`,
    `target`, `headers` and `body`, to be answered with `await request.answer(status, headers, body)`.

    The iteration ends when the client closes, when the request or its answer has `Connection: close`, after
    `io_timeout` without a byte, and during a drain if no next request has begun. Pipelined requests are
    handled one after the other.

    `timeout`: seconds (None: no limit) from a request's first byte to the end of its head, and again for its
    body. `max_head` and `max_body`: bytes. A request that is malformed, too large, too slow or not supported
    is answered (400, 408, 413, 417, 431, 501, 505; RFC 9110, 15.5), and the connection closed. `stream`:
    bodies are not read beforehand but by `pieces`, and `max_body` and `timeout` do not apply to them.
    """
    return Requests(talk, max_head, max_body, timeout, stream)


async def _linger(talk: Conversation) -> None:
    """End our direction, and throw away what the client still sends: closing with bytes unread would reset
    the connection, and could take the answer away from under the client."""
    with contextlib.suppress(NetworkSocketError):  # the client is done with either way
        await talk.shutdown_write()
        left = _LINGER
        with talk.timeout(_LINGER_SECONDS):
            while left > 0:
                left -= len(await talk.read())
