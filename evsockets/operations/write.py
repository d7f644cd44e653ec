"""Write bytes, or whatever an iterable gives as the peer accepts it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..engines.base import WRITE
from ..errors import NetworkSocketError, UnsupportedOperationError
from ..events import WriteEvent
from .base import Operation, repeated

if TYPE_CHECKING:
    from ..channel import Channel

# What one turn sends of an iterable before the others have their turn.
_BYTES_PER_TURN = 256 * 1024
_BYTES_PER_SEND = 64 * 1024
_CHUNKS_PER_SEND = 256


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
    """WRITE fires once, before the first byte; its handler may set `data`.

    `data`: bytes-like, or any iterable of bytes-like, pulled as the peer accepts. `out_of_band`: send
    one urgent byte (TCP). `then`: what comes next unless a handler says otherwise.
    """

    __slots__ = ("_data", "_then", "out_of_band")

    interest = WRITE
    phase = "writing"
    runs_ahead = True
    steady = True

    def __init__(
        self, data: Any = None, *, out_of_band: bool = False, then: Operation | None = None
    ) -> None:
        self._data = data if type(data) is bytes else check_data(data)
        self.out_of_band = out_of_band
        self._then: Operation | None = None
        if then is not None:
            self.then = then

    @property
    def then(self) -> Operation | None:
        """What comes next unless a handler says otherwise."""
        return self._then

    @then.setter
    def then(self, value: Operation | None) -> None:
        if value is not None and not isinstance(value, Operation):
            raise TypeError(f"then must be an operation, got {value!r}")
        self._then = value

    @property
    def data(self) -> Any:
        """What is (to be) written; None for nothing."""
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        self._data = check_data(value)

    def start(self, channel: Channel) -> Operation | None:
        handler = channel.dispatch.write
        following = self._then
        if channel.executor.delayed:
            channel.executor.actors.add(channel)
        if handler is not None:
            event = WriteEvent(channel, self)
            handler(event)
            following = event._next
            if channel.cancelled or channel.executor.stopping:
                return None
        return self.begin(channel, following)

    def begin(self, channel: Channel, following: Operation | None) -> Operation | None:
        """WRITE has been told: send, and go on with `following`."""
        if following is self:
            following = repeated(channel, self)
        data = self._data
        if type(data) is bytes:
            if self.out_of_band:
                return self._urgent(channel, data, following)
            if data or channel.transport.datagram:
                channel.put(data)
            return following
        if data is None:
            return following
        try:
            view: Any = memoryview(data).cast("B")
        except TypeError:
            if self.out_of_band:
                return self._urgent(channel, _few_bytes(data), following)
            channel.source = iter(data)
            channel.after = following
            return self.pump(channel)
        if self.out_of_band:
            return self._urgent(channel, bytes(view), following)
        if view.nbytes or channel.transport.datagram:
            channel.put(view)
        return following

    def step(self, channel: Channel, mask: int) -> Operation | None:
        if channel.unsent is not None and not channel.flush():
            return self
        return self.pump(channel)

    def pump(self, channel: Channel) -> Operation | None:
        """Pull from the iterable while the peer accepts and this turn's share lasts."""
        source = channel.source
        if source is None:
            return self
        limit = channel.bytes_sent + _BYTES_PER_TURN
        datagram = channel.transport.datagram
        while channel.unsent is None and channel.bytes_sent <= limit:
            parts: list[bytes] = []
            size = 0
            ended = False
            # Small chunks leave together; each datagram leaves alone.
            for _ in range(_CHUNKS_PER_SEND):
                try:
                    chunk = as_bytes(next(source))
                except StopIteration:
                    ended = True
                    break
                except BaseException:
                    if parts:  # what came before is sent
                        with contextlib.suppress(NetworkSocketError):  # the iterable's own counts
                            channel.put(b"".join(parts))
                    raise
                if datagram:
                    channel.put(chunk)
                    if channel.unsent is not None:
                        break
                elif chunk:
                    parts.append(chunk)
                    size += len(chunk)
                    if size >= _BYTES_PER_SEND:
                        break
            if parts:
                channel.put(parts[0] if len(parts) == 1 else b"".join(parts))
            if ended:
                following = channel.after
                channel.source = channel.after = None
                return following
            if channel.cancelled or channel.executor.stopping:
                return self
            if not parts:
                break
        if channel.unsent is None:
            channel.again()
        return self

    def _urgent(self, channel: Channel, data: bytes, following: Operation | None) -> Operation | None:
        transport = channel.transport
        if transport.datagram or channel.tls is not None or not transport.supports_urgent:
            raise UnsupportedOperationError(
                f"{channel.metadata.address}: out-of-band data needs a plain TCP connection, while writing",
                address=channel.metadata.address,
            )
        if len(data) != 1:
            raise UnsupportedOperationError(
                f"{channel.metadata.address}: TCP sends one out-of-band byte at a time, got {len(data)}, "
                "while writing",
                address=channel.metadata.address,
            )
        channel.source = _urgent_byte(channel, data)
        channel.after = following
        return self.pump(channel)

    def abandon(self, channel: Channel) -> None:
        channel.source = channel.after = None

    def __repr__(self) -> str:
        size = f"{len(self._data)} bytes" if isinstance(self._data, bytes) else type(self._data).__name__
        return f"<WriteOperation {size}>"


class Told(Operation):
    """A write whose WRITE has been told already."""

    __slots__ = ("_following", "_write")

    interest = WRITE
    phase = "writing"
    runs_ahead = True

    def __init__(self, write: WriteOperation, following: Operation | None) -> None:
        self._write = write
        self._following = following

    def start(self, channel: Channel) -> Operation | None:
        channel.operation = self._write  # what waits from here on, if anything does
        following = self._write.begin(channel, self._following)
        return self if following is self._write else following

    def __repr__(self) -> str:
        return repr(self._write)


def _few_bytes(chunks: Iterable[Any]) -> bytes:
    """The bytes of an iterable, no more of them than it takes to see that they are too many."""
    data = b""
    for chunk in chunks:
        data += as_bytes(chunk)
        if len(data) > 1:
            break
    return data


def _urgent_byte(channel: Channel, data: bytes) -> Iterator[bytes]:
    """Yields nothing to send: the byte goes past the queue, once what was queued before has left."""
    while not channel.send_urgent(data):
        yield b""
