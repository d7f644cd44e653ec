"""Requests and responses as frames: the body is their data."""

from __future__ import annotations

from ..frames.base import Frame
from ..frames.inbox import RemoteAddress
from .answers import Answer
from .bodies import UNTIL_END
from .headers import Headers, HeaderSource


class Message(Frame):
    """The base of requests and responses: `headers`, `version` (such as (1, 1)), and the body."""

    __slots__ = ("_framing", "headers", "version")

    def __init__(
        self,
        version: tuple[int, int],
        headers: Headers,
        framing: int,
        body: bytes = b"",
        remote_address: RemoteAddress = None,
    ) -> None:
        super().__init__(body, remote_address)
        self.version = version
        self.headers = headers
        self._framing = framing  # the body's length, CHUNKED or UNTIL_END

    @property
    def body(self) -> bytes:
        """The body, without its transfer coding; the same as `data`."""
        return self.data

    def _first(self) -> tuple[object, ...]:
        return ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message) or not super().__eq__(other):
            return False
        return self._first() == other._first() and self.headers.pairs == other.headers.pairs

    def __hash__(self) -> int:
        return hash((self._first(), self.data))

    @property
    def keep_alive(self) -> bool:
        """Whether the sender keeps the connection open (RFC 9112, 9.3)."""
        options = self.headers.options("connection")
        if "close" in options or self._framing == UNTIL_END:
            return False
        return self.version >= (1, 1) or "keep-alive" in options


class Request(Message):
    """A request: `method`, `target` as in the request line, `version`, `headers`, `body`."""

    __slots__ = ("method", "target")

    method: str
    target: str

    def _first(self) -> tuple[object, ...]:
        return self.version, self.method, self.target

    @property
    def has_body(self) -> bool:
        """Whether the request has a body (RFC 9112, 6.3); False if its length is 0."""
        return self._framing != 0

    def response(self, status: int, headers: HeaderSource = (), body: bytes = b"") -> bytes:
        """The whole response as bytes, to be written by a handler. Fields are added, and errors raised, as by
        `ServerRequest.answer`."""
        answer = Answer(self.method, self.version, status, headers, body, keep=self.keep_alive)
        return answer.head + answer.body.content

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self.target!r}, {len(self.data)} bytes>"


class Response(Message):
    """A response: `status` (an int), `reason`, `version`, `headers`, `body`."""

    __slots__ = ("_is_last", "reason", "status")

    status: int
    reason: str
    _is_last: bool  # whatever it says

    @property
    def keep_alive(self) -> bool:
        """Whether the connection can take another request (RFC 9112, 9.3)."""
        return not self._is_last and super().keep_alive

    def _first(self) -> tuple[object, ...]:
        return self.version, self.status, self.reason

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason!r}, {len(self.data)} bytes>"
