"""Serve datagrams as READ events of the server's own socket, without a client socket for each."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING, Any, NoReturn

from .. import sockets
from .._generic import Generic
from ..address import Address, SockAddr
from ..core import closing, speed
from ..core.deadlines import INFINITY
from ..core.failure import socket_error
from ..core.interest import SEND_AGAIN
from ..core.operation import Operation
from ..core.timeouts import arm
from ..engines.base import READ, WRITE
from ..errors import UnsupportedOperationError
from ..event_types import EventType
from ..events import ReadEvent, WriteEvent
from ..frames.base import FramePicker, FrameT_co
from ..frames.raw import RAW
from .accept import AcceptDatagrams
from .datagram_answers import Answers, is_unix
from .read import frame_of_datagram
from .write import WriteOperation

if TYPE_CHECKING:
    from ..core.channel import Channel
    from ..transports.packet_info import Datagram

# Under names of this module's own they cost compiled code no look-up.
_READ, _WRITE = EventType.READ, EventType.WRITE


class DatagramOperation(Operation, Generic[FrameT_co]):
    """The operation of a `udp://` or `udg://` server that gets each datagram as a READ on its own socket.

    `picker` (default: RawFramePicker, the whole datagram) gets each datagram separately. A write that the
    handler names goes to the sender; after any other next operation, or none, the server goes on. An error
    about one datagram gives EXCEPTION, and the server goes on. TypeError unless given a picker, and on any
    other socket.
    """

    __slots__ = ("picker",)

    _phase = "listening"

    def __init__(self, picker: FramePicker[FrameT_co] | None = None) -> None:
        if picker is not None and not isinstance(picker, FramePicker):
            raise TypeError(f"DatagramOperation takes a frame picker, got {picker!r}")
        self.picker: FramePicker[FrameT_co] = RAW if picker is None else picker

    def _check_place(self, channel: Channel, address: Address | None) -> None:
        adopted = channel.socket._adopted
        if not channel.kind.is_server:
            self._misplaced(f"{channel.kind.__name__}() reads with ReadOperation()")
        if address is not None and address.is_stream:
            self._misplaced(f"a server at {address.text} is added with ReadOperation()")
        if adopted is not None and adopted.type != _socket.SOCK_DGRAM:
            self._misplaced("the socket adopted carries a stream, and is added with ReadOperation()")

    def _misplaced(self, why: str) -> NoReturn:
        raise TypeError(f"{self!r} is for udp:// and udg:// servers: {why}")

    def start(self, channel: Channel) -> Operation | None:
        """Raises TypeError: where it belongs `ServeDatagrams` has taken its place."""
        self._misplaced(f"{channel.socket!r} cannot go on with it")

    def __repr__(self) -> str:
        return f"<DatagramOperation {type(self.picker).__name__}>"


class ServeDatagrams(AcceptDatagrams):
    """READ for each datagram, a bounded number a turn; answers leave together when these have been served.
    A write named as a further answer is served as another datagram, in the place of the data.

    One object per listener. Draining: as `Accept`, and it closes when all answers have left.
    """

    __slots__ = ("_answers", "_operation", "picker")

    def __init__(self, adopted: bool, operation: DatagramOperation) -> None:
        super().__init__(adopted)
        self._operation = operation
        self.picker: FramePicker = operation.picker
        self._answers = Answers()

    def step(self, channel: Channel, mask: int) -> Operation | None:
        answers = self._answers
        ch = channel
        if answers._kept and not self._send_kept(ch):
            return self
        try:
            following = AcceptDatagrams.step(self, ch, mask)
        finally:
            # What was answered before a handler ended the server or the run leaves, too.
            if answers._fresh and not ch.loop.is_inherited:
                answers.send(ch)
        if ch.speeds:
            speed.sample(ch)
        if answers._kept:
            self._send_kept(ch)
        return self if answers._kept else following

    def _serve(self, channel: Channel, came: Any) -> None:
        try:
            self._read_and_answer(channel, came)
        except Exception as error:
            closing.tell_raised(channel, error)
        if channel.inbox._chunk:  # of a broken one, which has been told
            channel.inbox._clear()

    def _read_and_answer(self, channel: Channel, datagram: Datagram) -> None:
        """READ, and what its handler answers."""
        named: Any = datagram.data
        if not isinstance(named, WriteOperation):
            channel.io_start = channel.loop.turn_time
            channel.bytes_received += len(named)
            named = self._read(channel, named, datagram.remote)
            if not isinstance(named, WriteOperation) or channel.cancelled or channel.loop.stopping:
                return
        write: Any = named
        following = write._then
        handler = channel.dispatch.write
        if handler is not None:
            channel.mark_active()
            channel.next = following
            event = WriteEvent.__new__(WriteEvent)
            event.type = _WRITE
            event._channel = channel
            event.operation = write
            handler(event)
            if channel.cancelled or channel.loop.stopping:
                return
            following = channel.next
        if write.out_of_band:
            why = "datagrams have no out-of-band data,"
            raise socket_error(UnsupportedOperationError, channel, why, "writing")
        if isinstance(following, WriteOperation):
            self._received.append(datagram.answered(following))
            if self._left >= 0:
                self._left += 1
        data = write._data
        if type(data) is not bytes and data is not None:
            try:
                data = bytes(memoryview(data).cast("B"))
            except TypeError:
                self._answers.send(channel)
                self._answers.keep(channel, datagram.answered(iter(data)))
                return
        if data is not None:
            self._answers._fresh.append(datagram.answered(data))

    def _read(self, channel: Channel, data: bytes, remote: SockAddr) -> Any:
        """Tell READ; what its handlers name."""
        inbox = channel.inbox
        inbox._chunk = data
        inbox.remote_address = sockets.public_peer(remote)
        frame = frame_of_datagram(channel, self.picker)
        handler = channel.dispatch.read
        if handler is None:
            return None
        channel.mark_active()
        event = ReadEvent.__new__(ReadEvent)
        event.type = _READ
        event._channel = channel
        event.frame = frame
        event.operation = self._operation
        channel.next = None
        handler(event)
        return channel.next

    def _send_kept(self, channel: Channel) -> bool:
        """Send the answers that were not taken; whether something may be received meanwhile."""
        self.interest, self._resume_at = READ, INFINITY
        if not self._answers.send_kept(channel):
            return True
        if not is_unix(channel):
            self.interest = WRITE
            return False
        self._resume_at = channel.loop.now + SEND_AGAIN
        arm(channel)
        return True

    def _abandon(self, channel: Channel) -> None:
        self._received.clear()
        self._answers._fresh.clear()
        self._answers._kept.clear()

    def __repr__(self) -> str:
        return repr(self._operation)
