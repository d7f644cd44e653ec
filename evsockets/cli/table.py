"""Tables: with rich where it is installed and somebody is looking, in plain text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal, TextIO

from .common import shorten, terminal_width

#: Colours by the tone of a row.
_COLOURS = {"good": "green", "bad": "red", "off": "yellow", "": ""}


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    tones: Sequence[str] = (),
    left: int = 2,
    stream: TextIO | None = None,
) -> None:
    """Print `rows` of text under `columns`.

    The first `left` columns are aligned to the left, the others to the right. `tones` ("good", "bad",
    "off" or "", one for each row) colour the second column on a terminal with rich installed.
    """
    out = stream if stream is not None else sys.stdout
    if not (out.isatty() and _print_rich(columns, rows, tones, left, out)):
        width = terminal_width() if out.isatty() else None
        print("\n".join(plain_table(columns, rows, left=left, width=width)), file=out)


def plain_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 2, width: int | None = None
) -> list[str]:
    """Return the table's lines, cells padded with spaces.

    With a `width` to keep to, the first column is cut in its middle where it has to be."""
    others = [max(len(row[index]) for row in [columns, *rows]) for index in range(1, len(columns))]
    texts = [list(row) for row in [columns, *rows]]
    if width is not None:
        room = max(24, width - sum(others) - 2 * len(others))
        for row in texts:
            row[0] = shorten(row[0], room)
    widths = [max(len(row[0]) for row in texts), *others]
    lines = []
    for row in texts:
        cells = [
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def _print_rich(
    columns: Sequence[str], rows: Sequence[Sequence[str]], tones: Sequence[str], left: int, out: TextIO
) -> bool:
    """Print with rich; False when it is not installed."""
    try:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, name in enumerate(columns):
        # Where room is short, the first column gives way, as in the plain table.
        width = max(len(row[index]) for row in [columns, *rows]) if index else 16
        side: Literal["left", "right"] = "left" if index < left else "right"
        table.add_column(name, justify=side, no_wrap=True, overflow="ellipsis", min_width=width)
    for number, row in enumerate(rows):
        tone = _COLOURS[tones[number]] if number < len(tones) else ""
        table.add_row(*(Text(cell, style=tone if index == 1 else "") for index, cell in enumerate(row)))
    Console(file=out).print(table)
    return True
