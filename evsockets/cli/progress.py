"""Live progress on standard error: bars with rich, one line without, nothing when nobody looks."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from ..text import human_bytes, printable, shorten
from .common import terminal_width
from .gathering import Gathering

#: Seconds between two redraws.
_REDRAW = 0.08
#: Rows shown at most.
_ROWS = 14


class Progress:
    """Shows how a gathering goes on while it runs; `update` is what `Gathering.run` calls.

    A context manager. `shown=False`, or a standard error that is no terminal: silent.
    """

    def __init__(self, gathering: Gathering, *, shown: bool = True) -> None:
        self._gathering = gathering
        self._began = time.monotonic()
        self._last = 0.0
        self._live: Any = None
        self._line = False
        if shown and sys.stderr.isatty():
            self._live = _rich_live()
            self._line = self._live is None

    def __enter__(self) -> Progress:
        self._began = time.monotonic()
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

    def update(self) -> None:
        """Redraw if the last time was long enough ago."""
        now = time.monotonic()
        if now - self._last < _REDRAW or not (self._line or self._live is not None):
            return
        self._last = now
        if self._live is not None:
            self._live.update(self._picture(), refresh=True)
        else:
            print(
                f"\r\x1b[K{shorten(self._summary(), terminal_width() - 1)}",
                end="",
                file=sys.stderr,
                flush=True,
            )

    def _summary(self) -> str:
        gathering = self._gathering
        received = sum(request.received for request in gathering.requests)
        text = f"{gathering.finished}/{len(gathering.requests)} done"
        if gathering.failed:
            text += f", {gathering.failed} failed"
        running = sum(request.outcome == "running" for request in gathering.requests)
        return f"{text}, {running} running, {human_bytes(received)}, {time.monotonic() - self._began:.1f} s"

    def _picture(self) -> Any:
        """The rich renderable: the requests that run (or all, if they fit), and the sum below."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        gathering = self._gathering
        shown = gathering.requests
        if len(shown) > _ROWS:
            shown = [one for one in shown if one.outcome == "running"][:_ROWS]
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=44)
        table.add_column(width=24)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right")
        for request in shown:
            state = (request.log.current or request.outcome) if not request.done else request.outcome
            if not request.done:
                bar = ProgressBar(total=None, width=24, animation_time=time.monotonic())
                style = "cyan"
            else:
                bar = ProgressBar(
                    total=1, completed=1, width=24, finished_style="green" if request.ok else "red"
                )
                style = "green" if request.ok else "red"
            label = Text(printable(request.label))
            table.add_row(label, bar, Text(state, style=style), human_bytes(request.received))
        total = ProgressBar(total=max(1, len(gathering.requests)), completed=gathering.finished, width=24)
        table.add_row("all", total, Text(self._summary(), style="bold"), "")
        return Group(table)


def _rich_live() -> Any:
    """A rich live display on standard error, or None without rich."""
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        return None
    # What goes to standard output is the result: it must not be led to the terminal.
    return Live(console=Console(stderr=True), auto_refresh=False, transient=True, redirect_stdout=False)
