"""What the child of a fork has instead of its parent's engine and connections.

The descriptors are copies, but what they stand for is shared: one change of the epoll, one byte, one
close_notify or shutdown in the child, and the parent's connections are spoilt. So in the child nothing is
left that could do so. Closing a copy is the only call without effect on the parent.
"""

from __future__ import annotations

from typing import Any

from .engines.base import Engine
from .errors import EngineError
from .transports.base import Transport


def refusal() -> EngineError:
    """What anything but closing raises in the child."""
    return EngineError(
        "this executor was made before a fork and belongs to the parent process: make a new one here"
    )


class InheritedEngine(Engine):
    """Watches nothing, and keeps the parent's engine from being freed: that could make changes, too."""

    def __init__(self, parents: Engine) -> None:
        self.name = parents.name
        self._parents = parents

    def watch(self, fd: int, interest: int, token: Any) -> None:
        """Nothing."""

    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        """Raises EngineError."""
        raise refusal()

    def close(self) -> None:
        """Nothing."""


class InheritedTransport(Transport):
    """Has a descriptor and can close it; anything else is an EngineError."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        raise refusal()
