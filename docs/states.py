"""Writes the tables of a socket's phases and states at rest into design.md: `python docs/states.py`."""

from __future__ import annotations

import re
from pathlib import Path

from evsockets.core.states import AT_REST, MOVES

PAGE = Path(__file__).with_name("design.md")


def drawn_moves() -> str:
    """The legal moves, one a line."""
    rows = [(here.value, why, there.value) for here, moves in MOVES.items() for there, why in moves.items()]
    widest = max(len(why) for _, why, _ in rows)
    lines = (f"{here:>10} ── {why} {'─' * (widest - len(why))}─► {there}" for here, why, there in rows)
    return "```text\n" + "\n".join(lines) + "\n```\n"


def drawn_states() -> str:
    """The legal states at rest, one a row."""
    head = "| phase | does | operation | outbox | |\n|---|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(state)} | {what} |\n" for state, what in AT_REST.items())


def filled(page: str) -> str:
    """`page` with both tables in their places."""
    for name, drawn in (("phases", drawn_moves()), ("states", drawn_states())):
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, count = place.subn(lambda match, drawn=drawn: match[1] + drawn + match[2], page)
        assert count == 1, name
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
