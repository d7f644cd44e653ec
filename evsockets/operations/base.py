"""The operation contract: what a socket does now, and what it does next.

An operation *is* its socket's state. Exactly one is current; the executor calls `start` once when it
becomes so and `step` whenever the descriptor is ready, and goes on with what they return.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..engines.base import READ

if TYPE_CHECKING:
    from ..channel import Channel


class Operation:
    """Subclass it to make an operation of your own.

    `start` and `step` return the operation to do next: itself (not done: wait until the descriptor is
    ready for `interest`), another one, or None (the request ends; a kept-alive connection idles).
    Keep no progress on the operation if one object shall serve many sockets.
    """

    # A plain class: the instance check of an ABC costs more than a whole write operation.
    __slots__ = ()

    #: READ, WRITE, or both: what to wait for. 0 waits for nothing.
    interest: int = READ
    #: What TimeoutEvent.phase says while this is current.
    phase: str = "reading"
    #: Whether it may begin while bytes written during one received chunk still wait to leave together.
    runs_ahead: ClassVar[bool] = False
    #: Whether time spent here counts towards `io_timeout`.
    timed: ClassVar[bool] = True
    #: Whether `interest` stays as it is, or the engine is told of its changes, so that nobody need look.
    steady: ClassVar[bool] = False

    def start(self, channel: Channel) -> Operation | None:
        """Called once when the operation becomes current."""
        return self

    def step(self, channel: Channel, mask: int) -> Operation | None:
        """Called when the descriptor is ready for `mask`; must survive being called for nothing."""
        raise NotImplementedError(f"{type(self).__name__} has no step(channel, mask)")

    def abandon(self, channel: Channel) -> None:
        """Called when the socket ends, or the operation is replaced, before it was done."""

    def due(self, channel: Channel) -> float | None:
        """When `expire` wants to be called, on the executor's clock; None: never."""
        return None

    def expire(self, channel: Channel, now: float) -> Operation | None:
        """Called when `due` has come; returns as `step` does."""
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class _Repeat(Operation):
    """Starts the operation kept in its place: a handler named again the one that was just done.

    Returned as it is, that operation would mean "not done".
    """

    __slots__ = ()

    interest = 0

    def start(self, channel: Channel) -> Operation | None:
        return channel.release_held()

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return channel.release_held()


REPEAT = _Repeat()


def repeated(channel: Channel, operation: Operation) -> Operation:
    """What to return for "this operation once more"."""
    channel.held = operation
    channel.held_started = False
    return REPEAT
