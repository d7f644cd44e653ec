"""Read one frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import frames
from .._generic import Generic
from ..core import outbox
from ..core.failure import broken, socket_error
from ..core.operation import DONE, UNTOLD, Operation
from ..engines.base import READ
from ..errors import DisconnectedError, FrameError
from ..event_types import EventType
from ..events import ReadEvent, WriteEvent
from ..frames.base import Frame, FramePicker, FrameT_co, PartialFrame
from ..frames.batch import BatchFramePicker, FrameBatch, innermost
from ..frames.empty import EmptyFramePicker
from ..frames.end import EndOfStreamFramePicker
from ..frames.fixed import FixedLengthFramePicker
from ..frames.raw import RAW, RawFramePicker
from ..transports.stream import NO_SIGNAL, SEND_SIZE
from .write import WriteOperation

if TYPE_CHECKING:
    from ..core.channel import Channel

# The library's own pickers need a byte (or the end) before they can answer, unless they take no bytes; users'
# are asked at once.
_WAITING = frozenset(getattr(frames, name) for name in frames.__all__ if name.endswith("FramePicker"))
_WAITING -= {FramePicker, FixedLengthFramePicker}
# Under names of this module's own they cost compiled code no look-up.
_READ, _WRITE, _DONE, _UNTOLD = EventType.READ, EventType.WRITE, DONE, UNTOLD
_QUIET, _MOST = NO_SIGNAL, SEND_SIZE


class ReadOperation(Operation, Generic[FrameT_co]):
    """Reads one frame of `picker` (default: RawFramePicker, the first bytes that arrive) and gives one READ.

    Bytes after the frame stay, and the next picker gets them before more is received.
    """

    __slots__ = ("_ask_at_once", "picker")

    interest = READ
    _phase = "reading"
    _heeds_next = True

    def __init__(self, picker: FramePicker[FrameT_co] | None = None) -> None:
        if picker is None:
            self.picker: FramePicker[FrameT_co] = RAW
            self._ask_at_once = False
            return
        finder = innermost(picker) if type(picker) is BatchFramePicker else picker
        kind = type(finder)
        if kind in _WAITING:
            self._ask_at_once = False
        elif kind is FixedLengthFramePicker:
            self._ask_at_once = finder.length == 0  # type: ignore[attr-defined]
        elif isinstance(finder, FramePicker):
            self._ask_at_once = True
        else:
            raise TypeError(f"ReadOperation takes a frame picker, got {picker!r}")
        self.picker = picker

    @property
    def _takes_nothing(self) -> bool:  # type: ignore[override]
        return isinstance(innermost(self.picker), EmptyFramePicker)

    def _runs_ahead(self) -> bool:
        return True

    def start(self, channel: Channel) -> Operation | None:
        ch = channel
        if ch.plain is None and ch.transport.datagram:
            ready: Any = ch.datagrams or ch.ended
            if not ready and ch.transport.shared:
                return self.step(channel, READ)  # a server's client was made of its datagram, which is there
        else:
            ready = ch.inbox._chunk or ch.ended or self._ask_at_once
        return self.step(channel, 0) if ready else self

    def _at_hand(self, channel: Channel) -> Any:
        if self._ask_at_once:
            return None
        ch = channel
        return self.picker.pick(ch.inbox, ch.ended and not ch.truncated)

    def step(self, channel: Channel, mask: int) -> Operation | None:
        """`mask` 0: only what has been received is looked at."""
        ch = channel
        if mask and ch.recv() is None:
            return self
        inbox = ch.inbox
        datagram = ch.plain is None and ch.transport.datagram
        if datagram and ch.datagrams:
            frame = self._datagram(ch)
        else:
            frame = self.picker.pick(inbox, ch.ended and not ch.truncated)
        if frame is None:
            if inbox._offset:
                inbox._tidy()
            # Of both directions the end is met when everything queued has been sent.
            return self._end(ch) if ch.ended and ch.stepper is self else self
        if self._ask_at_once and not isinstance(frame, Frame):
            raise TypeError(f"pick() of {self.picker!r} must return a Frame or None, got {frame!r}")
        loop = ch.loop
        if loop.delayed:
            ch.mark_active()
        handler = ch.dispatch.read
        task = ch.task
        if task is not None:
            task.frame = frame
            if handler is None:
                ahead = mask and not self._ask_at_once
                return task.goes_on(ch, self) if ahead else None
            task.tell(handler, ReadEvent(ch, frame, self))
            return _DONE
        if handler is None:
            return None
        event = ReadEvent.__new__(ReadEvent)  # where it is compiled, less than half the price of a call
        event.type = _READ
        event._channel = ch
        event.frame = frame
        event.operation = self
        ch.next = None
        handler(event)
        write = ch.next
        if (
            type(write) is WriteOperation
            and ch.stepper is self
            and not (datagram or inbox._chunk or ch.ended or loop.interrupt)
        ):
            return self._answer(ch, write)
        return _DONE

    def _answer(self, channel: Channel, write: WriteOperation) -> Operation | None:
        """A plain answer and on with reading, without the general way through `Channel.advance`: what servers
        and request/response clients do with nearly every message. Anything unusual takes that way."""
        data = write._data
        if (
            type(data) is not bytes
            or channel.outbox is not None
            or channel.after is not None
            or channel.forgotten
            or channel.speeds
            or write.out_of_band
            or channel.loop.delayed
        ):
            return _DONE
        handler = channel.dispatch.write
        if handler is None:
            then = write._then
        else:
            channel.operation = channel.stepper = write
            event = WriteEvent.__new__(WriteEvent)
            event.type = _WRITE
            event._channel = channel
            event.operation = write
            channel.next = write._then
            handler(event)
            then = channel.next
            data = write._data
            if channel.cancelled or channel.loop.stopping:
                return _DONE
            if type(data) is not bytes or channel.after is not None or channel.forgotten or channel.speeds:
                return write._send(channel)
        size = len(data)
        read = then if type(then) is ReadOperation else None
        if read is None or read._ask_at_once or not 0 < size <= _MOST:
            return _DONE if handler is None else write._send(channel)
        channel.next = then
        plain = channel.plain
        try:
            sent: int = channel.transport.send(data) if plain is None else plain.send(data, _QUIET)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            outbox.send_failed(channel, error)
            return _DONE
        outbox.sent(channel, sent)
        if sent != size or (plain is None and channel.transport.unflushed):
            outbox.keep(channel, data, sent)
            return _DONE
        channel.next = _UNTOLD
        channel.operation = channel.stepper = then
        return then

    def _datagram(self, channel: Channel) -> Frame | None:
        """The frame of the datagram that lies ready, which never spans two; FrameError if there is none."""
        inbox, picker = channel.inbox, self.picker
        if inbox._chunk and isinstance(innermost(picker), EmptyFramePicker):  # takes nothing
            return picker.pick(inbox, channel.ended)
        channel.datagrams = False
        return frame_of_datagram(channel, picker)

    def _end(self, channel: Channel) -> Operation | None:
        """The stream has ended and there is no frame (spec: end of stream while a read is pending)."""
        if channel.transport.failure is not None:
            raise broken(channel)
        how = "without close_notify " if channel.truncated else ""
        picker = innermost(self.picker)
        raw = isinstance(picker, RawFramePicker) and channel.task is None
        if raw and not channel.truncated:
            channel.forgotten = False  # there is no connection left to let go of: the socket ends
            return None
        if channel.inbox or (channel.truncated and isinstance(picker, EndOfStreamFramePicker)):
            why = f"the stream ended {how}inside a frame, after {len(channel.inbox)} bytes,"
            raise _unfinished(channel, self.picker, why, channel.inbox.peek(len(channel.inbox)))
        why = f"the peer closed the connection {how}".rstrip()
        raise socket_error(DisconnectedError, channel, why, "reading", clean=not channel.truncated)

    def __repr__(self) -> str:
        return f"<ReadOperation {type(self.picker).__name__}>"


def frame_of_datagram(channel: Channel, picker: FramePicker) -> Frame:
    """The frame of the datagram in the inbox, of which nothing is left there; FrameError if it has none."""
    inbox = channel.inbox
    if not inbox._chunk:
        empty = Frame(b"", inbox.remote_address)
        return FrameBatch((empty,), empty.remote_address) if type(picker) is BatchFramePicker else empty
    frame = picker.pick(inbox, True)
    if frame is None:
        why = f"the datagram from {inbox.remote_address} holds no whole frame for {picker!r}"
        raise _unfinished(channel, picker, why, inbox.take(len(inbox)))
    if not isinstance(frame, Frame):
        raise TypeError(f"pick() of {picker!r} must return a Frame or None, got {frame!r}")
    if inbox._chunk:
        inbox.drop(len(inbox))
    return frame


def _unfinished(channel: Channel, picker: FramePicker, why: str, data: bytes) -> FrameError:
    partial = PartialFrame(Frame(data, channel.inbox.remote_address))
    return socket_error(FrameError, channel, why, "reading", picker=picker, partial=partial)

