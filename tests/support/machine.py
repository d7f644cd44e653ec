"""What the system says about a process, and what it allows."""

from __future__ import annotations

import contextlib
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

MIB = 1024 * 1024
_TICK = os.sysconf("SC_CLK_TCK")


def resident(pid: int | str = "self") -> int:
    """Bytes of memory a process holds now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def most_resident(pid: int | str = "self") -> int:
    """Bytes of memory a process held at most."""
    return _status(pid, "VmHWM") * 1024


def processor_time(pid: int) -> float:
    """Processor seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _status(pid: int | str, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise LookupError(name)


def until(
    done: Callable[[], object] = bool, what: str = "it comes about", patience: float = 120.0
) -> Iterator[None]:
    """Loop until `done()` (without it: until a `break`); after `patience` seconds the test fails with `what`.

    for _ in until(lambda: answers):
        executor.turn(0.01)
    """
    limit = time.monotonic() + patience
    while not done():
        if time.monotonic() > limit:
            pytest.fail(f"not within {patience} s: {what}")
        yield


def comes_true(condition: Callable[[], Any], what: str, patience: float = 120.0) -> Any:
    """Wait for `condition`, and return what it gave; after `patience` seconds the test fails with `what`."""
    found: list[Any] = []
    for _ in until(lambda: found.append(condition()) or found[-1], what, patience):
        time.sleep(0.01)
    return found[-1]


def refused_in_a_thread(*acts: Callable[[], object]) -> list[str]:
    """What the RuntimeError of each act says, called in another thread."""
    errors: list[str] = []

    def elsewhere() -> None:
        for act in acts:
            try:
                act()
            except RuntimeError as error:
                errors.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(errors) == len(acts)
    return errors


@contextlib.contextmanager
def descriptors(wanted: int) -> Iterator[int]:
    """Allow this process `wanted` descriptors, or as many as the system does; yields how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    allowed = allowed if soft == resource.RLIM_INFINITY else max(soft, allowed)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    try:
        yield allowed
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
