"""The base of every command: engines, and errors that name the remedy."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from .. import EngineUnavailableError, RequestExecutor, available_engines
from ..configuration import Configuration
from ..text import one_line


class CommandError(Exception):
    """A command cannot go on. `status` is the exit status: 2 if the command line is to blame, else 1."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


def notice(line: str) -> None:
    """Print a line on standard error. A line that cannot be written (a full disk, a closed pipe) is lost, and
    the command goes on."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def naming_engines() -> Iterator[None]:
    """Turn errors of the chosen engine into a CommandError that names the usable ones."""
    try:
        yield
        return
    except (EngineUnavailableError, ValueError) as error:
        message = str(error)
    usable = ", ".join(
        name for name, problem in available_engines().items() if problem is None and ":" not in name
    )
    raise CommandError(f"{one_line(message)} (usable here: {usable or 'none'}; see 'evsockets engines')")


def make_executor(
    engine: str | None, configuration: Configuration | None = None, **more: Any
) -> RequestExecutor:
    """Return an executor on the chosen engine; a CommandError names the usable ones."""
    with naming_engines():
        return RequestExecutor(engine, configuration=configuration, **more)


#: Descriptors that a process needs besides those of its sockets.
_OTHERS = 32


def raise_descriptor_limit() -> int:
    """Allow as many descriptors as the system does, every connection takes one; return for how many
    connections there is room."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        return 65536 if soft == resource.RLIM_INFINITY else max(1, soft - _OTHERS)
    return 65536


def terminal_width(stream: TextIO) -> int:
    """Return the columns of the terminal that `stream` goes to: those of COLUMNS if that is set, 80 if
    unknown."""
    told = os.environ.get("COLUMNS", "")
    if told.isascii() and told.isdigit() and int(told) > 0:
        return int(told)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):  # no terminal, or closed
        return 80
