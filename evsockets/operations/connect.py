"""Connecting: resolve the name, dial the address; several addresses race."""

from __future__ import annotations

import _socket
import errno
import os
from typing import TYPE_CHECKING, Any

from ..address import Address
from ..engines.base import WRITE
from ..errors import ConnectionFailedError
from ..resolver import numeric
from .base import Operation
from .connect_race import ConnectRace
from .dial import connected, failed, new_socket
from .flush import BEGIN
from .look_up import LookUp

if TYPE_CHECKING:
    from ..channel import Channel

# A unix connect to a full queue gives EAGAIN, and its writability proves nothing: try again after these.
_BACK_OFF = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_ON_ITS_WAY = frozenset({errno.EINPROGRESS, errno.EALREADY, errno.EINTR})


class Connect(LookUp):
    """Resolves and connects; one object per attempt of a life, so it may hold the state of it."""

    __slots__ = ("_candidate", "_failures", "_retry_at", "_sock", "address", "interest")

    def __init__(self, address: Address) -> None:
        self.phase = "connecting"
        self._ticket = None
        self.address = address
        self.interest = 0
        self._candidate: tuple[int, Any] | None = None  # the address dialled
        self._sock: Any = None
        self._failures = 0
        self._retry_at: float | None = None

    def start(self, channel: Channel) -> Operation | None:
        address = self.address
        if address.fixed is not None:
            return self._dial(channel, address.fixed)
        assert address.host is not None and address.port is not None
        try:
            found = numeric(address.host, address.port)
        except OSError as error:  # a zone identifier that is no interface's
            raise self._unresolved(error) from error
        if found is not None:
            return self._dial(channel, found[0])
        return self.look_up(channel, address)

    def _unresolved(self, error: OSError) -> ConnectionFailedError:
        return ConnectionFailedError(
            f"{self.address.text}: {error.strerror or error} (errno {error.errno}) while resolving",
            attempts=[(self.address.host, error)],
            address=self.address.text,
            errno=error.errno,
        )

    def go_on(self, channel: Channel, outcome: Any) -> None:
        if isinstance(outcome, BaseException):
            if not isinstance(outcome, OSError | UnicodeError):
                raise outcome
            cause = outcome if isinstance(outcome, OSError) else OSError(errno.EINVAL, str(outcome))
            raise self._unresolved(cause) from cause
        self.phase = "connecting"
        if len(outcome) == 1:
            following = self._dial(channel, outcome[0])
        else:
            following = ConnectRace(self.address, outcome)
        if following is not self:
            channel.become_opening(following)
        else:
            channel.update()

    def _dial(self, channel: Channel, candidate: tuple[int, Any]) -> Operation:
        """Begin to connect to the one address there is."""
        try:
            sock = new_socket(channel, self.address, candidate[0])
        except OSError as error:
            raise failed(self.address, [(candidate, error)]) from error
        self._candidate = candidate
        self._sock = sock
        return self._progress(channel)

    def _progress(self, channel: Channel) -> Operation:
        """One more connect() tells in one call whether it is connected (0 or EISCONN), still on its way
        (EALREADY), or failed (the pending error); writability alone proves nothing. See connect(2)."""
        assert self._candidate is not None
        family, sockaddr = self._candidate
        number = self._sock.connect_ex(sockaddr)
        if number == errno.EINPROGRESS and sockaddr[0] in _LOOPBACK:
            # The handshake is done when the call returns, though it cannot say so yet: asking again at once
            # saves the engine two calls.
            number = self._sock.connect_ex(sockaddr)
        if number in (0, errno.EISCONN):
            sock, self._sock = self._sock, None
            return connected(channel, self.address, sock, family, sockaddr)
        if number in _ON_ITS_WAY:
            if not self.interest:
                try:
                    channel.executor.engine.watch(self._sock.fileno(), WRITE, channel)
                except OSError as error:  # one more than can be watched
                    raise failed(self.address, [(self._candidate, error)]) from error
                self.interest = channel.watched = WRITE
        elif number == errno.EAGAIN and family == _socket.AF_UNIX:
            pause = _BACK_OFF[min(self._failures, len(_BACK_OFF) - 1)]
            self._failures += 1
            self._retry_at = channel.executor.now + pause
            channel.arm()
        else:
            raise failed(self.address, [(self._candidate, OSError(number, os.strerror(number)))])
        return self

    def step(self, channel: Channel, mask: int) -> Operation | None:
        if self._sock is None:
            return self
        following = self._progress(channel)
        if following is BEGIN:
            channel.become(BEGIN)
        elif following is not self:
            channel.become_opening(following)
        return channel.operation

    def due(self, channel: Channel) -> float | None:
        return self._retry_at

    def expire(self, channel: Channel, now: float) -> Operation | None:
        self._retry_at = None
        following = self._progress(channel)
        if following is not self:
            channel.become_opening(following)
        return self

    def abandon(self, channel: Channel) -> None:
        super().abandon(channel)
        sock, self._sock = self._sock, None
        if sock is not None:
            try:
                if channel.watched:
                    channel.watched = 0
                    channel.executor.engine.watch(sock.fileno(), 0, channel)
            finally:
                sock.close()
