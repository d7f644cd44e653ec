"""Where in its life a socket is, every move there is, and the seconds spent in each stage of its opening."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from itertools import pairwise


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

#: Every state a channel may be in while the engine is asked: (phase, activity, operation, outbox), and what
#: that is. The operation is the "first" one, "current" (started), "next" (not started) or "-" (none). The
#: outbox is "-" (none), "rest" (refused by the kernel), "source" (an iterable being pulled), or both;
#: "corked" bytes leave in the next turn, and "posted" ones after all the others. What comes next may be that
#: a conversation goes on. The table in the documentation is made from this one.
AT_REST: dict[tuple[str, str, str, str], str] = {
    ("waiting", "-", "first", "-"): "not admitted yet",
    ("opening", "opener", "first", "-"): "resolving, connecting, handshaking or about to listen",
    ("opening", "opener", "-", "-"): "the same, and nothing to do afterwards",
    ("connected", "operation", "current", "-"): "reads, accepts, is delayed, or shakes hands",
    ("connected", "operation", "current", "rest"): "writes, or does both and has bytes to send",
    ("connected", "operation", "current", "source"): "writes an iterable, its share of this turn used up",
    ("connected", "operation", "current", "rest+source"): "writes an iterable as the peer takes it",
    ("connected", "operation", "current", "posted"): "the same as without, beside posted bytes",
    ("connected", "operation", "current", "rest+posted"): "does both, and bytes are posted meanwhile",
    ("connected", "operation", "current", "source+posted"): "writes an iterable, bytes are posted",
    ("connected", "operation", "current", "rest+source+posted"): "the same as the peer takes it",
    ("connected", "sending", "current", "rest"): "an operation that waits, held up by bytes to send",
    ("connected", "sending", "next", "rest"): "what comes next is held up by bytes to send",
    ("connected", "sending", "-", "rest"): "the end of the request is held up by bytes to send",
    ("connected", "sending", "current", "rest+posted"): "an operation that waits, bytes posted meanwhile",
    ("connected", "sending", "next", "rest+posted"): "what comes next is held up, bytes posted meanwhile",
    ("connected", "sending", "next", "posted"): "what comes next is held up by bytes behind posted ones",
    ("connected", "sending", "-", "posted"): "the end of the request is held up by posted bytes",
    ("connected", "sending", "-", "rest+posted"): "the same, and bytes written before them",
    ("connected", "yielded", "next", "-"): "its share of the turn used up",
    ("connected", "yielded", "next", "corked"): "the same, with answers that leave at the end of the chunk",
    ("connected", "yielded", "next", "posted"): "the same, with posted bytes",
    ("connected", "yielded", "next", "corked+posted"): "the same, with both",
    ("connected", "yielded", "-", "-"): "forgotten while idle: let go in the next turn",
    ("connected", "yielded", "-", "corked"): "its share used up, and nothing comes next",
    ("connected", "idle", "-", "-"): "kept alive",
    ("connected", "lingering", "-", "-"): "closing once the peer has everything",
    ("complete", "-", "-", "-"): "FINALIZE has been",
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
