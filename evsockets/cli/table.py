"""Tables: with rich if it is installed and the output is a terminal, else in plain text."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence
from typing import Literal, TextIO

from ..text import printable, shorten
from .common import terminal_width

#: Colours by the tone of a row.
_COLOURS = {"good": "green", "bad": "red", "off": "yellow", "": ""}
#: Columns which the first column keeps, however narrow the terminal.
_FIRST = 30
#: Columns which a wrapped last column keeps.
_LAST = 16


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    tones: Sequence[str] = (),
    left: int = 2,
    wrap: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Print `rows` of text under `columns`; non-printable characters in cells are escaped.

    The first `left` columns are aligned to the left, the others to the right. `tones` ("good", "bad",
    "off" or "", one for each row) colour the second column on a terminal with rich installed (NO_COLOR: not
    even there; FORCE_COLOR: elsewhere, too). What is too
    wide for the terminal becomes several tables, each with the first column; with `wrap` the last column
    is broken into lines instead.
    """
    out = stream if stream is not None else sys.stdout
    rows = [[printable(cell) for cell in row] for row in rows]
    coloured = out.isatty() or (bool(os.environ.get("FORCE_COLOR")) and not os.environ.get("NO_COLOR"))
    if not coloured:
        print("\n".join(plain_table(columns, rows, left=left)), file=out)
        return
    widest = sum(_sizes(columns, rows)) + 2 * len(columns)
    width = terminal_width(out) - 2 if out.isatty() else widest
    groups = [range(1, len(columns))] if wrap else column_groups(columns, rows, width)
    for number, group in enumerate(groups):
        chosen = [0, *group]
        heads = [columns[index] for index in chosen]
        cells = fitted([[row[index] for index in chosen] for row in rows], heads, width, wrap)
        aligned = sum(index < left for index in chosen)
        if _print_rich(heads, cells, tones if number == 0 else (), aligned, out, width + 2):
            continue
        if number:
            print(file=out)
        print("\n".join(plain_table(heads, cells, left=aligned)), file=out)


def column_groups(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[range]:
    """Return which columns to print beside the first one so that each table takes at most `width`."""
    sizes = _sizes(columns, rows)
    groups = []
    start, used = 1, min(sizes[0], _FIRST)
    for index in range(1, len(columns)):
        if used + 2 + sizes[index] > width and index > start:
            groups.append(range(start, index))
            start, used = index, min(sizes[0], _FIRST)
        used += 2 + sizes[index]
    return [*groups, range(start, len(columns))]


def fitted(rows: Sequence[Sequence[str]], columns: Sequence[str], width: int, wrap: bool) -> list[list[str]]:
    """Return `rows` made to fit: the first column cut in its middle, or with `wrap` the last one broken."""
    sizes = _sizes(columns, rows)
    gaps = 2 * (len(columns) - 1)
    if wrap:
        room = max(_LAST, width - sum(sizes[:-1]) - gaps)
        return [[*row[:-1], "\n".join(textwrap.wrap(row[-1], room))] for row in rows]
    room = max(24, width - sum(sizes[1:]) - gaps)
    return [[shorten(row[0], room), *row[1:]] for row in rows]


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 2) -> list[str]:
    """Return the table's lines, cells padded with spaces; a cell may hold several lines."""
    widths = _sizes(columns, rows)
    lines = []
    for row in [columns, *rows]:
        cells = [cell.split("\n") for cell in row]
        for number in range(max(map(len, cells))):
            texts = [cell[number] if number < len(cell) else "" for cell in cells]
            padded = [
                text.ljust(width) if index < left else text.rjust(width)
                for index, (text, width) in enumerate(zip(texts, widths, strict=True))
            ]
            lines.append("  ".join(padded).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def _sizes(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """How wide each column is."""
    return [
        max(len(line) for row in [columns, *rows] for line in row[index].split("\n"))
        for index in range(len(columns))
    ]


def _print_rich(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    tones: Sequence[str],
    left: int,
    out: TextIO,
    width: int,
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
        side: Literal["left", "right"] = "left" if index < left else "right"
        table.add_column(name, justify=side, no_wrap=True, overflow="ellipsis")
    for number, row in enumerate(rows):
        tone = _COLOURS[tones[number]] if number < len(tones) else ""
        table.add_row(*(Text(cell, style=tone if index == 1 else "") for index, cell in enumerate(row)))
    Console(file=out, width=width).print(table)
    return True
