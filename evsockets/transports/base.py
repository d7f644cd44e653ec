"""The base of every transport that has a descriptor of its own."""

from __future__ import annotations

import _socket
import sys


def is_tls_error(error: BaseException | None, kind: str = "SSLError") -> bool:
    """Whether `error` is one of the module ssl's. That is imported where TLS begins: it takes long.
    While another thread imports it there is none yet."""
    ssl = sys.modules.get("ssl")
    return ssl is not None and isinstance(error, getattr(ssl, kind, ()))


class Transport:
    """One non-blocking socket, and the attributes of a transport that a channel reads.

    `pending` is true while received bytes are buffered outside the kernel; `unflushed` is the number of bytes
    to be sent that have not reached the kernel; `wants` is the direction to wait for if it is not the call's
    own, else 0. Without TLS these are always false or 0. `shared` is true if the descriptor is another
    transport's, `at_end` when a transport of datagrams has no more of them. `failure` is the error after
    which nothing can be sent (`BrokenTransport`); `acknowledges` is true if the kernel reports how many bytes
    the peer's kernel has not acknowledged.
    """

    __slots__ = ("sock",)

    datagram = False
    shared = False
    at_end = False
    wants = 0
    pending = False
    unflushed = 0
    failure: OSError | None = None
    acknowledges = False

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed."""
        return self.sock.fileno()

    @property
    def closed(self) -> bool:
        """Whether the descriptor is closed."""
        return self.sock.fileno() < 0

    @property
    def supports_out_of_band(self) -> bool:
        """Whether out-of-band data can be sent."""
        return False

    def close(self) -> None:
        """Close in an orderly way, without waiting. Never raises; a second call does nothing."""
        try:
            self.sock.close()
        except OSError:  # the descriptor is gone all the same
            pass

    def abort(self) -> None:
        """Close only the descriptor. Never raises; a second call does nothing."""
        Transport.close(self)
