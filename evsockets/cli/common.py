"""What every command shares: engines, and errors that name their cure."""

from __future__ import annotations

import contextlib
import shutil
from typing import Any

from .. import EngineUnavailableError, RequestExecutor, available_engines
from ..configuration import Configuration
from ..text import one_line


class CommandError(Exception):
    """A command cannot go on. `status` is the exit status: 2 if the command line is to blame, else 1."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


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


def terminal_width() -> int:
    """Return the columns there are, 100 when nobody knows."""
    return shutil.get_terminal_size((100, 24)).columns
