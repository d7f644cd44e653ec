"""One socket: what it does now, and every move from one operation to the next.

What it does is its `stepper`; a table in docs/design.md has all states in which it may wait. `next` is what
the handlers of the event being told have named, `after` what was set from outside; both come when the current
operation is done, and `_chosen` alone knows in which order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..address import Address, address_of
from ..engines.base import READ, WRITE
from ..errors import ReceiveError, SendError
from ..events import Event, ReadEvent
from ..frames.inbox import Inbox
from ..metadata import SocketMetadata
from ..transports.base import is_tls_error
from ..transports.broken import BrokenTransport
from ..transports.plain import MOST_RECEIVED, plain
from ..transports.stream import StreamTransport
from . import closing, interest, io_clock, outbox, speed, start, telling, timeouts
from .activities import IDLE, SENDING, YIELDED
from .deadlines import INFINITY, TurnTime
from .failure import broken, io_error
from .operation import DONE, UNTOLD, Operation, Stepper
from .speed import Speed
from .states import MOVES, Phase
from .token import Token

if TYPE_CHECKING:
    from ..settings import Settings
    from ..sockets import Socket
    from ..typing import SocketAddress, TimeoutPhase
    from .dispatch import Dispatch
    from .loop import Loop
    from .outbox import Outbox
    from .task import Task

# Read by these names they cost compiled code no look-up.
_WAITING, _OPENING, _CONNECTED, _CLOSING, _COMPLETE = Phase
_DONE, _UNTOLD, _WRITE, _MOVES, _PLAIN_STREAM = DONE, UNTOLD, WRITE, MOVES, StreamTransport
_SENDING, _YIELDED = SENDING, YIELDED
# How many operations may start one after the other in a turn, for fairness among sockets.
_STARTS = 64
# A received chunk larger than this is not kept alive for the few bytes that are left of it.
_LARGE, _MOST = 4096, MOST_RECEIVED


class Channel(Token):
    """What the loop knows of one socket. `recv`, `send`, `inbox`, `socket`, `metadata` and `emit` are for
    operations; the rest belongs to the library."""

    # One object per socket, so it is slots only, and what most sockets never need is None.
    __slots__ = (
        "after", "alerts", "bytes_received", "bytes_sent", "cancelled", "connected_at", "datagrams",
        "dispatch", "ended", "flushed", "forgotten", "inbox", "io_limit", "io_start", "local",
        "loop", "metadata", "next", "opened_at", "opened_for", "opened_with", "operation", "outbox", "phase",
        "plain", "queued", "remote", "request_start", "socket", "speeds", "started", "steps", "task",
        "tls", "transport", "truncated",
    )  # fmt: skip

    def __init__(self, loop: Loop, socket: Socket, operation: Operation, dispatch: Dispatch) -> None:
        self.loop = loop
        self.socket = socket
        self.dispatch = dispatch
        self.phase = _WAITING
        self.stepper: Stepper | None = None
        self.operation: Operation | None = operation
        self.next: Any = _UNTOLD
        self.after: Operation | None = None
        self.task: Task | None = None  # a conversation that is on
        self.transport: Any = None
        self.plain: Any = None  # the socket itself where nothing lies between: a plain stream
        self.indirect = True
        self.inbox = Inbox()
        self.ended = self.truncated = self.datagrams = False  # datagrams: one lies ready
        self.outbox: Outbox | None = None
        self.bytes_sent = self.bytes_received = self.alerts = self.watched = 0
        self.started = self.queued = self.cancelled = self.forgotten = False  # started: `operation` is
        self._armed = self.io_limit = INFINITY  # when it surfaces, and within what time after progress
        self.connected_at = INFINITY  # never
        self.io_start: TurnTime | None = None
        self.opened_at: TurnTime | None = None
        self.request_start: TurnTime | None = None
        self.steps: tuple[tuple[str, float], ...] = ()  # of opening, each with its beginning, after the first
        self.flushed: TurnTime | None = None  # the last byte of the outbox
        self.speeds: tuple[Speed, ...] = ()  # one for each direction that is measured
        self.tls: Any = None
        self.remote: SocketAddress = socket._peer()
        self.local: SocketAddress = None
        self.opened_for: Address | None = None  # and `opened_with`: if the connection may serve another life
        self.opened_with: Settings | None = None
        settings = loop.server_settings if socket.is_server else loop.client_settings
        self.metadata = SocketMetadata(self, settings, socket._persistent)

    # ---- what operations use -------------------------------------------------------------------------

    def recv(self, size: int = _MOST) -> bytes | None:
        """See `evsockets.channel`. At the end of the stream `ended` is true. `size` counts on plain ones."""
        try:
            direct = self.plain
            data: bytes | None = direct.recv(size) if direct is not None else self.transport.recv()
        except BlockingIOError:
            return None
        except OSError as error:
            if not is_tls_error(error, "SSLEOFError"):
                if self.transport.failure is not None:
                    raise broken(self)
                if not self.transport.datagram:  # whoever asks again is told again
                    self.set_transport(BrokenTransport(self.transport, error, "reading"))
                raise io_error(self, error, ReceiveError, "reading") from error
            self.truncated = True
            data = b""
        if data is None:
            return None
        self.io_start = self.loop.turn_time
        if not data and (not self.transport.datagram or self.transport.at_end):
            self.ended = self.indirect = True
            return data
        self.bytes_received += len(data)
        self.datagrams = True
        inbox = self.inbox
        if not inbox._chunk:
            inbox._chunk = data  # what _append() does, without the call
            inbox._arrived = self.io_start
        else:
            if self.transport.datagram:
                inbox.drop(len(inbox))
            inbox._append(data)
        if len(data) > _LARGE:
            self.indirect = True  # what is left of it when the stepper waits is looked at
        if self.speeds:
            speed.sample(self)
        return data

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """See `evsockets.channel`."""
        if self.outbox is not None and not outbox.is_empty(self):
            return 0
        try:
            sent = max(0, outbox.transmit(self, data))  # -1: a datagram was not taken
        except OSError as error:
            outbox.send_failed(self, error)
            failure = self.transport.failure  # the operation may catch it, and receive what had arrived
            raise io_error(self, failure, SendError, "writing") from failure
        if self.transport.unflushed:
            outbox.keep(self, b"")  # nothing goes on before TLS has given the kernel what it took
        return sent

    def emit(self, event: Event) -> None:
        """Tell the handlers listening to `event.type`."""
        handler = getattr(self.dispatch, event.type.name.lower())
        if handler is not None:
            telling.tell(self, handler, event)
        if self.task is not None and type(event) is ReadEvent:
            self.task.frame = event.frame

    # ---- the current operation -----------------------------------------------------------------------

    def advance(self, following: Any) -> None:
        """The stepper is done: choose what follows, and start it and what it leads to until one waits."""
        if self.phase is _OPENING:
            start.open_by(self, following)
        else:
            self.start_next(self._chosen(following))

    def _chosen(self, following: Any) -> Operation | None:
        """What comes next: set from outside, else named by handlers, else what the step returned."""
        named, self.next = self.next, _UNTOLD
        if following is _DONE:
            following = named
        if self.task is not None:
            return self.task.follows(self, following)
        if self.after is not None:
            following, self.after = self.after, None
        return None if self.forgotten else following

    def start_next(self, following: Operation | None) -> None:
        loop = self.loop
        for _ in range(_STARTS):
            if loop.interrupt and (self.cancelled or loop.stopping):
                return
            if following is not None and not isinstance(following, Operation):
                raise TypeError(f"an operation or None must follow, got {following!r}")
            box = self.outbox
            if box is not None and (
                (box.holds and not box.corked) or following is None or not following._runs_ahead()
            ):
                if not outbox.lets_start(self, box, following):
                    self.wait(_SENDING, following)  # nothing starts before the kernel has taken the last byte
                    return
            if following is None:
                closing.nothing_next(self)
                return
            operation = following
            self.operation = self.stepper = operation
            self.started = True
            if self.alerts and not operation._takes_nothing:
                self.alerts = 0
            self.io_start = loop.turn_time
            try:
                waits: Any = operation.start(self)
            except BaseException as error:
                if self.task is None or not self.task.catches(error):
                    raise
                waits = None
            if waits is self.stepper:  # `replace` may have put another one there
                if waits is None or waits is _YIELDED:  # the socket has ended, or waits for its next turn
                    return
                if outbox.has_left(self) or waits.interest & _WRITE:
                    self.arm_and_watch()
                else:
                    self.wait(_SENDING, waits, started=True)
                return
            following = self._chosen(waits)
        self.wait(_YIELDED, following)

    def replace(self, operation: Operation) -> Operation | None:
        """Start `operation` in the place of the current one, which goes on by it; as `start` returns."""
        box = self.outbox
        if box is not None and operation._after_posts and not outbox.lets_start(self, box, operation):
            self.wait(_SENDING, operation)
            return _SENDING  # type: ignore[return-value]  # the stepper from now on
        self.operation = self.stepper = operation
        self.io_start = self.loop.turn_time
        return operation.start(self)

    def wait(self, activity: Stepper, operation: Operation | None, started: bool = False) -> None:
        """Do `activity` before `operation` starts or goes on."""
        self.stepper, self.operation, self.started = activity, operation, started
        self.arm_and_watch()
        if activity is _YIELDED:
            self.step_next_turn()
            self.loop.wake_if_hosted()

    def resume(self) -> Stepper | None:
        """SENDING or YIELDED is over: go on with the operation it held up. The stepper from then on."""
        operation = self.operation
        if self.started and operation is not None:
            if self.after is None:
                self.io_start = self.loop.turn_time
                self.wait(operation, operation, started=True)
                return operation
            operation._abandon(self)
        self.advance(operation)
        return self.stepper

    def go_on(self, following: Any) -> None:
        """After a step that was not the turn's: advance, or let it wait on."""
        if following is not self.stepper:
            self.advance(following)
        elif following is not None and self.phase is _CONNECTED:
            self.arm_and_watch()

    def arm_and_watch(self) -> None:
        """The stepper waits: arm what it can be late for, and tell the engine what it waits for."""
        stepper: Any = self.stepper
        if self.speeds:
            speed.switch(self)
            timeouts.arm(self)
        elif not stepper._timed or self.loop.now + self.io_limit < self._armed:
            timeouts.arm(self)
        if self.indirect or self.watched != stepper.interest:
            interest.update(self)
            if self.ended and stepper.interest & READ:
                self.step_next_turn()  # the engine tells of an end once; what begins after it finds it

    def set_transport(self, transport: Any) -> None:
        """Move bytes through `transport` from now on."""
        self.transport = transport
        self.plain = plain(transport.sock) if type(transport) is _PLAIN_STREAM else None
        self.indirect = self.plain is None or self.ended

    def refused(self, error: OSError) -> None:
        """What the engine had taken to be watched the system has refused."""
        self.watched = 0
        if self.stepper is not None:
            raise self.stepper._unwatchable(self, error) from error

    def step_next_turn(self) -> None:
        """Have the stepper called in the next turn whatever the engine says."""
        if not self.queued:
            self.queued = True
            self.loop.ready.append(self)

    # ---- what comes from outside ---------------------------------------------------------------------

    def set_operation(self, operation: Operation, *, inside: bool) -> None:
        """See `SocketBag.set_operation`; `inside` a handler of this very socket."""
        stepper = self.stepper
        if inside and self.next is not UNTOLD and (stepper is None or stepper._heeds_next):
            self.next = operation
        elif self.phase is not _CONNECTED or stepper is None:
            self.operation = operation
        elif inside or not stepper._replaceable:
            self.after = operation
        else:
            stepper._abandon(self)
            self.next, self.after = UNTOLD, None
            if self.task is not None:
                self.task.superseded = True
            self.wait(YIELDED, operation)  # its handlers must not run inside somebody else's

    def forget(self) -> None:
        """Let go of the connection when the current operation is done."""
        self.forgotten = True
        if self.stepper is IDLE:
            self.wait(YIELDED, None)

    def cancel(self) -> None:
        """End this socket when the handlers running now have returned."""
        if self.phase is not _WAITING and not self.complete and not self.cancelled:
            self.cancelled = True
            self.loop.to_end.append(self)
            self.loop.interrupt = True
            self.loop.wake_if_hosted()

    def mark_active(self) -> None:
        """An event is about to be told: delayed operations of other sockets will be asked."""
        if self.loop.delayed:
            self.loop.active_sockets.add(self)

    def settings_changed(self) -> None:
        """A time-out or minimum speed was set."""
        io_clock.limit_io(self)
        if self.phase is _CONNECTED:
            speed.start(self)
        if self.phase is _OPENING or self.phase is _CONNECTED:
            timeouts.arm(self)
            self.loop.wake_if_hosted()

    def _deadline(self, now: float) -> float:
        return timeouts.earliest(self, now)[0]

    def _late(self, arrived: Iterable[tuple[Any, int]], now: float) -> None:
        self.loop.current = self
        try:
            timeouts.surfaced(self, arrived, now)
        except BaseException as error:
            self.loop.handle_error(self, error)

    # ---- what it is ----------------------------------------------------------------------------------

    def move(self, phase: Phase) -> None:
        """Go on to `phase`."""
        if phase not in _MOVES[self.phase]:
            raise AssertionError(f"{self.phase} -> {phase} is no move in a socket's life")
        self.phase = phase

    @property
    def address(self) -> str | None:
        """Its URL."""
        return self.metadata.address

    @property
    def kind(self) -> type[Socket]:
        """Its socket's class."""
        return type(self.socket)

    def peer_url(self) -> str | None:
        """The URL of a server's client, now that somebody asks for it."""
        return self.socket._peer_url()

    def speed(self, direction: str) -> float:
        """Live speed, bytes/s."""
        return speed.live(self, direction, self.loop.now)

    @property
    def connected(self) -> bool:
        """Whether the connection is established now."""
        return self.phase is _CONNECTED

    @property
    def complete(self) -> bool:
        """Whether DISCONNECTED (else FINALIZE) has come."""
        return self.phase is _CLOSING or self.phase is _COMPLETE

    def phase_name(self) -> TimeoutPhase:
        """What it does, in the words of TimeoutEvent, or "closing" in the text of an error."""
        stepper = self.stepper
        if stepper is None:
            return "closing" if self.complete else "connecting"  # type: ignore[return-value]
        # Both directions, or an operation of a user's own, with nothing to wait for but the peer's reading.
        if stepper._phase == "reading" and stepper.interest == WRITE:
            return "writing"
        return stepper._phase

    def doing(self) -> str:
        """The same in the words of an error, which name a proxy and what is asked of it."""
        return (self.stepper is not None and self.stepper._doing) or self.phase_name()

    def local_address(self) -> SocketAddress:
        """Ours, as `socket` gives it; remembered once asked for."""
        if self.local is None:
            self.local = address_of(self.transport, "getsockname")
        return self.local

    def unsent_bytes(self) -> int:
        """How many bytes the kernel has yet to take."""
        return outbox.unsent(self)
