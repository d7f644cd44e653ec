"""Read and write at the same time, with a queue for each direction."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..core import out_of_band, outbox
from ..core.operation import DONE, UNTOLD, Operation
from ..engines.base import READ, WRITE
from ..errors import NetworkSocketError
from ..frames.raw import RawFramePicker
from .read import ReadOperation
from .write import WriteOperation

if TYPE_CHECKING:
    from ..core.channel import Channel
    from ..metadata import SocketMetadata

_FRAMES_PER_TURN = 64
# Bytes of the queue that one turn sends before the others have their turn.
_BYTES_PER_TURN = 1024 * 1024
# What each write counts for besides its bytes: telling of it takes as long as sending these.
_TELLING = 256
# So much scheduled in one turn does not wait for the next one.
_MUCH = 64 * 1024
_BYTES_LIKE = (bytes, bytearray, memoryview)


class ReadWriteOperation(Operation):
    """Reads and writes at the same time, with a queue (first in, first out) for each direction.

    `read_first`: the direction that goes first if both are ready. `operations`: the first reads and writes
    (TypeError for others). Every socket it serves begins with the operations queued before the first one
    began; a later `schedule` is for the first socket. Queued writes are joined, up to 64 KiB a send.
    """

    __slots__ = (
        "_busy", "_channel", "_fresh", "_left", "_metadata", "_plan", "_reads", "_served", "_writes",
        "interest", "read_first",
    )  # fmt: skip

    _phase = "reading"
    _replaceable = False
    _heeds_next = True

    def __init__(self, read_first: bool = True, operations: Iterable[Operation] = ()) -> None:
        self.read_first = bool(read_first)
        self._reads: deque[ReadOperation] = deque()
        self._writes: deque[WriteOperation] = deque()
        self._channel: Channel | None = None
        self._metadata: SocketMetadata | None = None  # of the socket served, or to be served, last
        self._fresh = 0  # what was scheduled to be written since some was last
        self._plan: list[Operation] = []  # what each socket begins with
        self._served = False
        self._busy = False
        self._left = False  # whole frames may lie in the inbox
        self.interest = 0
        for operation in operations:
            self.schedule(operation)

    def schedule(self, operation: Operation) -> None:
        """Queue a read or a write; TypeError for anything else, RuntimeError when its socket is complete."""
        channel = self._channel
        if channel is not None:
            channel.loop.check_thread()
        elif self._metadata is not None and self._metadata.request_complete:
            raise RuntimeError(f"the socket of {self!r} is complete: nothing can be scheduled on it")
        if isinstance(operation, WriteOperation):
            data = operation._data
            cost = _TELLING + (len(data) if isinstance(data, _BYTES_LIKE) else 0)
            self._writes.append(operation)
            self._fresh += cost
        elif isinstance(operation, ReadOperation):
            self._reads.append(operation)
            cost = 0
        else:
            raise TypeError(f"only reads and writes can be scheduled, got {operation!r}")
        if channel is None:
            if self._served:  # a new plan
                self._served = False
                self._plan = []
            self._plan.append(operation)
        elif not self._busy:
            channel.step_next_turn()
            channel.loop.wake_if_hosted()
            if self._fresh - cost < _MUCH <= self._fresh:
                channel.loop.flush_soon(channel, self._flush)

    def _added(self, metadata: SocketMetadata) -> None:
        """A socket is to begin with this."""
        if self._channel is None:
            self._metadata = metadata

    def start(self, channel: Channel) -> Operation | None:
        if self._channel is not None and self._channel is not channel and not self._channel.complete:
            # This one's queues are in use.
            return channel.replace(ReadWriteOperation(self.read_first, self._plan))
        if self._served and not (self._reads or self._writes):
            for operation in self._plan:
                self._queue(operation)
        self._served = True
        self._channel = channel
        self._metadata = channel.metadata
        self._fresh = 0
        # Which can go first is known only by trying.
        reads = self.read_first and self._writes
        if reads and out_of_band.has_any(channel):
            self.interest = READ | WRITE
            channel.step_next_turn()
            return self
        return self._work(channel, READ if reads else 0)

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return self._work(channel, mask)

    def _flush(self, channel: Channel) -> None:
        """Send what the kernel takes of what was scheduled."""
        if channel.stepper is self:
            channel.go_on(self._work(channel, 0, (WRITE,)))

    def _work(self, channel: Channel, mask: int, order: tuple[int, ...] = ()) -> Operation | None:
        self._busy = True
        try:
            for direction in order or ((READ, WRITE) if self.read_first else (WRITE, READ)):
                if channel.cancelled or channel.loop.stopping:
                    return self
                if direction == READ:
                    self._read(channel, mask)
                else:
                    self._write(channel)
            if channel.cancelled or channel.loop.stopping:
                return self
            return self._go_on(channel)
        finally:
            self._busy = False

    def _go_on(self, channel: Channel) -> Operation | None:
        sending = bool(self._writes) or channel.outbox is not None
        if not self._reads and not sending:
            self._channel = None
            return None
        self.interest = (READ if self._reads and not channel.ended else 0) | (WRITE if sending else 0)
        if channel.ended and self._reads and not sending:
            # What was queued has left; now the pending read meets the end.
            current = self._reads[0]
            following = current.start(channel)
            if following is current:
                following = current._end(channel)
            self._reads.popleft()
            self._queue_next(channel, following)
            if isinstance(current.picker, RawFramePicker) or not (self._reads or self._writes):
                self._channel = None
                self._reads.clear()
                return None
            channel.step_next_turn()
        return self

    def _read(self, channel: Channel, mask: int) -> None:
        reads = self._reads
        if not reads:
            return
        # Frames left by the last share of a turn come first: a receive may tell of the end of everything.
        if self._left:
            self._left = False
        elif mask & READ and not channel.ended:
            channel.recv()
        for _ in range(_FRAMES_PER_TURN):
            if not reads or channel.cancelled or channel.loop.stopping:
                return
            if channel.ended and not channel.inbox:
                return  # the end is met when everything queued has been sent
            if channel.transport.shared and not channel.datagrams:
                return  # what a read of its own would receive here is the end
            following = reads[0].start(channel)
            if following is reads[0]:
                return
            reads.popleft()
            self._queue_next(channel, following)
        self._left = bool(channel.inbox)
        channel.step_next_turn()

    def _write(self, channel: Channel) -> None:
        """Send what lies queued until the kernel takes no more, or this turn's share is used up. What was
        scheduled since the last time is in the share: a peer that takes everything is never behind."""
        share = max(_BYTES_PER_TURN, self._fresh)
        self._fresh = 0
        if not outbox.flush(channel):
            return
        writes = self._writes
        before = channel.bytes_sent
        for count in range(len(writes)):
            if outbox.is_refused(channel):
                return
            if channel.transport.failure is not None:  # nothing leaves any more: the reads alone go on
                writes.clear()
                return
            if channel.bytes_sent - before + count * _TELLING >= share:
                break
            if len(writes) > 1 and not channel.transport.datagram:
                outbox.of(channel).corked = True  # they leave together
            channel.io_start = channel.loop.turn_time  # as of every operation that begins
            try:
                following = writes[0].start(channel)
            except BaseException:
                with contextlib.suppress(NetworkSocketError):  # the handler's own counts
                    outbox.flush(channel)  # what came before is sent
                raise
            if channel.cancelled or channel.loop.stopping:
                return
            writes.popleft()
            self._queue_next(channel, following)
        if outbox.has_left(channel) and writes:
            channel.step_next_turn()

    def _queue_next(self, channel: Channel, following: Any) -> None:
        """Queue what a handler named, if anything, in its direction."""
        named, channel.next = channel.next, UNTOLD
        if following is DONE and named is not None:
            self._queue(named)

    def _queue(self, operation: Operation) -> None:
        if isinstance(operation, ReadOperation):
            self._reads.append(operation)
        elif isinstance(operation, WriteOperation):
            self._writes.append(operation)
        else:
            raise TypeError(
                f"inside a ReadWriteOperation the next operation is a read or a write, got {operation!r}"
            )

    def _named_beside(self, channel: Channel, operation: Operation) -> None:
        self.schedule(operation)

    def _abandon(self, channel: Channel) -> None:
        self._channel = None
        if channel.operation is None:  # the socket has ended
            self._reads.clear()
            self._writes.clear()
        outbox.cut(channel)

    def __repr__(self) -> str:
        return f"<ReadWriteOperation {len(self._reads)} reads, {len(self._writes)} writes>"
