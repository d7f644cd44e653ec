"""Many requests at once, each with its outcome and its phases: what `fetch` and `demo` run."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .. import (
    CallbackEventHandler,
    ClientSocket,
    Configuration,
    ConnectionFailedError,
    DisconnectedError,
    Event,
    EventType,
    FrameError,
    FramePicker,
    Operation,
    ReadEvent,
    ReadOperation,
    RequestExecutor,
    SlowTransferError,
    SocketExceptionEvent,
    SocketMetadata,
    TimeoutEvent,
    TlsHandshakeError,
    WriteOperation,
)
from ..address import numeric_address
from ..core.channel import Channel
from .phases import PHASES, PhaseLog

#: What the first matching class of an exception is called in the table; most special first.
_OUTCOMES: tuple[tuple[type[Exception], str], ...] = (
    (TlsHandshakeError, "TLS failed"),
    (ConnectionFailedError, "no connection"),
    (DisconnectedError, "disconnected"),
    (FrameError, "bad answer"),
    (SlowTransferError, "too slow"),
)

#: How long one turn may wait, in seconds: how often the display moves.
_TURN = 0.1


@dataclass(slots=True)
class Request:
    """One request: what was asked, and what became of it.

    `label` is what it is called in tables and pictures, `address` unless something else is set.
    `error` is None and `ok` true when all went well; `chunks` holds what was received if it is kept.
    """

    address: str
    send: bytes
    picker: FramePicker | None
    log: PhaseLog
    label: str
    metadata: SocketMetadata | None = None
    outcome: str = "not started"
    error: str | None = None
    ok: bool = False
    done: bool = False
    connected: bool = False
    began: float | None = None
    tls: tuple[str, str] | None = None
    remote: Any = None
    chunks: list[bytes] = field(default_factory=list)

    @property
    def received(self) -> int:
        """Bytes received so far."""
        return self.metadata.bytes_received if self.metadata is not None else 0

    @property
    def sent(self) -> int:
        """Bytes sent so far."""
        return self.metadata.bytes_sent if self.metadata is not None else 0


class Gathering:
    """Runs requests on one executor, all at once, and keeps their outcomes and phases.

    `keep_data`: whether what is received stays in `Request.chunks`.
    """

    def __init__(self, executor: RequestExecutor, *, keep_data: bool = False) -> None:
        self.executor = executor
        self.requests: list[Request] = []
        self.keep_data = keep_data
        self.seconds = 0.0
        self.finished = 0
        self.failed = 0
        self.interrupted = False
        self._active: dict[int, Request] = {}
        self._handler = CallbackEventHandler(
            {
                EventType.INITIALIZE: self._on_initialize,
                EventType.CONNECTED: self._on_connected,
                EventType.READ: self._on_read,
                EventType.TIMEOUT: self._on_timeout,
                EventType.EXCEPTION: self._on_exception,
                EventType.FINALIZE: self._on_finalize,
            }
        )

    def add(
        self, address: str, *, send: bytes = b"", picker: FramePicker | None = None, **metadata: Any
    ) -> Request:
        """Add a request: send `send`, then read the frame of `picker` (None: all up to the end).

        AddressError if the address is wrong; nothing is added then.
        """
        request = Request(address, send, picker, PhaseLog(0.0), address)
        operation: Operation = _Answer(picker, partial(self._on_asked, request))
        if send:
            operation = WriteOperation(send, then=operation)
        request.metadata = self.executor.socket_bag.add_socket(
            ClientSocket(),
            operation,
            handler=self._handler,
            address=address,
            user_context=request,
            **metadata,
        )
        self.requests.append(request)
        return request

    def run(self, update: Callable[[], None] | None = None) -> None:
        """Run all to their ends; `update` is called after every turn and at least every 0.1 s.

        SIGINT stops the run: `interrupted` is true then, and what was under way has failed.
        """
        origin = time.monotonic()
        for request in self.requests:
            request.log.origin = origin
        with self._stopped_by_sigint():
            self.executor.start_request()
            while self.executor.turn(_TURN):
                self._sample()
                if update is not None:
                    update()
        self.seconds = time.monotonic() - origin
        for request in self.requests:
            self._settle(request, "interrupted", "the run was interrupted")

    @contextlib.contextmanager
    def _stopped_by_sigint(self) -> Iterator[None]:
        """While this lasts, SIGINT ends the run in order; its table is still worth having."""

        def stop(*_: Any) -> None:
            self.interrupted = True
            if self.executor.is_executing:
                self.executor.stop_request()

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _sample(self) -> None:
        """Note the phases which no event announces: when a name is resolved, when a connection turns to
        its handshake."""
        now = time.monotonic()
        for request in self._active.values():
            phase = _live_phase(request)
            if phase in PHASES:
                self._enter(request, phase, now)

    def _on_initialize(self, event: Event) -> None:
        request: Request = event.user_context
        request.outcome = "running"
        request.began = time.monotonic()
        self._active[id(request)] = request

    def _on_connected(self, event: Event) -> None:
        request: Request = event.user_context
        now = time.monotonic()
        tls = event.metadata.tls
        if tls is not None:
            request.tls = (tls.version, tls.cipher)
            self._enter(request, "handshaking", now)
        self._enter(request, "writing" if request.send else "reading", now)
        request.connected = True
        request.remote = event.metadata.remote_address

    def _on_asked(self, request: Request) -> None:
        self._enter(request, "reading", time.monotonic())

    def _on_read(self, event: ReadEvent) -> None:
        request: Request = event.user_context
        self._enter(request, "reading", time.monotonic())
        if self.keep_data:
            request.chunks.append(event.frame.data)
        if request.picker is None and not request.address.lower().startswith(("udp:", "udg:")):
            event.next_is_read()

    def _on_timeout(self, event: TimeoutEvent) -> None:
        request: Request = event.user_context
        option = event.when.name.lower()
        limit = getattr(event.metadata, f"{option}_timeout")
        request.outcome = f"timed out ({event.phase})"
        request.error = f"timed out while {event.phase}, {option} time-out {limit:g} s"

    def _on_exception(self, event: SocketExceptionEvent) -> None:
        request: Request = event.user_context
        error = event.exception
        if not request.log.phases:  # it failed within its first turn
            self._enter(request, _live_phase(request) or "connecting", time.monotonic())
        request.outcome = next((text for kind, text in _OUTCOMES if isinstance(error, kind)), "failed")
        request.error = str(error) or type(error).__name__

    def _on_finalize(self, event: Event) -> None:
        request: Request = event.user_context
        if request.error is None and (self.interrupted or not request.connected):
            self._settle(request, "interrupted", "the run was interrupted")
        else:
            self._settle(request, request.outcome, request.error)

    def _enter(self, request: Request, phase: str, now: float) -> None:
        """Note that `request` is in `phase`; what came before the first one seen began with INITIALIZE."""
        if not request.log.phases and request.began is not None:
            request.log.enter("resolving" if _is_name(request) else "connecting", request.began)
        request.log.enter(phase, _handshake_began(request, now) if phase == "handshaking" else now)

    def _settle(self, request: Request, outcome: str, error: str | None) -> None:
        if request.done:
            return
        request.done = True
        request.ok = error is None
        request.error = error
        request.outcome = "complete" if error is None else outcome
        if request.began is not None and not request.log.phases:  # it ended within its first turn
            self._enter(request, "connecting", time.monotonic())
        request.log.finish()
        self._active.pop(id(request), None)
        self.finished += 1
        self.failed += not request.ok


class _Answer(ReadOperation):
    """Reads, and says when that begins: when the last byte of the request has left."""

    __slots__ = ("_begins",)

    def __init__(self, picker: FramePicker | None, begins: Callable[[], None]) -> None:
        super().__init__(picker)
        self._begins = begins

    def start(self, channel: Any) -> Any:
        self._begins()
        return super().start(channel)


def _live_phase(request: Request) -> str | None:
    """What the request is doing, in the words of `TimeoutEvent.phase`."""
    assert request.metadata is not None
    channel = request.metadata._channel
    return channel.phase_name() if isinstance(channel, Channel) and channel.stepper is not None else None


def _handshake_began(request: Request, now: float) -> float:
    """When it began, which may be long before the end of the turn it began in."""
    assert request.metadata is not None
    return dict(request.metadata._channel.steps).get("handshaking", now)


def _is_name(request: Request) -> bool:
    """Whether the address names a host that has to be looked up."""
    assert request.metadata is not None
    address = request.metadata._parsed
    if address is None or address.host is None or address.port is None:
        return False
    try:
        return numeric_address(address.host, address.port) is None
    except OSError:  # a zone that is none of our interfaces
        return False


def configuration(
    connection: float | None = 60.0, io: float | None = 60.0, request: float | None = None
) -> Configuration:
    """Return a Configuration with these time-outs, in seconds."""
    return Configuration(connection_timeout=connection, io_timeout=io, request_timeout=request)
