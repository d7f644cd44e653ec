"""Read one frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engines.base import READ
from ..errors import DisconnectedError, FrameError
from ..events import ReadEvent
from ..frames.base import Frame, FramePicker, PartialFrame
from ..frames.empty import EmptyFramePicker
from ..frames.end import EndOfStreamFramePicker
from ..frames.fixed import FixedLengthFramePicker
from ..frames.length import LengthPrefixedFramePicker
from ..frames.marker import MarkerFramePicker
from ..frames.raw import RawFramePicker
from .base import Operation, repeated
from .write import WriteOperation

if TYPE_CHECKING:
    from ..channel import Channel

# These need a byte (or the end) before they can answer; others are asked at once.
_WAITING = frozenset(
    {RawFramePicker, EmptyFramePicker, MarkerFramePicker, LengthPrefixedFramePicker, EndOfStreamFramePicker}
)


class ReadOperation(Operation):
    """READ fires once, when `picker` (default: RawFramePicker, whatever comes first) has its frame.

    Bytes beyond the frame stay and are offered to the next picker before anything is read.
    """

    __slots__ = ("_ask_at_once", "picker")

    interest = READ
    phase = "reading"
    runs_ahead = True

    def __init__(self, picker: FramePicker | None = None) -> None:
        if picker is None:
            self.picker: FramePicker = _RAW
            self._ask_at_once = False
            return
        kind = type(picker)
        if kind in _WAITING:
            self._ask_at_once = False
        elif kind is FixedLengthFramePicker:
            self._ask_at_once = picker.length == 0  # type: ignore[attr-defined]
        elif isinstance(picker, FramePicker):
            self._ask_at_once = True
        else:
            raise TypeError(f"ReadOperation takes a frame picker, got {picker!r}")
        self.picker = picker

    def start(self, channel: Channel) -> Operation | None:
        if channel.inbox._chunk or channel.ended or self._ask_at_once:
            if channel.transport.datagram:
                return self._datagram(channel) if channel.datagrams or channel.ended else self
            return self._pick(channel)
        return self

    def step(self, channel: Channel, mask: int) -> Operation | None:
        if channel.recv() is None:
            return self
        if channel.plain is None and channel.transport.datagram:
            return self._datagram(channel)
        # The rest is _pick(), without the call: this is the way of every message.
        frame = self.picker.pick(channel.inbox, channel.ended and not channel.truncated)
        if frame is None:
            return self._end(channel) if channel.ended else self
        if channel.executor.delayed:
            channel.executor.actors.add(channel)
        handler = channel.dispatch.read
        if handler is None:
            return None
        event = ReadEvent(channel, frame, self)
        handler(event)
        following = event.next_operation
        if type(following) is WriteOperation:
            return self._answer(channel, following)
        return following if following is not self else repeated(channel, self)

    def _answer(self, channel: Channel, write: WriteOperation) -> Operation | None:
        """A plain answer and on with reading, without the general way through `become`: what servers and
        request/response clients do with nearly every message. Anything unusual takes that way."""
        data = write._data
        then = write._then
        executor = channel.executor
        if (
            type(data) is not bytes
            or not data
            or type(then) is not ReadOperation
            or then._ask_at_once
            or channel.plain is None
            or channel.inbox._chunk
            or channel.gather
            or channel.unsent is not None
            or channel.ended
            or channel.meters is not None
            or channel.dispatch.write is not None
            or executor.attention
            or executor.delayed
            or channel.forgotten
            or channel.override is not None
            or write.out_of_band
        ):
            return write
        try:
            sent: int = channel.plain.send(data)
        except OSError:
            return write  # is met again there, and told
        channel.bytes_sent += sent
        if sent != len(data):
            channel.unsent = data[sent:]
            return then if then is not self else repeated(channel, self)
        channel.operation = then
        channel.io_start = executor.moment
        return then

    def _pick(self, channel: Channel) -> Operation | None:
        frame = self.picker.pick(channel.inbox, channel.ended and not channel.truncated)
        if frame is None:
            return self._end(channel) if channel.ended else self
        return self.deliver(channel, frame)

    def _datagram(self, channel: Channel) -> Operation | None:
        """One READ is one datagram; a frame never spans two."""
        if not channel.datagrams:  # a datagram client's only one has been read
            return self._end(channel)
        channel.datagrams = False
        inbox = channel.inbox
        frame: Frame | None
        if inbox:
            frame = self.picker.pick(inbox, True)
            if frame is None:
                partial = PartialFrame(Frame(inbox.take(len(inbox)), inbox.remote_address))
                raise FrameError(
                    f"the datagram from {inbox.remote_address} holds no whole frame for {self.picker!r}",
                    picker=self.picker,
                    partial=partial,
                    address=channel.metadata.address,
                )
            inbox.drop(len(inbox))
        else:
            frame = Frame(b"", inbox.remote_address)
        return self.deliver(channel, frame)

    def deliver(self, channel: Channel, frame: Frame) -> Operation | None:
        """Tell the handlers; what they want next."""
        if channel.executor.delayed:
            channel.executor.actors.add(channel)
        handler = channel.dispatch.read
        if handler is None:
            return None
        event = ReadEvent(channel, frame, self)
        handler(event)
        following = event.next_operation
        return following if following is not self else repeated(channel, self)

    def _end(self, channel: Channel) -> Operation | None:
        """The stream has ended and there is no frame (spec: end of stream while a read is pending)."""
        inbox = channel.inbox
        address = channel.metadata.address
        how = "without close_notify " if channel.truncated else ""
        if isinstance(self.picker, RawFramePicker) and not channel.truncated:
            return None
        if inbox or (channel.truncated and isinstance(self.picker, EndOfStreamFramePicker)):
            data = inbox.take(len(inbox))
            raise FrameError(
                f"{address}: the stream ended {how}inside a frame, after {len(data)} bytes, while reading",
                picker=self.picker,
                partial=PartialFrame(Frame(data, inbox.remote_address)),
                address=address,
            )
        raise DisconnectedError(
            f"{address}: the peer closed the connection {how}while reading", address=address
        )

    def __repr__(self) -> str:
        return f"<ReadOperation {type(self.picker).__name__}>"


_RAW = RawFramePicker()
