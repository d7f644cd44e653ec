"""Responses to be sent: the fields that are added, and whether the connection is kept."""

from __future__ import annotations

import functools
import time
from email.utils import formatdate
from http import HTTPStatus

from .headers import HeaderSource, closes, head, listed, names
from .outgoing import Body, Outgoing

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Answer:
    """A response to a request of this method and version: its `head` and its `body`.

    `keep`: whether the connection goes on after it."""

    __slots__ = ("body", "head", "keep")

    def __init__(
        self,
        method: str,
        version: tuple[int, int],
        status: int,
        headers: HeaderSource,
        body: Body,
        *,
        keep: bool,
    ) -> None:
        if not 101 <= status <= 999:
            raise ValueError(f"{status!r} is no status of a response: give one from 200 on, or 101")
        fields = listed(headers)
        self.body = sent = Outgoing(fields, body)
        asks_for_head = method == "HEAD"
        if _is_bodiless(method, status):
            if sent.content or sent.pieces is not None or (sent.length is not None and status != 304):
                raise ValueError(f"a response of status {status} to {method} has no body")
        elif sent.length is not None:
            if not asks_for_head:
                sent.check_length()
        elif sent.pieces is None:
            if sent.content or not asks_for_head:  # else nobody has told the length
                fields.append(("Content-Length", str(len(sent.content))))
        elif version >= (1, 1):
            fields.append(("Transfer-Encoding", "chunked"))
            sent.chunked = True
        else:
            keep = False  # the body ends with the connection
        given = names(fields)
        if "date" not in given:
            fields.append(("Date", http_date(time.time())))  # RFC 9110, 6.6.1
        if "connection" not in given:
            fields.append(("Connection", "keep-alive" if keep else "close"))
        self.keep = keep and not closes(fields)
        self.head = head(f"HTTP/1.1 {status} {phrase(status)}", fields)
        if asks_for_head:
            sent.content, sent.pieces = b"", None


def _is_bodiless(method: str, status: int) -> bool:
    return status < 200 or status in (204, 304) or (method == "CONNECT" and status < 300)


def phrase(status: int) -> str:
    """The reason phrase of a status; nothing for one that has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def http_date(timestamp: float) -> str:
    """A Unix timestamp as HTTP writes it (RFC 9110, 5.6.7)."""
    return _date(int(timestamp))


@functools.lru_cache(maxsize=256)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
