"""Writes the table of a socket's phases into design.md: `python docs/phases.py`."""

from __future__ import annotations

import re
from pathlib import Path

from evsockets.phases import MOVES

PAGE = Path(__file__).with_name("design.md")
PLACE = re.compile(r"(<!-- phases -->\n```text\n).*?(```\n<!-- end -->)", re.DOTALL)


def drawn() -> str:
    """The legal moves, one a line."""
    rows = [(here.value, why, there.value) for here, moves in MOVES.items() for there, why in moves.items()]
    widest = max(len(why) for _, why, _ in rows)
    lines = (f"{here:>10} ── {why} {'─' * (widest - len(why))}─► {there}" for here, why, there in rows)
    return "\n".join(lines) + "\n"


def filled(page: str) -> str:
    """`page` with the moves in their place."""
    return PLACE.sub(lambda match: match[1] + drawn() + match[2], page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
