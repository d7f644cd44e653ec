"""Accept the clients of a listener, or one for each datagram."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from ..core import closing, interest
from ..core.deadlines import INFINITY
from ..core.failure import socket_error
from ..core.operation import UNTOLD, Operation
from ..core.timeouts import arm
from ..engines.base import READ
from ..errors import AcceptError, ReceiveError
from ..events import AcceptEvent
from ..sockets import AcceptedSocket, DatagramClientSocket

if TYPE_CHECKING:
    from ..core.channel import Channel

# Read by these names they cost compiled code no look-up.
_UNTOLD, _NEVER = UNTOLD, INFINITY
# Clients or datagrams that a turn serves.
_PER_TURN = 64
# accept(2): errors of the connection that came, not of the listener.
_SKIPPED = frozenset(
    {
        errno.ECONNABORTED, errno.EINTR, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN,
        errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.EPERM, errno.ECONNRESET,
    }
)  # fmt: skip
_BACK_OFF = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


class Accept(Operation):
    """ACCEPT per client, a bounded number a turn. One object per listener: it knows whether it pauses.

    Draining: who waits in the kernel's queue is accepted, at most `backlog` of them, and the listener closes.
    The queue of an adopted one is left to whoever else holds the socket.
    """

    __slots__ = (
        "_adopted", "_clients", "_failures", "_left", "_received", "_refused", "_resume_at", "interest",
    )  # fmt: skip

    _phase = "listening"
    _replaceable = False
    _heeds_next = True

    def __init__(self, adopted: bool) -> None:
        self._adopted = adopted  # others may hold the socket, and accept from it
        self.interest = READ
        self._failures = 0  # to accept, one after the other
        self._resume_at = INFINITY  # INFINITY: it does not pause
        self._refused = 0  # clients
        self._left = -1  # how many may still come; -1: no drain has begun
        # Of datagrams: those to be served, the next one last; while draining, how many clients answer by the
        # descriptor.
        self._received: list[Any] = []
        self._clients = 0

    def last(self, channel: Channel) -> Any:
        """A drain begins: accept who waits; returns as `step` does."""
        self._received = list(filter(None, self._received))
        waiting = 0 if self._adopted else channel.metadata._settings.stream_context.backlog
        self._left = waiting + len(self._received)
        channel.transport.withdraw()
        # Who comes between the last look at the queue and the close is reset. Not being watched any more
        # makes that shorter.
        self.interest = 0
        interest.update(channel)
        self.interest = READ
        self._resume_at = INFINITY
        return self.step(channel, READ)

    def client_refused(self, channel: Channel, more: int = 1) -> None:
        """The limitation solver refused a client: accept no more until it is let in; a drain accepts all."""
        self._refused += more
        if self._left < 0:
            self._set(channel)

    def client_admitted(self, channel: Channel) -> None:
        """It is let in."""
        self.client_refused(channel, -1)

    def _set(self, channel: Channel) -> None:
        self.interest = 0 if self._resume_at != _NEVER or (self._refused and self._left < 0) else READ
        interest.update(channel)
        if self.interest and self._received:
            channel.step_next_turn()

    def step(self, channel: Channel, mask: int) -> Operation | None:
        ch = channel
        loop = ch.loop
        if self._resume_at <= loop.now:
            self._resume_at = _NEVER
            self._set(ch)
        for _ in range(_PER_TURN):
            if not self.interest or self._left == 0 or ch.cancelled or loop.stopping:
                break
            try:
                came = self._next(ch)
            except OSError as error:
                self._failed(ch, error)
                continue
            if came is None:  # nothing waits in the kernel's queue
                return self if self._left < 0 else self._emptied()
            self._failures = 0
            if self._left > 0:
                self._left -= 1
            try:
                self._serve(ch, came)
            finally:
                ch.next = _UNTOLD  # a listener goes on whatever a handler names
        if self._left == 0:
            return self._emptied()
        if self.interest and (self._left > 0 or self._received):
            ch.step_next_turn()  # no readiness tells of it
        return self

    def _next(self, channel: Channel) -> Any:
        """What comes next, if anything does."""
        accepted = channel.transport.accept()
        if accepted is None:
            return None
        sock, remote = accepted
        return AcceptedSocket(sock, remote, channel)

    def _emptied(self) -> Operation | None:
        """Draining: nothing comes any more, until clients that answer by the descriptor have ended."""
        self.interest = 0 if self._clients else READ
        return self if self._clients else None

    def _serve(self, channel: Channel, came: Any) -> None:
        """ACCEPT."""
        client = came
        channel.io_start = channel.loop.turn_time
        handler = channel.dispatch.accept
        try:
            if handler is not None:
                channel.mark_active()
                handler(AcceptEvent(channel, client))
        finally:
            if client._channel is None:
                client.close()

    def _failed(self, channel: Channel, error: OSError) -> None:
        """Out of descriptors, most likely: pause with back-off, tell once per episode, go on alone."""
        if error.errno in _SKIPPED:
            return
        self._resume_at = channel.loop.now + _BACK_OFF[min(self._failures, len(_BACK_OFF) - 1)]
        self._failures += 1
        self._set(channel)
        arm(channel)
        if self._failures == 1:
            closing.tell_exception(channel, socket_error(AcceptError, channel, error, "accepting"))

    def _due(self, channel: Channel) -> float:
        return self._resume_at


class AcceptDatagrams(Accept):
    """ACCEPT per datagram; its client has no descriptor of its own.

    Draining: the descriptor is also its clients' way to answer. It closes when they have ended and nothing
    more has come.
    """

    __slots__ = ()

    def last(self, channel: Channel) -> Any:
        self._clients = sum(
            getattr(one.socket, "_listener", None) is channel and not one.complete
            for one in channel.loop.channels()
        )
        return super().last(channel)

    def _next(self, channel: Channel) -> Any:
        if not self._received:
            most = _PER_TURN if self._left < 0 else min(_PER_TURN, self._left)
            received = channel.transport.receive_many(most)
            if len(received) < most:
                received.append(None)  # asking again in this turn would be in vain
            received.reverse()
            self._received = received
        one = self._received.pop()
        if isinstance(one, OSError):
            raise one
        return one

    def _failed(self, channel: Channel, error: OSError) -> None:
        # ICMP refused of an earlier answer, most likely: the server goes on.
        closing.tell_exception(channel, socket_error(ReceiveError, channel, error, "reading"))

    def _serve(self, channel: Channel, came: Any) -> None:
        client = DatagramClientSocket(came, channel)
        Accept._serve(self, channel, client)
        if self._left >= 0:
            self._clients += client._channel is not None and client._channel.loop is channel.loop

    def client_ended(self, channel: Channel) -> None:
        """One of its clients has: while draining, look whether that was the last."""
        if self._left < 0:
            return
        self._clients -= 1
        if not self._clients:
            self.interest = READ
            channel.step_next_turn()
