"""A body to be sent: bytes, or an iterable; with a Content-Length, or chunked (RFC 9112, 6)."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from ..operations.write import check_data
from ..validation import as_bytes
from .headers import names

if TYPE_CHECKING:
    from ..conversations.conversation import Conversation
    from ..typing import Buffer

Body: TypeAlias = "Buffer | Iterable[Buffer] | AsyncIterable[Buffer]"
"""A body to be sent: bytes-like, or an iterable (or asynchronous iterable) of bytes-like."""

_LAST_CHUNK = b"0\r\n\r\n"


class Outgoing:
    """The body of a message with the given `fields`: its `content`, or an iterator of `pieces`.

    `length` is the Content-Length of the fields (None: none). Pieces are sent `chunked` if that is set.
    """

    __slots__ = ("chunked", "content", "length", "pieces")

    def __init__(self, fields: list[tuple[str, str]], body: Body) -> None:
        self.chunked = False
        self.content = b""
        self.pieces: Iterable[Buffer] | AsyncIterable[Buffer] | None = None
        self.length: int | None = None
        if isinstance(body, bytes | bytearray | memoryview):
            self.content = as_bytes(body)
        elif isinstance(body, AsyncIterable):
            self.pieces = body
        else:
            self._take(check_data(body))
        given = names(fields)
        if "transfer-encoding" in given:
            raise ValueError("Transfer-Encoding is not to be given: it is added where the body needs it")
        if "content-length" in given:
            text = ", ".join(value for name, value in fields if name.lower() == "content-length")
            if not (text.isascii() and text.isdigit()):
                raise ValueError(f"Content-Length must be one number, not {text!r}")
            self.length = int(text)

    def _take(self, body: Any) -> None:
        try:
            self.content = as_bytes(memoryview(body))
        except TypeError:
            self.pieces = body

    def check_length(self) -> None:
        """ValueError if the Content-Length is not that of the content."""
        if self.length is not None and self.pieces is None and self.length != len(self.content):
            raise ValueError(f"Content-Length is {self.length}, and the body has {len(self.content)} bytes")

    async def send(self, talk: Conversation, head: bytes) -> None:
        """Write the head and the body. RuntimeError if the pieces do not add up to the Content-Length."""
        if self.pieces is None:
            await talk.write(head + self.content)
        elif isinstance(self.pieces, AsyncIterable):
            await talk.write(head)
            sent = 0
            async for data in self.pieces:
                piece = as_bytes(data)
                sent += len(piece)
                await talk.write(self._framed(piece, sent))
            await talk.write(self._end(sent))
        else:
            await talk.write(self._all(head, self.pieces))

    def _all(self, head: bytes, pieces: Iterable[Buffer]) -> Iterator[bytes]:
        yield head
        sent = 0
        for data in pieces:
            piece = as_bytes(data)
            sent += len(piece)
            yield self._framed(piece, sent)
        yield self._end(sent)

    def _framed(self, piece: bytes, sent: int) -> bytes:
        if self.length is not None and sent > self.length:
            raise RuntimeError(f"the body is longer than its Content-Length of {self.length}")
        # A chunk without a byte would end the body.
        return b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked and piece else piece

    def _end(self, sent: int) -> bytes:
        if self.length is not None and sent < self.length:
            raise RuntimeError(f"the body has {sent} bytes, and its Content-Length is {self.length}")
        return _LAST_CHUNK if self.chunked else b""
