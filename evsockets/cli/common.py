"""What every command shares: arguments, engines, units, and errors that name their cure."""

from __future__ import annotations

import argparse
import math
import re
import shutil
from typing import Any

from .. import EngineUnavailableError, RequestExecutor, available_engines
from ..configuration import Configuration

_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.|$)", re.DOTALL)
_PLAIN_ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "0": b"\0", "\\": b"\\", "'": b"'", '"': b'"'}


class CommandError(Exception):
    """A command cannot go on. `status` is the exit status: 2 if the command line is to blame, else 1."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


def one_line(text: str) -> str:
    """Return `text` with its line breaks turned into "; " (into a space after a colon)."""
    return "; ".join(line.strip() for line in text.splitlines() if line.strip()).replace(":; ", ": ")


def seconds(text: str) -> float | None:
    """Return a time-out in seconds; "none" and "forever" give None. For argparse."""
    if text.lower() in ("none", "forever"):
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give seconds such as 2.5, or 'none'")
    return None if math.isinf(value) else value


def delay(text: str) -> float:
    """Return a finite number of seconds, 0 or more. For argparse."""
    value = seconds(text)
    if value is None:
        raise argparse.ArgumentTypeError(f"{text!r} never ends; give seconds such as 0.5")
    return value


def count(text: str) -> int:
    """Return a whole number from 1 on. For argparse."""
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no count; give a whole number from 1 on")
    return int(text)


def escaped_bytes(text: str) -> bytes:
    r"""Return `text` as UTF-8 bytes, with \r \n \t \0 \\ \' \" and \xHH understood. For argparse."""
    parts: list[bytes] = []
    position = 0
    for match in _ESCAPE.finditer(text):
        parts.append(text[position : match.start()].encode("utf-8", "surrogateescape"))
        escape = match.group(1)
        if len(escape) == 3:
            parts.append(bytes([int(escape[1:], 16)]))
        elif escape in _PLAIN_ESCAPES:
            parts.append(_PLAIN_ESCAPES[escape])
        else:
            raise argparse.ArgumentTypeError(
                rf"unknown escape '\{escape}'; known are \r \n \t \0 \xHH, and \\ for a backslash"
            )
        position = match.end()
    parts.append(text[position:].encode("utf-8", "surrogateescape"))
    return b"".join(parts)


def add_engine_option(parser: argparse._ActionsContainer) -> None:
    """Add `--engine`."""
    parser.add_argument(
        "--engine",
        metavar="NAME",
        help="what waits for the sockets, e.g. selectors, selectors:poll, libev, gevent "
        "('evsockets engines' lists them; default: EVSOCKETS_ENGINE, else the best one here)",
    )


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
    usable = ", ".join(name for name, problem in available_engines().items() if problem is None)
    raise CommandError(f"{one_line(message)} (usable here: {usable or 'none'}; see 'evsockets engines')")


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
