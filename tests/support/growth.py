"""What has come and gone leaves no memory: neither the process's nor Python's own."""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Callable

from .machine import resident

TIMES = int(os.environ.get("EVSOCKETS_TEST_GROWTH", "1"))  # as much work
LEAST_KEPT = 2_000_000  # bytes that the allocators of a process come and go by
LEAST_TRACED = 20_000


def keeps_nothing(work: Callable[[int], object], count: int) -> None:
    """Call `work(how many)` for a warm-up, then for `count` and more: the process must not have grown.

    Python's own memory is looked at besides, for a tenth, because that takes its time.
    """
    work(count // 5)
    gc.collect()
    before = resident()
    for _ in range(TIMES):
        work(count)
    gc.collect()
    assert resident() - before < LEAST_KEPT
    tracemalloc.start()
    try:
        work(count // 100)
        gc.collect()
        first, _ = tracemalloc.get_traced_memory()
        work(count // 10)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - first < LEAST_TRACED
    finally:
        tracemalloc.stop()
