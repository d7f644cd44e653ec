"""A connection on which sending has failed, and the bytes it had received before."""

from __future__ import annotations

import _socket
import array
import fcntl
import termios
from typing import Any

from .base import Transport, is_tls_error
from .stream import RECEIVE_SIZE, Data, StreamTransport

# How many writes in a row are dropped while received bytes wait to be read.
_DROPS = 64
# How often what is no data (TLS's own messages) is received in the search for some.
_LOOKS = 64


class BrokenTransport(Transport):
    """Receive the bytes that had arrived over `transport` when it failed while `phase`; then raise `failure`.

    `failure` is the error of the send, an OSError, unless a TLS alert of the peer is found among the received
    bytes. `has_more` is true while there are bytes to receive. `met`: the failure has been raised once.
    """

    __slots__ = ("_ahead", "_dropped", "_inner", "_left", "_plain", "_unread", "failure", "met", "phase")

    pending = True  # no descriptor announces what comes next

    def __init__(self, transport: Any, failure: OSError, phase: str = "writing") -> None:
        super().__init__(transport.sock)
        self.phase = phase
        self.met = phase != "writing"
        self._inner = transport
        self._plain = type(transport) is StreamTransport
        self.failure: OSError | None = failure
        self._dropped = 0
        self._unread: object = None
        # What has arrived by now, and no more: a peer that has shut down its receiving half only may go on
        # sending without end. TLS holds a receive's worth itself, and the beginning of a record.
        self._left = _unread_bytes(transport.sock) + (0 if self._plain else 2 * RECEIVE_SIZE)
        self._ahead: bytes | None = None
        if phase != "handshaking":
            self._look_ahead()

    def _look_ahead(self) -> None:
        """Receive once: bytes, b"" at an orderly end of the stream, None for nothing more."""
        data: bytes | None = None
        try:
            for _ in range(_LOOKS):
                data = self._inner.recv()
                if data is not None or not (self._inner.pending or _unread_bytes(self.sock)):
                    break
        except OSError as error:
            if is_tls_error(error) and not is_tls_error(error, "SSLEOFError"):
                self.failure = error
        if data == b"" and self._plain and isinstance(self.failure, ConnectionResetError):
            data = None  # the send was told of the reset, which happens once; the stream has no other end
        if data and self._left <= 0:
            data = None
        self._ahead = data

    @property
    def has_more(self) -> bool:
        """Whether something received is still to be read."""
        return bool(self._ahead)

    @property
    def supports_out_of_band(self) -> bool:
        """As it was."""
        return bool(self._inner.supports_out_of_band)

    def recv(self) -> bytes:
        """Return what had arrived, up to 64 KiB; b"" at an orderly end, once. Raises `failure` after that."""
        data = self._ahead
        if data is None:
            assert self.failure is not None
            raise self.failure
        if data:
            self._left -= len(data)
            self._look_ahead()
        else:
            self._ahead = None
        return data

    def send(self, data: Data) -> int:
        """Raise `failure`."""
        assert self.failure is not None
        raise self.failure

    send_out_of_band = send

    def flush(self) -> bool:
        """Return True: nothing is kept."""
        return True

    flush_quietly = flush

    def shutdown_write(self) -> bool:
        """Raise `failure`."""
        assert self.failure is not None
        raise self.failure

    def drop(self, unread: object) -> bool:
        """Whether one more write may be dropped: not for ever if what is `unread` stays the same."""
        if unread != self._unread:
            self._unread = unread
            self._dropped = 0
        self._dropped += 1
        return self._dropped <= _DROPS

    def give_up(self) -> OSError:
        """Return `failure`, or the TLS alert among the bytes not read; for when they will not be read."""
        while self._ahead and not self._plain:
            self.recv()
        assert self.failure is not None
        return self.failure

    def close(self) -> None:
        """Close the descriptor and nothing else. Never raises; again does nothing."""
        self.abort()

    def abort(self) -> None:
        """As `close`."""
        if self.failure is not None:  # its traceback refers back to here, and what it was raised amid to it
            self.failure.__traceback__ = self.failure.__context__ = None
        self.failure = None
        self._inner.abort()


def _unread_bytes(sock: _socket.socket) -> int:
    """How many bytes the kernel has for `sock`; a receive's worth where it cannot tell."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), termios.FIONREAD, count, True)
    except OSError:
        return RECEIVE_SIZE
    return count[0]
