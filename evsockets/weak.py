"""Sets that do not keep their members.

Not `weakref.WeakSet`: what that calls when a member goes is Python, and an exception that a signal handler
raises in there would be lost. Here it is `set.discard` itself.
"""

from __future__ import annotations

import weakref
from typing import TypeVar

T = TypeVar("T")


def remember(members: set[weakref.ref[T]], one: T) -> None:
    """Add `one` for as long as it lives."""
    members.add(weakref.ref(one, members.discard))


def living(members: set[weakref.ref[T]]) -> list[T]:
    """Those that are still there."""
    return [one for reference in list(members) if (one := reference()) is not None]
