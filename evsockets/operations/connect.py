"""From INITIALIZE to a usable transport: resolve, race the addresses, hand over TLS."""

from __future__ import annotations

import _socket
import errno
import os
from typing import TYPE_CHECKING, Any, NoReturn

from ..address import Address, address_url, public_address, sockaddr_of
from ..configuration import StreamContext
from ..engines.base import WRITE
from ..errors import ConnectionFailedError
from ..persistence import take
from ..race import AddressRace
from ..resolver import numeric
from ..sockets import AcceptedSocket, DatagramClientSocket, PersistentClientSocket
from ..transports.datagram import DatagramReply, DatagramTransport
from ..transports.listener import open_client_socket
from ..transports.stream import StreamTransport, is_tcp
from .base import Operation
from .flush import BEGIN
from .handshake import TlsHandshakeOperation
from .listen import Listen

if TYPE_CHECKING:
    from ..channel import Channel
    from ..persistence import Connection

# A unix connect to a full queue gives EAGAIN, and its writability proves nothing: try again after these.
_BACK_OFF = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)


def connection_settings(channel: Channel) -> Any:
    """What must be equal for an open connection to serve another life."""
    metadata = channel.metadata
    address = metadata._parsed
    tls = metadata._stream_context.tls_settings if address is not None and address.is_tls else None
    key = channel.socket.key if isinstance(channel.socket, PersistentClientSocket) else None
    return (None if address is None else address.text, tls, key)


def begin_life(channel: Channel) -> Operation:
    """The operation that leads this channel to CONNECTED."""
    socket = channel.socket
    connection = socket._connection
    if connection is not None or channel.metadata._keep_alive:
        channel.settings = connection_settings(channel)
    if connection is not None:
        socket._connection = None
        channel.executor.let_go(socket)
        reusable = connection.settings == channel.settings and not connection.transport.closed
        if isinstance(socket, PersistentClientSocket):
            reusable = connection.leave_pool() and connection.is_fresh() and reusable
        if reusable:
            return _reuse(channel, connection)
        connection.close()
    if isinstance(socket, PersistentClientSocket):
        pooled = take(channel.settings)
        if pooled is not None:
            return _reuse(channel, pooled)
    if isinstance(socket, DatagramClientSocket):
        return _datagram_client(channel, socket)
    address = channel.metadata._parsed
    if socket._adopted is not None:
        sock, socket._adopted = socket._adopted, None
        if socket.is_server:
            return Listen(address, sock)
        return _adopt(channel, sock, address)
    if isinstance(socket, AcceptedSocket):
        raise ConnectionFailedError(f"{socket!r} cannot be opened again")
    if address is None:
        raise ConnectionFailedError("no address: give add_socket() one, or set it in INITIALIZE")
    return Listen(address, None) if socket.is_server else Connect(address)


def name_peer(channel: Channel, socket: AcceptedSocket | DatagramClientSocket) -> None:
    """An accepted client's remote address, and its URL in the listener's scheme."""
    listener = socket._listener
    assert listener is not None
    parsed = listener.metadata._parsed
    family = _family(socket._remote)
    if parsed is not None and parsed.scheme != "fd":
        scheme = parsed.scheme
    elif isinstance(socket, DatagramClientSocket):
        scheme = "udg" if family == _socket.AF_UNIX else "udp"
    else:
        scheme = "unix" if family == _socket.AF_UNIX else "tcp"
    channel.remote = public_address(family, socket._remote) if socket._remote else None
    if channel.metadata._address is None:
        channel.metadata._address = address_url(scheme, family, socket._remote)


def _family(sockaddr: Any) -> int:
    if isinstance(sockaddr, tuple):
        return _socket.AF_INET if len(sockaddr) == 2 else _socket.AF_INET6
    return _socket.AF_UNIX


def _reuse(channel: Channel, connection: Connection) -> Operation:
    channel.use(connection.transport)
    channel.inbox = connection.inbox
    channel.ended = connection.ended
    channel.remote = connection.remote
    channel.tls = connection.tls
    if channel.tls is None and not channel.transport.datagram and is_tcp(channel.transport.sock):
        if channel.dispatch.oob is not None:
            channel.urgent = Urgent(channel)
        else:  # an earlier life may have wanted it in line
            channel.transport.sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_OOBINLINE, 0)
    channel.connected_now()
    return Reused()


class Reused(Operation):
    """A connection left open by an earlier life: no CONNECTED, straight to the first operation."""

    __slots__ = ()

    def start(self, channel: Channel) -> Operation | None:
        channel.become(channel.release_held())
        return self

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return self


def _adopt(channel: Channel, sock: Any, address: Address | None) -> Operation:
    socket = channel.socket
    family = sock.family
    if isinstance(socket, AcceptedSocket):
        listener = socket._listener
        assert listener is not None
        parsed = listener.metadata._parsed
        tls = parsed is not None and parsed.scheme == "tls"
        # The URL is made when somebody asks for it: most servers have many clients and never do.
        channel.remote = public_address(family, socket._remote) if socket._remote else None
    else:
        tls = address is not None and address.is_tls
        if channel.metadata._address is None:
            scheme = "unix" if family == _socket.AF_UNIX else "tcp"
            if sock.type == _socket.SOCK_DGRAM:
                scheme = "udg" if family == _socket.AF_UNIX else "udp"
            try:
                channel.metadata._address = address_url(scheme, family, sock.getpeername())
            except OSError as error:
                sock.close()
                raise ConnectionFailedError(
                    f"the adopted socket is not connected: {error}", errno=error.errno
                ) from error
    return _connected(channel, sock, tls)


def _connected(channel: Channel, sock: Any, tls: bool) -> Operation:
    """A connected descriptor becomes the channel's transport."""
    if sock.type == _socket.SOCK_DGRAM:
        channel.use(DatagramTransport(sock))
        return BEGIN
    transport = StreamTransport(sock)
    channel.use(transport)
    if channel.dispatch.oob is not None and not tls and is_tcp(sock):
        channel.urgent = Urgent(channel)
    if tls:
        return TlsHandshakeOperation(BEGIN)
    return BEGIN


class Urgent:
    """The engine's token of a socket whose handlers want out-of-band data: looks at the mark first."""

    __slots__ = ("channel", "operation")

    plain = None

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.operation = self
        # In line, the urgent byte makes the descriptor readable on every engine.
        channel.transport.sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_OOBINLINE, 1)

    def step(self, token: Any, mask: int) -> Urgent:
        channel = self.channel
        operation = channel.operation
        if operation is None:
            return self
        channel.executor.current = channel
        if mask & 1 and channel.connected and channel.transport.at_mark():
            byte = channel.transport.sock.recv(1)
            if byte:
                replaced, following = channel.take_urgent(byte)
                if channel.cancelled or channel.executor.stopping:
                    return self
                if replaced or channel.override is not None:
                    operation.abandon(channel)
                    channel.become(following)
                return self
        following = operation.step(channel, mask)
        if following is not channel.operation:
            channel.become(following)
        return self


def _datagram_client(channel: Channel, socket: DatagramClientSocket) -> Operation:
    listener = socket._listener
    assert listener is not None
    server = listener.transport
    if server is None:
        raise ConnectionFailedError("the datagram server this client came from is closed")
    name_peer(channel, socket)
    channel.use(DatagramReply(server, socket._data, socket._remote))
    channel.inbox.remote_address = channel.remote
    return BEGIN


class Attempt:
    """One connect on its way: the engine's token for it."""

    __slots__ = ("candidate", "channel", "connect", "failed_times", "operation", "retry_at", "sock")

    plain = False  # no transport whose wishes change

    def __init__(self, connect: Connect, channel: Channel, candidate: tuple[int, Any]) -> None:
        self.connect = connect
        self.channel = channel
        self.candidate = candidate
        self.operation = self
        self.sock: Any = None
        self.retry_at: float | None = None
        self.failed_times = 0

    def step(self, token: Any, mask: int) -> Attempt:
        """The descriptor is ready: a second connect() tells in one call whether it is connected
        (0 or EISCONN), still on its way (EALREADY), or failed (the pending error). See connect(2)."""
        if self.sock is not None:
            self.channel.executor.current = self.channel
            self.connect.progress(self, self.sock.connect_ex(self.candidate[1]))
        return self

    def close(self) -> None:
        """Give up."""
        if self.sock is not None:
            self.channel.executor.engine.watch(self.sock.fileno(), 0, self)
            self.sock.close()
            self.sock = None


class Connect(Operation):
    """Resolves and connects; one object per attempt of a life, so it may hold the state of it."""

    __slots__ = ("_attempts", "_race", "_ticket", "address", "phase")

    interest = 0

    def __init__(self, address: Address) -> None:
        self.address = address
        self.phase = "connecting"
        self._race: AddressRace[tuple[int, Any]] | None = None
        self._attempts: list[Attempt] = []
        self._ticket: Any = None

    def start(self, channel: Channel) -> Operation | None:
        address = self.address
        if address.path is not None:
            return self._begin_race(channel, [(_socket.AF_UNIX, sockaddr_of(address.path))])
        assert address.host is not None and address.port is not None
        try:
            found = numeric(address.host, address.port)
        except OSError as error:  # a zone identifier that is no interface's
            self._unresolved(error)
        if found is not None:
            return self._begin_race(channel, found)
        self.phase = "resolving"
        executor = channel.executor

        def done(outcome: Any) -> None:
            executor.call_soon_threadsafe(self._resolved, channel, outcome)

        kind = _socket.SOCK_DGRAM if address.is_datagram else _socket.SOCK_STREAM
        self._ticket = executor.resolver.resolve(address.host, address.port, kind, done)
        return self

    def _unresolved(self, error: OSError) -> NoReturn:
        raise ConnectionFailedError(
            f"{self.address.text}: {error.strerror or error} (errno {error.errno}) while resolving",
            attempts=[(self.address.host, error)],
            address=self.address.text,
            errno=error.errno,
        ) from error

    def _resolved(self, channel: Channel, outcome: Any) -> None:
        if channel.operation is not self or self._ticket is None:
            return
        self._ticket = None
        channel.executor.guarded(channel, self._go_on, channel, outcome)

    def _go_on(self, channel: Channel, outcome: Any) -> None:
        if isinstance(outcome, BaseException):
            if not isinstance(outcome, OSError | UnicodeError):
                raise outcome
            cause = outcome if isinstance(outcome, OSError) else OSError(errno.EINVAL, str(outcome))
            self._unresolved(cause)
        self.phase = "connecting"
        following = self._begin_race(channel, outcome)
        if following is not self:
            channel.become_opening(following)
        else:
            channel.executor.fresh_deadline(channel)

    def _begin_race(self, channel: Channel, candidates: list[tuple[int, Any]]) -> Operation:
        self._race = AddressRace(candidates)
        return self._advance(channel)

    def _advance(self, channel: Channel) -> Operation:
        """Start every attempt that is due; the operation to go on with."""
        race = self._race
        assert race is not None
        while True:
            candidate = race.start(channel.executor.now)
            if candidate is None:
                break
            attempt = Attempt(self, channel, candidate)
            won = self._try(attempt)
            if won is not None:
                return won
        if race.exhausted and not race.pending:
            self._give_up()
        return self

    def _try(self, attempt: Attempt) -> Operation | None:
        """Begin one attempt; the following operation if it is connected at once."""
        channel = attempt.channel
        family, sockaddr = attempt.candidate
        context: StreamContext = channel.metadata._stream_context
        kind = _socket.SOCK_DGRAM if self.address.is_datagram else _socket.SOCK_STREAM
        try:
            attempt.sock = open_client_socket(family, kind, context)
        except OSError as error:
            assert self._race is not None
            self._race.failed(attempt.candidate, error, channel.executor.now)
            return None
        self._attempts.append(attempt)
        number = attempt.sock.connect_ex(sockaddr)
        if number == 0:
            return self._won(attempt)
        if number == errno.EINPROGRESS:
            channel.executor.engine.watch(attempt.sock.fileno(), WRITE, attempt)
        elif number == errno.EAGAIN and family == _socket.AF_UNIX:
            self._later(attempt)
        else:
            self._lost(attempt, number)
        return None

    def _later(self, attempt: Attempt) -> None:
        pause = _BACK_OFF[min(attempt.failed_times, len(_BACK_OFF) - 1)]
        attempt.failed_times += 1
        attempt.retry_at = attempt.channel.executor.now + pause
        attempt.channel.executor.fresh_deadline(attempt.channel)

    def progress(self, attempt: Attempt, number: int) -> None:
        """An attempt's descriptor said something."""
        channel = attempt.channel
        if number in (errno.EALREADY, errno.EINPROGRESS, errno.EINTR):
            return
        if number in (0, errno.EISCONN):
            channel.become_opening(self._won(attempt))
            return
        if number == errno.EAGAIN and attempt.candidate[0] == _socket.AF_UNIX:
            self._later(attempt)
            return
        self._lost(attempt, number)
        following = self._advance(channel)
        if following is not self:
            channel.become_opening(following)
        else:
            channel.executor.fresh_deadline(channel)

    def _won(self, attempt: Attempt) -> Operation:
        channel = attempt.channel
        sock, attempt.sock = attempt.sock, None
        self._attempts.remove(attempt)
        for other in self._attempts:
            other.close()
        self._attempts.clear()
        family, sockaddr = attempt.candidate
        channel.remote = public_address(family, sockaddr)
        if family == _socket.AF_INET6 and sockaddr[0].lower().startswith("fe80"):
            channel.remote = None  # ask the kernel: it knows the scope
        following = _connected(channel, sock, self.address.is_tls)
        # The engine still holds the attempt as token; the first change of interest replaces it.
        channel.watched = 0 if self.address.is_datagram else -1
        return following

    def _lost(self, attempt: Attempt, number: int) -> None:
        race = self._race
        assert race is not None
        attempt.close()
        if attempt in self._attempts:
            self._attempts.remove(attempt)
        race.failed(attempt.candidate, OSError(number, os.strerror(number)), attempt.channel.executor.now)

    def _give_up(self) -> None:
        race = self._race
        assert race is not None
        attempts = [(public_address(family, where), error) for (family, where), error in race.attempts]
        cause = attempts[-1][1] if attempts else OSError(errno.EADDRNOTAVAIL, "the name has no address")
        number = cause.errno
        tried = "" if len(attempts) < 2 else f" (tried {len(attempts)} addresses)"
        raise ConnectionFailedError(
            f"{self.address.text}: {cause.strerror or cause} (errno {number}) while connecting{tried}",
            attempts=attempts,
            address=self.address.text,
            errno=number,
        ) from cause

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return self

    def due(self, channel: Channel) -> float | None:
        moments = [attempt.retry_at for attempt in self._attempts if attempt.retry_at is not None]
        if self._race is not None:
            following = self._race.due()
            if following is not None:
                moments.append(following)
        return min(moments, default=None)

    def expire(self, channel: Channel, now: float) -> Operation | None:
        for attempt in list(self._attempts):
            if attempt.retry_at is not None and attempt.retry_at <= now:
                attempt.retry_at = None
                self.progress(attempt, attempt.sock.connect_ex(attempt.candidate[1]))
                if channel.operation is not self:
                    return self  # what follows has begun already
        following = self._advance(channel)
        if following is not self:
            channel.become_opening(following)
        return self

    def abandon(self, channel: Channel) -> None:
        if self._ticket is not None:
            self._ticket.cancel()
            self._ticket = None
        for attempt in self._attempts:
            attempt.close()
        self._attempts.clear()

