"""What every transport that has a descriptor of its own shares."""

from __future__ import annotations

import _socket


class Transport:
    """One non-blocking socket, and what a channel asks of whatever it moves bytes through.

    `pending` is true while received bytes lie where the kernel announces none; `unflushed` is the number of
    bytes to be sent that have not reached the kernel; `wants` is the direction to wait for where that is not
    the call's own, else 0: without TLS none of these ever happens. `shared` is true where the descriptor is
    another transport's, `at_end` once a transport of datagrams has no more of them. `failure` is why nothing
    can be sent any more (`BrokenTransport`); `acknowledges` is true where the kernel tells how many bytes the
    peer's kernel has yet to acknowledge.
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
        """Close in an orderly way without waiting for anything. Never raises; again does nothing."""
        try:
            self.sock.close()
        except OSError:  # the descriptor is gone all the same
            pass

    def abort(self) -> None:
        """Close the descriptor and nothing else. Never raises; again does nothing."""
        Transport.close(self)
