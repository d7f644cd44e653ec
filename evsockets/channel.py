"""One socket's life: its phase, its bytes, its clocks, and exactly one current operation."""

from __future__ import annotations

import enum
import errno
import ssl
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .address import public_address
from .deadlines import INFINITY
from .engines.base import READ, WRITE
from .errors import DisconnectedError, HandlerError, NetworkSocketError, ReceiveError, SendError
from .events import Event, EventType, SocketExceptionEvent, TimeoutEvent, TimeoutStage, UrgentEvent
from .frames.base import Frame
from .frames.inbox import Inbox
from .metadata import SocketMetadata
from .meters import Meter
from .operations.base import REPEAT, Operation
from .operations.connect import Reused, begin_life, connection_settings, name_peer
from .operations.flush import BEGIN, FLUSH, IDLE, RESUME
from .persistence import Connection, put
from .sockets import AcceptedSocket, DatagramClientSocket, PersistentClientSocket, Socket
from .transports.stream import RECEIVE_SIZE, StreamTransport

if TYPE_CHECKING:
    from .executor import RequestExecutor
    from .handlers import Dispatch

_LOST = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ESHUTDOWN, errno.ENOTCONN})
# How many operations may start one after the other before the other sockets have their turn.
_STARTS = 64
# What may gather while the frames of one received chunk are worked through.
_GATHER = 64 * 1024
# What one send is given: the kernel goes on for as long as the peer takes it away, others waiting.
_SEND = 1024 * 1024
_LIVE_SPEED_SECONDS = 5.0
# Seconds until a datagram server's answer that was not taken is sent again.
_ANSWER_AGAIN = 0.005


class Phase(enum.Enum):
    """Where in its life a socket is."""

    WAITING = "waiting"
    OPENING = "opening"
    CONNECTED = "connected"
    CLOSING = "closing"
    COMPLETE = "complete"

    __hash__ = object.__hash__


#: The only moves there are; the life-cycle diagram in the documentation is made from this table.
MOVES: dict[Phase, dict[Phase, str]] = {
    Phase.WAITING: {Phase.OPENING: "INITIALIZE", Phase.COMPLETE: "run aborted before the start"},
    Phase.OPENING: {Phase.CONNECTED: "CONNECTED", Phase.CLOSING: "failed, cancelled or timed out"},
    Phase.CONNECTED: {Phase.CLOSING: "DISCONNECTED, or forgotten"},
    Phase.CLOSING: {Phase.COMPLETE: "FINALIZE"},
    Phase.COMPLETE: {},
}


class Channel:
    """What an executor knows of one socket. Operations of your own use `recv`, `send`, `inbox`, `socket`,
    `metadata` and `emit`; the rest belongs to the library."""

    __slots__ = (
        "after", "alarm", "alerts", "armed", "bytes_received", "bytes_sent", "cancelled", "connected_at",
        "datagrams", "dispatch", "ended", "executor", "forgotten", "gather", "gathered", "held",
        "held_started",
        "inbox", "io_limit", "io_start", "local", "metadata", "meters", "opened_at", "operation", "override",
        "phase", "plain", "queued", "remote", "request_start", "settings", "socket", "source",
        "tls", "transport",
        "truncated", "unsent", "urgent", "watched",
    )  # fmt: skip

    def __init__(
        self, executor: RequestExecutor, socket: Socket, operation: Operation, dispatch: Dispatch
    ) -> None:
        self.executor = executor
        self.socket = socket
        self.dispatch = dispatch
        self.operation: Operation | None = None
        self.held: Operation | None = operation  # started later: the first one, or one kept waiting
        self.held_started = False
        self.override: Operation | None = None  # set from outside, comes next
        self.phase = Phase.WAITING
        self.transport: Any = None
        self.plain: Any = None  # the socket itself where nothing lies between: a plain stream
        self.inbox = Inbox()
        self.ended = False
        self.truncated = False
        self.datagrams = 0
        self.watched = 0
        self.armed = INFINITY
        self.alarm = 0  # the number of its live entry among the deadlines; 0: none
        self.io_start: float | None = None
        self.io_limit = INFINITY
        self.opened_at: float | None = None
        self.connected_at: float | None = None
        self.request_start: float | None = None
        self.bytes_sent = 0
        self.bytes_received = 0
        self.cancelled = False
        self.forgotten = False
        self.queued = False
        self.alerts = 0
        self.unsent: Any = None  # what the kernel did not take
        self.gather: list[Any] | None = None  # what waits to leave together
        self.gathered = 0
        self.source: Iterator[Any] | None = None  # the iterable being written
        self.after: Operation | None = None  # what follows it
        self.meters: dict[str, Meter] | None = None
        self.tls: Any = None
        self.remote: Any = None
        self.local: Any = None
        self.urgent: Any = None
        self.settings: Any = None
        self.metadata = SocketMetadata(self, executor.configuration, socket.is_server, socket.persistent)
        self.settings_changed()

    # ---- what operations use -------------------------------------------------------------------------

    def recv(self) -> bytes | None:
        """Receive once (up to 64 KiB, or one datagram) into the inbox.

        Returns the new bytes, b"" at the end of the stream (`ended` is true then), None when nothing is
        there now. DisconnectedError when the connection was lost, ReceiveError for other failures.
        """
        try:
            plain = self.plain
            data: bytes | None = plain.recv(RECEIVE_SIZE) if plain is not None else self.transport.recv()
        except BlockingIOError:
            return None
        except OSError as error:
            data = self._receive_failed(error)
        if data:
            self.bytes_received += len(data)
            self.io_start = self.executor.now
            inbox = self.inbox
            if inbox._chunk:
                if self.transport.datagram:
                    inbox.drop(len(inbox))
                inbox.append(data)
            else:
                inbox._chunk = data  # what append() does, without the call
            self.datagrams = 1
            if self.meters is not None:
                self._sample()
        elif data is not None:
            self.io_start = self.executor.now
            if self.transport.datagram and not self.transport.at_end:
                self.datagrams = 1
                self.inbox.drop(len(self.inbox))
            else:
                self.ended = True
        return data

    def send(self, data: Any) -> int:
        """Send what the kernel takes now; the number of bytes taken, 0 for none.

        DisconnectedError when the connection was lost, SendError for other failures.
        """
        if (self.gather or self.unsent is not None) and not self.flush():
            return 0
        try:
            sent: int = max(0, self.transport.send(data))  # -1: a datagram was not taken
        except OSError as error:
            raise self._lost(error, SendError, "writing") from error
        if sent:
            self.bytes_sent += sent
            self.io_start = self.executor.now
            if self.meters is not None:
                self._sample()
        return sent

    def emit(self, event: Event) -> None:
        """Tell the handlers listening to `event.type`."""
        handler = getattr(self.dispatch, event.type.name.lower())
        if handler is not None:
            self.note_activity()
            handler(event)

    def use(self, transport: Any) -> None:
        """Move bytes through `transport` from now on."""
        self.transport = transport
        self.plain = transport.sock if type(transport) is StreamTransport else None

    # ---- sending -------------------------------------------------------------------------------------

    def put(self, data: Any) -> None:
        """Send `data` now, or gather it while a received chunk is worked through; what the kernel does
        not take is kept in `unsent`."""
        if self.unsent is not None:
            self.unsent = b"".join((self.unsent, data))
            return
        if (self.inbox._chunk or self.gather) and not self.transport.datagram:
            if self.gather is None:
                self.gather = []
            self.gather.append(data if type(data) is bytes else bytes(data))
            self.gathered += len(data)
            if self.gathered >= _GATHER:
                self.flush()
            return
        transport = self.transport
        size = len(data)
        try:
            plain = self.plain
            piece = data if size <= _SEND else memoryview(data)[:_SEND]
            sent = plain.send(piece) if plain is not None else transport.send(piece)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._lost(error, SendError, "writing") from error
        if sent < 0:  # a datagram, which may be empty, was not taken
            self.unsent = bytes(data)
            return
        if sent < size:
            rest = data[sent:]
            self.unsent = rest if type(rest) is bytes else bytes(rest)
        elif transport.unflushed:
            self.unsent = b""
        if sent:
            self.bytes_sent += sent
            self.io_start = self.executor.now
            if self.meters is not None:
                self._sample()

    def flush(self) -> bool:
        """Send what gathered and what was left; whether the kernel has taken the last byte."""
        if self.gather:
            gathered = b"".join(self.gather)
            self.gather = None
            self.gathered = 0
            self.unsent = gathered if self.unsent is None else b"".join((self.unsent, gathered))
        data = self.unsent
        if data is None:
            return True
        transport = self.transport
        view = memoryview(data)
        try:
            # One send a step: after a partial one the next mostly says "not now", and where the peer reads
            # as fast as we send, the others have their turn in between.
            sent = transport.send(view[:_SEND]) if len(view) or transport.datagram else 0
            if sent < 0:
                return False
            if sent:
                self.bytes_sent += sent
                self.io_start = self.executor.now
                view = view[sent:]
            if transport.unflushed:
                before = transport.unflushed
                done = transport.flush()
                if done or transport.unflushed != before:
                    self.io_start = self.executor.now
            else:
                done = True
        except OSError as error:
            self.unsent = None
            raise self._lost(error, SendError, "writing") from error
        if self.meters is not None:
            self._sample()
        if len(view) or not done:
            self.unsent = view  # no copy: what is left of a large write would be copied at every step
            return False
        self.unsent = None
        return True

    def send_urgent(self, data: bytes) -> bool:
        """Send the out-of-band byte; False: not now."""
        if not self.flush():
            return False
        try:
            sent = self.transport.send_oob(data)
        except OSError as error:
            raise self._lost(error, SendError, "writing") from error
        self.bytes_sent += sent
        return bool(sent)

    def _lost(self, error: OSError, kind: type[NetworkSocketError], phase: str) -> NetworkSocketError:
        number = None if isinstance(error, ssl.SSLError) else error.errno
        if number in _LOST and not self.transport.datagram:
            kind = DisconnectedError
        return kind(
            f"{self.metadata.address}: {error.strerror or error} (errno {number}) while {phase}",
            socket=self.socket,
            address=self.metadata.address,
            errno=number,
        )

    def _receive_failed(self, error: OSError) -> bytes:
        if isinstance(error, ssl.SSLEOFError):
            self.truncated = True
            return b""
        raise self._lost(error, ReceiveError, "reading") from error

    # ---- the current operation -----------------------------------------------------------------------

    def become(self, following: Operation | None) -> None:
        """Make `following` current and start it, and what it leads to, until one has to wait.

        None ends the request: the connection idles if it is kept alive, else it is closed.
        """
        starts = 0
        executor = self.executor
        while True:
            if self.cancelled or executor.stopping:
                return
            if self.forgotten or self.override is not None:
                following = self._overruled(following)
            if self.unsent is not None or (
                self.gather and (following is None or not following.runs_ahead) and not self.flush()
            ):
                # Nothing advances until the kernel has taken the last byte.
                self._hold(following, FLUSH)
                break
            if following is None:
                if self.forgotten:
                    self._detach()
                    return
                if self.ended or not self.metadata._keep_alive or self.socket.is_server:
                    self.end()
                    return
                following = IDLE
            self.operation = operation = following
            self.io_start = executor.now
            following = operation.start(self)
            if following is operation:
                if self.unsent is not None or self.gather:
                    if not (self.gather and self.flush()) and not operation.interest & WRITE:
                        self._hold(operation, FLUSH, started=True)
                elif operation.interest == self.watched and self.plain is not None and not self.ended:
                    executor.fresh.append(self)
                    return
                break
            starts += 1
            if starts == _STARTS:
                # What gathered leaves at the end of the received chunk, not here.
                self._hold(following, RESUME)
                self.again()
                break
        if self.operation is not None:
            executor.fresh.append(self)
            self.update()

    def _hold(self, operation: Operation | None, by: Operation, started: bool = False) -> None:
        if operation is not REPEAT:  # which keeps its own there already
            self.held = operation
        self.held_started = started
        self.operation = by

    def release_held(self) -> Operation | None:
        """The operation held back, to be started; one that has started already is made current as it is."""
        operation = self.held
        self.held = None
        if self.held_started:
            self.held_started = False
            assert operation is not None
            if self.override is None:
                self.operation = operation
                self.executor.fresh.append(self)
                self.update()
                return operation
        return operation

    def _overruled(self, following: Operation | None) -> Operation | None:
        if self.forgotten:
            # The first operation is still to be done.
            first = following is BEGIN or self.operation is BEGIN or type(self.operation) is Reused
            return following if first else None
        operation, self.override = self.override, None
        return operation

    def current_operation(self) -> Operation | None:
        """What `SocketBag.get_operation` answers."""
        operation = self.operation
        if operation is None or operation in (FLUSH, RESUME, BEGIN) or self.phase is Phase.OPENING:
            return self.held
        return None if operation is IDLE else operation

    def set_operation(self, operation: Operation) -> None:
        """See `SocketBag.set_operation`."""
        if self.complete:
            raise RuntimeError(f"{self.socket!r} is complete: add_socket() gives it a new life")
        if self.phase in (Phase.WAITING, Phase.OPENING) or self.operation is BEGIN:
            self.held = operation
            return
        current = self.operation
        executor = self.executor
        if executor.current is self or current is None or not (current is IDLE or current.phase == "reading"):
            self.override = operation
            return
        if current in (FLUSH, RESUME):
            self.override = operation
            return
        current.abandon(self)
        self.alerts = 0
        # Through the next turn: its handlers must not run inside somebody else's.
        self._hold(operation, RESUME)
        self.again()
        executor.wake_if_hosted()

    def update(self) -> None:
        """Tell the engine, if what the operation waits for has changed."""
        operation = self.operation
        transport = self.transport
        if transport is None or operation is None or operation is RESUME:
            return
        interest = operation.interest
        if transport.wants:
            interest = transport.wants if interest else 0
        if transport.unflushed:
            interest |= WRITE
        if self.ended and interest & READ and operation.phase != "handshaking":
            interest &= ~READ  # a level-triggered end would be reported for ever
        if interest != self.watched and not transport.shared:
            self.executor.engine.watch(transport.fileno(), interest, self.urgent or self)
            self.watched = interest
        if transport.shared and self.unsent is not None:
            # The server's descriptor is not watched for one answer, and where its peer's queue is full
            # writability would prove nothing: try again a little later.
            transport.retry_at = self.executor.now + _ANSWER_AGAIN
            self.executor.fresh_deadline(self)
        elif (transport.pending and operation.interest & READ) or (transport.shared and interest):
            self.again()

    def again(self) -> None:
        """Have the operation stepped in the next turn whatever the engine says."""
        if not self.queued:
            self.queued = True
            self.executor.queue.append(self)

    # ---- beginning -----------------------------------------------------------------------------------

    def open(self, again: bool = False) -> None:
        """INITIALIZE, and on towards CONNECTED."""
        executor = self.executor
        if not again:
            self._move(Phase.OPENING)
        self.opened_at = None
        handler = self.dispatch.initialize_again if again else self.dispatch.initialize
        if handler is not None:
            self.note_activity()
            handler(Event(EventType.INITIALIZE, self))
        if self.cancelled or executor.stopping:
            return
        self.opened_at = executor.now if handler is None else executor.clock()
        if self.request_start is None:
            self.request_start = self.opened_at
        executor.fresh.append(self)
        self.become_opening(begin_life(self))

    def become_opening(self, operation: Operation) -> None:
        """As `become`, for the steps before CONNECTED (the user's first operation stays held)."""
        while True:
            if self.cancelled or self.executor.stopping:
                return
            if operation is BEGIN:
                self.become(BEGIN)
                return
            self.operation = operation
            following = operation.start(self)
            if following is operation:
                break
            assert following is not None
            operation = following
        self.update()

    def connected_now(self) -> None:
        """The connection is established."""
        self._move(Phase.CONNECTED)
        self.connected_at = self.executor.now
        self.inbox.remote_address = self.remote_address()
        self.io_start = None
        if self.metadata._min_receive_speed or self.metadata._min_send_speed:
            self.settings_changed()

    def _move(self, phase: Phase) -> None:
        if phase not in MOVES[self.phase]:
            raise AssertionError(f"{self.phase} -> {phase} is no move in a socket's life")
        self.phase = phase

    @property
    def started(self) -> bool:
        """Whether INITIALIZE has been."""
        return self.phase is not Phase.WAITING

    @property
    def connected(self) -> bool:
        """Whether the connection is established now."""
        return self.phase is Phase.CONNECTED

    @property
    def complete(self) -> bool:
        """Whether DISCONNECTED (else FINALIZE) has come."""
        return self.phase is Phase.CLOSING or self.phase is Phase.COMPLETE

    @property
    def channel(self) -> Channel:
        """Itself: every token the engine holds says whose it is."""
        return self

    # ---- ending --------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """End this socket when the handlers running now have returned."""
        if self.started and not self.complete and not self.cancelled:
            self.cancelled = True
            self.executor.doomed.append(self)
            self.executor.attention = True
            self.executor.wake_if_hosted()

    def forget(self) -> None:
        """Let go of the connection when the current operation is done."""
        if self.complete:
            return
        self.forgotten = True
        if self.operation is IDLE and self.executor.current is not self:
            self._hold(None, RESUME)
            self.again()
            self.executor.wake_if_hosted()

    def fail(self, error: NetworkSocketError) -> None:
        """EXCEPTION, then the end."""
        if self.complete:
            return
        try:
            self.tell_exception(error)
        finally:
            self._end_keeping_first(orderly=False)

    def tell_exception(self, error: NetworkSocketError) -> None:
        """EXCEPTION alone."""
        if error.socket is None:
            error.socket = self.socket
        if error.address is None:
            error.address = self.metadata._address
        handler = self.dispatch.exception
        if handler is None:
            return
        self.note_activity()
        try:
            handler(SocketExceptionEvent(self, error))
        except Exception as bug:
            self._unraisable(bug, handler)

    def _unraisable(self, bug: Exception, handler: Any) -> None:
        if not self.executor.configuration.isolate_handler_errors:
            raise bug
        sys.unraisablehook(_Unraisable(bug, handler))  # type: ignore[arg-type]

    def _end_keeping_first(self, orderly: bool) -> None:
        first = sys.exception() if sys.version_info >= (3, 11) else None
        try:
            self.end(orderly)
        except BaseException as later:
            if first is None:
                raise
            first.add_note(f"then, while ending {self.socket!r}: {later!r}")

    def end(self, orderly: bool = True) -> None:
        """Close; DISCONNECTED if it was connected; FINALIZE. Whatever handlers raise, both happen."""
        if self.complete:
            return
        was_connected = self.connected
        first: BaseException | None = None
        operation, self.operation = self.operation, None
        if operation is not None:
            first = _attempt(first, operation.abandon, self)  # may be user code
        trouble = self._close_transport(orderly)
        if not was_connected:
            self.socket.drop()  # ended before what it held was taken up
        self._move(Phase.CLOSING)
        if trouble is not None:
            error = self._trouble(trouble)
            first = _attempt(first, self.tell_exception, error)
        elif was_connected:
            first = _attempt(first, self._tell_disconnected)
        self._finalize(first)

    def _trouble(self, error: OSError) -> NetworkSocketError:
        made = DisconnectedError(
            f"{self.metadata.address}: {error} while closing",
            address=self.metadata.address,
            errno=error.errno,
        )
        made.__cause__ = error
        return made

    def _tell_disconnected(self) -> None:
        handler = self.dispatch.disconnected
        if handler is None:
            return
        self.note_activity()
        try:
            handler(Event(EventType.DISCONNECTED, self))
        except NetworkSocketError as error:
            self.tell_exception(error)
        except Exception as bug:
            if not self.executor.configuration.isolate_handler_errors:
                raise
            self.tell_exception(handler_error(self, bug))

    def _finalize(self, first: BaseException | None = None) -> None:
        self._move(Phase.COMPLETE)
        self.executor.ended(self)
        first = _attempt(first, self._tell_finalize)
        self.inbox = Inbox()
        if isinstance(self.socket, AcceptedSocket | DatagramClientSocket):
            self.executor.leave(self)
        if first is not None:
            raise first

    def _tell_finalize(self) -> None:
        handler = self.dispatch.finalize
        if handler is None:
            return
        self.note_activity()
        try:
            handler(Event(EventType.FINALIZE, self))
        except Exception as bug:
            self._unraisable(bug, handler)

    def _close_transport(self, orderly: bool) -> OSError | None:
        """Stop and close everything; the OSError of closing, if any."""
        operation, self.operation = self.operation, None
        if operation is not None:
            operation.abandon(self)
        self.source = self.after = self.held = self.override = None
        self.unsent = self.gather = None
        self.executor.deadlines.disarm(self)
        transport, self.transport = self.transport, None
        self.plain = None
        if transport is None:
            return None
        self.unwatch(transport)
        try:
            if orderly:
                transport.close()
            else:
                transport.abort()
        except OSError as error:
            return error
        return None

    def unwatch(self, transport: Any) -> None:
        """Make the engine forget the descriptor."""
        if self.watched:
            self.executor.engine.watch(transport.fileno(), 0, self)
            self.watched = 0

    def restart(self) -> None:
        """Close this attempt and begin again at INITIALIZE, within the same life."""
        first, started = self.held, self.held_started
        self._close_transport(orderly=False)
        self.held, self.held_started = first, started
        self.open(again=True)

    def _detach(self) -> None:
        """Forgotten: FINALIZE without DISCONNECTED; the connection stays open."""
        transport, self.transport = self.transport, None
        self.plain = None
        self.operation = None
        self.unwatch(transport)
        self.executor.deadlines.disarm(self)
        if self.settings is None:  # kept alive by a handler, in mid-life
            self.settings = connection_settings(self)
        connection = Connection(
            transport, self.inbox, self.ended, self.settings, self.remote, self.tls
        )
        self.inbox = Inbox()
        if isinstance(self.socket, PersistentClientSocket):
            put(self.settings, connection)
            connection.owner = self.socket
        else:
            self.executor.keep(self.socket)
        self.socket._connection = connection
        self._move(Phase.CLOSING)
        self._finalize()

    def abort_unstarted(self) -> None:
        """The run was aborted before this socket began."""
        self._move(Phase.COMPLETE)
        if isinstance(self.socket, AcceptedSocket | DatagramClientSocket):
            self.socket.close()
            self.executor.leave(self)

    def discarded(self) -> None:
        """Out of the bag without having run: an accepted client nobody took is closed."""
        if self.phase is Phase.WAITING and isinstance(self.socket, AcceptedSocket):
            self.socket.close()
        if self.socket._channel is self and not self.complete:
            self.socket._channel = None

    # ---- clocks --------------------------------------------------------------------------------------

    def note_activity(self) -> None:
        """An event is about to be told: delayed operations of others will be asked."""
        if self.executor.delayed:
            self.executor.actors.add(self)

    def settings_changed(self) -> None:
        """A time-out or minimum speed was set."""
        metadata = self.metadata
        limit = metadata._io_timeout
        self.io_limit = INFINITY if limit is None else limit
        if self.connected and (metadata._min_receive_speed or metadata._min_send_speed):
            now = self.executor.clock()  # not the turn's time, which may be long ago
            if self.meters is None:
                self.meters = {}
            for direction, minimum, duration in self._minimums():
                if minimum and duration and direction not in self.meters:
                    self.meters[direction] = Meter(duration)
                    self._run_meter(direction, now)
        if self.phase in (Phase.OPENING, Phase.CONNECTED):
            self.executor.fresh_deadline(self)
            self.executor.wake_if_hosted()

    def _minimums(self) -> tuple[tuple[str, float | None, float | None], ...]:
        metadata = self.metadata
        return (
            ("receive", metadata._min_receive_speed, metadata._min_receive_speed_duration),
            ("send", metadata._min_send_speed, metadata._min_send_speed_duration),
        )

    def _pending_directions(self) -> int:
        operation = self.operation
        if operation is None or not self.connected or not operation.timed:
            return 0
        if operation.phase == "handshaking":
            return 0
        return WRITE if self.unsent is not None and operation is FLUSH else operation.interest

    def _run_meter(self, direction: str, now: float) -> None:
        assert self.meters is not None
        meter = self.meters.get(direction)
        if meter is None:
            return
        receive = direction == "receive"
        total = self.bytes_received if receive else self.bytes_sent
        if self._pending_directions() & (READ if receive else WRITE):
            meter.pending(total, now)
        else:
            meter.paused(total, now)

    def _sample(self) -> None:
        now = self.executor.now
        assert self.meters is not None
        if "receive" in self.meters:
            self.meters["receive"].sample(self.bytes_received, now)
        if "send" in self.meters:
            self.meters["send"].sample(self.bytes_sent, now)

    def speed(self, direction: str) -> float:
        """Live speed, bytes/s."""
        total = self.bytes_received if direction == "receive" else self.bytes_sent
        now = self.executor.now
        if self.meters is not None and direction in self.meters:
            return self.meters[direction].speed(total, now)
        if self.connected_at is None:
            return 0.0
        elapsed = max(now - self.connected_at, 1e-6)
        if elapsed > _LIVE_SPEED_SECONDS and self.connected:
            if self.meters is None:
                self.meters = {}
            self.meters[direction] = Meter(_LIVE_SPEED_SECONDS)
            self._run_meter(direction, now)
        return total / elapsed

    def reset_speed(self) -> None:
        """Measure anew from now."""
        if self.meters is not None:
            now = self.executor.clock()
            for direction, meter in self.meters.items():
                meter.reset(self.bytes_received if direction == "receive" else self.bytes_sent, now)

    def clock_from(self, now: float) -> None:
        """What became pending in this turn counts from `now`."""
        if self.phase is Phase.CONNECTED:
            self.io_start = now
            if self.meters is not None:
                self._run_meter("receive", now)
                self._run_meter("send", now)
                self.executor.fresh_deadline(self)
            when = now + self.io_limit
            if when < self.armed:
                self.executor.fresh_deadline(self)
        elif self.phase is Phase.OPENING:
            if self.request_start == self.opened_at:  # not at another attempt
                self.request_start = now
            self.opened_at = now
            self.executor.fresh_deadline(self)

    def deadlines(self) -> list[tuple[float, Any]]:
        """Everything that can become late, with its moment."""
        metadata = self.metadata
        result: list[tuple[float, Any]] = []
        operation = self.operation
        if metadata._request_timeout is not None and self.request_start is not None:
            result.append((self.request_start + metadata._request_timeout, TimeoutStage.REQUEST))
        if self.phase is Phase.OPENING:
            if metadata._connection_timeout is not None and self.opened_at is not None:
                result.append((self.opened_at + metadata._connection_timeout, TimeoutStage.CONNECTION))
        elif operation is IDLE:
            if metadata._idle_timeout is not None and self.io_start is not None:
                result.append((self.io_start + metadata._idle_timeout, TimeoutStage.IDLE))
        elif self.phase is Phase.CONNECTED and operation is not None and operation.timed:
            if metadata._io_timeout is not None and self.io_start is not None:
                result.append((self.io_start + metadata._io_timeout, TimeoutStage.IO))
            if self.meters is not None:
                for direction, minimum, _ in self._minimums():
                    if minimum and direction in self.meters:
                        when = self.meters[direction].due()
                        if when is not None:
                            result.append((when, direction))
        if operation is not None:
            when = operation.due(self)
            if when is not None:
                result.append((when, operation))
        if self.unsent is not None and self.transport is not None and self.transport.shared:
            result.append((self.transport.retry_at, None))
        return result

    def expire(self, now: float) -> None:
        """Its moment has come: handle what is late, or arm for later."""
        late = [entry for entry in self.deadlines() if entry[0] <= now]
        if not late:
            self.executor.fresh_deadline(self)
            return
        what = min(late, key=lambda entry: entry[0])[1]
        if isinstance(what, TimeoutStage):
            self._timed_out(what)
        elif what is None:
            self.transport.retry_at = now + _ANSWER_AGAIN
            self.again()
        elif isinstance(what, str):
            self._judge_speed(what, now)
        elif what is self.operation:
            following = what.expire(self, now)  # type: ignore[union-attr]
            if following is not what:
                self.become(following)
        if not self.complete:
            self.executor.fresh_deadline(self)

    def _timed_out(self, stage: TimeoutStage) -> None:
        assert self.operation is not None or self.phase is Phase.OPENING
        phase = self.operation.phase if self.operation is not None else "connecting"
        event = TimeoutEvent(self, stage, phase)
        handler = self.dispatch.timeout
        if handler is not None:
            self.note_activity()
            handler(event)
        if self.cancelled or self.executor.stopping:
            return
        if not event._one_more:
            self.end(orderly=False)
        elif stage is TimeoutStage.CONNECTION:
            self.restart()
        else:
            if stage is TimeoutStage.REQUEST:
                self.request_start = self.executor.clock()
            else:
                self.io_start = self.executor.clock()
            operation = self.operation
            if self.override is not None and operation is not None and operation.phase in ("reading", "idle"):
                operation.abandon(self)
                self.become(None)  # which is the operation set in there

    def _judge_speed(self, direction: str, now: float) -> None:
        from .errors import SlowTransferError

        assert self.meters is not None
        meter = self.meters[direction]
        total = self.bytes_received if direction == "receive" else self.bytes_sent
        minimum, duration = next((m, d) for name, m, d in self._minimums() if name == direction)
        assert minimum is not None and duration is not None
        if meter.too_slow(minimum, total, now):
            speed = meter.speed(total, now)
            raise SlowTransferError(
                f"{self.metadata.address}: {direction} speed {speed:.1f} bytes/s over {duration:g} s is "
                f"under the minimum of {minimum:g} while {self.operation.phase if self.operation else ''}",
                direction=direction,
                speed=speed,
                duration=duration,
                address=self.metadata.address,
            )

    def wall(self, when: float | None) -> float | None:
        """A Unix timestamp for a moment of the executor's clock."""
        return None if when is None else when + self.executor.wall_offset

    # ---- addresses -----------------------------------------------------------------------------------

    def name_peer(self) -> None:
        """Give an accepted client its URL, now that somebody asks for it."""
        if isinstance(self.socket, AcceptedSocket | DatagramClientSocket):
            name_peer(self, self.socket)

    def remote_address(self) -> Any:
        """The peer's, as `socket` gives it."""
        if self.remote is None and self.phase in (Phase.WAITING, Phase.OPENING):
            self.name_peer()
        if self.remote is None and self.connected and not self.socket.is_server:
            try:
                sock = self.transport.sock
                self.remote = public_address(sock.family, sock.getpeername())
            except (OSError, AttributeError):
                return None
        return self.remote

    def local_address(self) -> Any:
        """Ours, as `socket` gives it; remembered once asked for."""
        if self.local is None and self.transport is not None:
            try:
                sock = self.transport.sock
                self.local = public_address(sock.family, sock.getsockname())
            except (OSError, AttributeError):
                return None
        return self.local

    def describe(self) -> str:
        """A few words for a repr."""
        return f"{self.phase.value}{'' if self.operation is None else f' {self.operation!r}'}"

    def take_urgent(self, byte: bytes) -> tuple[bool, Operation | None]:
        """OOB for one urgent byte; whether a handler named another operation, and which."""
        handler = self.dispatch.oob
        self.bytes_received += len(byte)
        self.io_start = self.executor.now
        if handler is None:
            return False, None
        self.note_activity()
        event = UrgentEvent(self, Frame(byte, self.remote_address()), self.current_operation())
        handler(event)
        return event.next_operation is not None, event.next_operation


def handler_error(channel: Channel, bug: Exception) -> HandlerError:
    """A handler's bug as an error of its socket alone."""
    error = HandlerError(
        f"{channel.metadata.address}: a handler raised {bug!r}",
        socket=channel.socket,
        address=channel.metadata.address,
    )
    error.__cause__ = bug
    return error


def _attempt(first: BaseException | None, call: Any, *args: Any) -> BaseException | None:
    """Call; the first exception stays the one that counts, later ones become notes on it."""
    try:
        call(*args)
    except BaseException as error:
        if first is None:
            return error
        first.add_note(f"later: {error!r}")
    return first


class _Unraisable:
    """What `sys.unraisablehook` wants to know."""

    def __init__(self, bug: BaseException, where: Any) -> None:
        self.exc_type = type(bug)
        self.exc_value = bug
        self.exc_traceback = bug.__traceback__
        self.err_msg = "Exception ignored in an event handler"
        self.object = where

