"""The records of a timeline: each socket's phases and outcome, and the sums of sockets without a record."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from copy import copy
from typing import TYPE_CHECKING

from ..core.deadlines import INFINITY

if TYPE_CHECKING:
    from ..core.channel import Channel

#: What a socket does, in the order of a life: the words of `TimeoutEvent.phase`, but reading is two. The last
#: one stands for all that a socket did after as many phases as are recorded of one.
PHASES = (
    "resolving", "connecting", "handshaking", "writing", "awaiting", "receiving", "delayed", "sleeping",
    "waiting", "idle", "listening", "later",
)  # fmt: skip
#: The place of each, also by the word of `TimeoutEvent.phase`.
CODES = {name: code for code, name in enumerate(PHASES)} | {"reading": PHASES.index("awaiting")}
RESOLVING, CONNECTING, _, WRITING, AWAITING, RECEIVING = range(6)
IDLE, _LISTENING, _LATER = CODES["idle"], CODES["listening"], CODES["later"]

# Receiving, and each phase after it.
_RECEIVED = [bytes((RECEIVING, code)) for code in range(len(PHASES))]
# Phases whose beginning no event tells.
_QUIET = frozenset({"delayed", "sleeping", "waiting", "handshaking", "idle"})
# Phases recorded of one socket at most.
_MOST_PHASES = 64


class Record:
    """One socket's life: its phases with their times, on the executor's clock, and its outcome.

    While the life goes on `outcome` is "", and `channel` is the socket's channel.
    """

    __slots__ = (
        "channel", "codes", "detail", "end", "full", "label", "named", "outcome", "received",
        "sent", "times",
    )  # fmt: skip

    def __init__(self, channel: Channel, label: str, code: int, now: float) -> None:
        self.channel: Channel | None = channel
        self.label = label
        self.codes = bytearray((code,))
        self.times = array("d", (now,))  # of each phase, its beginning
        self.full = False
        self.named: int | None = None  # what comes when all is written, as far as that is named
        self.outcome = ""
        self.detail = ""
        self.end = 0.0
        self.sent = self.received = 0

    @property
    def is_server(self) -> bool:
        """Whether it has listened."""
        return _LISTENING in self.codes

    def enter(self, code: int, at: float) -> None:
        """Enter a phase. A phase that has taken no time is dropped."""
        codes, times = self.codes, self.times
        if codes[-1] == code or self.full:
            return
        if at <= times[-1]:
            codes[-1] = code
        else:
            self.full = len(codes) == _MOST_PHASES - 1
            codes.append(_LATER if self.full else code)
            times.append(at)

    def frame(self, channel: Channel, now: float, following: int) -> None:
        """A frame has arrived, and the phase `following` begins. A cheaper form of `enter`, since it is
        called for every message."""
        codes, times = self.codes, self.times
        flushed, arrived = channel.flushed, channel.inbox._arrived
        if codes[-1] == WRITING:
            if flushed is None or flushed.when <= times[-1]:
                codes[-1] = AWAITING
            else:
                self.enter(AWAITING, min(flushed.when, now))
        if arrived is None or arrived.when <= times[-1]:
            codes[-1] = RECEIVING
        elif codes[-1] != RECEIVING:
            if len(codes) < _MOST_PHASES - 2 and arrived.when < now and following != RECEIVING:
                codes += _RECEIVED[following]
                times.append(arrived.when)
                times.append(now)
                return
            self.enter(RECEIVING, min(arrived.when, now))
        if following != RECEIVING:
            self.enter(following, now)

    def opened(self, channel: Channel, now: float) -> None:
        """Enter the steps of opening so far."""
        for name, began in channel.steps:
            self.enter(CODES[name], min(began, now))

    def catch_up(self, channel: Channel, phase: str, now: float) -> None:
        """Enter the phases since the last event; the present one is `phase`."""
        if channel.connected_at == INFINITY:
            self.opened(channel, now)
            return
        if self.codes[-1] == WRITING and phase != "writing":
            following = AWAITING if phase == "reading" else self.named
            if following is not None:
                flushed = channel.flushed
                self.enter(following, self.times[-1] if flushed is None else min(flushed.when, now))
        arrived = channel.inbox._arrived if channel.inbox else None
        if phase == "reading" and arrived is not None:
            self.enter(RECEIVING, min(arrived.when, now))
        elif phase in _QUIET and channel.io_start is not None:
            self.enter(CODES[phase], min(channel.io_start.when, now))

    def phases(self, now: float) -> Iterator[tuple[str, float, float]]:
        """Name, beginning and end of each phase that took time (`now` as the end of the present one), or else
        of the last phase."""
        end = max(self.times[-1], self.end if self.outcome else now)
        for code, began, ended in zip(self.codes, self.times, [*self.times[1:], end], strict=True):
            if ended > began or end == self.times[0]:
                yield PHASES[code], began, ended

    def as_it_is(self) -> Record:
        """A copy with the present phase, from any thread."""
        channel = self.channel
        record = copy(self)
        size = min(len(self.codes), len(self.times))  # it may go on meanwhile
        record.codes, record.times = self.codes[:size], self.times[:size]
        if channel is not None:
            record.sent, record.received = channel.bytes_sent, channel.bytes_received
            record.catch_up(channel, channel.phase_name(), channel.loop.clock())
        return record

    @property
    def listens(self) -> bool:
        """Whether the socket is a server."""
        return self.codes[-1] == _LISTENING

    def seconds(self, now: float) -> float:
        """The duration of the life, until `now` if it goes on."""
        return (self.end if self.outcome else now) - self.times[0]


class LeftOut:
    """Lives without a record: for each outcome their number and seconds, the beginning of the first and the
    end of the last."""

    def __init__(self) -> None:
        self.outcomes: dict[str, tuple[int, float]] = {}
        self.first = math.inf
        self.last = -math.inf

    def add(self, record: Record) -> None:
        """Count a life that has ended."""
        number, seconds = self.outcomes.get(record.outcome, (0, 0.0))
        self.outcomes[record.outcome] = number + 1, seconds + record.end - record.times[0]
        self.first = min(self.first, record.times[0])
        self.last = max(self.last, record.end)
