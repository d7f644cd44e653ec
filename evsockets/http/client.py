"""One request and its response in a conversation; the connection can be used again if both sides keep it."""

from __future__ import annotations

from collections.abc import Callable

from ..address import bracketed, parse_address
from ..conversations.conversation import Conversation
from ..errors import DisconnectedError, NetworkSocketError, SendError, SocketTimeoutError
from ..event_types import TimeoutStage
from ..frames.limit import checked_length
from .bodies import body_picker, too_large
from .error import HttpError
from .headers import TOKEN, HeaderSource, closes, head, listed, names
from .heads import MAX_RESPONSE_HEAD, HeadPicker, parse_response
from .messages import Response
from .outgoing import Body, Outgoing
from .pickers import MAX_RESPONSE_BODY

#: Seconds that a server has for its 100 (Continue), before the body is sent without it (RFC 9110, 10.1.1).
_PATIENCE = 1.0
#: Interim responses (1xx) that are read over.
_MOST_INTERIM = 32
_DEFAULT_PORTS = (80, 443)


async def request(
    talk: Conversation,
    method: str,
    target: str,
    headers: HeaderSource = (),
    body: Body = b"",
    *,
    into: Callable[[bytes], object] | None = None,
    max_head: int = MAX_RESPONSE_HEAD,
    max_body: int = MAX_RESPONSE_BODY,
) -> Response:
    """Send a request, and return its response with `status`, `headers` and `body`.

    `target` is a path with its query ("/a?b"), "*" for OPTIONS, or another form of RFC 9112, 3.2; it is sent
    unchanged. Host is added from the socket's address, and Content-Length or Transfer-Encoding (for an
    iterable `body`, iterated as fast as the peer receives) as the body needs. With the header `Expect:
    100-continue` the body waits for 100 (Continue), for a second at most. `into` is called with each piece of
    the response's body, which then is empty and has no limit.

    If the response's `keep_alive` is true, the connection can take another request. After 101, and after 2xx
    to CONNECT, it belongs to the new protocol. A response that arrives before the whole request was sent, and
    ends it (413), is returned.

    ValueError for an invalid request; HttpError for a malformed response, or one over `max_head` or
    `max_body` bytes; DisconnectedError if none arrives; SocketTimeoutError after `io_timeout`.
    """
    if TOKEN.fullmatch(method) is None:
        raise ValueError(f"{method!r} is no method: letters make one, such as GET")
    if not target or not target.isascii() or not target.isprintable() or " " in target:
        raise ValueError(f"{target!r} is no target: percent-encode blanks and the like (urllib.parse.quote)")
    limit = checked_length("max_body", max_body)
    heads = HeadPicker(checked_length("max_head", max_head))
    fields = listed(headers)
    given = names(fields)
    sent = Outgoing(fields, body)
    sent.check_length()
    if "host" not in given:
        fields.insert(0, ("Host", _host(talk)))
    if sent.pieces is not None:
        sent.chunked = sent.length is None
        if sent.chunked:
            fields.append(("Transfer-Encoding", "chunked"))
    elif sent.length is None and (sent.content or method in ("POST", "PUT", "PATCH")):  # RFC 9110, 8.6
        fields.append(("Content-Length", str(len(sent.content))))
    start = head(f"{method} {target} HTTP/1.1", fields)
    response: Response | None = None
    is_last = closes(fields)
    try:
        if "expect" in given:
            await talk.write(start)
            start = b""
            response = await _go_ahead(talk, method, heads)
        if response is None:
            await sent.send(talk, start)
    except (DisconnectedError, SendError):
        # The server may have said why it takes no more: that counts, if it is there.
        response = await _last_word(talk, method, heads)
        if response is None:
            raise
        is_last = True
    interim = 0
    while response is None or (response.status < 200 and response.status != 101):
        if interim > _MOST_INTERIM:
            raise HttpError(502, f"{_MOST_INTERIM} interim responses, and no other one")
        interim += 1
        response = await _head(talk, method, heads)
    response._is_last = is_last
    response.remote_address = talk.metadata.remote_address
    if response._framing:
        await _read_body(talk, response, into, limit)
    return response


def _host(talk: Conversation) -> str:
    """The Host of the socket's address (RFC 9110, 7.2): without the usual port."""
    address = parse_address(talk.metadata.address or "")
    if address.host is None:
        return "localhost"
    name = bracketed(address.host)
    usual = _DEFAULT_PORTS[address.is_tls]
    return name if address.port == usual else f"{name}:{address.port}"


async def _go_ahead(talk: Conversation, method: str, heads: HeadPicker) -> Response | None:
    """Wait for 100 (Continue); the response that comes in its place, if one does."""
    try:
        with talk.timeout(_PATIENCE):
            response = await _head(talk, method, heads)
    except SocketTimeoutError as error:
        if error.when is not TimeoutStage.SCOPE:
            raise
        return None
    return None if response.status == 100 else response


async def _last_word(talk: Conversation, method: str, heads: HeadPicker) -> Response | None:
    """The response that a server left which then closed the connection, if it did."""
    try:
        return await _head(talk, method, heads)
    except NetworkSocketError:
        return None


async def _head(talk: Conversation, method: str, heads: HeadPicker) -> Response:
    return parse_response((await talk.read(heads)).data, method)


async def _read_body(
    talk: Conversation, response: Response, into: Callable[[bytes], object] | None, limit: int
) -> None:
    if into is None and response._framing > limit:
        raise too_large(limit)
    picker = body_picker(response._framing)
    pieces: list[bytes] = []
    size = 0
    while data := (await talk.read(picker)).data:
        if into is not None:
            into(data)
            continue
        size += len(data)
        if size > limit:
            raise too_large(limit)
        pieces.append(data)
    response.data = b"".join(pieces)
