"""Everything that is remembered of one socket's life."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..address import public_address
from ..deadlines import INFINITY, Moment
from ..engines.base import WRITE
from ..frames.inbox import Inbox
from ..metadata import SocketMetadata
from ..phases import MOVES, Phase

if TYPE_CHECKING:
    from ..executor import RequestExecutor
    from ..handlers import Dispatch
    from ..meters import Meter
    from ..operations.base import Operation
    from ..sockets import Socket


class State:
    """One object per socket, so it is slots only, and what most sockets never need is None."""

    __slots__ = (
        "after", "alerts", "armed", "bytes_received", "bytes_sent", "cancelled", "connected_at", "datagrams",
        "dispatch", "ended", "executor", "forgotten", "gather", "heed", "held", "held_started", "inbox",
        "io_limit", "io_start", "local", "metadata", "meters", "opened_at", "operation", "override", "phase",
        "plain", "queued", "remote", "request_start", "settings", "socket", "source", "tls", "transport",
        "truncated", "unsent", "watched",
    )  # fmt: skip

    def __init__(
        self, executor: RequestExecutor, socket: Socket, operation: Operation, dispatch: Dispatch
    ) -> None:
        self.executor = executor
        self.socket = socket
        self.dispatch = dispatch
        self.phase = Phase.WAITING
        self.operation: Operation | None = None
        self.held: Operation | None = operation  # started later: the first one, or one kept waiting
        self.held_started = False
        self.override: Operation | None = None  # set from outside, comes next
        self.transport: Any = None
        self.plain: Any = None  # the socket itself where nothing lies between: a plain stream
        # Whether what is waited for may change with any step, as it does with TLS.
        self.heed = True
        self.inbox = Inbox()
        self.ended = False
        self.truncated = False
        self.datagrams = False  # one lies ready
        self.unsent: Any = None  # what the kernel did not take
        self.gather: bytearray | None = None  # what waits to leave together
        self.source: Iterator[Any] | None = None  # the iterable being written
        self.after: Operation | None = None  # what follows it
        self.bytes_sent = 0
        self.bytes_received = 0
        self.watched = 0  # the interest the engine knows
        self.queued = False
        self.cancelled = False
        self.forgotten = False
        self.alerts = 0
        self.armed = INFINITY  # when it surfaces among the deadlines
        self.io_start: Moment | None = None
        self.opened_at: Moment | None = None
        self.request_start: Moment | None = None
        self.connected_at: float | None = None
        self.meters: dict[str, Meter] | None = None
        self.tls: Any = None
        self.remote: Any = None
        self.local: Any = None
        self.settings: Any = None  # what the connection was opened for, if it may serve another life
        settings = executor.server_settings if socket.is_server else executor.client_settings
        limit = settings.io_timeout
        self.io_limit = INFINITY if limit is None else limit
        # A channel is what its class makes of this; the metadata asks it later.
        self.metadata = SocketMetadata(self, settings, socket.persistent)  # type: ignore[arg-type]

    def move(self, phase: Phase) -> None:
        """Go on to `phase`."""
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

    def doing(self) -> str:
        """The phase of its operation, in the words of TimeoutEvent."""
        operation = self.operation
        if operation is None:
            return "connecting"
        # Both directions, or an operation of a user's own, with nothing to wait for but the peer's reading.
        if operation.phase == "reading" and operation.interest == WRITE:
            return "writing"
        return operation.phase

    def note_activity(self) -> None:
        """An event is about to be told: delayed operations of others will be asked."""
        if self.executor.delayed:
            self.executor.actors.add(self)

    def local_address(self) -> Any:
        """Ours, as `socket` gives it; remembered once asked for."""
        if self.local is None and self.transport is not None:
            try:
                sock = self.transport.sock
                self.local = public_address(sock.family, sock.getsockname())
            except (OSError, AttributeError):
                return None
        return self.local

    def __lt__(self, other: State) -> bool:
        """Any order will do: two that are due at once stand beside one another among the deadlines."""
        return id(self) < id(other)
