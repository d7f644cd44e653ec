"""Sets of weak references.

Not `weakref.WeakSet`: its callback for a freed member is a Python function, in which an exception of a signal
handler would be lost. Here the callback is `set.discard` itself.
"""

from __future__ import annotations

import weakref
from typing import TypeVar

T = TypeVar("T")


def remember(members: set[weakref.ref[T]], one: T) -> None:
    """Add `one`, as long as it exists."""
    members.add(weakref.ref(one, members.discard))


def living(members: set[weakref.ref[T]]) -> list[T]:
    """The members that still exist."""
    return [one for reference in list(members) if (one := reference()) is not None]
