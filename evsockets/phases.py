"""Where in its life a socket is, and every move there is."""

from __future__ import annotations

import enum


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
