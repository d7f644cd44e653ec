"""What every command shares: engines, units, and errors that name their cure."""

from __future__ import annotations

import contextlib
import shutil
from typing import Any

from .. import EngineUnavailableError, RequestExecutor, available_engines
from ..configuration import Configuration


class CommandError(Exception):
    """A command cannot go on. `status` is the exit status: 2 if the command line is to blame, else 1."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


def one_line(text: str) -> str:
    """Return `text` with its line breaks turned into "; " (into a space after a colon)."""
    return "; ".join(line.strip() for line in text.splitlines() if line.strip()).replace(":; ", ": ")


def make_executor(
    engine: str | None, configuration: Configuration | None = None, **more: Any
) -> RequestExecutor:
    """Return an executor on the engine asked for; a CommandError names those that can be used."""
    try:
        return RequestExecutor(engine, configuration=configuration, **more)
    except EngineUnavailableError as error:
        message = str(error)
    except ValueError as error:
        message = str(error)
    usable = ", ".join(
        name for name, problem in available_engines().items() if problem is None and ":" not in name
    )
    raise CommandError(f"{one_line(message)} (usable here: {usable or 'none'}; see 'evsockets engines')")


def raise_descriptor_limit() -> None:
    """Allow as many descriptors as the system does: every connection takes one."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def human_bytes(number: float) -> str:
    """Return a byte count for people: "812 B", "1.4 MiB"."""
    if number < 1024:
        return f"{int(number)} B"
    for unit in ("KiB", "MiB", "GiB"):
        number /= 1024
        if number < 1024:
            return f"{number:.1f} {unit}"
    return f"{number / 1024:.1f} TiB"


def human_seconds(value: float | None) -> str:
    """Return a duration for people: "0.3 ms", "210 ms", "1.50 s", or "-" without one."""
    if value is None:
        return "-"
    if value < 0.01:
        return f"{value * 1000:.1f} ms"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def shorten(text: str, width: int) -> str:
    """Return `text` cut in its middle so that it takes at most `width` (5 or more) columns."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"


def terminal_width() -> int:
    """Return the columns there are, 100 when nobody knows."""
    return shutil.get_terminal_size((100, 24)).columns
