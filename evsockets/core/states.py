"""The phases of a socket, the legal moves between them, and the seconds spent in each stage of opening."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from itertools import pairwise


class Phase(enum.Enum):
    """The phases of a socket's life."""

    WAITING = "waiting"
    OPENING = "opening"
    CONNECTED = "connected"
    CLOSING = "closing"
    COMPLETE = "complete"

    __hash__ = object.__hash__


#: The legal moves; the life-cycle diagram in the documentation is made from this table.
MOVES: dict[Phase, dict[Phase, str]] = {
    Phase.WAITING: {Phase.OPENING: "INITIALIZE", Phase.COMPLETE: "run aborted before the start"},
    Phase.OPENING: {Phase.CONNECTED: "CONNECTED", Phase.CLOSING: "failed, cancelled or timed out"},
    Phase.CONNECTED: {Phase.CLOSING: "DISCONNECTED, or forgotten"},
    Phase.CLOSING: {Phase.COMPLETE: "FINALIZE"},
    Phase.COMPLETE: {},
}

#: Every state of a channel while the engine polls: (phase, activity, operation, outbox), with its meaning.
#: The operation is the "first" one, "current" (started), "next" (not started) or "-" (none). The outbox is
#: "-" (none), "rest" (not accepted by the kernel), "source" (an iterable not yet exhausted), or both;
#: "corked" bytes are sent in the next turn, and "posted" ones after all others. The next operation may be a
#: conversation that goes on. The table in the documentation is made from this one.
AT_REST: dict[tuple[str, str, str, str], str] = {
    ("waiting", "-", "first", "-"): "not admitted yet",
    ("opening", "opener", "first", "-"): "resolving, connecting, handshaking or about to listen",
    ("opening", "opener", "-", "-"): "the same, without an operation afterwards",
    ("connected", "operation", "current", "-"): "reads, accepts, is delayed, or shakes hands",
    ("connected", "operation", "current", "rest"): "writes, or reads and writes with bytes to send",
    ("connected", "operation", "current", "source"): "writes an iterable, its share of this turn used up",
    ("connected", "operation", "current", "rest+source"): "writes an iterable as fast as the peer receives",
    ("connected", "operation", "current", "posted"): "reads, accepts or is delayed, with posted bytes",
    ("connected", "operation", "current", "rest+posted"): "reads and writes, with posted bytes",
    ("connected", "operation", "current", "source+posted"): "writes an iterable, with posted bytes",
    ("connected", "operation", "current", "rest+source+posted"): "the same, with bytes to send",
    ("connected", "sending", "current", "rest"): "the current operation waits for bytes to be sent",
    ("connected", "sending", "next", "rest"): "the next operation waits for bytes to be sent",
    ("connected", "sending", "-", "rest"): "the end of the request waits for bytes to be sent",
    ("connected", "sending", "current", "rest+posted"): "the current operation waits, with posted bytes",
    ("connected", "sending", "next", "rest+posted"): "the next operation waits, with posted bytes",
    ("connected", "sending", "next", "posted"): "the next operation waits for bytes behind posted ones",
    ("connected", "sending", "-", "posted"): "the end of the request waits for posted bytes",
    ("connected", "sending", "-", "rest+posted"): "the end waits for written and posted bytes",
    ("connected", "yielded", "next", "-"): "has used up its share of the turn",
    ("connected", "yielded", "next", "corked"): "the same, with answers to send at the end of the chunk",
    ("connected", "yielded", "next", "posted"): "the same, with posted bytes",
    ("connected", "yielded", "next", "corked+posted"): "the same, with both",
    ("connected", "yielded", "-", "-"): "forgotten while idle: ends in the next turn",
    ("connected", "yielded", "-", "corked"): "has used up its share, with no next operation",
    ("connected", "idle", "-", "-"): "kept alive",
    ("connected", "lingering", "-", "-"): "closes when the peer has acknowledged everything",
    ("complete", "-", "-", "-"): "FINALIZE has been given",
}


def seconds_spent(steps: Iterable[tuple[str, float]], began: float | None, until: float) -> dict[str, float]:
    """Seconds in each stage of an opening that was over at `until`. `steps`: those of the channel; it is
    connecting before the first one that is not resolving, if it is known when the opening `began`."""
    stages = [step for step in steps if step[1] <= until]  # not STARTTLS, later on
    if began is not None:
        first = stages.pop(0)[0] if stages and stages[0][0] == "resolving" else "connecting"
        stages.insert(0, (first, began))
    spent: dict[str, float] = {}
    for (name, start), (_, end) in pairwise([*stages, ("", until)]):
        spent[name] = spent.get(name, 0.0) + max(0.0, end - start)
    return spent
