"""Draws the legal moves between a socket's phases in design.md: `python docs/states.py`."""

from __future__ import annotations

import re
from pathlib import Path

from evsockets.core.states import MOVES

PAGE = Path(__file__).with_name("design.md")


def drawn_moves() -> str:
    """The legal moves, one a line."""
    rows = [(here.value, why, there.value) for here, moves in MOVES.items() for there, why in moves.items()]
    widest = max(len(why) for _, why, _ in rows)
    lines = (f"{here:>10} ── {why} {'─' * (widest - len(why))}─► {there}" for here, why, there in rows)
    return "```text\n" + "\n".join(lines) + "\n```\n"


def filled(page: str) -> str:
    """`page` with the moves in their place."""
    place = re.compile(r"(<!-- phases -->\n).*?(<!-- end -->)", re.DOTALL)
    page, count = place.subn(lambda match: match[1] + drawn_moves() + match[2], page)
    assert count == 1
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
