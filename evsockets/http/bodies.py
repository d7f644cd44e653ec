"""Received bodies: the chunked coding (RFC 9112, 7.1), and pieces of a known length."""

from __future__ import annotations

import httptools

from ..frames.base import EmptyFrame, Frame, FramePicker
from ..frames.inbox import Inbox
from .error import HttpError

#: How a body ends that has no length: with a last chunk, or with the connection.
CHUNKED = -1
UNTIL_END = -2

#: The longest chunk-size line with its extensions, or line of the trailer section.
_MAX_LINE = 4096
#: What the coding may take beside the data: so much in any case, and so much for each byte of it.
_MAX_OVERHEAD = 16 * 1024
_OVERHEAD_PER_BYTE = 8
_PRELUDE = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Chunked:
    """Decodes the chunked coding of one body, parsed by llhttp.

    llhttp does not report where a body ends, so it gets pieces that cannot extend past the end: lines, and
    chunks of the size in their line. Trailer fields are parsed, and dropped.
    """

    __slots__ = ("_line", "_overhead", "_parser", "_wanted", "ended", "pieces", "size")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0  # of the data so far
        self.ended = False
        self._overhead = 0
        self._line = b""  # a size line, as far as it has come
        self._wanted: int | None = 0  # bytes of the chunk that are to come; None: the trailer section
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(_PRELUDE)

    def on_body(self, data: bytes) -> None:
        """Called by llhttp."""
        self.pieces.append(data)
        self.size += len(data)

    def on_message_complete(self) -> None:
        """Called by llhttp."""
        self.ended = True

    def decode(self, data: bytes) -> int:
        """Decode the next bytes into `pieces`; how many of them belong to the body, all unless it `ended`.
        HttpError for a malformed coding."""
        position, size = 0, len(data)
        view = memoryview(data)
        try:
            while position < size and not self.ended:
                if self._wanted:
                    stop = min(size, position + self._wanted)
                    self._wanted -= stop - position
                    self._parser.feed_data(view[position:stop])
                else:
                    stop = data.find(b"\n", position) + 1 or size
                    self._feed_line(data[position:stop])
                position = stop
        except httptools.HttpParserError as error:
            raise HttpError(400, f"the chunked body is malformed: {error}") from None
        return position

    def _feed_line(self, part: bytes) -> None:
        self._parser.feed_data(part)
        self._overhead += len(part)
        self._line += part
        if len(self._line) > _MAX_LINE or (
            self._overhead > _MAX_OVERHEAD and self._overhead > _OVERHEAD_PER_BYTE * self.size
        ):
            raise HttpError(400, "the chunked body is malformed: too little of it is data")
        if part.endswith(b"\n"):
            if self._wanted is not None:
                size = int(self._line.partition(b";")[0], 16)
                self._wanted = size + 2 if size else None
            self._line = b""


class ChunkedPicker(FramePicker):
    """Gives the data of one chunked body in pieces, as they arrive, then an EmptyFrame; one for each body."""

    __slots__ = ("_chunked",)

    def __init__(self) -> None:
        self._chunked = Chunked()

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        chunked = self._chunked
        if not chunked.ended and inbox:
            inbox.drop(chunked.decode(inbox.peek(len(inbox))))
        if chunked.pieces:
            data = b"".join(chunked.pieces)
            chunked.pieces.clear()
            return Frame(data, inbox.remote_address)
        return EmptyFrame(inbox.remote_address) if chunked.ended else None


class LengthPicker(FramePicker):
    """Gives the next `left` bytes in pieces, as they arrive, then an EmptyFrame; one for each body."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        if not self.left:
            return EmptyFrame(inbox.remote_address)
        data = inbox.take(self.left)
        self.left -= len(data)
        return Frame(data, inbox.remote_address) if data else None


class UntilEndPicker(FramePicker):
    """Gives the bytes that arrive in pieces, and an EmptyFrame at the end of the stream."""

    __slots__ = ()

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        if inbox:
            return Frame(inbox.take(len(inbox)), inbox.remote_address)
        return EmptyFrame(inbox.remote_address) if ended else None


def body_picker(framing: int) -> FramePicker:
    """The picker of one body of this framing, in pieces, the last of them empty."""
    if framing == CHUNKED:
        return ChunkedPicker()
    return UntilEndPicker() if framing == UNTIL_END else LengthPicker(framing)


def too_large(limit: int) -> HttpError:
    """The error of a body over `limit` bytes."""
    return HttpError(413, f"the body is over {limit} bytes")
