"""Serve datagrams as READ events of the server's own socket, without a client socket for each."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING, Any, NoReturn

from .._generic import Generic
from ..address import Address, SockAddr, public_address
from ..core import closing, speed
from ..core.deadlines import INFINITY
from ..core.failure import socket_error
from ..core.interest import SEND_AGAIN
from ..core.operation import UNTOLD, Operation
from ..core.timeouts import arm
from ..engines.base import READ, WRITE
from ..errors import ReceiveError, UnsupportedOperationError
from ..event_types import EventType
from ..events import ReadEvent, WriteEvent
from ..frames.base import Frame, FramePicker, FrameT_co
from ..frames.raw import RAW
from ..transports.packet_info import Datagram
from .accept import Accept
from .datagram_answers import Answers, is_unix
from .read import frame_of_datagram
from .write import WriteOperation

if TYPE_CHECKING:
    from ..core.channel import Channel

# Under names of this module's own they cost compiled code no look-up.
_READ, _WRITE, _UNTOLD = EventType.READ, EventType.WRITE, UNTOLD
# Datagrams, and further answers to the same one, that a turn serves.
_PER_TURN = 64


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

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return self

    def __repr__(self) -> str:
        return f"<DatagramOperation {type(self.picker).__name__}>"


class ServeDatagrams(Accept):
    """READ for each datagram, a bounded number a turn; answers leave together when these have been served.

    One object per listener. Draining: as `Accept`, and it closes when all answers have left.
    """

    __slots__ = ("_answers", "_operation", "_received")

    def __init__(self, adopted: bool, operation: DatagramOperation) -> None:
        super().__init__(adopted)
        self._operation = operation
        # What is to be served, the next one last: datagrams, errors met in receiving, and writes that were
        # named as further answers, in the place of the data of what they answer.
        self._received: list[Any] = []
        self._answers = Answers()

    @property
    def picker(self) -> FramePicker:
        """The picker of the frame in each datagram."""
        return self._operation.picker

    def step(self, channel: Channel, mask: int) -> Operation | None:
        answers = self._answers
        ch = channel
        if answers._kept and not self._send_kept(ch):
            return self
        more = bool(self._received) or self._receive(ch)
        received = self._received
        loop = ch.loop
        try:
            for _ in range(_PER_TURN):
                if not received or ch.cancelled or loop.stopping:
                    break
                one = received.pop()
                if type(one) is not Datagram:  # ICMP refused of an earlier answer, most likely
                    closing.tell_exception(ch, socket_error(ReceiveError, ch, one, "reading"))
                    continue
                try:
                    self._serve(ch, one)
                except Exception as error:
                    closing.tell_raised(ch, error)
                finally:
                    ch.next = _UNTOLD
                if ch.inbox._chunk:  # of a broken one, which has been told
                    ch.inbox._clear()
        finally:
            # What was answered before a handler ended the server or the run leaves, too.
            if answers._fresh and not loop.is_inherited:
                answers.send(ch)
        if answers._kept:
            self._send_kept(ch)
        if received or (more and self._left is not None):
            ch.step_next_turn()  # no readiness tells of it
        elif self._left is not None and not answers._kept:
            return None  # draining: nothing comes any more
        return self

    def _receive(self, channel: Channel) -> bool:
        """Receive what lies there, at most a turn's share; whether something did."""
        most = _PER_TURN if self._left is None else min(_PER_TURN, self._left)
        received = channel.transport.receive_many(most) if most else []
        if not received:
            return False
        if self._left is not None:
            self._left -= len(received)
        channel.io_start = channel.loop.turn_time
        for one in received:
            if type(one) is Datagram:
                channel.bytes_received += len(one.data)
        if channel.speeds:
            speed.sample(channel)
        received.reverse()
        self._received = received
        return True

    def _serve(self, channel: Channel, datagram: Datagram) -> None:
        """READ, and what its handler answers."""
        named: Any = datagram.data
        if not isinstance(named, WriteOperation):
            named = self._read(channel, datagram.data, datagram.remote)
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
        data = write._data
        if type(data) is not bytes and data is not None:
            try:
                data = bytes(memoryview(data).cast("B"))
            except TypeError:
                self._answers.add_each(channel, data, datagram)
                return
        if data is not None:
            answer = Datagram.__new__(Datagram)
            answer.data = data
            answer.remote = datagram.remote
            answer.asked = datagram.asked
            self._answers._fresh.append(answer)

    def _read(self, channel: Channel, data: bytes, remote: SockAddr) -> Any:
        """Tell READ; what its handlers name."""
        inbox = channel.inbox
        inbox._chunk = data
        inbox.remote_address = remote if type(remote) is tuple else public_address(_socket.AF_UNIX, remote)
        frame = frame_of_datagram(channel, self._operation.picker)
        if not isinstance(frame, Frame):
            raise TypeError(f"pick() of {self.picker!r} must return a Frame or None, got {frame!r}")
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
        self._answers.drop()

    def __repr__(self) -> str:
        return repr(self._operation)
