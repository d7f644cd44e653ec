"""Bounds of what is awaited: a conversation's `timeout()` blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import SocketTimeoutError
from ..event_types import TimeoutStage
from .deadlines import INFINITY
from .failure import socket_error

if TYPE_CHECKING:
    from ..typing import TimeoutPhase
    from .channel import Channel
    from .conversation import Running


class Expired(BaseException):
    """Thrown in where something is awaited when `scope` has passed: no `except Exception` catches it, and its
    own `with` makes a SocketTimeoutError of it."""

    def __init__(self, scope: Scope, phase: TimeoutPhase) -> None:
        super().__init__(scope)
        self.scope = scope
        self.phase = phase

    def error(self) -> SocketTimeoutError:
        """What the `with` raises."""
        channel = self.scope.running.channel
        why = f"not done within {self.scope.seconds:g} s"
        return late(channel, TimeoutStage.SCOPE, why, self.phase)


def late(channel: Channel, when: TimeoutStage, why: str, phase: TimeoutPhase) -> SocketTimeoutError:
    """A time-out inside a conversation."""
    error = socket_error(SocketTimeoutError, channel, why, phase, when=when)
    error.phase = phase
    return error


class Scope:
    """One `with talk.timeout(seconds)` block. `expired`: its time has passed while something was awaited."""

    __slots__ = ("expired", "limit", "running", "seconds", "when")

    def __init__(self, running: Running, seconds: float | None) -> None:
        self.running = running
        self.seconds = seconds
        self.when = INFINITY
        self.expired = False
        self.limit = -1  # of received bytes: what had arrived when it passed

    def __enter__(self) -> Scope:
        running = self.running
        if self.when != INFINITY or self in running.scopes:
            raise RuntimeError("a timeout() block is entered once: make another one")
        channel = running.channel
        if self.seconds is not None and channel is not None:
            self.when = channel.loop.clock() + self.seconds
            channel.loop.deadlines.arm(channel, self.when)
        running.scopes = (*running.scopes, self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        running = self.running
        running.scopes = tuple([scope for scope in running.scopes if scope is not self])
        if isinstance(error, Expired) and error.scope is self:
            raise error.error() from None
