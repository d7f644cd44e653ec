"""Has coroutines go on, and ends what they await with a value: in C where that was built."""

from __future__ import annotations

from collections.abc import Coroutine
from contextvars import Context
from typing import Any

try:
    from ._driver import Driver  # type: ignore[import-not-found, unused-ignore]
except ImportError:

    class Driver:  # type: ignore[no-redef]
        """Of one for all conversations."""

        __slots__ = ()

        def resume(self, context: Context, coroutine: Coroutine[Any, Any, Any]) -> Any:
            """What the coroutine awaits next; StopIteration with what it returns."""
            return context.run(coroutine.send, None)

        def give(self, value: Any) -> None:
            """Called in `__next__` before `raise StopIteration`: that has this value."""
            raise StopIteration(value)

        def forget(self) -> None:
            """Let go of the value given last."""


DRIVER = Driver()
