"""Whether work grows in proportion to its input, told by processor time and nothing absolute."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

#: Eight times the input may cost this many times as much: linear work costs 8 times, quadratic 64.
_MOST_GROWTH = 24
_TRIES = 7


def grows_linearly(
    work: Callable[[int], Callable[[], object]], largest: int, *, smallest: int = 1024, looks: float = 20.0
) -> None:
    """Fail unless what `work(size)` returns costs in proportion to `size`, doubled up to `largest`.

    It may be called often: the best of a few tries counts, since others' load disturbs single ones. What
    costs less than `looks` times a look at each byte in Python is never too much. The first size that is
    compared with its eighth is `smallest`, or a little more.
    """
    size = largest
    while size // 2 >= smallest:
        size //= 2
    while size <= largest:
        large, eighth, looking = work(size), work(size // 8), _looking(size)
        best_large = best_eighth = best_looking = float("inf")
        for _ in range(_TRIES):
            best_eighth = min(best_eighth, _spent(eighth))
            best_looking = min(best_looking, _spent(looking))
            best_large = min(best_large, _spent(large))
            if best_large < max(_MOST_GROWTH * best_eighth, looks * best_looking):
                break
        else:
            pytest.fail(
                f"8 times the input, {size} bytes, costs {best_large / best_eighth:.0f} times as much, "
                f"{best_large / best_looking:.0f} times a look at each byte"
            )
        size *= 2


def _spent(run: Callable[[], object]) -> float:
    start = time.thread_time()
    run()
    return time.thread_time() - start


def _looking(size: int) -> Callable[[], object]:
    data = bytes(size)

    def look() -> None:
        for _ in data:
            pass

    return look
