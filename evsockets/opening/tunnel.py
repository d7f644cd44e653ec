"""Proxies of clients (SOCKS5, HTTP CONNECT): connecting to one, and the exchange that opens the tunnel."""

from __future__ import annotations

import re
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from ..address import Address
from ..core.failure import reason, socket_error
from ..core.operation import Stepper
from ..engines.base import READ, WRITE
from ..errors import ConnectionFailedError, FrameError
from ..frames import FixedLengthFramePicker, Frame, FramePicker, Inbox, MarkerFramePicker
from ..operations.handshake import TlsHandshakeOperation
from ..proxies import Proxy, parse_proxy
from ..text import one_line
from .connect import Attempt, Connect
from .resolve import Resolve
from .resolver import Candidate

if TYPE_CHECKING:
    from ..core.channel import Channel

#: What is said to a proxy: yields what the proxy is to do, the bytes to send, and what finds the answer in
#: those that come; is sent the answer, and returns when the tunnel is there. Raises Refused.
Dialogue = Generator[tuple[str, bytes, FramePicker], bytes, None]

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: ([^\r\n]*))?\r?\n")
_HEAD = MarkerFramePicker(None, b"\r\n\r\n", max_length=16_384)
# The lengths of a SOCKS5 address, by its type (RFC 1928 5); that of a name stands before it.
_IPV4, _NAME, _IPV6 = b"\1", b"\3", b"\4"


class Refused(ConnectionError):
    """The proxy refuses, or does not speak its protocol."""


def through(channel: Channel, address: Address, text: str) -> Stepper | None:
    """What leads to `address` through the proxy that `text` names."""
    if address.host is None or address.is_datagram:
        why = f"a proxy leads to tcp:// and tls:// only; set stream_context without proxy for {address.text}"
        raise socket_error(ConnectionFailedError, channel, why, "connecting")
    proxy = parse_proxy(text)
    # Errors name whom it is all about, and the phase tells of the proxy.
    to = Address("tcp", proxy.host, proxy.port, text=address.text)
    then = partial(_ConnectToProxy, proxy, address)
    if to.fixed is not None:
        return then(channel, to, [to.fixed])
    return Resolve(to, then, f"resolving the proxy {proxy.shown}")


class _ConnectToProxy(Connect):
    """Connects to the proxy instead, and goes on by asking it for a tunnel."""

    __slots__ = ("_proxy", "_target")

    def __init__(
        self, proxy: Proxy, target: Address, channel: Channel, address: Address, candidates: list[Candidate]
    ) -> None:
        super().__init__(channel, address, candidates)
        self._doing = f"connecting to the proxy {proxy.shown}"
        self._proxy = proxy
        self._target = target

    def succeed(
        self, channel: Channel, candidate: Candidate, sock: Any, winner: Attempt | None = None
    ) -> Stepper | None:
        super().succeed(channel, candidate, sock, winner)
        return Tunnel(self._proxy, self._target)


class Tunnel(Stepper):
    """Asks a proxy, to which the channel is connected, for a connection to the target. The target's name is
    looked up by the proxy. One object serves one attempt of a life."""

    __slots__ = ("_dialogue", "_doing", "_picker", "_proxy", "_target", "_unsent", "interest")

    def __init__(self, proxy: Proxy, target: Address) -> None:
        host, port = target.host, target.port
        assert host is not None and port is not None
        self._proxy = proxy
        self._target = target
        self._dialogue = _DIALOGUES[proxy.scheme](proxy, host, port)
        self._doing = ""
        self._unsent = b""
        self.interest = READ

    def start(self, channel: Channel) -> Any:
        self._ask(*next(self._dialogue))
        return self.step(channel, WRITE)

    def step(self, channel: Channel, mask: int) -> Any:
        try:
            return self._opened(channel) if self._go_on(channel) else self
        except OSError as error:
            shown = self._proxy.shown
            refused = isinstance(error, Refused)
            why = f"the proxy {shown} {error}" if refused else f"{reason(error)} at the proxy {shown}"
            raise socket_error(
                ConnectionFailedError,
                channel,
                why,
                "connecting",
                cause=error,
                attempts=[(channel.remote, error.with_traceback(None))],
            ) from error

    def _go_on(self, channel: Channel) -> bool:
        """Say and hear what can be now; whether the tunnel is there."""
        transport, inbox = channel.transport, channel.inbox
        lost: OSError | None = None
        while True:
            try:
                self._unsent = self._unsent and self._unsent[transport.send(self._unsent) :]
            except OSError as error:  # what had arrived says why
                self._unsent, lost = b"", error
            self.interest = WRITE if self._unsent else READ
            if self._unsent:
                return False
            while (answer := self._answer(inbox)) is None:
                data = transport.recv()
                if not data and lost is not None:
                    raise lost
                if data is None:
                    return False
                if not data:
                    raise Refused("ended the connection" + (f" after {inbox.peek(40)!r}" if inbox else ""))
                inbox._append(data)
            try:
                self._ask(*self._dialogue.send(answer.data))
            except StopIteration:
                return True

    def _ask(self, what: str, unsent: bytes, picker: FramePicker) -> None:
        self._doing = f"waiting for the proxy {self._proxy.shown} to {what}"
        self._unsent, self._picker = unsent, picker

    def _answer(self, inbox: Inbox) -> Frame | None:
        try:
            return self._picker.pick(inbox, False)
        except FrameError as error:
            raise Refused("answers without end") from error

    def _opened(self, channel: Channel) -> Stepper | None:
        channel.bytes_received = len(channel.inbox)  # what follows is the peer's own
        channel.inbox._arrived = channel.loop.turn_time
        return TlsHandshakeOperation() if self._target.is_tls else None


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
    answer = yield "answer the greeting", talk.data_to_send(), FixedLengthFramePicker(2)
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
        answer = yield "accept the login", talk.data_to_send(), FixedLengthFramePicker(2)
        if not hear(answer).success:
            raise Refused("refuses the user or the password")
    talk.send(socks5.SOCKS5CommandRequest.from_address(socks5.SOCKS5Command.CONNECT, (host, port)))
    goal = f"connect to {_place(host, port)}"
    answer = yield goal, talk.data_to_send(), FixedLengthFramePicker(5)
    lengths = {_IPV4: 4, _IPV6: 16, _NAME: 1 + answer[4]}
    kind = answer[3:4]
    if answer[:1] != b"\5" or kind not in lengths:
        raise Refused(f"does not speak SOCKS5: {answer!r}")
    answer += yield goal, b"", FixedLengthFramePicker(lengths[kind] + 1)
    code = hear(answer).reply_code
    if code is not socks5.SOCKS5ReplyCode.SUCCEEDED:
        raise Refused(f"refuses: {code.name.replace('_', ' ').lower()} ({code.value[0]})")


def _connect(proxy: Proxy, host: str, port: int) -> Dialogue:
    """CONNECT of HTTP/1.1 (RFC 9110 9.3.6)."""
    place = _place(host, port)
    head = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n".encode()
    if proxy.login is not None:
        from base64 import b64encode

        head += b"Proxy-Authorization: Basic " + b64encode(b":".join(proxy.login)) + b"\r\n"
    request = head + b"\r\n"
    while True:
        answer = yield f"connect to {place}", request, _HEAD
        found = _STATUS.match(answer)
        if found is None:
            raise Refused(f"does not speak HTTP: {answer[:40]!r}")
        status, words = int(found[1]), one_line((found[2] or b"")[:200].decode("latin-1"))
        if 200 <= status < 300:
            return
        if status >= 200:
            raise Refused(f"refuses: {status} {words}".rstrip())
        request = b""  # what it says meanwhile (RFC 9110 15.2)


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_DIALOGUES = {"socks5": _socks5, "http": _connect}
