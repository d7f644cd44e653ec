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


class Attempt(Token):
    """One connect: the engine's token for its descriptor while that is on its way. `stepper` is the Connect
    that has begun it, until it is decided."""

    __slots__ = ("candidate", "channel", "loop", "sock")

    channel: Channel
    loop: Loop

    def __init__(self, connect: Connect, channel: Channel, candidate: Candidate) -> None:
        self.stepper: Connect | None = connect
        self.channel = channel
        self.loop = channel.loop
        self.candidate = candidate
        self.sock: Any = None
        self.watched = 0
        self.indirect = False

    def refused(self, error: OSError) -> None:
        """The system refuses to watch it: the next address has its turn."""
        if self.stepper is not None:
            self.stepper.decided(self, _error_of(error.errno or errno.ENOSPC))

    def close(self) -> None:
        """Give up. What fails or is interrupted can be called again."""
        self.stepper = None
        if self.sock is not None:
            interest.unwatch(self, self.sock.fileno())
            self.sock.close()


class Connect(Stepper):
    """Connects to the first candidate that answers, and goes on by `then`, or by what the address asks for.
    One object per attempt of a life; it is also the stepper of those on their way.

    The families take turns, the preferred one first. While an attempt is undecided the next one starts a
    quarter of a second after it; when one fails the next is due at once.
    """

    __slots__ = (
        "_address", "_attempts", "_connects", "_doing", "_failures", "_kind", "_next_at", "_pause", "_then",
        "_waiting",
    )  # fmt: skip

    interest = WRITE

    def __init__(
        self, channel: Channel, address: Address, candidates: list[Candidate], then: Stepper | None = None,
        doing: str = "",
    ) -> None:  # fmt: skip
        self._address = address
        self._then = TlsHandshakeOperation() if address.is_tls else then
        self._doing = doing
        context = channel.metadata._settings.stream_context
        self._kind = _DATAGRAM if address.is_datagram else _STREAM
        self._connects = self._kind == _STREAM or context.connect_datagrams
        self._waiting = candidates if len(candidates) == 1 else interleave(candidates)[::-1]  # the next last
        self._next_at = -INFINITY
        self._pause = _PAUSE
        self._attempts: list[Attempt] = []  # those undecided
        self._failures: list[tuple[SockAddr, OSError]] = []

    def start(self, channel: Channel) -> Any:
        """Begin every attempt that is due; returns as `step`."""
        ch = channel
        loop = ch.loop
        context = ch.metadata._settings.stream_context
        trouble: OSError | None
        while self._waiting and self._next_at <= loop.now:
            candidate = self._waiting.pop()
            family, sockaddr = candidate
            self._next_at = loop.now + _DELAY
            attempt = Attempt(self, ch, candidate)
            self._attempts.append(attempt)
            try:
                attempt.sock = sock = open_client_socket(family, self._kind, context)
                number = sock.connect_ex(sockaddr) if self._connects else 0
                if number == _IN_PROGRESS and sockaddr[0] in _LOOPBACK:
                    # The handshake is done when the call returns, though it cannot say so yet: asking again
                    # at once saves the engine two calls.
                    number = sock.connect_ex(sockaddr)
                if number in _ON_ITS_WAY:
                    attempt.watched = _WRITE
                    asking.watch(loop.engine, sock.fileno(), _WRITE, attempt)
                    continue
                trouble = self._trouble(attempt, number)
            except OSError as error:  # one more than can be opened, or watched
                trouble = error
            if trouble is None:
                return self._succeed(attempt)
            self._fail(attempt, trouble)
        if self._waiting or self._attempts:
            arm(ch)
            return self
        tried = len(self._failures)
        phase = self._doing or "connecting"
        if tried > 1:
            phase += f" (tried {tried} addresses)"
        text, cause = self._address.text, self._failures[-1][1]
        raise network_error(ConnectionFailedError, text, cause, phase, attempts=self._failures)

    def step(self, channel: Any, mask: int) -> Any:
        """The descriptor of an attempt is ready. One more connect() tells in one call whether it is connected
        (0 or EISCONN), still on its way (EALREADY), or failed (the pending error); writability alone proves
        nothing. See connect(2)."""
        if type(channel) is not Attempt:  # the next one is due
            return self.start(channel)
        attempt: Attempt = channel
        number = attempt.sock.connect_ex(attempt.candidate[1])
        if number not in _ON_ITS_WAY:
            attempt.loop.current = attempt.channel
            self.decided(attempt, self._trouble(attempt, number))
        return attempt.stepper

    def decided(self, attempt: Attempt, trouble: OSError | None) -> None:
        """`attempt`, which was on its way, is connected, or has failed by `trouble`."""
        channel = attempt.channel
        if trouble is None:
            channel.go_on(self._succeed(attempt))
        else:
            self._fail(attempt, trouble)
            channel.go_on(self.start(channel))

    def _fail(self, attempt: Attempt, error: OSError) -> None:
        attempt.close()
        self._attempts.remove(attempt)
        family, sockaddr = attempt.candidate
        self._next_at = attempt.loop.now
        if error.errno == errno.EAGAIN and family == _UNIX:
            # The server's queue is full, and no descriptor tells when it is not any more.
            self._waiting.append(attempt.candidate)
            self._next_at += self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        else:
            # The traceback would refer back to here.
            self._failures.append((public_address(family, sockaddr), error.with_traceback(None)))

    def _succeed(self, attempt: Attempt) -> Stepper | None:
        """The socket of `attempt` carries the channel's bytes; the opener to go on by, if any."""
        channel, sock = attempt.channel, attempt.sock
        family, sockaddr = attempt.candidate
        if family == _INET:
            channel.remote = sockaddr
        else:  # of a link-local address the kernel knows the scope: it is asked later
            scoped = family == _INET6 and sockaddr[0].lower().startswith("fe80") and self._connects
            channel.remote = None if scoped else public_address(family, sockaddr)
        if attempt.watched:
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
        attempt.stepper = None
        self._attempts.remove(attempt)
        if self._attempts:
            self._abandon(channel)
        return self._then

    def _due(self, channel: Channel) -> float:
        return self._next_at if self._waiting else INFINITY

    def _abandon(self, channel: Channel) -> None:
        while self._attempts:
            self._attempts[-1].close()
            self._attempts.pop()

    def _trouble(self, attempt: Attempt, number: int) -> OSError | None:
        """Why `attempt` is not connected where connect() has said `number`; None: it is.

        A connect to a TCP port of this machine that nobody listens on succeeds with the socket at both ends
        when the kernel has chosen that very port for it (simultaneous open, RFC 9293 3.5).
        """
        if number and number != _CONNECTED:
            return _error_of(number)
        sock, channel = attempt.sock, attempt.channel
        if self._kind == _STREAM and sock.family != _UNIX:
            sockaddr = attempt.candidate[1]
            local = channel.local = sock.getsockname()  # asked for at the end of every life, if not here
            try:
                if local[1] == sockaddr[1] and local == sock.getpeername():
                    channel.local = None
                    return OSError(errno.ECONNREFUSED, "connected to itself, for nobody listens there")
            except OSError:  # reset meanwhile, so it had a peer: whoever reads will be told
                pass
        return None


def _error_of(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def interleave(candidates: list[Candidate]) -> list[Candidate]:
    """Let the families take turns, in the order each first appears."""
    families: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        families.setdefault(candidate[0], []).append(candidate)
    return [one for turn in zip_longest(*families.values()) for one in turn if one is not None]
