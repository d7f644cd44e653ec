"""The send buffer: bytes that were written and have not left, gathered or kept for want of room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import NetworkSocketError, ReceiveError, SendError, TlsHandshakeError
from ..transports.broken import BrokenTransport
from ..transports.stream import NO_SIGNAL, SEND_SIZE
from . import posted, speed
from .deadlines import INFINITY
from .failure import io_error

if TYPE_CHECKING:
    from .channel import Channel
    from .operation import Operation

# What is raised of a connection that failed.
_KINDS: dict[str, type[NetworkSocketError]] = {
    "handshaking": TlsHandshakeError,
    "reading": ReceiveError,
    "writing": SendError,
}
# What may gather while the frames of one received chunk are worked through.
_COALESCED = 64 * 1024
# Read by these names they cost compiled code no look-up.
_NO_SIGNAL, _SEND_SIZE = NO_SIGNAL, SEND_SIZE


class Outbox:
    """Made when something could not leave at once, dropped when empty.

    `corked`: written while the frames of a received chunk are worked through, to leave in one send at its
    end. `rest`: what the kernel did not take (b"": TLS has it, and the kernel has yet to). `source`: the
    iterable being written. `posted`: what leaves after all that, beside whatever the socket does; but the
    first `holds` of them have to leave before anything goes on. `waiters` are woken when it is dropped.
    `retry_at`: when to send again what nothing tells the room for.
    """

    __slots__ = ("corked", "holds", "posted", "posted_size", "rest", "retry_at", "source", "waiters")

    corked: bytearray | None
    rest: Any
    source: Iterator[Any] | None
    posted: deque[Any] | None
    posted_size: int
    holds: int
    retry_at: float
    waiters: list[Callable[[], object]] | None


def of(channel: Channel) -> Outbox:
    """The channel's outbox, made if there is none."""
    outbox = channel.outbox
    if outbox is None:
        outbox = channel.outbox = Outbox.__new__(Outbox)  # compiled, cheaper than a call
        outbox.corked = outbox.rest = outbox.source = outbox.posted = outbox.waiters = None
        outbox.posted_size = outbox.holds = 0
        outbox.retry_at = INFINITY
    return outbox


def drop(channel: Channel) -> None:
    """Nothing is left in the outbox, or nothing of it will leave: who waited for that is woken."""
    outbox, channel.outbox = channel.outbox, None
    if outbox is not None:
        channel.flushed = channel.loop.turn_time
        for wake in outbox.waiters or ():
            wake()


def put(channel: Channel, data: Any) -> None:
    """Send `data` now, or cork it while a received chunk is worked through; what the kernel does not take
    is kept. See `send_failed` for a connection that is lost."""
    outbox, transport, size = channel.outbox, channel.transport, len(data)
    plain = channel.plain is not None  # a stream that has not failed
    corked = None if outbox is None else outbox.corked
    if corked is not None and size >= _COALESCED:
        flush(channel)  # a large one goes by itself, without a copy
    if outbox is not None and outbox.rest is not None:
        outbox.rest = b"".join((outbox.rest, data))
        return
    gathers = corked is not None or (channel.inbox._chunk and (plain or not transport.datagram))
    # A failure is told at each write.
    if gathers and size < _COALESCED and (plain or transport.failure is None):
        if corked is None:
            corked = cork(channel)
        corked += data
        if len(corked) >= _COALESCED:
            flush(channel)
        return
    try:
        sent = transmit(channel, data if size <= _SEND_SIZE else memoryview(data)[:_SEND_SIZE])
    except OSError as error:
        send_failed(channel, error)
        return
    if sent < 0:  # a datagram, which may be empty, was not taken
        of(channel).rest = bytes(data)
    elif sent < size:
        of(channel).rest = kept(memoryview(data)[sent:])
    elif not plain and transport.unflushed:
        of(channel).rest = b""


def cork(channel: Channel) -> bytearray:
    """Let what is written from here on gather, until `flush`."""
    outbox = of(channel)
    if outbox.corked is None:
        outbox.corked = bytearray()
    return outbox.corked


def transmit(channel: Channel, data: Any) -> int:
    """One send: how many bytes were taken, 0 for none, -1 for a datagram that was not. Raises OSError."""
    plain = channel.plain
    try:
        sent: int = plain.send(data, _NO_SIGNAL) if plain is not None else channel.transport.send(data)
    except BlockingIOError:
        return 0
    if sent > 0:
        channel.bytes_sent += sent
        channel.io_start = channel.loop.turn_time
        if channel.speeds:
            speed.sample(channel)
    return sent


def flush(channel: Channel) -> bool:
    """Send what was corked and what was left; whether the kernel has taken the last byte, or never will."""
    outbox, transport = channel.outbox, channel.transport
    if outbox is None:
        return True
    corked, outbox.corked = outbox.corked, None
    if corked:
        outbox.rest = corked if outbox.rest is None else b"".join((outbox.rest, corked))
    if outbox.rest is not None:
        view = memoryview(outbox.rest)
        done = True
        try:
            # One send a step: after a partial one the next mostly says "not now", and where the peer reads
            # as fast as we send, the others have their turn in between.
            sent = transmit(channel, view[:_SEND_SIZE]) if len(view) or transport.datagram else 0
            if sent < 0:
                return False
            view = view[sent:]
            before = transport.unflushed
            if before:
                done = transport.flush()
                if done or transport.unflushed != before:
                    channel.io_start = channel.loop.turn_time
        except OSError as error:
            send_failed(channel, error)
        else:
            outbox.rest = None if done and not len(view) else kept(view)
            if outbox.rest is not None:
                return False
    if outbox.posted:
        posted.flush(channel)
        return not outbox.holds
    if outbox.source is None:
        drop(channel)
    return True


def kept(rest: memoryview) -> Any:
    """What is kept until the kernel takes more: a view, as what is large would be copied each time; a copy
    of what its writer may change, and of the last bytes, which does not keep all the others."""
    whole = rest.obj
    few = type(whole) is not bytes or (len(rest) <= _COALESCED and 2 * len(rest) < len(whole))
    return bytes(rest) if few else rest


def lets_start(channel: Channel, following: Operation | None) -> bool:
    """Whether what comes next (None: the end) need not wait for bytes to leave; they are tried."""
    outbox = channel.outbox
    if outbox is None:
        return True
    if outbox.posted and outbox.rest is None and (following is None or following._after_posts):
        posted.hold(channel)
        return flush(channel)
    return has_left(channel)


def has_left(channel: Channel) -> bool:
    """Whether nothing waits for the kernel; what was corked is tried, what was refused is not tried again."""
    return not is_refused(channel) and flush(channel)


def is_refused(channel: Channel) -> bool:
    """Whether the kernel has refused something that still waits."""
    outbox = channel.outbox
    return outbox is not None and (outbox.rest is not None or outbox.holds > 0)


def send_failed(channel: Channel, error: OSError) -> None:
    """Nothing can be sent any more. Whoever reads gets what had arrived and then the error; until then
    what is to be written is dropped. Where nothing had arrived the error is raised here."""
    outbox, transport = channel.outbox, channel.transport
    if outbox is not None:
        outbox.rest = outbox.corked = None
        if not transport.datagram:
            outbox.posted, outbox.posted_size, outbox.holds = None, 0, 0
        if outbox.source is None and not outbox.posted:
            drop(channel)
    if transport.datagram:
        raise io_error(channel, error, SendError, "writing") from error
    if transport.failure is None:
        transport = BrokenTransport(transport, error)
        channel.set_transport(transport)
    arrived = channel.inbox._chunk or transport.has_more
    if channel.task is not None and channel.task.is_sending():
        transport.met = True  # where it is awaited; what had arrived can be read all the same
        if arrived:
            raise io_error(channel, transport.failure, SendError, "writing") from transport.failure
    if not (arrived and transport.drop((channel.bytes_received, len(channel.inbox)))):
        raise broken(channel)


def broken(channel: Channel) -> NetworkSocketError:
    """Why nothing can be sent any more, when what had arrived has been delivered or nobody reads it: the
    peer's own word if it left one (a TLS alert)."""
    transport = channel.transport
    return io_error(channel, transport.give_up(), _KINDS[transport.phase], transport.phase)


def drop_source(channel: Channel) -> None:
    """Nothing more is pulled of the iterable."""
    outbox = channel.outbox
    if outbox is not None:
        outbox.source = None
        if outbox.rest is None and outbox.corked is None and not outbox.posted:
            drop(channel)


def send_close_notify(channel: Channel) -> bool:
    """Send TLS's close_notify; whether the kernel has taken it, or never will."""
    try:
        if channel.transport.shutdown_write():
            return True
    except OSError:  # nobody is there to hear it
        return True
    of(channel).rest = b""
    return False


def flush_transport(channel: Channel) -> bool:
    """Send what lies between us and the kernel (TLS); whether nothing is left."""
    try:
        return bool(channel.transport.flush())
    except OSError as error:
        send_failed(channel, error)
        return True


def send_out_of_band(channel: Channel, data: bytes) -> bool:
    """Send the out-of-band byte once all that was queued before has left; False: not now."""
    if not flush(channel):
        return False
    try:
        sent = channel.transport.send_out_of_band(data)
    except OSError as error:
        send_failed(channel, error)
        return True
    channel.bytes_sent += sent
    return bool(sent)
