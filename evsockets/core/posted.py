"""Posted bytes (`talk.post`): a queue behind the send buffer for which no operation waits."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..transports.stream import SEND_SIZE
from . import activities, interest, outbox
from .states import Phase

if TYPE_CHECKING:
    from .channel import Channel
    from .loop import Loop
    from .outbox import Outbox

# By a name of this module's own it costs compiled code no look-up.
_CONNECTED = Phase.CONNECTED
# So much is joined into one send.
_JOINED = 64 * 1024
# What one turn sends of it before the others have their turn.
_PER_TURN = 1024 * 1024


def post(channel: Channel, data: bytes) -> None:
    """Queue `data` behind all that was written and posted before; it leaves at the end of the turn, or, when
    it has become much, as soon as the handler or conversation running now has returned: within one turn two
    hundred can say more to somebody than may wait for him."""
    box = outbox.of(channel)
    if not box.posted:
        _begin(channel, box)
    assert box.posted is not None
    box.posted.append(data)
    before = box.posted_size
    box.posted_size += len(data)
    if before < _JOINED <= box.posted_size:
        channel.loop.flush_soon(channel, _flush_much)


def _flush_much(channel: Channel) -> None:
    stepper = channel.stepper
    if channel.phase is _CONNECTED and stepper is not None and stepper._phase != "handshaking":
        flush(channel)


def _begin(channel: Channel, box: Outbox) -> None:
    """The first one waits."""
    loop = channel.loop
    box.posted = deque()
    loop.posters.append(channel)
    channel.indirect = True  # what remains of it has the descriptor watched for writing
    if channel.stepper is not None and not channel.stepper._timed:
        channel.io_start = loop.turn_time
    loop.wake_if_hosted()


def hold(channel: Channel) -> None:
    """What has been posted leaves before anything else goes on."""
    box = channel.outbox
    if box is not None and box.posted:
        box.holds = len(box.posted)


def write_behind(channel: Channel, data: bytes) -> None:
    """Queue what is written behind what was posted; nothing goes on before both have left."""
    post(channel, data)
    hold(channel)
    outbox.flush(channel)


def break_off(channel: Channel) -> None:
    """A write is broken off: what the kernel has not taken of it stays queued, as if it had been posted."""
    box = channel.outbox
    if box is None:
        return
    rest, box.rest, box.holds, box.source = box.rest, None, 0, None
    corked, box.corked = box.corked, None
    left = [bytes(part) for part in (rest, corked) if part is not None]
    if left:
        if not box.posted:
            _begin(channel, box)
        assert box.posted is not None
        box.posted.extendleft(reversed(left))
        box.posted_size += sum(map(len, left))
    if not box.posted:
        outbox.drop(channel)


def flush(channel: Channel) -> bool:
    """Send what was posted, as far as the kernel takes it; whether nothing is left. See `outbox.send_failed`
    for a connection that is lost."""
    box, transport = channel.outbox, channel.transport
    if box is None or not box.posted:
        return True
    queue = box.posted
    single = len(queue) == 1 and box.rest is None and box.corked is None and box.source is None
    if single and channel.plain is not None:
        return _flush_one(channel, box, queue[0])
    if box.corked:  # was written before
        queue.appendleft(bytes(box.corked))
        box.posted_size += len(box.corked)
        box.corked = None
        box.holds += 1
    share = _PER_TURN
    while queue and share > 0:
        if box.rest is not None or (box.source is not None and not box.holds):
            return False
        data = queue[0] if transport.datagram else _join(box)
        try:
            if len(data) or transport.datagram:
                one = data if len(data) <= SEND_SIZE else memoryview(data)[:SEND_SIZE]
                sent = outbox.transmit(channel, one)
                if sent < 0 or (len(data) and not sent):
                    return False
            else:  # TLS has the last of it
                sent = 0
                if not transport.flush():
                    return False
        except OSError as error:
            if transport.datagram:
                _taken(box, len(data))
            outbox.send_failed(channel, error)
            return True
        share -= sent
        if sent < len(data) or (transport.unflushed and not transport.datagram):
            box.posted_size -= sent
            queue[0] = outbox.kept(memoryview(data)[sent:])
            return False
        _taken(box, sent)
    if queue:
        channel.step_next_turn()
        return False
    if box.source is None and box.rest is None:
        outbox.drop(channel)
    return True


def _flush_one(channel: Channel, box: Outbox, data: Any) -> bool:
    """The same of a single post to a plain stream, with nothing else to leave: nearly every one."""
    try:
        sent = outbox.transmit(channel, data if len(data) <= SEND_SIZE else memoryview(data)[:SEND_SIZE])
    except OSError as error:
        outbox.send_failed(channel, error)
        return True
    if sent == len(data):
        _taken(box, sent)
        outbox.drop(channel)
        return True
    if not sent:
        return False
    box.posted_size -= sent
    box.posted[0] = outbox.kept(memoryview(data)[sent:])  # type: ignore[index]
    return False


def _join(box: Any) -> Any:
    """The head of the queue, small ones joined."""
    queue = box.posted
    size = count = 0
    for chunk in islice(queue, box.holds or None):
        size += len(chunk)
        if count and size > _JOINED:
            break
        count += 1
    if count > 1:
        joined = b"".join([queue.popleft() for _ in range(count)])
        queue.appendleft(joined)
        if box.holds:
            box.holds -= count - 1
    return queue[0]


def _taken(box: Any, size: int) -> None:
    """The head of the queue has left."""
    box.posted.popleft()
    box.posted_size -= size
    if box.holds:
        box.holds -= 1


def unsent(channel: Channel) -> int:
    """How many bytes that were written or posted the kernel has yet to take."""
    box, transport = channel.outbox, channel.transport
    if box is None:
        return 0
    size = box.posted_size
    if box.rest is not None:
        size += len(box.rest)
    if box.corked is not None:
        size += len(box.corked)
    # TLS's own before anything was sent is the end of the handshake.
    if channel.plain is None and channel.bytes_sent and (box.rest is not None or box.posted):
        size += transport.unflushed
    return size


def flush_all(loop: Loop) -> None:
    """At the end of a turn what was posted in it leaves."""
    while loop.posters and not loop.stopping:
        channels, loop.posters = loop.posters, []
        for channel in channels:
            if channel.outbox is None:  # it has left with what the socket did itself
                continue
            if channel.phase is _CONNECTED and channel.stepper is not None:
                loop.current = channel
                try:
                    if channel.stepper is activities.YIELDED:
                        flush(channel)
                    else:
                        interest.update(channel)
                except BaseException as error:
                    loop.handle_error(channel, error)
            if loop.interrupt and loop.end_cancelled():
                return
    loop.current = None
