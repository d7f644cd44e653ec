"""HTTP of `fetch`: one GET, its decoded answer, and the target of a redirect."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from .. import FrameError
from ..address import bracketed, parse_address
from .asking import Answer, Ask, Plan
from .words import parse_word

if TYPE_CHECKING:
    from .. import Conversation

#: Redirects that are followed from one address.
MOST_REDIRECTS = 10
#: Bytes to which a body may be decoded.
MOST_BYTES = 64 << 20
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DEFAULTS = {("http", 80), ("https", 443)}


def authority(address: str) -> tuple[str, str]:
    """Return the scheme and the host of a URL for `address`."""
    there = parse_address(address)
    scheme = "https" if there.is_tls else "http"
    if there.host is None:
        return scheme, "localhost"
    name = bracketed(there.host.partition("%")[0])  # a zone means something on this machine only
    return scheme, name if (scheme, there.port) in _DEFAULTS else f"{name}:{there.port}"


def url_of(ask: Ask) -> str:
    """Return the URL of a request."""
    scheme, host = authority(ask.address)
    return f"{scheme}://{host}{ask.path}"


async def get(talk: Conversation, mine: Ask, plan: Plan) -> None:
    """GET the path of `mine`, and set its answer. FrameError for a malformed answer, or a body that cannot be
    decoded."""
    from ..http import request

    own = () if mine.bare else plan.headers
    named = {name.lower() for name, _ in own}
    usual = {
        "Host": authority(mine.address)[1],
        "User-Agent": "evsockets",
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate",
        "Connection": "close",
    }
    headers = [*((name, value) for name, value in usual.items() if name.lower() not in named), *own]
    assert mine.path is not None
    pieces: list[bytes] = []
    response = await request(
        talk, "GET", mine.path, headers=headers, into=pieces.append if plan.keep else len
    )
    answer = mine.answer
    answer.status = response.status
    answer.headers = list(response.headers.pairs)
    if plan.keep:
        answer.chunks.append(decoded(b"".join(pieces), header(answer, "content-encoding") or ""))


def header(answer: Answer, wanted: str) -> str | None:
    """Return a field of an answer's head; None without it."""
    return next((value for name, value in answer.headers if name.lower() == wanted), None)


def decoded(body: bytes, coding: str) -> bytes:
    """Return a body without its content coding (RFC 9110, 8.4.1), unchanged if the coding is unknown.
    FrameError for a malformed body, or more than `MOST_BYTES` bytes."""
    if coding.strip().lower() not in ("gzip", "x-gzip", "deflate") or not body:
        return body
    parts, size = [], 0
    while body:  # gzip may have several members
        member = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            part = member.decompress(body, MOST_BYTES + 1 - size)
        except zlib.error as error:
            raise FrameError(f"a body that is no {coding}: {error}") from error
        size += len(part)
        if size > MOST_BYTES:
            raise FrameError(f"a body of more than {MOST_BYTES:,} bytes once it is decoded")
        if not member.eof:
            raise FrameError(f"a body whose {coding} ends too early")
        parts.append(part)
        body = member.unused_data
    return b"".join(parts)


def followed(ask: Ask, answer: Answer) -> Ask | None:
    """Return the Ask of an answer's redirect; None without one. ValueError if it cannot be followed."""
    place = header(answer, "location") if answer.status in _REDIRECTS else None
    if place is None:
        return None
    if ask.redirects == MOST_REDIRECTS:
        raise ValueError(f"redirected more than {MOST_REDIRECTS} times")
    try:
        word = parse_word(urljoin(url_of(ask), place.strip()), 1)
        if word.url is None:
            raise ValueError("only http:// and https:// are followed")
    except ValueError as error:
        raise ValueError(f"redirected to {place!r}: {error}") from error
    (address,) = word.addresses()
    return Ask(
        ask.number, address, ask.label, word.path or "/",
        redirects=ask.redirects + 1,
        bare=ask.bare or authority(address) != authority(ask.address),
    )  # fmt: skip
