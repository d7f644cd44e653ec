"""The outbox: what was written or posted and has not left, in one queue; it is sent, and counted, here."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..errors import EngineError, NetworkSocketError, SendError
from ..transports.broken import BrokenTransport
from ..transports.stream import NO_SIGNAL, SEND_SIZE
from ..validation import as_bytes
from . import activities, interest, speed
from .deadlines import INFINITY
from .failure import broken, io_error
from .states import Phase

if TYPE_CHECKING:
    from .channel import Channel
    from .loop import Loop
    from .operation import Operation

# What may gather while the frames of one received chunk are worked through, and what is joined into one send.
_JOINED = 64 * 1024
# What one turn sends before the others have their turn, and what it sends of an iterable.
_PER_TURN = SEND_SIZE
_PULLED_PER_TURN = 256 * 1024
# So many items of an iterable are pulled at once, for some may be empty.
_ITEMS = 1024
# Read by these names they cost compiled code no look-up.
_NO_SIGNAL, _SEND_SIZE, _CONNECTED = NO_SIGNAL, SEND_SIZE, Phase.CONNECTED


class OutOfBand(bytes):
    """TCP's urgent byte, in its place among the others; it is sent by itself."""


class Outbox:
    """Made when something could not leave at once, dropped when empty.

    `queue`: bytes, iterators of bytes, and out-of-band bytes, in the order in which they leave; `size` of the
    bytes. b"" on a stream: TLS has taken what was before it, and the kernel has yet to. The first `holds` of
    the queue were written, and no operation goes on before they have left; the others were posted, and leave
    beside whatever the socket does. `corked`: what is written gathers, untried, while operations run ahead of
    it, to leave in one send at the end of the received chunk. `waiters` are woken when it is dropped.
    `retry_at`: when to send again what nothing tells the room for.
    """

    __slots__ = ("corked", "holds", "queue", "retry_at", "size", "waiters")

    queue: deque[Any]
    size: int
    holds: int
    corked: bool
    retry_at: float
    waiters: list[Callable[[], object]] | None


def of(channel: Channel) -> Outbox:
    """The channel's outbox, made if there is none."""
    outbox = channel.outbox
    if outbox is None:
        outbox = channel.outbox = Outbox.__new__(Outbox)  # compiled, cheaper than a call
        outbox.queue = deque()
        outbox.size = outbox.holds = 0
        outbox.corked = False
        outbox.retry_at = INFINITY
        outbox.waiters = None
    return outbox


def drop(channel: Channel) -> None:
    """Nothing is left in the outbox, or nothing of it will leave: who waited for that is woken."""
    outbox, channel.outbox = channel.outbox, None
    if outbox is not None:
        channel.flushed = channel.loop.turn_time
        for wake in outbox.waiters or ():
            wake()


# ---- what comes in -----------------------------------------------------------------------------------


def put(channel: Channel, data: Any) -> None:
    """Send `data` now, or let it gather while a received chunk is worked through; what the kernel does not
    take is kept. See `send_failed` for a connection that is lost."""
    outbox, size, gathers = channel.outbox, len(data), _gathers(channel)
    if outbox is not None or (gathers and size < _JOINED):
        outbox = add(channel, data if isinstance(data, bytes) else bytes(data), size)
        outbox.corked = gathers
        if not gathers or outbox.size >= _JOINED:
            flush(channel)
        return
    try:
        taken = transmit(channel, data if size <= _SEND_SIZE else memoryview(data)[:_SEND_SIZE])
    except OSError as error:
        send_failed(channel, error)
        return
    if taken < size or (channel.plain is None and channel.transport.unflushed):
        keep(channel, data, taken)


def put_each(channel: Channel, items: Iterator[Any]) -> None:
    """The same of each of `items`, which are pulled as the kernel takes them."""
    gathers = _gathers(channel)
    outbox = add(channel, items, 0)
    outbox.corked = gathers
    while gathers and outbox.size < _JOINED and outbox.queue and outbox.queue[-1] is items:
        gathers = _pull(channel, outbox, len(outbox.queue) - 1)
    if not gathers or outbox.size >= _JOINED or not outbox.queue:
        flush(channel)


def _gathers(channel: Channel) -> bool:
    """Whether what is written now leaves with others, at the end of the received chunk."""
    outbox, transport = channel.outbox, channel.transport
    if channel.plain is None and (transport.datagram or transport.failure is not None):
        return False  # a failure is told at each write
    if outbox is not None and (outbox.corked or outbox.holds):
        return outbox.corked
    return bool(channel.inbox._chunk)


def add(channel: Channel, item: Any, size: int) -> Outbox:
    """Queue what is written behind all that was written and posted before: nothing goes on before all of it
    has left."""
    outbox = channel.outbox if channel.outbox is not None else of(channel)
    outbox.queue.append(item)
    outbox.size += size
    outbox.holds = len(outbox.queue)
    return outbox


def keep(channel: Channel, data: Any, taken: int = 0) -> None:
    """Queue what the kernel has not taken of `data`, which went before everything else."""
    rest = _kept(data, taken)
    add(channel, rest, len(rest))


def post(channel: Channel, data: bytes) -> None:
    """Queue `data` behind all that was written and posted before; it leaves at the end of the turn, or, when
    it has become much, as soon as the handler or conversation running now has returned: within one turn two
    hundred can say more to somebody than may wait for him."""
    outbox = of(channel)
    if outbox.holds == len(outbox.queue):
        _begin_posts(channel)
    outbox.queue.append(data)
    before = outbox.size
    outbox.size += len(data)
    if before < _JOINED <= outbox.size:
        channel.loop.flush_soon(channel, _send_posts)


def _begin_posts(channel: Channel) -> None:
    """The first one waits for the end of the turn, or for the kernel."""
    loop = channel.loop
    loop.posters.append(channel)
    channel.indirect = True  # what remains of it has the descriptor watched for writing
    if channel.stepper is not None and not channel.stepper._timed:
        channel.io_start = loop.turn_time
    loop.wake_if_hosted()


def send_posts(loop: Loop) -> None:
    """At the end of a turn what was posted in it leaves."""
    while loop.posters and not loop.stopping:
        channels, loop.posters = loop.posters, []
        for channel in channels:
            if channel.outbox is not None:  # else it has left with what the socket did itself
                loop.call_for(channel, _send_posts, channel)
            if loop.interrupt and loop.end_cancelled():
                return
    loop.current = None


def _send_posts(channel: Channel) -> None:
    if channel.phase is _CONNECTED and channel.stepper is activities.YIELDED:
        flush(channel)
    elif channel.phase is _CONNECTED:
        interest.update(channel)


# ---- what leaves -------------------------------------------------------------------------------------


def transmit(channel: Channel, data: Any) -> int:
    """One send: how many bytes were taken, 0 for none, -1 for a datagram that was not. Raises OSError."""
    plain = channel.plain
    try:
        if type(data) is OutOfBand:
            taken: int = channel.transport.send_out_of_band(data)
        else:
            taken = plain.send(data, _NO_SIGNAL) if plain is not None else channel.transport.send(data)
    except BlockingIOError:
        return 0
    if taken > 0:
        sent(channel, taken)
    return taken


def sent(channel: Channel, size: int) -> None:
    """Bytes have left: they are counted, which is progress."""
    channel.bytes_sent += size
    channel.io_start = channel.loop.turn_time
    if channel.speeds:
        speed.sample(channel)


def flush(channel: Channel) -> bool:
    """Send what the kernel takes, and this turn's share allows; whether all has left, or never will, that an
    operation waits for."""
    outbox, transport = channel.outbox, channel.transport
    if outbox is None:
        return True
    outbox.corked = False
    queue, plain, total = outbox.queue, channel.plain is not None, 0
    while queue and total < _PER_TURN:
        data: Any = queue[0]
        kind = type(data)
        if kind is not bytes and kind is not memoryview and kind is not OutOfBand:
            if transport.failure is not None:  # nothing is pulled any more
                send_failed(channel, transport.failure)
                return True
            if total >= _PULLED_PER_TURN or not _pull(channel, outbox):
                break
            continue
        if len(queue) > 1 and (plain or not transport.datagram):
            data = _joined(outbox)
        size, waited, taken = len(data), 0 if plain else transport.unflushed, 0
        try:
            if size or transport.datagram:
                taken = transmit(channel, data if size <= _SEND_SIZE else memoryview(data)[:_SEND_SIZE])
            else:
                transport.flush()
        except OSError as error:
            send_failed(channel, error)
            return True
        unflushed = 0 if plain else transport.unflushed
        if unflushed != waited:
            channel.io_start = channel.loop.turn_time
        if taken < size or unflushed:
            # After a partial send the next mostly says "not now", and where the peer reads as fast as we send
            # the others have their turn in between.
            if taken > 0:
                queue[0] = _kept(data, taken)
                outbox.size -= taken
            break
        total += taken
        _leave(outbox, taken)
    if not queue:
        drop(channel)
        return True
    return not outbox.holds


def _pull(channel: Channel, outbox: Outbox, place: int = 0) -> bool:
    """Have the iterable at this place put its next items before itself; whether that may go on."""
    queue, items, size = outbox.queue, list[bytes](), 0
    datagram, ended = channel.transport.datagram, True
    try:
        for number, item in enumerate(queue[place], 1):
            data = as_bytes(item)
            if data or datagram:
                items.append(data)
                size += len(data)
            if size >= _JOINED or number == _ITEMS or (datagram and items):
                ended = False
                break
    except BaseException:
        _replace(outbox, place, items, size, True)
        with contextlib.suppress(NetworkSocketError, EngineError):
            flush(channel)  # what came before is sent; the iterable's own error counts
        raise
    _replace(outbox, place, items, size, ended)
    return bool(ended or items) and not (channel.cancelled or channel.loop.stopping)


def _replace(outbox: Outbox, place: int, items: list[bytes], size: int, ended: bool) -> None:
    """Put `items` before the iterable, or in its place when it has ended."""
    queue = outbox.queue
    queue.rotate(-place)
    if ended:
        queue.popleft()
    queue.extendleft(reversed(items))
    queue.rotate(place)
    outbox.holds += len(items) - ended
    outbox.size += size


def _leave(outbox: Outbox, size: int) -> None:
    """The first of the queue has left, or is left out."""
    outbox.queue.popleft()
    outbox.size -= size
    if outbox.holds:
        outbox.holds -= 1


def _joined(outbox: Outbox) -> Any:
    """The first of the queue, small ones joined."""
    queue = outbox.queue
    size = count = 0
    for item in islice(queue, outbox.holds or None):
        if (type(item) is not bytes and type(item) is not memoryview) or (count and len(item) >= _JOINED):
            break
        count += 1
        size += len(item)
        if size >= _JOINED:
            break
    if count > 1:
        if count == len(queue):
            joined = b"".join(queue)
            queue.clear()
        else:
            joined = b"".join([queue.popleft() for _ in range(count)])
        queue.appendleft(joined)
        if outbox.holds:
            outbox.holds -= count - 1
    return queue[0]


def _kept(data: Any, taken: int) -> Any:
    """What is kept of `data` until the kernel takes more: a view, as what is large would be copied each time;
    a copy of what its writer may change, and of the last bytes, which does not keep all the others."""
    if taken <= 0 and isinstance(data, bytes):
        return data
    rest = memoryview(data)[max(0, taken):]
    whole = rest.obj
    few = type(whole) is not bytes or (len(rest) <= _JOINED and 2 * len(rest) < len(whole))
    return bytes(rest) if few else rest


# ---- what waits for it -------------------------------------------------------------------------------


def is_refused(channel: Channel) -> bool:
    """Whether the kernel has refused something that was written and still waits."""
    outbox = channel.outbox
    return outbox is not None and outbox.holds > 0 and not outbox.corked


def has_left(channel: Channel) -> bool:
    """Whether nothing that was written waits for the kernel; what was refused is not tried again."""
    outbox = channel.outbox
    return outbox is None or not outbox.holds or (outbox.corked and flush(channel))


def lets_start(channel: Channel, outbox: Outbox, following: Operation | None) -> bool:
    """Whether what comes next (None: the end) need not wait for bytes to leave."""
    if outbox.holds and not outbox.corked:
        return False
    if following is None or following._after_posts:
        outbox.holds = len(outbox.queue)
    return flush(channel)


def is_empty(channel: Channel) -> bool:
    """Whether nothing waits, not even what was posted; it is tried."""
    flush(channel)
    return channel.outbox is None


def unsent(channel: Channel) -> int:
    """How many bytes that were written or posted the kernel has yet to take."""
    outbox = channel.outbox
    if outbox is None:
        return 0
    # TLS's own before anything was sent is the end of the handshake.
    own: int = channel.transport.unflushed if channel.plain is None and channel.bytes_sent else 0
    return outbox.size + own


def cut(channel: Channel) -> None:
    """Nothing more is pulled of an iterable."""
    outbox = channel.outbox
    if outbox is None:
        return
    left = deque([item for item in outbox.queue if isinstance(item, bytes | memoryview)])
    outbox.holds -= len(outbox.queue) - len(left)
    outbox.queue = left
    if not left:
        drop(channel)


def break_off(channel: Channel) -> None:
    """A write is broken off: what the kernel has not taken of it stays queued, as if it had been posted."""
    cut(channel)
    outbox = channel.outbox
    if outbox is not None:
        outbox.holds, outbox.corked = 0, False
        _begin_posts(channel)


# ---- a connection that is lost -----------------------------------------------------------------------


def send_failed(channel: Channel, error: OSError) -> None:
    """Nothing can be sent any more. Whoever reads gets what had arrived and then the error; until then
    what is to be written is dropped. Where nothing had arrived the error is raised here."""
    outbox, transport = channel.outbox, channel.transport
    if transport.datagram:
        if outbox is not None:  # the others may leave
            _leave(outbox, len(outbox.queue[0]))
            if not outbox.queue:
                drop(channel)
        raise io_error(channel, error, SendError, "writing") from error
    drop(channel)
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
