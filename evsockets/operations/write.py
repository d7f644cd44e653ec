"""Write bytes, or the items of an iterable as fast as the peer receives."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..core import outbox
from ..core.failure import socket_error
from ..core.operation import DONE, Operation
from ..core.outbox import OutOfBand
from ..engines.base import WRITE
from ..errors import UnsupportedOperationError
from ..events import WriteEvent
from ..recycled import recycled
from ..validation import as_bytes

if TYPE_CHECKING:
    from ..core.channel import Channel
    from ..typing import Data

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
        if type(data) is not bytes and data is not None:
            with contextlib.suppress(TypeError):
                data = memoryview(data).cast("B")
        if data is None:
            pass
        elif self.out_of_band:
            outbox.put(ch, self._urgent(ch, data))
        elif type(data) is not bytes and type(data) is not memoryview:
            outbox.put_each(ch, iter(data))
        elif len(data) or ch.outbox is not None or ch.transport.datagram:
            outbox.put(ch, data)
        return _DONE

    def _urgent(self, channel: Channel, data: Iterable[Any]) -> OutOfBand:
        """The byte to be sent, if there is one and it can be."""
        few = b""
        for item in (data,) if type(data) in (bytes, memoryview) else data:
            few += as_bytes(item)
            if len(few) > 1:
                break
        transport = channel.transport
        if transport.datagram or channel.tls is not None or not transport.supports_out_of_band:
            why = "out-of-band data needs a plain TCP connection,"
        elif len(few) != 1:
            why = f"TCP sends one out-of-band byte at a time, got {len(few)},"
        else:
            return OutOfBand(few)
        raise socket_error(UnsupportedOperationError, channel, why, "writing")

    def __repr__(self) -> str:
        size = f"{len(self._data)} bytes" if isinstance(self._data, bytes) else type(self._data).__name__
        return f"<WriteOperation {size}>"


recycled(WriteOperation)
