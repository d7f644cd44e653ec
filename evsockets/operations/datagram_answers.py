"""The send queue of a datagram server: answers leave in batches, and are kept while the kernel takes none."""

from __future__ import annotations

import _socket
import errno
from collections import deque
from typing import TYPE_CHECKING, Any

from ..core import closing, outbox
from ..core.failure import socket_error
from ..core.operation import UNTOLD
from ..errors import SendError
from ..transports.packet_info import Datagram
from ..validation import as_bytes

if TYPE_CHECKING:
    from ..core.channel import Channel

# Steps a turn takes with what is kept for one sender: sending one, or pulling one of an iterable.
_PER_TURN = 128
# Answers kept for one sender, and for all of them; those beyond are lost.
_FOR_ONE = 128
_FOR_ALL = 1024


class _Queue(deque[Any]):
    """Kept datagrams; the data of one may be an iterator of them. `since` is when one left last."""

    since: float


class Answers:
    """One server's. On UDP the buffer that is full is the server's own, and all wait for it. On a unix socket
    it is one sender's, and others are answered. A sender that takes nothing for a client's io_timeout, by the
    configuration, loses what waits for it.
    """

    __slots__ = ("_fresh", "_kept")

    def __init__(self) -> None:
        self._fresh: list[Datagram] = []
        self._kept: dict[Any, _Queue] = {}  # by sender

    def send(self, channel: Channel) -> None:
        """Send what was added; keep what is not taken."""
        fresh, self._fresh = self._fresh, []
        full = False  # the server's own buffer
        while fresh:
            if self._kept:  # behind what is kept for the same sender
                for one in fresh:
                    if full or one.remote in self._kept:
                        self.keep(channel, one)
                fresh = [] if full else [one for one in fresh if one.remote not in self._kept]
            done = self._transmit(channel, fresh) if fresh else 0
            if fresh and not done:
                self.keep(channel, fresh[0])
                full = not is_unix(channel)
            fresh = fresh[done or 1 :]

    def send_kept(self, channel: Channel) -> bool:
        """Send what was kept, to each sender a share a turn; whether some was not taken."""
        loop = channel.loop
        limit = loop.client_settings.io_timeout
        refused = False
        for remote, queue in list(self._kept.items()):
            for _ in range(_PER_TURN):
                if not queue:
                    break
                if not isinstance(queue[0].data, bytes):
                    _pull(channel, queue)
                elif self._transmit(channel, (queue[0],)):
                    queue.popleft()
                    queue.since = loop.now
                elif limit is not None and loop.now - queue.since >= limit:
                    self._lost(channel, queue[0], len(queue), f"was taken within {limit:g} s")
                    queue.clear()
                else:
                    refused = True
                    break
            else:
                channel.step_next_turn()
            if not queue:
                del self._kept[remote]
            if refused and not is_unix(channel):
                break
        return refused

    def keep(self, channel: Channel, one: Datagram) -> None:
        """Have it wait behind what is kept for the same sender, unless that is too much. The items of an
        iterator are pulled as they are taken."""
        queue = self._kept.get(one.remote)
        if queue is None:
            queue = _Queue()
            queue.since = channel.loop.now
        if len(queue) < _FOR_ONE and sum(map(len, self._kept.values())) < _FOR_ALL:
            queue.append(one)
            self._kept[one.remote] = queue
        else:
            self._lost(channel, one, 1, f"finds room, {len(queue)} wait already")

    def _transmit(self, channel: Channel, datagrams: Any) -> int:
        """How many are done with: those taken, or the first one, which cannot be sent: that is told."""
        try:
            sent: int = channel.transport.send_many(datagrams)
        except OSError as error:
            closing.tell_exception(channel, socket_error(SendError, channel, error, "writing"))
            return 1
        if sent:
            outbox.sent(channel, sum([len(one.data) for one in datagrams[:sent]]))
        return sent

    def _lost(self, channel: Channel, one: Datagram, number: int, why: str) -> None:
        text = f"none of {number} answers to {one.remote!r} {why}"
        closing.tell_exception(channel, socket_error(SendError, channel, text, errno=errno.EAGAIN))


def is_unix(channel: Channel) -> bool:
    """Whether it serves unix datagrams."""
    return bool(channel.transport.sock.family == _socket.AF_UNIX)


def _pull(channel: Channel, queue: _Queue) -> None:
    """Put the next item of the iterator at the head before it; nothing comes, or an error: it goes."""
    source = queue[0]
    try:
        item = as_bytes(next(source.data))
    except StopIteration:
        queue.popleft()
    except BaseException as error:
        queue.popleft()
        closing.tell_raised(channel, error)
    else:
        queue.appendleft(source.answered(item))
    finally:
        channel.next = UNTOLD
