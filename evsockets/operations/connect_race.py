"""Several addresses tried at once: Happy Eyeballs (RFC 8305) over real sockets."""

from __future__ import annotations

import _socket
import errno
import os
from typing import TYPE_CHECKING, Any

from ..engines.base import WRITE
from ..race import AddressRace
from .base import Operation
from .dial import connected, failed, new_socket

if TYPE_CHECKING:
    from ..address import Address
    from ..channel import Channel


class Attempt:
    """One connect on its way: the engine's token for it."""

    __slots__ = ("candidate", "channel", "operation", "race", "sock")

    plain = heed = False  # no transport whose wishes change

    def __init__(self, race: ConnectRace, channel: Channel, candidate: tuple[int, Any], sock: Any) -> None:
        self.race = race
        self.channel = channel
        self.candidate = candidate
        self.sock = sock
        self.operation: Attempt | None = self

    def step(self, token: Any, mask: int) -> Attempt | None:
        """The descriptor is ready: see `Connect.step`."""
        self.channel.executor.current = self.channel
        self.race.progress(self.channel, self, self.sock.connect_ex(self.candidate[1]))
        return self.operation

    def close(self) -> None:
        """Give up."""
        self.operation = None
        try:
            self.channel.executor.engine.watch(self.sock.fileno(), 0, self)
        finally:
            self.sock.close()


class ConnectRace(Operation):
    """Connects to the first of several addresses that answers. One object per attempt of a life."""

    __slots__ = ("_attempts", "_race", "address")

    interest = 0
    phase = "connecting"

    def __init__(self, address: Address, candidates: list[tuple[int, Any]]) -> None:
        self.address = address
        self._race: AddressRace[tuple[int, Any]] = AddressRace(candidates)
        self._attempts: list[Attempt] = []

    def start(self, channel: Channel) -> Operation | None:
        return self._advance(channel)

    def _advance(self, channel: Channel) -> Operation:
        """Begin every attempt that is due; the operation to go on with."""
        race = self._race
        while (candidate := race.start(channel.executor.now)) is not None:
            won = self._try(channel, candidate)
            if won is not None:
                return won
        if race.exhausted and not race.pending:
            raise failed(self.address, race.attempts)
        channel.arm()
        return self

    def _try(self, channel: Channel, candidate: tuple[int, Any]) -> Operation | None:
        """Begin one attempt; the following operation if it is connected at once."""
        try:
            sock = new_socket(channel, self.address, candidate[0])
        except OSError as error:
            self._race.failed(candidate, error, channel.executor.now)
            return None
        attempt = Attempt(self, channel, candidate, sock)
        self._attempts.append(attempt)
        number = sock.connect_ex(candidate[1])
        if number == 0:
            return self._won(channel, attempt)
        if number == errno.EINPROGRESS:
            try:
                channel.executor.engine.watch(sock.fileno(), WRITE, attempt)
                return None
            except OSError as error:  # one more than can be watched
                number = error.errno or errno.ENOSPC
        self._lost(channel, attempt, number)
        return None

    def progress(self, channel: Channel, attempt: Attempt, number: int) -> None:
        """An attempt's descriptor said something."""
        if number in (errno.EALREADY, errno.EINPROGRESS, errno.EINTR):
            return
        if number in (0, errno.EISCONN):
            channel.become_opening(self._won(channel, attempt))
            return
        self._lost(channel, attempt, number)
        following = self._advance(channel)
        if following is not self:
            channel.become_opening(following)

    def _won(self, channel: Channel, winner: Attempt) -> Operation:
        winner.operation = None
        self._attempts.remove(winner)
        self.abandon(channel)
        family, sockaddr = winner.candidate
        following = connected(channel, self.address, winner.sock, family, sockaddr)
        if winner.sock.type == _socket.SOCK_STREAM:
            # The engine still holds the attempt as token; the first change of interest replaces it.
            channel.watched = -1
        return following

    def _lost(self, channel: Channel, attempt: Attempt, number: int) -> None:
        attempt.close()
        self._attempts.remove(attempt)
        self._race.failed(attempt.candidate, OSError(number, os.strerror(number)), channel.executor.now)

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return self

    def due(self, channel: Channel) -> float | None:
        return self._race.due()

    def expire(self, channel: Channel, now: float) -> Operation | None:
        following = self._advance(channel)
        if following is not self:
            channel.become_opening(following)
        return self

    def abandon(self, channel: Channel) -> None:
        while self._attempts:
            try:
                self._attempts.pop().close()
            except BaseException:
                self.abandon(channel)
                raise
