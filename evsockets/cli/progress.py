"""Live progress on standard error: bars with rich, one line without, nothing when nobody looks."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from ..text import human_bytes, printable, shorten
from .common import notice, terminal_width
from .results import Result
from .rounds import Rounds

#: Of so many targets each has a row.
_ROWS = 14
#: Seconds over which the rate is taken.
_WINDOW = 5.0


class Progress:
    """Shows how `rounds` go on while they run; `update` is what they call, `ended` is told each result.

    A context manager. `shown=False`, or a standard error that is no terminal: silent.
    """

    def __init__(self, rounds: Rounds, *, shown: bool = True) -> None:
        self._rounds = rounds
        self._live: Any = None
        self._line = False
        self._rows: dict[int, Result | None] | None = {}
        self._marks: list[tuple[float, int]] = [(0.0, 0)]
        if shown and sys.stderr.isatty():
            self._live = _rich_live()
            self._line = self._live is None

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update(self._picture(), refresh=True)
            self._live.stop()
        elif self._line:
            # The line was for the moment; what stays is the table.
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def ended(self, result: Result) -> None:
        """One has."""
        if self._rows is not None:
            self._rows[result.ask.number] = result
            if len(self._rows) > _ROWS:
                self._rows = None

    def update(self) -> None:
        """Draw it as it is now."""
        if self._live is not None:
            self._live.update(self._picture(), refresh=True)
        elif self._line:
            text = shorten(self.summary(), terminal_width(sys.stderr) - 1)
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """Print a line on standard error, which what is drawn there does not spoil."""
        if self._line:
            print("\r\x1b[K", end="", file=sys.stderr)
        notice(line)

    def summary(self) -> str:
        """One line: how many are done, how they failed, how fast it goes and how long it will."""
        rounds, total = self._rounds, self._rounds.targets.estimate()
        now = rounds.elapsed
        self._marks = [mark for mark in self._marks if mark[0] > now - _WINDOW] or self._marks[-1:]
        then, before = self._marks[0]
        rate = (rounds.finished - before) / (now - then) if now > then else 0.0
        if now - self._marks[-1][0] >= 0.5:
            self._marks.append((now, rounds.finished))
        parts = [f"{rounds.finished:,}{'' if total is None else f'/{round(total):,}'} done"]
        if rounds.failures:
            kinds = ", ".join(f"{number:,} {kind}" for kind, number in rounds.failures.most_common(3))
            more = ", ..." if len(rounds.failures) > 3 else ""
            parts.append(f"{rounds.failed:,} failed ({kinds}{more})")
        parts += [f"{rounds.under_way:,} running", human_bytes(rounds.received), f"{rate:,.0f}/s"]
        if total is not None and rate > 0 and rounds.finished < total and now > 1:
            parts.append(f"{_rough((total - rounds.finished) / rate)} left")
        return ", ".join([*parts, f"{now:.1f} s"])

    def _picture(self) -> Any:
        """The rich renderable: the requests if they are few, and the sum below."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        rounds = self._rounds
        total = rounds.targets.estimate()
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=44)
        table.add_column(width=24)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right")
        few = self._rows is not None and (total or 0) <= _ROWS and len(rounds.running) <= _ROWS
        rows = {**(self._rows or {}), **dict.fromkeys(rounds.running)} if few else {}
        state: str
        for number, result in sorted(rows.items()):
            if result is None:
                mine, metadata = rounds.running[number]
                bar = ProgressBar(total=None, width=24, animation_time=time.monotonic())
                state, style = metadata._channel.phase_name(), "cyan"
                label, received = mine.label, metadata.bytes_received
            else:
                style = "green" if result.ok else "red"
                bar = ProgressBar(total=1, completed=1, width=24, finished_style=style)
                state, label, received = result.outcome, result.ask.label, result.received
            table.add_row(Text(printable(label)), bar, Text(state, style=style), human_bytes(received))
        bar = ProgressBar(
            total=max(1.0, total) if total is not None else None, completed=rounds.finished, width=24,
            animation_time=time.monotonic(),
        )  # fmt: skip
        if few:
            table.add_row("all", bar, "", "")
        return Group(table, *([] if few else [bar]), Text(self.summary(), style="bold"))


def _rough(seconds: float) -> str:
    """A duration that is no more exact than it is known: "40 s", "3 min", "2.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _rich_live() -> Any:
    """A rich live display on standard error, or None without rich."""
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        return None
    # What goes to standard output is the result: it must not be led to the terminal.
    console = Console(stderr=True, width=terminal_width(sys.stderr))
    return Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)
