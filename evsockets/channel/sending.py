"""What leaves a socket: at once, gathered, or once the kernel takes more."""

from __future__ import annotations

import errno
import ssl
from typing import Any

from ..errors import DisconnectedError, NetworkSocketError, SendError
from ..transports.stream import SEND_SIZE
from .clocks import Clocks

_LOST = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ESHUTDOWN, errno.ENOTCONN})
# What may gather while the frames of one received chunk are worked through.
_GATHER = 64 * 1024


class Sending(Clocks):
    """The outgoing half of a channel."""

    __slots__ = ()

    def send(self, data: Any) -> int:
        """Send what the kernel takes now; the number of bytes taken, 0 for none.

        DisconnectedError when the connection was lost, SendError for other failures.
        """
        if (self.gather or self.unsent is not None) and not self.flush():
            return 0
        try:
            sent: int = max(0, self.transport.send(data))  # -1: a datagram was not taken
        except OSError as error:
            raise self.lost(error, SendError, "writing") from error
        if self.transport.unflushed:
            self.unsent = b""  # nothing goes on before TLS has given the kernel what it took
        self._sent(sent)
        return sent

    def _sent(self, count: int) -> None:
        if count:
            self.bytes_sent += count
            self.io_start = self.executor.moment
            if self.meters is not None:
                self.sample()

    def put(self, data: Any) -> None:
        """Send `data` now, or gather it while a received chunk is worked through; what the kernel does
        not take is kept in `unsent`."""
        if self.unsent is not None:
            self.unsent = b"".join((self.unsent, data))
            return
        plain = self.plain
        if (self.inbox._chunk or self.gather) and (plain is not None or not self.transport.datagram):
            if self.gather is None:
                self.gather = bytearray()
            self.gather += data
            if len(self.gather) >= _GATHER:
                self.flush()
            return
        size = len(data)
        transport = self.transport
        try:
            piece = data if size <= SEND_SIZE else memoryview(data)[:SEND_SIZE]
            sent = plain.send(piece) if plain is not None else transport.send(piece)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self.lost(error, SendError, "writing") from error
        if sent < 0:  # a datagram, which may be empty, was not taken
            self.unsent = bytes(data)
            return
        if sent < size:
            rest = data[sent:]
            self.unsent = rest if type(rest) is bytes else bytes(rest)
        elif plain is None and transport.unflushed:
            self.unsent = b""
        if sent:
            self.bytes_sent += sent
            self.io_start = self.executor.moment
            if self.meters is not None:
                self.sample()

    def flush(self) -> bool:
        """Send what gathered and what was left; whether the kernel has taken the last byte."""
        if self.gather:
            gathered, self.gather = self.gather, None
            self.unsent = gathered if self.unsent is None else b"".join((self.unsent, gathered))
        data = self.unsent
        if data is None:
            return True
        transport = self.transport
        view = memoryview(data)
        try:
            # One send a step: after a partial one the next mostly says "not now", and where the peer reads
            # as fast as we send, the others have their turn in between.
            sent = transport.send(view[:SEND_SIZE]) if len(view) or transport.datagram else 0
            if sent < 0:
                return False
            if sent:
                self.bytes_sent += sent
                self.io_start = self.executor.moment
                view = view[sent:]
            if transport.unflushed:
                before = transport.unflushed
                done = transport.flush()
                if done or transport.unflushed != before:
                    self.io_start = self.executor.moment
            else:
                done = True
        except OSError as error:
            self.unsent = None
            raise self.lost(error, SendError, "writing") from error
        if self.meters is not None:
            self.sample()
        if len(view) or not done:
            self.unsent = view  # no copy: what is left of a large write would be copied at every step
            return False
        self.unsent = None
        return True

    def send_close_notify(self) -> bool:
        """Send TLS's close_notify; whether the kernel has taken it, or never will."""
        try:
            if self.transport.shutdown_write():
                return True
        except OSError:  # nobody is there to hear it
            return True
        self.unsent = b""
        return False

    def flush_transport(self) -> bool:
        """Send what lies between us and the kernel (TLS); whether nothing is left."""
        try:
            return bool(self.transport.flush())
        except OSError as error:
            raise self.lost(error, SendError, "writing") from error

    def send_urgent(self, data: bytes) -> bool:
        """Send the out-of-band byte; False: not now."""
        if not self.flush():
            return False
        try:
            sent = self.transport.send_oob(data)
        except OSError as error:
            raise self.lost(error, SendError, "writing") from error
        self.bytes_sent += sent
        return bool(sent)

    def lost(self, error: OSError, kind: type[NetworkSocketError], phase: str) -> NetworkSocketError:
        """The library's error for `error` met while `phase`: `kind`, unless the connection is gone."""
        number = None if isinstance(error, ssl.SSLError) else error.errno
        if number in _LOST and not self.transport.datagram:
            kind = DisconnectedError
        return kind(
            f"{self.metadata.address}: {error.strerror or error} (errno {number}) while {phase}",
            socket=self.socket,
            address=self.metadata.address,
            errno=number,
        )
