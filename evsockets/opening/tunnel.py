"""Proxies of clients (SOCKS5, HTTP CONNECT): connecting to one, and what opens the tunnel through it."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from ..address import Address, bracketed
from ..core.failure import socket_error
from ..core.operation import Stepper
from ..errors import ConnectionFailedError
from ..frames.inbox import Inbox
from ..operations.handshake import TlsHandshakeOperation
from ..proxies import Proxy, parse_proxy
from ..text import one_line
from .connect import Connect
from .preamble import Dialogue, Preamble, Refused, Taker
from .resolve import Resolve

if TYPE_CHECKING:
    from ..core.channel import Channel

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: ([^\r\n]*))?\r?\n")
_LONGEST_HEAD = 16_384
# The lengths of a SOCKS5 address, by its type (RFC 1928 5); that of a name stands before it.
_IPV4, _NAME, _IPV6 = b"\1", b"\3", b"\4"


def through(channel: Channel, address: Address, text: str) -> Stepper | None:
    """What leads to `address` through the proxy that `text` names."""
    if address.host is None or address.is_datagram:
        why = f"a proxy leads to tcp:// and tls:// only; set stream_context without proxy for {address.text}"
        raise socket_error(ConnectionFailedError, channel, why, "connecting")
    assert address.port is not None
    proxy = parse_proxy(text)
    # Errors name whom it is all about, and the phase tells of the proxy.
    to = Address("tcp", proxy.host, proxy.port, text=address.text)
    dialogue = _DIALOGUES[proxy.scheme](proxy, address.host, address.port)
    tls = TlsHandshakeOperation() if address.is_tls else None
    tunnel = Preamble(f"the proxy {proxy.shown}", dialogue, tls)
    then = partial(Connect, then=tunnel, doing=f"connecting to the proxy {proxy.shown}")
    if to.fixed is not None:
        return then(channel, to, [to.fixed])
    return Resolve(to, then, f"resolving the proxy {proxy.shown}")


def _exactly(size: int) -> Taker:
    return lambda inbox, ended: inbox.take(size) if len(inbox) >= size else None


def _head(inbox: Inbox, ended: bool) -> bytes | None:
    """All up to the empty line."""
    end = inbox.find(b"\r\n\r\n")
    if (len(inbox) if end < 0 else end) > _LONGEST_HEAD:
        raise Refused("answers without end")
    return inbox.take(end + 4) if end >= 0 else None


def _socks5(proxy: Proxy, host: str, port: int) -> Dialogue:
    """RFC 1928, and RFC 1929 where there is a login."""
    import socksio
    from socksio import socks5

    talk = socks5.SOCKS5Connection()

    def hear(answer: bytes) -> Any:
        try:
            return talk.receive_data(answer)
        except socksio.ProtocolError as error:
            raise Refused(f"does not speak SOCKS5: {answer!r}") from error

    methods = [socks5.SOCKS5AuthMethod.NO_AUTH_REQUIRED]
    if proxy.login is not None:
        methods.append(socks5.SOCKS5AuthMethod.USERNAME_PASSWORD)
    talk.send(socks5.SOCKS5AuthMethodsRequest(methods))
    answer = yield "answer the greeting", talk.data_to_send(), _exactly(2)
    method = hear(answer).method if answer[:1] == b"\5" else None
    if method is None:
        raise Refused(f"does not speak SOCKS5: {answer!r}")
    if method not in methods:
        none = method is socks5.SOCKS5AuthMethod.NO_ACCEPTABLE_METHODS
        cure = "another login" if proxy.login is not None else "a login: socks5://user:password@..."
        raise Refused(f"wants {cure}" if none else f"chose {method.name}, which was not offered")
    if method is socks5.SOCKS5AuthMethod.USERNAME_PASSWORD:
        assert proxy.login is not None
        talk.send(socks5.SOCKS5UsernamePasswordRequest(*proxy.login))
        answer = yield "accept the login", talk.data_to_send(), _exactly(2)
        if not hear(answer).success:
            raise Refused("refuses the user or the password")
    talk.send(socks5.SOCKS5CommandRequest.from_address(socks5.SOCKS5Command.CONNECT, (host, port)))
    goal = f"connect to {bracketed(host)}:{port}"
    answer = yield goal, talk.data_to_send(), _exactly(5)
    lengths = {_IPV4: 4, _IPV6: 16, _NAME: 1 + answer[4]}
    kind = answer[3:4]
    if answer[:1] != b"\5" or kind not in lengths:
        raise Refused(f"does not speak SOCKS5: {answer!r}")
    answer += yield goal, b"", _exactly(lengths[kind] + 1)
    code = hear(answer).reply_code
    if code is not socks5.SOCKS5ReplyCode.SUCCEEDED:
        raise Refused(f"refuses: {code.name.replace('_', ' ').lower()} ({code.value[0]})")


def _connect(proxy: Proxy, host: str, port: int) -> Dialogue:
    """CONNECT of HTTP/1.1 (RFC 9110 9.3.6)."""
    place = f"{bracketed(host)}:{port}"
    head = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n".encode()
    if proxy.login is not None:
        from base64 import b64encode

        head += b"Proxy-Authorization: Basic " + b64encode(b":".join(proxy.login)) + b"\r\n"
    request = head + b"\r\n"
    while True:
        answer = yield f"connect to {place}", request, _head
        found = _STATUS.match(answer)
        if found is None:
            raise Refused(f"does not speak HTTP: {answer[:40]!r}")
        status, words = int(found[1]), one_line((found[2] or b"")[:200].decode("latin-1"))
        if 200 <= status < 300:
            return
        if status >= 200:
            raise Refused(f"refuses: {status} {words}".rstrip())
        request = b""  # what it says meanwhile (RFC 9110 15.2)


_DIALOGUES = {"socks5": _socks5, "http": _connect}
