"""One socket: what it receives, its one current operation, and what comes after it."""

from __future__ import annotations

import ssl
from typing import Any

from ..address import public_address
from ..deadlines import INFINITY
from ..engines.base import READ, WRITE
from ..errors import NetworkSocketError, ReceiveError, SendError, SlowTransferError
from ..events import Event, EventType, TimeoutEvent, TimeoutStage
from ..operations.base import REPEAT, Operation
from ..operations.begin import Reused, begin_life, name_peer
from ..operations.delay import DelayedOperation
from ..operations.duplex import ReadWriteOperation
from ..operations.flush import BEGIN, FLUSH, IDLE, RESUME, Linger, takes_nothing
from ..operations.read import ReadOperation
from ..operations.write import Told
from ..phases import Phase
from ..sockets import AcceptedSocket, DatagramClientSocket
from ..transports.stream import RECEIVE_SIZE, StreamTransport
from .ending import Ending

# How many operations may start one after the other before the other sockets have their turn.
_STARTS = 64
# Seconds until a datagram server's answer that was not taken is sent again.
_ANSWER_AGAIN = 0.005


class Channel(Ending):
    """What an executor knows of one socket. Operations of your own use `recv`, `send`, `inbox`, `socket`,
    `metadata` and `emit`; the rest belongs to the library."""

    __slots__ = ()

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
            self.io_start = self.executor.moment
            inbox = self.inbox
            if inbox._chunk:
                if self.transport.datagram:
                    inbox.drop(len(inbox))
                inbox.append(data)
            else:
                inbox._chunk = data  # what append() does, without the call
            self.datagrams = True
            if self.meters is not None:
                self.sample()
        elif data is not None:
            self.io_start = self.executor.moment
            if self.transport.datagram and not self.transport.at_end:
                self.datagrams = True
                self.inbox.drop(len(self.inbox))
            else:
                self.ended = True
        return data

    def _receive_failed(self, error: OSError) -> bytes:
        if isinstance(error, ssl.SSLEOFError):
            self.truncated = True
            return b""
        raise self.lost(error, ReceiveError, "reading") from error

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
        self.heed = self.plain is None

    # ---- beginning -----------------------------------------------------------------------------------

    def open(self, again: bool = False) -> None:
        """INITIALIZE, and on towards CONNECTED; `again`: another attempt within the same life."""
        executor = self.executor
        if not again:
            self.move(Phase.OPENING)
        self.opened_at = None
        handler = self.dispatch.initialize_again if again else self.dispatch.initialize
        if handler is not None:
            if executor.delayed:
                executor.actors.add(self)
            handler(Event(EventType.INITIALIZE, self))
            if self.cancelled or executor.stopping:
                return
        self.opened_at = executor.moment
        if self.request_start is None:
            self.request_start = executor.moment
        self.become_opening(begin_life(self))
        if self.armed is INFINITY:
            self.arm()

    def become_opening(self, operation: Operation | None) -> None:
        """As `become`, for the steps before CONNECTED (the user's first operation stays held)."""
        while True:
            if self.cancelled or self.executor.stopping:
                return
            if operation is BEGIN:
                self.become(BEGIN)
                return
            assert operation is not None
            self.operation = operation
            following = operation.start(self)
            if following is operation:
                break
            operation = following
        self.update()

    def restart(self) -> None:
        """Close this attempt and begin again at INITIALIZE."""
        first, started = self.held, self.held_started
        self.close_transport(orderly=False)
        self.held, self.held_started = first, started
        self.local = None
        self.open(again=True)

    def connected_now(self) -> None:
        """The connection is established."""
        self.move(Phase.CONNECTED)
        self.connected_at = self.executor.now
        self.inbox.remote_address = self.remote if self.remote is not None else self.remote_address()
        self.io_start = None
        settings = self.metadata._settings
        if settings.min_receive_speed or settings.min_send_speed:
            self.start_meters()
        if self.dispatch.oob is not None:
            self.executor.watch_urgent(self)

    # ---- the current operation -----------------------------------------------------------------------

    def become(self, following: Operation | None) -> None:
        """Make `following` current and start it, and what it leads to, until one has to wait.

        None ends the request: the connection idles if it is kept alive, else it is closed.
        """
        starts = 0
        executor = self.executor
        while True:
            if executor.attention and (self.cancelled or executor.stopping):
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
                    self.detach()
                    return
                over = self.ended and not self.inbox  # what came before the end is told before it
                if over or not self.metadata._keep_alive or self.socket.is_server:
                    if self.tls is not None and not self.send_close_notify():
                        self._hold(None, FLUSH)
                        break
                    if self.tls is None or not self._is_early_to_close():
                        self.end()
                        return
                    following = Linger()
                else:
                    following = IDLE
                    if self.alerts and not takes_nothing(self.operation):
                        self.alerts = 0
            self.operation = operation = following
            self.io_start = executor.moment
            try:
                following = operation.start(self)
            except AttributeError:
                if not isinstance(operation, Operation):
                    self.operation = None
                    raise TypeError(f"an operation or None must follow, got {operation!r}") from None
                raise
            if following is operation:
                if self.unsent is not None or self.gather:
                    if not (self.gather and self.flush()) and not operation.interest & WRITE:
                        self._hold(operation, FLUSH, started=True)
                break
            starts += 1
            if starts == _STARTS:
                # What gathered leaves at the end of the received chunk, not here.
                self._hold(following, RESUME)
                self.again()
                break
        if self.operation is not None:
            self.settle()

    def _is_early_to_close(self) -> bool:
        """Whether the session tickets of TLS 1.3 may be still to come; see `Linger`."""
        nothing_read = not (self.bytes_received or self.ended or isinstance(self.socket, AcceptedSocket))
        return nothing_read and type(self.operation) is not Linger and self.tls.version == "TLSv1.3"

    def settle(self) -> None:
        """The operation waits: what it can be late for is armed, what it waits for the engine knows."""
        operation = self.operation
        executor = self.executor
        late = executor.now + self.io_limit < self.armed
        if type(operation) is not ReadOperation:
            self.heed = self.plain is None or not operation.steady  # type: ignore[union-attr]
            late = True
        if self.meters is not None:
            executor.metered.append(self)  # for their exact times, when the handlers have run
        elif late:
            self.arm()
        if self.watched != operation.interest or self.plain is None or self.ended:  # type: ignore[union-attr]
            self.update()
            if self.ended and operation.interest & READ:  # type: ignore[union-attr]
                self.again()  # the engine does not tell of an end once seen; what begins after it finds it

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
                self.io_start = self.executor.moment
                self.settle()
            else:
                operation.abandon(self)
        return operation

    def _overruled(self, following: Operation | None) -> Operation | None:
        current = self.operation
        if type(following) is Told:
            return following  # its WRITE has been told: it is still to be done
        if isinstance(current, DelayedOperation) and following is current.operation:
            return following  # and so is what was held back
        if self.forgotten:
            # The first operation is still to be done.
            first = following is BEGIN or current is BEGIN or type(current) is Reused
            return following if first else None
        operation, self.override = self.override, None
        return operation

    def current_operation(self) -> Operation | None:
        """What `SocketBag.get_operation` answers."""
        operation = self.operation
        if operation is None or operation in (FLUSH, RESUME, BEGIN) or self.phase is Phase.OPENING:
            return self.held
        return None if operation is IDLE or type(operation) is Linger else operation

    def set_operation(self, operation: Operation) -> None:
        """See `SocketBag.set_operation`."""
        if self.complete:
            raise RuntimeError(f"{self.socket!r} is complete: add_socket() gives it a new life")
        if self.phase in (Phase.WAITING, Phase.OPENING) or self.operation is BEGIN:
            self.held = operation
            return
        current = self.operation
        executor = self.executor
        if (
            executor.current is self
            or current is None
            or current in (FLUSH, RESUME)
            or isinstance(current, ReadWriteOperation)
            or not (current is IDLE or current.phase == "reading")
        ):
            self.override = operation
            return
        current.abandon(self)
        if not takes_nothing(operation):
            self.alerts = 0
        # Through the next turn: its handlers must not run inside somebody else's.
        self._hold(operation, RESUME)
        self.again()
        executor.wake_if_hosted()

    def forget(self) -> None:
        """Let go of the connection when the current operation is done."""
        if self.complete:
            return
        self.forgotten = True
        if self.operation is IDLE and self.executor.current is not self:
            self._hold(None, RESUME)
            self.again()
            self.executor.wake_if_hosted()

    def update(self) -> None:
        """Tell the engine, if what the operation waits for has changed."""
        operation = self.operation
        transport = self.transport
        if transport is None or operation is None or operation is RESUME:
            return
        interest = operation.interest
        plain = self.plain
        if plain is not None and not self.ended:  # the rest is for what lies between, or for the end
            if interest != self.watched:
                try:
                    self.executor.engine.watch(plain.fileno(), interest, self)
                except OSError as error:
                    raise self._unwatchable(error) from error
                self.watched = interest
            return
        if transport.wants:
            interest = transport.wants if interest else 0
        if transport.unflushed:
            # Of a socket that reads it is TLS's own: received bytes come before the loss met in sending it.
            if not (transport.flush_quietly() if interest == READ else self.flush_transport()):
                interest |= WRITE
        if self.ended and interest & READ and operation.phase != "handshaking":
            interest &= ~READ  # a level-triggered end would be reported for ever
        if interest != self.watched and not transport.shared:
            try:
                self.executor.engine.watch(transport.fileno(), interest, self)
            except OSError as error:
                raise self._unwatchable(error) from error
            self.watched = interest
        if transport.shared and self.unsent is not None:
            # The server's descriptor is not watched for one answer, and where its peer's queue is full
            # writability would prove nothing: try again a little later.
            transport.retry_at = self.executor.now + _ANSWER_AGAIN
            self.arm()
        elif (transport.pending and operation.interest & READ) or (transport.shared and interest):
            self.again()

    def _unwatchable(self, error: OSError) -> NetworkSocketError:
        """Closed behind our back, or one more than the engine can watch: this socket's affair alone."""
        phase = "waiting" if self.operation is None else self.operation.phase
        return self.lost(error, SendError if phase == "writing" else ReceiveError, phase)

    def again(self) -> None:
        """Have the operation stepped in the next turn whatever the engine says."""
        if not self.queued:
            self.queued = True
            self.executor.queue.append(self)

    @property
    def channel(self) -> Channel:
        """Itself: every token the engine holds says whose it is."""
        return self

    # ---- lateness ------------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Its moment has come: handle what is late, or arm for later."""
        when, what = self.earliest()
        if when > now:
            self.arm()
            return
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
            self.arm()

    def _timed_out(self, stage: TimeoutStage) -> None:
        assert self.operation is not None or self.phase is Phase.OPENING
        one_more = False
        later, self.override = self.override, None  # set before, it comes after the current operation
        handler = self.dispatch.timeout
        if handler is not None:
            self.note_activity()
            event = TimeoutEvent(self, stage, self.doing())
            handler(event)
            one_more = event._one_more
        if self.cancelled or self.executor.stopping:
            return
        if not one_more:
            self.end(orderly=False)
        elif stage is TimeoutStage.CONNECTION:
            self.restart()
        else:
            if stage is TimeoutStage.REQUEST:
                self.request_start = self.executor.moment
            else:
                self.io_start = self.executor.moment
            operation = self.operation
            if self.override is None:
                self.override = later
            elif isinstance(operation, ReadWriteOperation):
                chosen, self.override = self.override, later
                operation.schedule(chosen)
            elif operation is not None and operation.phase in ("reading", "idle"):
                operation.abandon(self)
                self.become(None)  # which is the operation set in there

    def _judge_speed(self, direction: str, now: float) -> None:
        assert self.meters is not None
        meter = self.meters[direction]
        total = self._total(direction)
        minimum, duration = next((m, d) for name, m, d in self.minimums() if name == direction)
        assert minimum is not None and duration is not None
        if meter.too_slow(minimum, total, now):
            speed = meter.speed(total, now)
            raise SlowTransferError(
                f"{self.metadata.address}: {direction} speed {speed:.1f} bytes/s over {duration:g} s is "
                f"under the minimum of {minimum:g} while {self.doing()}",
                direction=direction,
                speed=speed,
                duration=duration,
                address=self.metadata.address,
            )

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

    def describe(self) -> str:
        """A few words for a repr."""
        return f"{self.phase.value}{'' if self.operation is None else f' {self.operation!r}'}"
