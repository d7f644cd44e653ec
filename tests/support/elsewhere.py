"""Runs with an executor in a thread of its own, where the kernel can be had to refuse system calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evsockets import RequestExecutor
from evsockets.testing.refusal import elsewhere


def with_executor(engine: str, function: Callable[[RequestExecutor], Any], **options: Any) -> Any:
    """`function(executor)` in such a thread; the executor is made and closed there, gevent's hub too."""

    def there() -> Any:
        try:
            with RequestExecutor(engine, **options) as executor:
                return function(executor)
        finally:
            leave_hub(engine)

    return elsewhere(there)


def leave_hub(engine: str) -> None:
    """gevent keeps a hub for each thread until it is told otherwise."""
    if engine == "gevent":
        import gevent

        gevent.get_hub().destroy()
