"""The beginning and the end of TLS over a connected stream socket: handshake, close_notify and close."""

from __future__ import annotations

import ssl

from ..engines.base import READ, WRITE
from .plain import ReceiveBuffer, plain
from .stream import RECEIVE_SIZE, StreamTransport, send_queue
from .tls_info import TlsInfo, agreed
from .tls_records import TlsRecords

# A handshake has a few flights; a peer that sends more without end waits for the next turn.
_HANDSHAKE_READS = 16
# What is received, and dropped, before an orderly close.
_CLOSING_READS = 16


class TlsTransport(TlsRecords):
    """Move bytes through TLS: `handshake` until it returns True, then as a StreamTransport."""

    __slots__ = ()

    def handshake(self) -> bool:
        """Go on with the handshake; True when it is done. A client's last part may still be `unflushed`: it
        leaves with the first bytes written, or by `flush`.

        When False, `wants` tells the direction to wait for. Raises OSError: ssl.SSLError for a failed
        handshake (after an attempt to send the alert), ssl.SSLEOFError when the peer ended the connection.
        """
        for reads in range(_HANDSHAKE_READS + 1):
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                self.flush_quietly()
                raise
            else:
                self._established = True
                self.wants = 0
                if self._tls.server_side:  # mostly it reads first: there are no first bytes to wait for
                    self.flush_quietly()
                else:
                    self.unflushed = len(self._backlog) + self._outgoing.pending
                self._note_pending()
                return True
            try:
                flushed = self.flush()
            except (BrokenPipeError, ConnectionResetError):
                self._find_alert()
                raise
            if not flushed:
                self.wants = WRITE
                return False
            # What is not taken from the kernel it announces again; what is taken has to be looked at.
            if reads == _HANDSHAKE_READS or not self._fill():
                break
        self.wants = READ
        return False

    def _find_alert(self) -> None:
        """The peer has hung up: raise ssl.SSLError if it said why before."""
        while not self._established and self._fill():
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLEOFError:
                pass
            break

    @property
    def supports_out_of_band(self) -> bool:
        """False: TLS has no out-of-band data."""
        return False

    def info(self) -> TlsInfo:
        """Return what the finished handshake agreed on."""
        return agreed(self._tls)

    def shutdown_write(self) -> bool:
        """Send a close_notify; the TCP connection stays as it is. Return False if that cannot be done now."""
        if not self._shut:
            if self.pending:
                self._drain()
            self._end_writing()
            self._note_pending()
        if self.flush():
            self.wants = 0
            return True
        self.wants = WRITE
        return False

    def _drain(self) -> None:
        """Decrypt what is there: as it ends our direction, the TLS engine would take data for an error."""
        chunks, buffer = [self._stash], ReceiveBuffer()
        while self.pending and not self._ended and self._failure is None:
            try:
                chunks.append(self._decrypt(buffer))
            except ssl.SSLError:  # recv() raises it again
                break
        self._stash = b"".join(chunks)

    def is_unacknowledged(self) -> bool:
        """Return whether the peer's kernel has yet to acknowledge what was sent; True where none can tell."""
        return send_queue(self.sock) != 0

    def _end_writing(self) -> None:
        self._shut = True
        try:
            self._tls.unwrap()
        except (ssl.SSLError, ValueError):  # the peer has not answered, or never got as far as TLS
            pass

    def close(self) -> None:
        """Send a close_notify as far as that goes without waiting, and close. Never raises."""
        if self.sock.fileno() < 0:
            return
        if self._established and not self._shut:
            self._end_writing()
        if self._established and not self._ended:
            # Unread session tickets would make a reset of the close, and cost the peer our last bytes.
            try:
                for _ in range(_CLOSING_READS):
                    if not self.sock.recv(RECEIVE_SIZE):
                        break
            except OSError:
                pass
        self.flush_quietly()
        self.abort()

    def abort(self) -> None:
        """Close the descriptor and nothing else. Never raises; again does nothing."""
        self._failure = self._reset = self._lost = None  # their tracebacks refer back to here
        if self._established and self.unflushed and not self._backlog:
            self.flush_quietly()  # the last of the handshake: the peer shall know that it was not that
        StreamTransport.abort(self)
        self._plain = plain(self.sock)  # the descriptor's number may be another's from now on
