"""The engine and transports in the child of a fork, which replace those of its parent.

The descriptors are copies of the same open files: a change of the epoll, a byte, a close_notify or a shutdown
in the child would damage the parent's connections. Closing a copy is the only call without effect on the
parent, so the replacements can only be closed.
"""

from __future__ import annotations

from typing import Any

from .engines.base import Engine
from .errors import EngineError
from .transports.base import Transport


def refusal() -> EngineError:
    """The error of any call but `close` in the child."""
    return EngineError(
        "this executor was made before a fork and belongs to the parent process: make a new one here"
    )


class InheritedEngine(Engine):
    """Watches nothing, and keeps the parent's engine alive, since freeing it could change the epoll."""

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
    """Has a descriptor and can close it; any other call raises an EngineError."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        raise refusal()
