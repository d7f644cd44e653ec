"""Bind, listen, accept: what a server does."""

from __future__ import annotations

import _socket
import errno
from typing import TYPE_CHECKING, Any

from ..address import Address, public_address
from ..engines.base import READ
from ..errors import AcceptError, ConnectionFailedError, ReceiveError
from ..events import AcceptEvent
from ..frames.base import AcceptedFrame
from ..resolver import numeric
from ..sockets import AcceptedSocket, DatagramClientSocket
from ..transports.datagram import ServerDatagram
from ..transports.listener import Listener, open_server
from ..transports.options import adjust_options
from .base import Operation
from .flush import BEGIN
from .look_up import LookUp
from .read import ReadOperation

if TYPE_CHECKING:
    from ..channel import Channel

_ACCEPTS_PER_TURN = 64
_DATAGRAMS_PER_TURN = 64
# accept(2): errors of the connection that came, not of the listener.
_SKIPPED = frozenset(
    {
        errno.ECONNABORTED, errno.EINTR, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN,
        errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.EPERM, errno.ECONNRESET,
    }
)  # fmt: skip
_BACK_OFF = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


class Listen(LookUp):
    """Opens the listening socket. Names are resolved without blocking, as clients' are."""

    __slots__ = ("_sock", "address")

    interest = 0

    def __init__(self, address: Address | None, sock: Any) -> None:
        self.phase = "connecting"
        self._ticket = None
        self.address = address
        self._sock = sock

    def start(self, channel: Channel) -> Operation | None:
        address = self.address
        if self._sock is not None:
            try:
                adjust_options(self._sock, channel.metadata._settings.stream_context)
            except OSError as error:
                self._sock.close()
                raise self._error(channel, error, "listening") from error
            return self._listening(channel, self._sock)
        assert address is not None
        if address.scheme == "fd":
            return self._open(channel, [(0, None)])
        if address.fixed is not None:
            return self._open(channel, [address.fixed])
        assert address.host is not None and address.port is not None
        try:
            found = numeric(address.host, address.port)
        except OSError as error:  # a zone identifier that is no interface's
            raise self._error(channel, error, "resolving") from error
        if found is not None:
            return self._open(channel, found)
        return self.look_up(channel, address)

    def go_on(self, channel: Channel, outcome: Any) -> None:
        if isinstance(outcome, BaseException):
            if not isinstance(outcome, OSError):
                raise outcome
            raise self._error(channel, outcome, "resolving") from outcome
        following = self._open(channel, outcome)
        channel.become_opening(following)

    def _open(self, channel: Channel, candidates: list[tuple[int, Any]]) -> Operation:
        assert self.address is not None
        last: OSError | None = None
        for family, sockaddr in candidates:
            try:
                sock = open_server(self.address, family, sockaddr, channel.metadata._settings.stream_context)
            except OSError as error:
                last = error
                continue
            return self._listening(channel, sock)
        raise self._error(channel, last or OSError(errno.EADDRNOTAVAIL, "no address"), "listening") from last

    def _error(self, channel: Channel, error: OSError, phase: str) -> ConnectionFailedError:
        text = self.address.text if self.address is not None else channel.metadata.address
        return ConnectionFailedError(
            f"{text}: {error.strerror or error} (errno {error.errno}) while {phase}",
            attempts=[(text, error)],
            address=text,
            errno=error.errno,
        )

    def _listening(self, channel: Channel, sock: Any) -> Operation:
        datagram = sock.type == _socket.SOCK_DGRAM
        if datagram:
            channel.use(ServerDatagram(sock))
        else:
            tls = self.address is not None and self.address.scheme == "tls"
            if tls:
                self._check_tls(channel, sock)
            channel.use(Listener(sock))
        first = channel.held
        channel.held = (AcceptDatagrams if datagram else Accept)(first)
        channel.local_address()
        return BEGIN

    def _check_tls(self, channel: Channel, sock: Any) -> None:
        """A missing certificate is told here, not to the first client."""
        from ..transports.tls_context import server_context

        try:
            server_context(channel.metadata._settings.stream_context, self.address)
        except (ValueError, OSError) as error:
            sock.close()
            raise ConnectionFailedError(
                f"{channel.metadata.address}: {error} while listening",
                address=channel.metadata.address,
                errno=getattr(error, "errno", None),
            ) from error

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return self


class Accept(ReadOperation):
    """ACCEPT per client, a bounded number a turn. One object per listener: it knows whether it pauses."""

    __slots__ = ("_failures", "_paused", "_resume_at", "_told", "interest")

    phase = "listening"

    def __init__(self, given: Operation | None = None) -> None:
        super().__init__()
        self.interest = READ
        self._failures = 0
        self._told = False
        self._resume_at: float | None = None
        self._paused = False

    def start(self, channel: Channel) -> Operation | None:
        return self

    def pause(self, channel: Channel) -> None:
        """The limitation solver refused a client: accept no more until it is let in."""
        self._paused = True
        self._set(channel)

    def resume(self, channel: Channel) -> None:
        """Accept again."""
        self._paused = False
        self._set(channel)

    def _set(self, channel: Channel) -> None:
        self.interest = 0 if self._paused or self._resume_at is not None else READ
        channel.update()

    def step(self, channel: Channel, mask: int) -> Operation | None:
        for _ in range(_ACCEPTS_PER_TURN):
            if not self.interest or channel.cancelled or channel.executor.stopping:
                break
            try:
                accepted = channel.transport.accept()
            except OSError as error:
                if error.errno in _SKIPPED:
                    continue
                self._fail(channel, error)
                break
            if accepted is None:
                break
            self._failures = 0
            self._told = False
            sock, remote = accepted
            self._tell(channel, AcceptedSocket(sock, remote, channel), remote, sock)
        return self

    def _tell(self, channel: Channel, client: Any, remote: Any, sock: Any) -> None:
        channel.io_start = channel.executor.moment
        handler = channel.dispatch.accept
        try:
            if handler is not None:
                if channel.executor.delayed:
                    channel.executor.actors.add(channel)
                shown = remote
                if type(remote) is not tuple and remote is not None:
                    shown = public_address(_socket.AF_UNIX, remote)
                handler(AcceptEvent(channel, AcceptedFrame(client, shown)))
        finally:
            if sock is not None and client._channel is None:
                client.close()

    def _fail(self, channel: Channel, error: OSError) -> None:
        """Out of descriptors, most likely: pause with back-off, tell once per episode, go on alone."""
        pause = _BACK_OFF[min(self._failures, len(_BACK_OFF) - 1)]
        self._failures += 1
        self._resume_at = channel.executor.now + pause
        self._set(channel)
        channel.arm()
        if not self._told:
            self._told = True
            failure = AcceptError(
                f"{channel.metadata.address}: {error.strerror} (errno {error.errno}) while accepting",
                address=channel.metadata.address,
                errno=error.errno,
            )
            failure.__cause__ = error
            channel.tell_exception(failure)

    def due(self, channel: Channel) -> float | None:
        return self._resume_at

    def expire(self, channel: Channel, now: float) -> Operation | None:
        self._resume_at = None
        self._set(channel)
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class AcceptDatagrams(Accept):
    """ACCEPT per datagram; its client has no descriptor of its own."""

    __slots__ = ()

    def step(self, channel: Channel, mask: int) -> Operation | None:
        for _ in range(_DATAGRAMS_PER_TURN):
            if not self.interest or channel.cancelled or channel.executor.stopping:
                break
            try:
                received = channel.transport.receive()
            except OSError as error:
                # ICMP refused of an earlier answer, most likely: the server goes on.
                failure = ReceiveError(
                    f"{channel.metadata.address}: {error.strerror} (errno {error.errno}) while reading",
                    address=channel.metadata.address,
                    errno=error.errno,
                )
                failure.__cause__ = error
                channel.tell_exception(failure)
                continue
            if received is None:
                break
            data, remote = received
            client = DatagramClientSocket(data, remote or None, channel)
            self._tell(channel, client, remote or None, None)
        return self
