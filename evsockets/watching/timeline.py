"""A global handler that records the phases of each socket's life."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..callbacks import Callback, ResolvableHandler
from ..core.deadlines import INFINITY
from ..core.operation import UNTOLD
from ..core.states import Phase
from ..errors import DisconnectedError, SocketTimeoutError
from ..event_types import EventType
from ..events import Event, IoEvent, ReadEvent, SocketExceptionEvent, TimeoutEvent, WriteEvent
from ..validation import check_int
from .timeline_record import (
    AWAITING,
    CODES,
    CONNECTING,
    IDLE,
    RECEIVING,
    RESOLVING,
    WRITING,
    LeftOut,
    Record,
)

if TYPE_CHECKING:
    from ..core.channel import Channel


class Timeline(ResolvableHandler):
    """Records the phases of each socket's life, with their times: add it by
    `RequestExecutor.with_event_handler`, to one or several executors, and draw it at any time.

    It only observes (`watches`). Memory is bounded: the first `most` ended sockets are kept (10,000;
    TypeError or ValueError unless an int from 0 on), servers in place of clients, of further ones their
    number and seconds by outcome; and 64 phases of each socket, the last of which includes all later ones. A
    socket that was running before is recorded from its next event on.
    """

    __slots__ = ("_clock", "_ended", "_left_out", "_most", "_running", "_sweep_at")

    watches = True

    def __init__(self, most: int = 10_000) -> None:
        super().__init__()
        check_int("most", most, 0, sys.maxsize)
        self._most = most
        self._running: dict[int, Record] = {}  # by the channel's identity
        self._sweep_at = 64
        self._ended: list[Record] = []
        self._left_out = LeftOut()
        self._clock: Callable[[], float] | None = None

    def svg(self, path: str | os.PathLike[str]) -> None:
        """Write an SVG picture to the file `path`, which is replaced: the phases of each socket as bars on
        one axis, grouped by outcome, for light and dark backgrounds. OSError if it cannot be written.

        Of very many sockets a regular sample is drawn.
        """
        from .timeline_picture import draw

        _write(path, draw(self._records(), self._left_out, self._now()))

    def trace(self, path: str | os.PathLike[str]) -> None:
        """Write the file `path`, which is replaced, as Trace Event JSON, which Perfetto and chrome://tracing
        open: a row for each socket, a slice for each phase. OSError if it cannot be written."""
        from .timeline_trace import trace

        _write(path, trace(self._records(), self._left_out, self._now()))

    def _label(self, channel: Channel) -> str:
        """What a socket is called."""
        return channel.address or repr(channel.socket)

    def _records(self) -> list[Record]:
        self._sweep()
        return [*self._ended, *(record.as_it_is() for record in list(self._running.values()))]

    def _now(self) -> float:
        return 0.0 if self._clock is None else self._clock()

    # ---- what it hears -------------------------------------------------------------------------------

    def _callbacks_for(self, type: EventType) -> list[Callback]:
        """The callables that want events of `type`, in order."""
        heard: dict[EventType, Callback] = {
            EventType.INITIALIZE: self._on_initialize,
            EventType.CONNECTED: self._on_connected,
            EventType.WRITE: self._on_write,
            EventType.READ: self._on_read,
            EventType.TIMEOUT: self._on_timeout,
            EventType.EXCEPTION: self._on_exception,
            EventType.DISCONNECTED: self._on_disconnected,
            EventType.FINALIZE: self._on_finalize,
        }
        return [heard[type]] if type in heard else []

    def _record(self, channel: Channel) -> Record:
        """The socket's, made if it is seen for the first time."""
        record = self._running.get(id(channel))
        if record is None:
            self._clock = channel.loop.clock
            opening = channel.phase is Phase.OPENING
            code = _opening_code(channel) if opening else CODES.get(channel.phase_name(), CONNECTING)
            record = Record(channel, self._label(channel), code, self._clock())
            self._running[id(channel)] = record
        return record

    def _on_initialize(self, event: Event) -> None:
        record = self._running.get(id(event._channel))
        if record is None:
            if len(self._running) >= self._sweep_at:
                self._sweep()
                self._sweep_at = max(64, 2 * len(self._running))
            self._record(event._channel)
        else:  # another attempt
            record.outcome = record.detail = ""
            record.enter(_opening_code(event._channel), event._channel.loop.clock())

    def _on_connected(self, event: IoEvent) -> None:
        channel = event._channel
        record = self._record(channel)
        now = channel.loop.clock()
        record.opened(channel, now)
        record.enter(_code_of(channel.next), now)

    def _on_write(self, event: WriteEvent) -> None:
        channel = event._channel
        record = self._running.get(id(channel)) or self._record(channel)
        if not record.full:
            if record.codes[-1] != WRITING:  # else it was named just now
                record.enter(WRITING, channel.loop.clock())
            named = channel.next
            record.named = None if named is None or named is UNTOLD else CODES.get(named._phase)

    def _on_read(self, event: ReadEvent) -> None:
        channel = event._channel
        record = self._running.get(id(channel)) or self._record(channel)
        if record.full:
            return
        named = channel.next
        following = RECEIVING
        if named is None:
            if channel.metadata._keep_alive and channel.task is None:
                following = IDLE
        elif named is not UNTOLD and named._phase != "reading":
            following = CODES.get(named._phase, RECEIVING)
        record.frame(channel, channel.loop.clock(), following)

    def _on_timeout(self, event: TimeoutEvent) -> None:
        channel = event._channel
        record = self._record(channel)
        record.catch_up(channel, event.phase, channel.loop.clock())
        if event._one_more:
            return
        record.outcome = f"timed out while {event.phase}"
        record.detail = f"{event.when.name} time-out"
        record.end = channel.loop.clock()

    def _on_exception(self, event: SocketExceptionEvent) -> None:
        channel, error = event._channel, event.exception
        record = self._record(channel)
        phase = channel.phase_name()
        record.catch_up(channel, phase, channel.loop.clock())
        if channel.socket.is_server and channel.connected:
            return  # it goes on
        if isinstance(error, DisconnectedError) and error.clean:
            record.outcome = "ended by the peer"
        elif isinstance(error, SocketTimeoutError):
            record.outcome = f"timed out while {error.phase or phase}"
        else:
            record.outcome = f"{type(error).__name__} while {phase}"
        record.detail = str(error)
        record.end = channel.loop.clock()

    def _on_disconnected(self, event: Event) -> None:
        self._record(event._channel).catch_up(event._channel, "closing", event._channel.loop.clock())

    def _on_finalize(self, event: Event) -> None:
        self._end(event._channel)

    def _sweep(self) -> None:
        """End the records of lives that are over though no FINALIZE came here: a handler before raised."""
        for record in list(self._running.values()):
            if record.channel is not None and record.channel.phase is Phase.COMPLETE:
                self._end(record.channel)

    def _end(self, channel: Channel) -> None:
        record = self._running.pop(id(channel), None)
        if record is None:
            return
        record.end = channel.loop.clock()
        if not record.outcome:
            record.catch_up(channel, "closing", record.end)
            record.outcome = _how(channel)
        record.sent, record.received = channel.bytes_sent, channel.bytes_received
        record.channel = None
        if len(self._ended) < self._most:
            self._ended.append(record)
        else:
            self._left_out.add(self._dropped_for(record))

    def _dropped_for(self, record: Record) -> Record:
        """The record to leave out. A server, which ends after its clients, takes the place of one."""
        if record.is_server:
            for place in reversed(range(len(self._ended))):
                kept = self._ended[place]
                if not kept.is_server:
                    self._ended[place] = record
                    return kept
        return record


def _opening_code(channel: Channel) -> int:
    """The phase that opening began with."""
    parsed = channel.metadata._parsed
    named = parsed is not None and parsed.fixed is None and parsed.scheme != "fd"
    return RESOLVING if named else CONNECTING


def _code_of(operation: Any) -> int:
    """The phase that `operation` is in."""
    if operation is None:
        return IDLE
    # UNTOLD: an operation of a user's own tells the event.
    return AWAITING if operation is UNTOLD else CODES.get(operation._phase, AWAITING)


def _how(channel: Channel) -> str:
    """The outcome of a life that ended without an error or a time-out."""
    if channel.loop.stopping:
        return "stopped"
    if channel.cancelled:
        return "cancelled"
    return "ended before it was connected" if channel.connected_at == INFINITY else "complete"


def _write(path: str | os.PathLike[str], parts: Iterator[str]) -> None:
    with open(os.fspath(path), "w", encoding="utf-8") as out:
        out.writelines(parts)
