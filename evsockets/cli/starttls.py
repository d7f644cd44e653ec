"""Starting TLS in the protocol of a server, before the handshake (STARTTLS)."""

from __future__ import annotations

import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from .. import Conversation, FixedLengthFramePicker, LineFramePicker, MarkerFramePicker, TlsHandshakeError
from ..address import parse_address
from ..text import one_line

#: Bytes of one answer that are read before it is given up: none comes near.
_LONGEST = 65_536
_LINE = LineFramePicker(8192)
_TAG = MarkerFramePicker(None, b">", max_length=_LONGEST)
_BYTE = FixedLengthFramePicker(1)
_STREAMS = "http://etherx.jabber.org/streams"
_XMPP_TLS = "urn:ietf:params:xml:ns:xmpp-tls"
# The message SSLRequest: its length and its code, each four bytes.
_SSL_REQUEST = struct.pack("!ii", 8, 80_877_103)


async def begin_tls(
    talk: Conversation, protocol: str, server_name: str | None, context: ssl.SSLContext | None
) -> None:
    """Greet the server in `protocol`, one of PROTOCOLS, request TLS, and do the handshake.

    `server_name` is sent and verified, and is the domain of an XMPP stream; None takes the address's host.
    `context` replaces the socket's TLS settings. Information from before TLS is discarded: with SMTP, FTP and
    XMPP the client greets again.

    TlsHandshakeError, with the server's text, if the server refuses or does not speak the protocol, if bytes
    after its answer arrive before the handshake (an attacker could have injected them), or if the handshake
    fails; also the errors of reading and writing. ValueError for an unknown protocol.
    """
    ask = _ASKING.get(protocol)
    if ask is None:
        raise ValueError(f"unknown protocol {protocol!r}; known are {', '.join(PROTOCOLS)}")
    await ask(talk, server_name)
    await talk.start_tls(context=context, server_hostname=server_name)


def _refused(talk: Conversation, why: str, said: bytes) -> TlsHandshakeError:
    address = talk.metadata.address
    words = one_line(said[:500].decode("utf-8", "backslashreplace")) or "nothing"
    return TlsHandshakeError(f"{address}: {why}: {words}", socket=talk.socket, address=address)


async def _command(talk: Conversation, line: bytes) -> None:
    await talk.write(line + b"\r\n")


async def _reply(talk: Conversation, expected: bytes, why: str) -> bytes:
    """The lines of a reply that begins with the code `expected`: the last one has no dash behind the code
    (RFC 5321 4.2.1, RFC 959 4.2)."""
    lines, size = [(await talk.read(_LINE)).data], 0
    code = lines[0][:3]
    while not code.isdigit() or (lines[-1][:3] != code or lines[-1][3:4] == b"-"):
        size += len(lines[-1]) + 2
        if not code.isdigit() or size > _LONGEST:
            raise _refused(talk, "the server answers in another protocol", lines[0])
        lines.append((await talk.read(_LINE)).data)
    if code != expected:
        raise _refused(talk, why, lines[-1])
    return b"\n".join(lines)


async def _smtp(talk: Conversation, server_name: str | None) -> None:
    """RFC 3207."""
    await _reply(talk, b"220", "the server does not serve")
    local: Any = talk.metadata.local_address
    host = local[0] if isinstance(local, tuple) else "127.0.0.1"
    me = f"IPv6:{host.partition('%')[0]}" if ":" in host else host
    await _command(talk, f"EHLO [{me}]".encode())
    offers = await _reply(talk, b"250", "the server refuses the greeting")
    if b"STARTTLS" not in [line[4:].strip().upper() for line in offers.splitlines()]:
        raise _refused(talk, "the server offers no STARTTLS", offers)
    await _command(talk, b"STARTTLS")
    await _reply(talk, b"220", "the server refuses STARTTLS")


async def _ftp(talk: Conversation, server_name: str | None) -> None:
    """RFC 4217 4."""
    await _reply(talk, b"220", "the server does not serve")
    await _command(talk, b"AUTH TLS")
    await _reply(talk, b"234", "the server refuses AUTH TLS")


async def _imap(talk: Conversation, server_name: str | None) -> None:
    """RFC 9051 6.2.1."""
    greeting = (await talk.read(_LINE)).data
    if not greeting.upper().startswith(b"* OK"):
        raise _refused(talk, "the server does not serve in plain text before TLS", greeting)
    await _command(talk, b"a STARTTLS")
    line, size = b"* ", 0
    while line.startswith(b"* ") and size < _LONGEST:
        line = (await talk.read(_LINE)).data
        size += len(line) + 2
    if not line.upper().startswith(b"A OK"):
        raise _refused(talk, "the server refuses STARTTLS", line)


async def _pop3(talk: Conversation, server_name: str | None) -> None:
    """RFC 2595 4."""
    for command, why in ((b"", "the server does not serve"), (b"STLS", "the server refuses STLS")):
        if command:
            await _command(talk, command)
        line = (await talk.read(_LINE)).data
        if not line.upper().startswith(b"+OK"):
            raise _refused(talk, why, line)


async def _xmpp(talk: Conversation, server_name: str | None) -> None:
    """RFC 6120 5."""
    domain = server_name or parse_address(talk.metadata.address or "").host or ""
    await _command(
        talk,
        f"<?xml version='1.0'?><stream:stream to={quoteattr(domain)} version='1.0' xmlns='jabber:client' "
        f"xmlns:stream='{_STREAMS}'>".encode(),
    )
    stanzas = _Stanzas()
    features = await stanzas.read(talk)
    if f"{_XMPP_TLS} starttls" not in features:
        raise _refused(talk, "the server offers no STARTTLS", stanzas.said)
    await _command(talk, f"<starttls xmlns='{_XMPP_TLS}'/>".encode())
    if f"{_XMPP_TLS} proceed" not in await stanzas.read(talk):
        raise _refused(talk, "the server refuses STARTTLS", stanzas.said)


class _Stanzas:
    """A stream of XML, read a tag at a time: nothing behind the last one is taken."""

    def __init__(self) -> None:
        self.said = b""  # of the last stanza
        self._names: list[str] = []
        self._depth = 0
        self._ended = False
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._doctype
        if hasattr(self._parser, "SetReparseDeferralEnabled"):  # whole tags are known at once
            self._parser.SetReparseDeferralEnabled(False)

    async def read(self, talk: Conversation) -> list[str]:
        """The names of the next stanza's elements, each with its namespace in front."""
        self._names, self.said = [], b""
        while not self._names or self._depth != 1:
            tag = (await talk.read(_TAG)).data
            self.said += tag
            try:
                self._parser.Parse(tag, False)
            except expat.ExpatError as error:
                raise _refused(talk, f"the server sends no XML stream ({error})", self.said) from error
            if len(self.said) > _LONGEST or self._ended:
                raise _refused(talk, "the server ends the stream or does not end its answer", self.said)
        return self._names

    def _start(self, name: str, attributes: object) -> None:
        if self._depth:
            self._names.append(name)
        self._depth += 1

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._ended = not self._depth

    def _doctype(self, *declared: object) -> None:
        raise expat.ExpatError("a document type, which RFC 6120 11.1 forbids")


async def _postgres(talk: Conversation, server_name: str | None) -> None:
    """PostgreSQL's frontend/backend protocol, 55.2.10: SSL session encryption."""
    await talk.write(_SSL_REQUEST)
    answer = (await talk.read(_BYTE)).data
    if answer != b"S":
        why = "the server offers no TLS" if answer == b"N" else "the server answers in another protocol"
        raise _refused(talk, why, answer)


_ASKING: dict[str, Callable[[Conversation, str | None], Awaitable[None]]] = {
    "smtp": _smtp, "imap": _imap, "pop3": _pop3, "ftp": _ftp, "xmpp": _xmpp, "postgres": _postgres,
}  # fmt: skip
#: What can be asked for TLS.
PROTOCOLS = tuple(_ASKING)
