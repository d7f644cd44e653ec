"""Read one frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engines.base import READ
from ..errors import DisconnectedError, FrameError, ReceiveError, SendError
from ..events import ReadEvent, WriteEvent
from ..frames.base import Frame, FramePicker, PartialFrame
from ..frames.empty import EmptyFramePicker
from ..frames.end import EndOfStreamFramePicker
from ..frames.fixed import FixedLengthFramePicker
from ..frames.length import LengthPrefixedFramePicker
from ..frames.marker import MarkerFramePicker
from ..frames.raw import RawFramePicker
from ..transports.stream import RECEIVE_SIZE, SEND_SIZE
from .base import Operation, repeated
from .write import Told, WriteOperation

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
    steady = True

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
        if channel.plain is None and channel.transport.datagram:
            if channel.transport.shared and not (channel.datagrams or channel.ended):
                channel.recv()  # a server's client was made of its datagram, which is there
            return self._datagram(channel) if channel.datagrams or channel.ended else self
        if channel.inbox._chunk or channel.ended or self._ask_at_once:
            return self._pick(channel)
        return self

    def step(self, channel: Channel, mask: int) -> Operation | None:
        # Much of recv() and deliver() without the calls: this is the way of every message.
        executor = channel.executor
        inbox = channel.inbox
        plain = channel.plain
        if plain is None:
            if channel.recv() is None:
                return self
            if channel.transport.datagram:
                return self._datagram(channel)
        else:
            try:
                data = plain.recv(RECEIVE_SIZE)
            except BlockingIOError:
                return self
            except OSError as error:
                raise channel.lost(error, ReceiveError, "reading") from error
            channel.io_start = executor.moment
            if data:
                channel.bytes_received += len(data)
                if inbox._chunk:
                    inbox.append(data)
                else:
                    inbox._chunk = data
                if channel.meters is not None:
                    channel.sample()
            else:
                channel.ended = True
        frame = self.picker.pick(inbox, channel.ended and not channel.truncated)
        if frame is None:
            return self._end(channel) if channel.ended else self
        if self._ask_at_once:
            self._check(frame)
        if executor.delayed:
            executor.actors.add(channel)
        handler = channel.dispatch.read
        if handler is None:
            return None
        event = ReadEvent(channel, frame, self)
        handler(event)
        following = event._next
        if type(following) is WriteOperation and not (inbox._chunk or channel.ended or executor.attention):
            return self._answer(channel, following)
        return following if following is not self else repeated(channel, self)

    def _answer(self, channel: Channel, write: WriteOperation) -> Operation | None:
        """A plain answer and on with reading, without the general way through `become`: what servers and
        request/response clients do with nearly every message. Anything unusual takes that way."""
        executor = channel.executor
        then = write._then
        if (
            channel.gather
            or channel.unsent is not None
            or channel.override is not None
            or channel.forgotten
            or channel.meters is not None
            or write.out_of_band
            or executor.delayed
            or then is write
        ):
            return write
        handler = channel.dispatch.write
        if handler is not None:
            # Where the general way has to take over from here on, WRITE has been told already.
            channel.operation = write
            event = WriteEvent(channel, write)
            handler(event)
            then = event._next
            data = write._data
            if (
                executor.attention
                or type(data) is not bytes
                or then is write
                or channel.override is not None
                or channel.forgotten
            ):
                return Told(write, then)
        else:
            data = write._data
            if type(data) is not bytes:
                return write
        if type(then) is not ReadOperation or then._ask_at_once or not 0 < len(data) <= SEND_SIZE:
            return write if handler is None else Told(write, then)
        plain = channel.plain
        try:
            sent: int = channel.transport.send(data) if plain is None else plain.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise channel.lost(error, SendError, "writing") from error
        channel.bytes_sent += sent
        if sent != len(data) or (plain is None and channel.transport.unflushed):
            channel.unsent = data[sent:]
            return then if then is not self else repeated(channel, self)
        channel.operation = then
        return then

    def _pick(self, channel: Channel) -> Operation | None:
        frame = self.picker.pick(channel.inbox, channel.ended and not channel.truncated)
        if frame is None:
            return self._end(channel) if channel.ended else self
        return self.deliver(channel, frame)

    def _datagram(self, channel: Channel) -> Operation | None:
        """One READ is one datagram; a frame never spans two."""
        if not channel.datagrams:  # a datagram client's only one has been read
            return self._pick(channel)
        inbox = channel.inbox
        frame: Frame | None
        picker = self.picker
        if inbox._chunk and picker is not _RAW and isinstance(picker, EmptyFramePicker):  # takes nothing
            return self._pick(channel)
        channel.datagrams = False
        if inbox._chunk:
            frame = self.picker.pick(inbox, True)
            if frame is None:
                partial = PartialFrame(Frame(inbox.take(len(inbox)), inbox.remote_address))
                raise FrameError(
                    f"{channel.metadata.address}: the datagram from {inbox.remote_address} holds no whole "
                    f"frame for {self.picker!r} while reading",
                    picker=self.picker,
                    partial=partial,
                    address=channel.metadata.address,
                )
            if inbox._chunk:
                inbox.drop(len(inbox))
        else:
            frame = Frame(b"", inbox.remote_address)
        return self.deliver(channel, frame)

    def _check(self, frame: object) -> None:
        """What a picker of a user's own gave is a frame, or a TypeError."""
        if not isinstance(frame, Frame):
            raise TypeError(f"pick() of {self.picker!r} must return a Frame or None, got {frame!r}")

    def deliver(self, channel: Channel, frame: Frame) -> Operation | None:
        """Tell the handlers; what they want next."""
        if self._ask_at_once:
            self._check(frame)
        if channel.executor.delayed:
            channel.executor.actors.add(channel)
        handler = channel.dispatch.read
        if handler is None:
            return None
        event = ReadEvent(channel, frame, self)
        handler(event)
        following = event._next
        return following if following is not self else repeated(channel, self)

    def _end(self, channel: Channel) -> Operation | None:
        """The stream has ended and there is no frame (spec: end of stream while a read is pending)."""
        inbox = channel.inbox
        address = channel.metadata.address
        how = "without close_notify " if channel.truncated else ""
        if isinstance(self.picker, RawFramePicker) and not channel.truncated:
            channel.forgotten = False  # there is no connection left to let go of: the socket ends
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
