"""Read and write at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..engines.base import READ, WRITE
from ..frames.raw import RawFramePicker
from .base import REPEAT, Operation
from .read import ReadOperation
from .write import WriteOperation

if TYPE_CHECKING:
    from ..channel import Channel

_PER_TURN = 64


class ReadWriteOperation(Operation):
    """Reads and writes at once: each direction first in, first out.

    `read_first`: which one is looked at first when both are ready. `operations`: reads and writes to
    begin with (TypeError for others). Every socket it serves begins with what was queued before any
    did; `schedule` afterwards is for the socket that came first.
    """

    __slots__ = (
        "_busy", "_channel", "_plan", "_reads", "_served", "_started", "_writes", "interest", "read_first",
    )  # fmt: skip

    phase = "reading"
    steady = True

    def __init__(self, read_first: bool = True, operations: Iterable[Operation] = ()) -> None:
        self.read_first = bool(read_first)
        self._reads: deque[ReadOperation] = deque()
        self._writes: deque[WriteOperation] = deque()
        self._channel: Channel | None = None
        self._plan: list[Operation] = []  # what each socket begins with
        self._served = False
        self._started = False  # the write at the head has told WRITE
        self._busy = False
        self.interest = 0
        for operation in operations:
            self.schedule(operation)

    def schedule(self, operation: Operation) -> None:
        """Queue a read or a write; TypeError for anything else."""
        channel = self._channel
        if channel is not None:
            channel.executor.check_thread()
        if isinstance(operation, ReadOperation):
            self._reads.append(operation)
        elif isinstance(operation, WriteOperation):
            self._writes.append(operation)
        else:
            raise TypeError(f"only reads and writes can be scheduled, got {operation!r}")
        if channel is None:
            if self._served:  # a new plan
                self._served = False
                self._plan = []
            self._plan.append(operation)
        if channel is not None and not self._busy:
            channel.again()
            channel.executor.wake_if_hosted()

    @property
    def reads(self) -> tuple[ReadOperation, ...]:
        """The reads queued, the current one first."""
        return tuple(self._reads)

    @property
    def writes(self) -> tuple[WriteOperation, ...]:
        """The writes queued, the current one first."""
        return tuple(self._writes)

    def start(self, channel: Channel) -> Operation | None:
        if self._channel is not None and self._channel is not channel and not self._channel.complete:
            return ReadWriteOperation(self.read_first, self._plan)  # this one's queues are in use
        if self._served and not (self._reads or self._writes):
            for operation in self._plan:
                self._queue(operation)
        self._served = True
        self._channel = channel
        return self._work(channel, 0)

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return self._work(channel, mask)

    def _work(self, channel: Channel, mask: int) -> Operation | None:
        self._busy = True
        later, channel.override = channel.override, None  # set from outside: comes when both are done
        try:
            for direction in (READ, WRITE) if self.read_first else (WRITE, READ):
                if channel.cancelled or channel.executor.stopping:
                    return self
                if direction == READ:
                    self._read(channel, mask)
                else:
                    self._write(channel)
            if channel.gather and channel.unsent is None:
                channel.flush()
            if channel.cancelled or channel.executor.stopping:
                return self
            return self._go_on(channel)
        finally:
            self._busy = False
            if later is not None:
                channel.override = later

    def _go_on(self, channel: Channel) -> Operation | None:
        sending = bool(self._writes) or channel.unsent is not None
        if not self._reads and not sending:
            self._channel = None
            return None
        self.interest = (READ if self._reads and not channel.ended else 0) | (WRITE if sending else 0)
        if channel.ended and self._reads and not sending:
            # What was queued has left; now the pending read meets the end.
            following = self._reads[0].start(channel)
            current = self._reads.popleft()
            self._queue_next(channel, following if following is not current else None)
            if isinstance(current.picker, RawFramePicker) or not (self._reads or self._writes):
                self._channel = None
                self._reads.clear()
                return None
            channel.again()
            return self
        channel.update()
        return self

    def _read(self, channel: Channel, mask: int) -> None:
        reads = self._reads
        if not reads:
            return
        fresh = bool(mask & READ) and not channel.ended
        if fresh and channel.recv() is None:
            fresh = False
        for _ in range(_PER_TURN):
            if not reads or channel.cancelled or channel.executor.stopping:
                return
            current = reads[0]
            inbox = channel.inbox
            if channel.ended and not inbox:
                return  # the end is met when everything queued has been sent
            if not inbox and not (channel.transport.datagram and channel.datagrams):
                if not current._ask_at_once:
                    return
            if channel.transport.datagram:
                if not channel.datagrams:
                    return
                following = current._datagram(channel)
            else:
                frame = current.picker.pick(inbox, channel.ended and not channel.truncated)
                if frame is None:
                    return
                following = current.deliver(channel, frame)
            reads.popleft()
            self._queue_next(channel, following)
        channel.again()

    def _write(self, channel: Channel) -> None:
        writes = self._writes
        for _ in range(_PER_TURN):
            if channel.unsent is not None and not channel.flush():
                return
            if not writes or channel.cancelled or channel.executor.stopping:
                return
            current = writes[0]
            following = current.pump(channel) if self._started else current.start(channel)
            if channel.cancelled or channel.executor.stopping:
                return
            if following is current and channel.source is not None:
                self._started = True
                if channel.override is not None:
                    channel.after, channel.override = channel.override, None
                return
            self._started = False
            writes.popleft()
            self._queue_next(channel, following)
        channel.again()

    def _queue_next(self, channel: Channel, following: Operation | None) -> None:
        """Queue what a handler named, if anything, in its direction."""
        if following is REPEAT:
            following = channel.release_held()
        if channel.override is not None:  # named by way of the bag
            following, channel.override = channel.override, None
        if following is not None:
            self._queue(following)

    def _queue(self, operation: Operation) -> None:
        if isinstance(operation, ReadOperation):
            self._reads.append(operation)
        elif isinstance(operation, WriteOperation):
            self._writes.append(operation)
        else:
            raise TypeError(
                f"inside a ReadWriteOperation the next operation is a read or a write, got {operation!r}"
            )

    def abandon(self, channel: Channel) -> None:
        self._channel = None
        self._started = False
        if channel.operation is None:  # the socket has ended
            self._reads.clear()
            self._writes.clear()
        channel.source = channel.after = None

    def __repr__(self) -> str:
        return f"<ReadWriteOperation {len(self._reads)} reads, {len(self._writes)} writes>"
