"""Write bytes, or the items of an iterable as fast as the peer receives."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..core import outbox, posted
from ..core.failure import socket_error
from ..core.operation import DONE, Operation
from ..engines.base import WRITE
from ..errors import EngineError, NetworkSocketError, UnsupportedOperationError
from ..events import WriteEvent
from ..recycled import recycled

if TYPE_CHECKING:
    from ..core.channel import Channel
    from ..typing import Data

# What one turn sends of an iterable before the others have their turn.
_BYTES_PER_TURN = 256 * 1024
_BYTES_PER_SEND = 64 * 1024
_CHUNKS_PER_SEND = 1024
# Read by this name it costs compiled code no look-up.
_DONE = DONE


def check_data(data: Any) -> Any:
    """`data` if it can be written; TypeError otherwise."""
    if data is None or isinstance(data, bytes | bytearray | memoryview):
        return data
    if isinstance(data, str):
        raise TypeError(f"data must be bytes, got the str {data[:40]!r}: encode it, as in data.encode()")
    try:
        memoryview(data)
    except TypeError:
        if isinstance(data, Iterable):
            return data
        raise TypeError(
            f"data must be bytes-like or an iterable of bytes-like, got {type(data).__name__}"
        ) from None
    return data


def as_bytes(chunk: Any) -> bytes:
    """What an iterable gave, as bytes; TypeError if it is not bytes-like."""
    if type(chunk) is bytes:
        return chunk
    try:
        return bytes(memoryview(chunk).cast("B"))
    except TypeError:
        raise TypeError(f"the iterable must yield bytes-like, got {type(chunk).__name__}") from None


class WriteOperation(Operation):
    """Writes `data`; WRITE is given once, before the first byte is sent, and its handler may set `data`.

    `data`: bytes-like, or any iterable of bytes-like, iterated as fast as the peer receives. `out_of_band`:
    send one out-of-band byte (TCP urgent data). `then`: the next operation, unless a handler sets another.
    """

    __slots__ = ("_data", "_then", "out_of_band")

    interest = WRITE
    _phase = "writing"
    _replaceable = False
    _heeds_next = True

    def __init__(
        self, data: Data | None = None, *, out_of_band: bool = False, then: Operation | None = None
    ) -> None:
        self._data: Any = data if type(data) is bytes else check_data(data)
        self.out_of_band = out_of_band
        self.then = then

    @property
    def then(self) -> Operation | None:
        """The next operation, unless a handler sets another. TypeError unless an operation or None."""
        return self._then

    @then.setter
    def then(self, value: Operation | None) -> None:
        if value is not None and not isinstance(value, Operation):
            raise TypeError(f"then must be an operation, got {value!r}")
        self._then = value

    @property
    def data(self) -> Data | None:
        """The data to write; None for nothing."""
        data: Data | None = self._data
        return data

    @data.setter
    def data(self, value: Data | None) -> None:
        self._data = check_data(value)

    def _runs_ahead(self) -> bool:
        return True

    # Like `Operation.start`, also in its parameters: compiled, a user's own is called with no others.
    def start(self, channel: Channel) -> Operation | None:
        """Call the WRITE handler and send; the next operation is in `channel.next`."""
        ch = channel
        ch.next = self._then
        if ch.loop.delayed:
            ch.mark_active()
        handler = ch.dispatch.write
        if handler is not None:
            if ch.task is None:
                handler(WriteEvent(ch, self))
            else:
                ch.task.tell(handler, WriteEvent(ch, self))
            if ch.cancelled or ch.loop.stopping:
                return None
        return self._send(ch)

    def _send(self, channel: Channel) -> Operation | None:
        ch = channel
        data = self._data
        if data is None:
            return _DONE
        chunks: Iterable[Any] | None = None
        if type(data) is not bytes:
            try:
                data = memoryview(data).cast("B")
            except TypeError:
                chunks = data
        if self.out_of_band:
            chunks = self._out_of_band(ch, _few_bytes(chunks) if chunks is not None else bytes(data))
        box = ch.outbox
        if box is not None and box.posted:
            if chunks is None:
                posted.write_behind(ch, bytes(data))
                return _DONE
            posted.hold(ch)
            if not outbox.flush(ch):
                box.source = iter(chunks)
                return self
        if chunks is not None:
            outbox.of(ch).source = iter(chunks)
            return self._pump(ch)
        if box is not None and box.corked and len(data) >= _BYTES_PER_SEND and not outbox.flush(ch):
            # A large one behind what the kernel does not take yet waits as it is, not joined to it; what may
            # be changed by whoever wrote it is copied.
            outbox.of(ch).source = iter((bytes(data),))
            return self._pump(ch)
        if len(data) or ch.transport.datagram:
            outbox.put(ch, data)
        return _DONE

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return self._pump(channel) if outbox.flush(channel) else self

    def _pump(self, channel: Channel) -> Operation | None:
        """Pull from the iterable while the peer accepts and this turn's share lasts."""
        box = channel.outbox
        if box is None or box.source is None:
            return self
        limit = channel.bytes_sent + _BYTES_PER_TURN
        datagram = channel.transport.datagram
        while not outbox.is_refused(channel) and channel.bytes_sent <= limit:
            failure = channel.transport.failure
            if failure is not None:  # nothing leaves any more: nothing is pulled
                outbox.send_failed(channel, failure)
                outbox.drop_source(channel)
                return DONE
            parts: list[bytes] = []
            size = 0
            ended = False
            # Small chunks leave together; each datagram leaves alone.
            for _ in range(_CHUNKS_PER_SEND):
                try:
                    chunk = as_bytes(next(box.source))
                except StopIteration:
                    ended = True
                    break
                except BaseException:
                    if parts:  # what came before is sent; the iterable's own error counts
                        with contextlib.suppress(NetworkSocketError, EngineError):
                            outbox.put(channel, b"".join(parts))
                    raise
                if datagram:
                    outbox.put(channel, chunk)
                    if box.rest is not None:
                        break
                elif chunk:
                    if parts and len(chunk) >= _BYTES_PER_SEND:  # by itself, without a copy
                        outbox.put(channel, b"".join(parts))
                        parts.clear()
                    parts.append(chunk)
                    size += len(chunk)
                    if size >= _BYTES_PER_SEND:
                        break
            if parts:
                outbox.put(channel, parts[0] if len(parts) == 1 else b"".join(parts))
            if ended:
                outbox.drop_source(channel)
                return DONE
            if channel.cancelled or channel.loop.stopping:
                return self
            if not parts:
                break
        if not outbox.is_refused(channel):
            channel.step_next_turn()
        return self

    def _out_of_band(self, channel: Channel, data: bytes) -> Iterator[bytes]:
        """Checks `data`; the iterator sends it past the queue, once what was queued before has left."""
        transport = channel.transport
        if transport.datagram or channel.tls is not None or not transport.supports_out_of_band:
            why = "out-of-band data needs a plain TCP connection,"
        elif len(data) != 1:
            why = f"TCP sends one out-of-band byte at a time, got {len(data)},"
        else:
            return _out_of_band_byte(channel, data)
        raise socket_error(UnsupportedOperationError, channel, why, "writing")

    def _abandon(self, channel: Channel) -> None:
        outbox.drop_source(channel)

    def __repr__(self) -> str:
        size = f"{len(self._data)} bytes" if isinstance(self._data, bytes) else type(self._data).__name__
        return f"<WriteOperation {size}>"


recycled(WriteOperation)


def _few_bytes(chunks: Iterable[Any]) -> bytes:
    """The bytes of an iterable, no more of them than it takes to see that they are too many."""
    data = b""
    for chunk in chunks:
        data += as_bytes(chunk)
        if len(data) > 1:
            break
    return data


def _out_of_band_byte(channel: Channel, data: bytes) -> Iterator[bytes]:
    """Yields nothing to send: the byte goes past the queue, once what was queued before has left."""
    while not outbox.send_out_of_band(channel, data):
        yield b""
