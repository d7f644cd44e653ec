"""Compares every channel's state, whenever the engine is about to be asked, with the table of legal ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from evsockets.core import run
from evsockets.core.activities import IDLE, SENDING, YIELDED, Linger
from evsockets.core.channel import Channel
from evsockets.core.loop import Loop
from evsockets.core.operation import UNTOLD, Operation

# A crowd's states repeat: of more sockets than this, these many are looked at.
_MOST = 10

State = tuple[str, ...]

_DESIGN = Path(__file__).resolve().parents[2] / "docs" / "design.md"


def _table() -> set[State]:
    """The legal states: the first four columns of the table in the documentation."""
    table = _DESIGN.read_text().partition("<!-- states -->\n")[2].partition("<!-- end -->")[0]
    rows = [tuple(cell.strip() for cell in line.split("|")[1:5]) for line in table.splitlines()[2:]]
    assert ("connected", "idle", "-", "-") in rows
    return set(rows)


AT_REST = _table()


def state_of(channel: Channel) -> State:
    """The row that describes `channel` now."""
    return channel.phase.value, _activity(channel), _operation(channel), _outbox(channel)


def _activity(channel: Channel) -> str:
    stepper = channel.stepper
    if stepper is None:
        return "-"
    named = {IDLE: "idle", SENDING: "sending", YIELDED: "yielded"}
    if stepper in named:
        return named[stepper]
    if isinstance(stepper, Linger):
        return "lingering"
    return "operation" if stepper is channel.operation else "opener"


def _operation(channel: Channel) -> str:
    if channel.operation is None:
        return "-"
    if channel.phase.value in ("waiting", "opening"):
        return "first" if not channel.started else "started too early"
    return "current" if channel.started else "next"


def _outbox(channel: Channel) -> str:
    box = channel.outbox
    if box is None:
        return "-"
    written = ["corked" if box.corked else "held"] if box.holds else []
    return "+".join(written + ["posted"] * (box.holds < len(box.queue))) or "empty"


def faults(channel: Channel) -> list[str]:
    """What is wrong with the state `channel` rests in."""
    state = state_of(channel)
    found = [] if state in AT_REST else [f"no state to rest in: {state}"]
    own = type(channel.operation).__module__.partition(".")[0] != "evsockets"
    if channel.next is not UNTOLD and not own:
        found.append(f"something is named and nothing being told: {channel.next!r}")
    if channel.after is not None and channel.phase.value != "connected":
        found.append(f"something comes after the current operation, and there is none: {channel.after!r}")
    if channel.started and not isinstance(channel.operation, Operation | None):
        found.append(f"no operation: {channel.operation!r}")
    return [f"{channel.socket!r}: {what}" for what in found]


def _alive(loop: Loop) -> Iterator[Channel]:
    for metadata in loop.members.values():
        if isinstance(metadata._channel, Channel):
            yield metadata._channel


class Sampler:
    """Looks at channels before each poll: `seen` counts the states met, `wrong` says what was not legal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: dict[State, int] = {}
        self.wrong: list[str] = []
        real = run.take_turn

        def look(loop: Loop, timeout: float | None) -> Any:
            for channel in islice(_alive(loop), _MOST):
                state = state_of(channel)
                self.seen[state] = self.seen.get(state, 0) + 1
                self.wrong += faults(channel)
            return real(loop, timeout)

        monkeypatch.setattr(run, "take_turn", look)
