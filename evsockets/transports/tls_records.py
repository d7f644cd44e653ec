"""TLS over a connected stream socket, driven through memory buffers.

The TLS engine never touches the socket: what it wants to send is read from one buffer and given to the
kernel, what the kernel has received is written to another. So received bytes can be fed to the handshake
from elsewhere (STARTTLS), a partial send needs no repeated buffer, and waiting has two reasons only: the
kernel has nothing for us (wait to read), or it takes no more of what TLS produced (wait to write). Either
can happen in any call: a read may have to answer a key update, a write may have to wait for the peer's part
of a handshake.
"""

from __future__ import annotations

import _socket
import ssl
from typing import Any

from ..engines.base import READ, WRITE
from .plain import ReceiveBuffer as Buffer
from .plain import plain
from .stream import NO_SIGNAL, RECEIVE_SIZE, Data, StreamTransport

_RECORD_SIZE = 16384
# One call of send() encrypts no more than this, in slices, so that a large write does not hold up a turn.
_SEND_LIMIT = 262144
_SEND_SLICE = 65536
_EMPTY_READS = 4
# No more of TLS's own answers than this wait for a peer that reads none. Well above what one send() leaves
# unflushed: where both sides write a lot, reading has to go on.
_ANSWERS = 262144

# Read by these names they cost compiled code no look-up.
_READ, _WRITE, _QUIET = READ, WRITE, NO_SIGNAL
# The buffers that no call uses now: one for each thread that has been receiving at the same time. Python's
# ssl module lets other threads run while it decrypts.
_spare: list[Buffer] = []


class TlsRecords(StreamTransport):
    """Moves bytes through TLS, as a StreamTransport does. `tls.py` begins and ends that.

    `received` are bytes from the network that were read before TLS began. With `require_close_notify` a
    connection that ends without TLS's own end makes `recv` raise ssl.SSLEOFError, else it is an end.

    `wants` is READ or WRITE where a call has to wait for another direction than its own, else 0. While
    `unflushed`, wait for writability too and call `flush`; while `pending`, `recv` has more without waiting.

    Raises ValueError for a context that verifies the host name and no `server_hostname`.
    """

    __slots__ = (
        "_backlog", "_cipher", "_ended", "_established", "_failure", "_incoming", "_lost", "_outgoing",
        "_plain", "_require_end", "_reset", "_shut", "_stash", "_tls", "most", "pending", "unflushed",
        "wants",
    )  # fmt: skip

    def __init__(
        self,
        sock: _socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None = None,
        require_close_notify: bool = True,
        received: bytes = b"",
    ) -> None:
        StreamTransport.__init__(self, sock)
        self._plain: Any = plain(sock)
        if not server_side and context.check_hostname and not server_hostname:
            raise ValueError("verifying the host name needs one: set server_hostname, or verify=False")
        self.wants = 0
        self.pending = False
        self.unflushed = 0
        self.most = RECEIVE_SIZE
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        # SSLObject's read, write and pending only call this one's.
        self._cipher: Any = getattr(self._tls, "_sslobj", self._tls)
        self._backlog: Data = b""
        self._stash = b""
        self._require_end = require_close_notify
        self._established = False
        self._ended = False
        self._shut = False
        self._failure: ssl.SSLError | None = None
        self._reset: ConnectionResetError | None = None  # met while sending; the kernel tells of it once
        self._lost: OSError | None = None  # met by send() when some bytes had left; for the next one
        if received:
            self._incoming.write(received)

    def recv(self) -> bytes | None:
        """Return up to `most` bytes (64 KiB) of plaintext, b"" at the end of the stream, None for none now.

        Reads from the kernel until there is plaintext, a few times at most. Raises ssl.SSLEOFError for a
        truncated stream, ssl.SSLError for bytes that are no TLS, and OSError.
        """
        buffer = _borrowed()
        try:
            return self._recv(buffer)
        finally:
            _spare.append(buffer)

    def _recv(self, buffer: Buffer) -> bytes | None:
        data = b""
        if not (self.pending or self._ended or self._stash or self.unflushed):
            # The way of most messages: one record, all of it here, and nothing to be sent for it.
            if not self._receive(buffer):
                return None
            data = self._decrypt(buffer)
            if data and not self._outgoing.pending:
                return data
        elif self._stash:
            data, self._stash = self._stash, b""
            self._note_pending()
        elif self.pending and not self._ended:
            data = self._decrypt(buffer)
        if not data and not self._ended:
            # Records without data (session tickets) may lie before data or the end.
            for _ in range(_EMPTY_READS):
                if self._is_choked() or not self._receive(buffer):
                    break
                data = self._decrypt(buffer)
                if data or self._ended:
                    break
        if self.unflushed or self._outgoing.pending:
            self.flush_quietly()
        if data:
            return data
        if self._ended:
            self.pending = False
            return b""
        return None

    def _is_choked(self) -> bool:
        """Whether the peer asks without reading the answers (to its key updates, RFC 8446, 4.6.3): nothing
        more is read then until it takes some of them, and `wants` is WRITE."""
        if len(self._backlog) + self._outgoing.pending > _ANSWERS:
            self.flush_quietly()
        choked = self.unflushed > _ANSWERS
        self.wants = _WRITE if choked else 0
        return choked

    def _decrypt(self, buffer: Buffer) -> bytes:
        """Return the plaintext at hand, at most `most` bytes; sets `pending`, and `_ended` at the end."""
        if self._failure is not None:
            raise self._failure
        most = min(self.most, RECEIVE_SIZE)
        size = 0
        try:
            while size < most:
                asked = min(_RECORD_SIZE, most - size)
                got = self._cipher.read(asked, buffer.part(size, size + asked))
                if not got:
                    self._ended = True
                    break
                size += got
                # What is less than a record and than was asked for is all there was of the record.
                if not (self._incoming.pending or (got == asked and self._cipher.pending())):
                    self.pending = False
                    return buffer.head(size)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._ended = True
        except ssl.SSLEOFError as error:
            if self._require_end:
                self._fail(error, size)
            else:
                self._ended = True
        except ssl.SSLError as error:
            self._fail(error, size)
        self._note_pending()
        return buffer.head(size)

    def _fail(self, error: ssl.SSLError, size: int) -> None:
        """Keep `error`, for the `size` bytes before it are delivered first; without any, raise it."""
        self._failure = error
        if not size:
            self.pending = False
            self.flush_quietly()
            raise error

    def _note_pending(self) -> None:
        # The end and a failure are news, too, and the kernel may announce nothing for them.
        self.pending = bool(
            self._ended or self._failure or self._stash or self._incoming.pending or self._cipher.pending()
        )

    def _fill(self) -> bool:
        """Take from the kernel what is there; return whether it was anything (the end included)."""
        buffer = _borrowed()
        try:
            return self._receive(buffer)
        finally:
            _spare.append(buffer)

    def _receive(self, buffer: Buffer) -> bool:
        """The same through `buffer`."""
        count = buffer.receive(self._plain)
        if count > 0:
            self._incoming.write(buffer.part(0, count))
        elif not count:
            self._hung_up()
        return count >= 0

    def _hung_up(self) -> None:
        if self._reset is not None:
            raise self._reset
        self._incoming.write_eof()

    def send(self, data: Data) -> int:
        """Encrypt and send; return how many bytes of `data` were taken, 0 if none can be now.

        Bytes taken may be left for `flush`: see `unflushed`. Raises ssl.SSLError and OSError.
        """
        self.wants = 0
        if self._lost is not None:
            raise self._lost
        if self._backlog and not self.flush():
            self._is_choked()
            return 0
        view: Data = data
        if type(data) is not bytes or len(data) > _SEND_SLICE:
            view = memoryview(data).cast("B")
        total = min(len(view), _SEND_LIMIT)
        sent = whole = 0
        while sent < total and not self._backlog:
            try:
                sent += self._cipher.write(
                    view if total <= _SEND_SLICE and not sent else view[sent:][:_SEND_SLICE]
                )
            except ssl.SSLWantReadError:
                # A handshake within the connection: its bytes come in by the way of recv(), too.
                self.flush()
                if self._fill():
                    self._note_pending()
                    continue
                if not whole:
                    self.wants = _READ
                break
            try:
                self.flush()
            except OSError as error:
                if not whole:
                    raise
                self._lost = error
                break
            whole = sent
        return whole

    def flush(self) -> bool:
        """Pass on what TLS has produced; return whether nothing is left. Raises OSError."""
        backlog, waited = self._backlog, self.unflushed
        all_read = not backlog
        if all_read:
            backlog = self._outgoing.read()
        self._backlog = b""
        self.unflushed = 0  # also if sending fails: nothing of it can ever be sent then
        while backlog:
            try:
                count = self._plain.send(backlog, _QUIET)
            except BlockingIOError:
                self._backlog = backlog
                self.unflushed = len(backlog) + self._outgoing.pending
                return False
            if count < len(backlog):
                backlog = memoryview(backlog)[count:]
            elif all_read:
                break
            else:
                backlog, all_read = self._outgoing.read(), True
        if waited:
            self.wants = 0
        return True

    def flush_quietly(self) -> bool:
        """Flush where a failure must not hide received bytes or an earlier error: if the peer has reset the
        connection, `recv` raises that after what came before. Return whether nothing is left."""
        try:
            return self.flush()
        except ConnectionResetError as error:
            self._reset = error
        except OSError:
            pass
        return True


def _borrowed() -> Buffer:
    """A buffer for one call, to be put back into `_spare`."""
    try:
        return _spare.pop()
    except IndexError:
        return Buffer()
