"""Whole messages as frames, for handlers: each gives one READ."""

from __future__ import annotations

from typing import TypeVar

from ..frames.base import Frame, FramePicker, PartialFrame
from ..frames.inbox import Inbox
from ..frames.limit import checked_length
from .bodies import CHUNKED, UNTIL_END, Chunked, too_large
from .error import HttpError
from .heads import MAX_HEAD, MAX_RESPONSE_HEAD, head_size, parse_request, parse_response
from .messages import Message, Request, Response

#: The largest body, in bytes, unless told otherwise: of a request, and of a response.
MAX_BODY = 1024 * 1024
MAX_RESPONSE_BODY = 16 * 1024 * 1024

MessageT = TypeVar("MessageT", bound=Message)


class _Begun:
    """A message whose head is there: what its body has so far. Kept in the inbox, so that a picker can serve
    many sockets."""

    __slots__ = ("chunked", "message", "position")

    def __init__(self, message: Message, position: int) -> None:
        self.message = message
        self.position = position  # up to which the inbox was looked at
        self.chunked = Chunked() if message._framing == CHUNKED else None


class _MessagePicker(FramePicker[MessageT]):
    __slots__ = ("max_body", "max_head")

    def __init__(self, max_head: int, max_body: int) -> None:
        self.max_head = checked_length("max_head", max_head)
        self.max_body = checked_length("max_body", max_body)

    def _parse(self, head: bytes) -> MessageT:
        raise NotImplementedError

    def pick(self, inbox: Inbox, ended: bool) -> MessageT | None:
        """The next message, or None while it is not whole. HttpError for what is none, or too large."""
        try:
            return self._pick(inbox, ended)
        except HttpError as error:
            error.picker = self
            error.partial = PartialFrame(Frame(inbox.peek(self.max_head), inbox.remote_address))
            raise

    def _pick(self, inbox: Inbox, ended: bool) -> MessageT | None:
        known = inbox._recall(self, None)
        if type(known) is not _Begun:
            size = head_size(inbox, self, self.max_head)
            if size > self.max_head:
                raise HttpError(431, f"the head is over {self.max_head} bytes")
            if not size:
                return None
            message = self._parse(inbox.peek(size))
            if message._framing > self.max_body:
                raise too_large(self.max_body)
            if len(inbox) >= size + message._framing >= size:  # the way of nearly every one
                return self._whole(inbox, message, size)
            known = _Begun(message, size)
            inbox._remember(self, known)
        return self._go_on(inbox, known, ended)

    def _go_on(self, inbox: Inbox, known: _Begun, ended: bool) -> MessageT | None:
        message: MessageT = known.message  # type: ignore[assignment]
        if known.chunked is None:
            size = len(inbox) - known.position
            if message._framing == UNTIL_END:
                if size > self.max_body:
                    raise too_large(self.max_body)
                return self._whole(inbox, message, known.position, size) if ended else None
            return self._whole(inbox, message, known.position) if size >= message._framing else None
        chunked = known.chunked
        known.position += chunked.decode(inbox.peek(len(inbox), known.position))
        if chunked.size > self.max_body:
            raise too_large(self.max_body)
        if not chunked.ended:
            return None
        inbox.drop(known.position)
        message.data = b"".join(chunked.pieces)
        message.remote_address = inbox.remote_address
        return message

    def _whole(self, inbox: Inbox, message: MessageT, size: int, body: int | None = None) -> MessageT:
        inbox.drop(size)
        message.data = inbox.take(message._framing if body is None else body)
        message.remote_address = inbox.remote_address
        return message


class RequestPicker(_MessagePicker[Request]):
    """Gives whole requests: each frame is a `Request`, whose `response` makes the bytes of an answer.

    HttpError for a malformed request (its `status` is for the answer), for a head over `max_head` bytes (431)
    and a body over `max_body` (413). No 100 (Continue) is sent: a client that expects it sends its body after
    a pause (RFC 9110, 10.1.1); `requests` sends it.
    """

    __slots__ = ()

    def __init__(self, *, max_head: int = MAX_HEAD, max_body: int = MAX_BODY) -> None:
        super().__init__(max_head, max_body)

    def _parse(self, head: bytes) -> Request:
        return parse_request(head, Request)

    def __repr__(self) -> str:
        return f"RequestPicker(max_head={self.max_head}, max_body={self.max_body})"


class ResponsePicker(_MessagePicker[Response]):
    """Gives whole responses to requests of `method`: each frame is a `Response`, also for 1xx.

    HttpError for a malformed response, or one over `max_head` or `max_body` bytes.
    """

    __slots__ = ("method",)

    def __init__(
        self,
        method: str = "GET",
        *,
        max_head: int = MAX_RESPONSE_HEAD,
        max_body: int = MAX_RESPONSE_BODY,
    ) -> None:
        super().__init__(max_head, max_body)
        self.method = method

    def _parse(self, head: bytes) -> Response:
        return parse_response(head, self.method)

    def __repr__(self) -> str:
        return f"ResponsePicker({self.method!r}, max_head={self.max_head}, max_body={self.max_body})"
