"""The part of a conversation's methods that nearly every message goes through."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from ..core import outbox
from ..errors import EngineError
from ..frames.base import FramePicker, FrameT_co
from . import awaits
from .awaits import AwaitRead, AwaitWrite

if TYPE_CHECKING:
    from ..core.channel import Channel
    from ..core.operation import Operation
    from ..typing import Buffer, Data
    from .task import ConversationTask


class Exchange:
    """What reads, writes and posts; the base of `Conversation`."""

    __slots__ = ("_loop", "_picker", "_reading", "_task")

    def __init__(self, channel: Channel, task: ConversationTask) -> None:
        self._task = task
        self._loop = channel.loop
        self._picker: Any = None
        self._reading: Operation | None = None  # the last read, with that picker

    def read(self, picker: FramePicker[FrameT_co] | None = None) -> Coroutine[object, None, FrameT_co]:
        """Return the next frame of `picker` (default: the first bytes that arrive).

        DisconnectedError at the end of the stream (`clean` if that is between two frames), FrameError for
        bytes that form no frame, which stay unread."""
        if picker is not self._picker or self._reading is None:
            self._reading = self._loop.maker.read(picker)
            self._picker = picker
        read = awaits.prepared(AwaitRead.__new__(AwaitRead), self._task, self._reading)
        return read  # type: ignore[no-any-return]

    def write(self, data: Data) -> Coroutine[object, None, None]:
        """Send `data` (bytes-like or an iterable of bytes-like); returns when the kernel has accepted the
        last byte."""
        write = awaits.prepared(AwaitWrite.__new__(AwaitWrite), self._task, data)
        return write  # type: ignore[no-any-return]

    def post(self, data: Buffer) -> int:
        """Queue `data` to be sent, whatever is awaited; returns the number of unsent bytes, without waiting.

        After the conversation's end or `shutdown_write()` the data is dropped, and 0 returned. TypeError
        unless bytes-like."""
        self._loop.check_thread()
        if type(data) is not bytes:
            try:
                data = bytes(memoryview(data).cast("B"))
            except TypeError:
                raise TypeError(f"post() takes bytes, got {type(data).__name__}") from None
        task = self._task
        channel = task.channel
        if task.refusal is not None:
            error = task.refusal()
            if isinstance(error, EngineError):
                raise error
            return 0
        plain = channel.plain is not None
        if task.is_shut or channel.cancelled or (not plain and channel.transport.failure is not None):
            return 0
        if data or (not plain and channel.transport.datagram):
            outbox.post(channel, data)
        return outbox.unsent(channel)
