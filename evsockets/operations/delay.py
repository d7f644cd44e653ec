"""Delay an operation while a predicate is true, which the turn asks at its end (core/run.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVarTuple

from .._generic import overload
from ..core.deadlines import INFINITY
from ..core.operation import Operation

if TYPE_CHECKING:
    from ..core.channel import Channel
    from ..executor import RequestExecutor

Arguments = TypeVarTuple("Arguments")


class DelayedOperation(Operation):
    """Delays `operation` while `pending(socket, executor, *args)` is true.

    The predicate is called when the operation becomes current, then at most once in each turn in which
    another socket had an event or a timer or thread-safe callback ran, and every `interval` seconds if given
    (ValueError unless positive).
    """

    __slots__ = ("args", "interval", "operation", "pending")

    interest = 0
    _phase = "delayed"
    _timed = False
    _replaceable = False

    @overload  # besides the next one for what takes `*args`, of which no checker knows how many they are
    def __init__(
        self,
        operation: Operation,
        pending: Callable[[Any, RequestExecutor], object],
        *,
        interval: float | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        operation: Operation,
        pending: Callable[[Any, RequestExecutor, *Arguments], object],
        *args: *Arguments,
        interval: float | None = None,
    ) -> None: ...

    def __init__(
        self,
        operation: Operation,
        pending: Callable[..., object],
        *args: object,
        interval: float | None = None,
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
        """Ask: itself while pending, else the operation held back takes its place."""
        loop = channel.loop
        if self.pending(channel.socket, loop.executor, *self.args):
            loop.delayed[channel] = INFINITY if self.interval is None else loop.clock() + self.interval
            return self
        loop.delayed.pop(channel, None)
        if channel.cancelled or loop.stopping:
            return self
        return channel.replace(self.operation)

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return self.start(channel) if self._due(channel) <= channel.loop.now else self

    def _due(self, channel: Channel) -> float:
        return channel.loop.delayed.get(channel, INFINITY)

    def _abandon(self, channel: Channel) -> None:
        channel.loop.delayed.pop(channel, None)

    def __repr__(self) -> str:
        return f"<DelayedOperation {self.operation!r}>"
