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
