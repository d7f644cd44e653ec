"""The pickers of `serve`: the head of a request within its time, and the bytes after the last one."""

from __future__ import annotations

import time
from http import HTTPStatus

from .. import EmptyFrame, Frame, FramePicker, Inbox
from ..http import HttpError, Request
from ..http.heads import MAX_HEAD, head_size, parse_request


class TimedHeadPicker(FramePicker):
    """Takes one request head, up to and with its empty line; each head of each client has a picker.

    Empty lines before it are dropped. If a head is not complete after `seconds` (None: no limit), or has
    `MAX_HEAD` bytes without an end, the frame is its received part, not an error, since `serve` has to answer
    it. So it is, at once, if what came begins no request. The time counts from the first byte, and is checked
    when more bytes arrive.
    """

    __slots__ = ("_due",)

    def __init__(self, seconds: float | None = None) -> None:
        self._due = None if seconds is None else time.monotonic() + seconds

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        size = head_size(inbox, self, MAX_HEAD)
        if not size and (self._due is None or time.monotonic() <= self._due):
            line = inbox.find(b"\n") + 1
            if not inbox or _may_begin(inbox.peek(line or 1)):
                return None
        return Frame(inbox.take(min(size or MAX_HEAD, MAX_HEAD)), inbox.remote_address)


def parse_head(head: bytes) -> Request:
    """Return the request whose head was picked; HttpError with the status to answer if it is none."""
    if not head.endswith((b"\n\r\n", b"\n\n")):
        if head and not _may_begin(head[: head.find(b"\n") + 1] or head[:1]):
            raise HttpError(HTTPStatus.BAD_REQUEST, "this is no HTTP request")
        if len(head) < MAX_HEAD:
            raise HttpError(HTTPStatus.REQUEST_TIMEOUT, "the head took too long")
        raise HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head is over {MAX_HEAD} bytes")
    return parse_request(head, Request)


def _may_begin(line: bytes) -> bool:
    """Whether a request can begin with `line`, or with its first byte if it is not complete. TLS (its first
    byte is 0x16) and a line without a version are followed by nothing worth waiting for."""
    return line[:1].isalpha() and (b"\n" not in line or b" HTTP/" in line)


class RestPicker(FramePicker):
    """Drops the bytes that a client still sends; one picker for each client.

    It gives an `EmptyFrame` at the end of the stream, after `most` bytes, or with the first bytes later than
    `seconds` after the first call.
    """

    __slots__ = ("_due", "_left", "_seconds")

    def __init__(self, most: int, seconds: float) -> None:
        self._left = most
        self._seconds = seconds
        self._due: float | None = None

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        now = time.monotonic()
        if self._due is None:
            self._due = now + self._seconds
        size = len(inbox)
        self._left -= size
        inbox.drop(size)
        enough = self._left < 0 or (size and now > self._due)
        return EmptyFrame(inbox.remote_address) if ended or enough else None
