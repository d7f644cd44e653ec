"""Hold an operation back while a predicate is true."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .base import Operation

if TYPE_CHECKING:
    from ..channel import Channel


class DelayedOperation(Operation):
    """Holds `operation` back while `pending(socket, executor, *args)` is true.

    Asked when it becomes current, then at most once per turn in which another socket had an event or a
    thread-safe callback ran, and every `interval` seconds if given (ValueError unless positive).
    """

    __slots__ = ("args", "interval", "operation", "pending")

    interest = 0
    phase = "delayed"
    timed = False
    steady = True

    def __init__(
        self, operation: Operation, pending: Callable[..., Any], *args: Any, interval: float | None = None
    ) -> None:
        if not isinstance(operation, Operation):
            raise TypeError(f"DelayedOperation holds back an operation, got {operation!r}")
        if not callable(pending):
            raise TypeError(f"pending must be callable, got {pending!r}")
        if interval is not None and not interval > 0:
            raise ValueError(f"interval must be positive seconds or None, got {interval!r}")
        self.operation = operation
        self.pending = pending
        self.args = args
        self.interval = interval

    def start(self, channel: Channel) -> Operation | None:
        return self.ask(channel)

    def ask(self, channel: Channel) -> Operation:
        """Ask now: itself while pending, else the operation held back."""
        executor = channel.executor
        if self.pending(channel.socket, executor, *self.args):
            executor.delayed[channel] = (
                None if self.interval is None else executor.clock() + self.interval
            )
            return self
        executor.delayed.pop(channel, None)
        return self.operation

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return self

    def due(self, channel: Channel) -> float | None:
        return channel.executor.delayed.get(channel)

    def expire(self, channel: Channel, now: float) -> Operation | None:
        return self.ask(channel)

    def abandon(self, channel: Channel) -> None:
        channel.executor.delayed.pop(channel, None)

    def __repr__(self) -> str:
        return f"<DelayedOperation {self.operation!r}>"
