"""Connecting to the first of several addresses that answers (Happy Eyeballs, RFC 8305), and why none did."""

from __future__ import annotations

import _socket
import errno
import os
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from ..address import Address, SockAddr, public_address
from ..core import interest
from ..core.deadlines import INFINITY
from ..core.failure import network_error
from ..core.operation import Stepper
from ..core.timeouts import arm
from ..core.token import Token
from ..engines import asking
from ..engines.base import WRITE
from ..errors import ConnectionFailedError
from ..operations.handshake import TlsHandshakeOperation
from ..transports.datagram import DatagramTransport
from ..transports.listener import open_client_socket
from ..transports.stream import TELLS_ACKNOWLEDGED, StreamTransport
from ..transports.unconnected import UnconnectedDatagram
from .resolver import Candidate

if TYPE_CHECKING:
    from ..core.channel import Channel
    from ..core.loop import Loop

# Seconds from one attempt to the next while none has failed.
_DELAY = 0.25
# Seconds until a unix server whose queue is full is tried again, at first and at most.
_PAUSE, _LONGEST_PAUSE = 0.001, 0.05
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_ON_ITS_WAY = frozenset({errno.EINPROGRESS, errno.EALREADY, errno.EINTR})
# Read by these names they cost compiled code no look-up.
_CONNECTED, _IN_PROGRESS, _WRITE = errno.EISCONN, errno.EINPROGRESS, WRITE
_STREAM, _DATAGRAM = _socket.SOCK_STREAM, _socket.SOCK_DGRAM
_INET, _INET6, _UNIX = _socket.AF_INET, _socket.AF_INET6, _socket.AF_UNIX


class Attempting(Stepper):
    """An attempt takes the step itself: it has no channel's operations."""

    __slots__ = ()

    interest = WRITE

    def step(self, channel: Any, mask: int) -> Any:
        return channel.step(channel, mask)


ATTEMPTING = Attempting()


class Attempt(Token):
    """One connect on its way: the engine's token for it, until the channel takes its place."""

    __slots__ = ("_connect", "candidate", "channel", "loop", "sock")

    channel: Channel
    loop: Loop

    def __init__(self, connect: Connect, channel: Channel, candidate: Candidate, sock: Any) -> None:
        self._connect = connect
        self.channel = channel
        self.loop = channel.loop
        self.candidate = candidate
        self.sock = sock
        self.stepper: Attempting | None = ATTEMPTING
        self.watched = WRITE
        self.indirect = False

    def step(self, token: Any, mask: int) -> Attempting | None:
        """The descriptor is ready. One more connect() tells in one call whether it is connected (0 or
        EISCONN), still on its way (EALREADY), or failed (the pending error); writability alone proves
        nothing. See connect(2)."""
        number = self.sock.connect_ex(self.candidate[1])
        if number not in _ON_ITS_WAY:
            self._decide(number)
        return self.stepper

    def refused(self, error: OSError) -> None:
        """The system refuses to watch it: the next address has its turn."""
        if self.stepper is not None:
            self._decide(error.errno or errno.ENOSPC)

    def _decide(self, number: int) -> None:
        channel, connect = self.channel, self._connect
        self.loop.current = channel
        trouble = connect._trouble(channel, self.sock, self.candidate[1], number)
        if trouble is None:
            channel.go_on(connect.succeed(channel, self.candidate, self.sock, self))
        else:
            connect.drop(self, trouble)
            channel.go_on(connect.start(channel))

    def close(self) -> None:
        """Give up. What fails or is interrupted can be called again."""
        self.stepper = None
        interest.unwatch(self, self.sock.fileno())
        self.sock.close()


class Connect(Stepper):
    """Connects to the first candidate that answers. One object per attempt of a life.

    The families take turns, the preferred one first. While an attempt is undecided the next one starts a
    quarter of a second after it; when one fails the next is due at once.
    """

    __slots__ = (
        "_address", "_attempts", "_connects", "_doing", "_failures", "_kind", "_next_at", "_pause", "_sock",
        "_waiting",
    )  # fmt: skip

    def __init__(self, channel: Channel, address: Address, candidates: list[Candidate]) -> None:
        self._address = address
        self._doing = ""
        context = channel.metadata._settings.stream_context
        self._kind = _DATAGRAM if address.is_datagram else _STREAM
        self._connects = self._kind == _STREAM or context.connect_datagrams
        self._waiting = candidates if len(candidates) == 1 else interleave(candidates)[::-1]  # the next last
        self._next_at = -INFINITY
        self._pause = _PAUSE
        self._sock: Any = None  # the new one
        self._attempts: list[Attempt] = []  # those on their way
        self._failures: list[tuple[SockAddr, OSError]] = []

    def start(self, channel: Channel) -> Any:
        """Begin every attempt that is due; returns as `step`."""
        ch = channel
        loop = ch.loop
        context = ch.metadata._settings.stream_context
        while self._waiting and self._next_at <= loop.now:
            candidate = self._waiting.pop()
            family, sockaddr = candidate
            self._next_at = loop.now + _DELAY
            try:
                self._sock = sock = open_client_socket(family, self._kind, context)
            except OSError as error:
                self._fail(candidate, error, loop.now)
                continue
            number = sock.connect_ex(sockaddr) if self._connects else 0
            if number == _IN_PROGRESS and sockaddr[0] in _LOOPBACK:
                # The handshake is done when the call returns, though it cannot say so yet: asking again at
                # once saves the engine two calls.
                number = sock.connect_ex(sockaddr)
            if number in _ON_ITS_WAY:
                attempt = Attempt(self, ch, candidate, sock)
                self._attempts.append(attempt)
                self._sock = None
                try:
                    asking.watch(loop.engine, sock.fileno(), _WRITE, attempt)
                except OSError as error:  # one more than can be watched
                    self.drop(attempt, error)
                continue
            trouble = self._trouble(ch, sock, sockaddr, number)
            if trouble is None:
                return self.succeed(ch, candidate, sock)
            sock.close()
            self._fail(candidate, trouble, loop.now)
        if self._waiting or self._attempts:
            arm(ch)
            return self
        tried = len(self._failures)
        phase = self._doing or "connecting"
        if tried > 1:
            phase += f" (tried {tried} addresses)"
        text, cause = self._address.text, self._failures[-1][1]
        raise network_error(ConnectionFailedError, text, cause, phase, attempts=self._failures)

    def drop(self, attempt: Attempt, error: OSError) -> None:
        """`attempt` has failed."""
        attempt.close()
        self._attempts.remove(attempt)
        self._fail(attempt.candidate, error, attempt.loop.now)

    def _fail(self, candidate: Candidate, error: OSError, now: float) -> None:
        family, sockaddr = candidate
        self._next_at = now
        if error.errno == errno.EAGAIN and family == _UNIX:
            # The server's queue is full, and no descriptor tells when it is not any more.
            self._waiting.append(candidate)
            self._next_at += self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        else:
            # The traceback would refer back to here.
            self._failures.append((public_address(family, sockaddr), error.with_traceback(None)))

    def succeed(
        self, channel: Channel, candidate: Candidate, sock: Any, winner: Attempt | None = None
    ) -> Stepper | None:
        """`sock` is connected and carries the channel's bytes; the opener to go on by, if any."""
        family, sockaddr = candidate
        if family == _INET:
            channel.remote = sockaddr
        else:  # of a link-local address the kernel knows the scope: it is asked later
            scoped = family == _INET6 and sockaddr[0].lower().startswith("fe80")
            scoped = scoped and self._connects
            channel.remote = None if scoped else public_address(family, sockaddr)
        if winner is not None:
            channel.watched = _WRITE
            asking.watch(channel.loop.engine, sock.fileno(), _WRITE, channel)
        if self._kind == _STREAM:
            transport: Any = StreamTransport.__new__(StreamTransport)  # a third of the price of a call
            transport.sock = sock
            transport.acknowledges = TELLS_ACKNOWLEDGED and sock.family != _UNIX
        elif self._connects:
            transport = DatagramTransport(sock)
        else:
            transport = UnconnectedDatagram(sock, sockaddr, channel.inbox)
        channel.set_transport(transport)
        self._sock = None
        if winner is not None:
            winner.stepper = None
            self._attempts.remove(winner)
        if self._attempts:
            self._abandon(channel)
        return TlsHandshakeOperation() if self._address.is_tls else None

    def step(self, channel: Channel, mask: int) -> Any:
        return self.start(channel)

    def _due(self, channel: Channel) -> float:
        return self._next_at if self._waiting else INFINITY

    def _abandon(self, channel: Channel) -> None:
        if self._sock is not None:
            self._sock.close()
        while self._attempts:
            self._attempts[-1].close()
            self._attempts.pop()

    def _trouble(self, channel: Channel, sock: Any, sockaddr: SockAddr, number: int) -> OSError | None:
        """Why `sock` is not connected where connect() has said `number`; None: it is.

        A connect to a TCP port of this machine that nobody listens on succeeds with `sock` at both ends when
        the kernel has chosen that very port for it (simultaneous open, RFC 9293 3.5).
        """
        if number and number != _CONNECTED:
            return OSError(number, os.strerror(number))
        if self._kind == _STREAM and sock.family != _UNIX:
            local = channel.local = sock.getsockname()  # asked for at the end of every life, if not here
            try:
                if local[1] == sockaddr[1] and local == sock.getpeername():
                    channel.local = None
                    return OSError(errno.ECONNREFUSED, "connected to itself, for nobody listens there")
            except OSError:  # reset meanwhile, so it had a peer: whoever reads will be told
                pass
        return None


def interleave(candidates: list[Candidate]) -> list[Candidate]:
    """Let the families take turns, in the order each first appears."""
    families: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        families.setdefault(candidate[0], []).append(candidate)
    return [one for turn in zip_longest(*families.values()) for one in turn if one is not None]
