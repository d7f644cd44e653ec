"""The time-out blocks of conversations: `with talk.timeout()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core import timeouts
from ..core.activities import YIELDED
from ..core.deadlines import INFINITY
from ..engines.base import READ
from ..errors import SocketTimeoutError
from ..event_types import TimeoutStage
from ..transports import broken

if TYPE_CHECKING:
    from ..core.channel import Channel
    from ..typing import TimeoutPhase
    from .task import ConversationTask


class Expired(BaseException):
    """Thrown in where something is awaited when `scope` has passed: no `except Exception` catches it, and its
    own `with` makes a SocketTimeoutError of it."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self.scope = scope


def passed(task: ConversationTask) -> Scope | None:
    """The outermost scope of which an await was broken off: every later one inside is, too."""
    return next((scope for scope in task.scopes if scope.expired), None)


def expire(task: ConversationTask, channel: Channel) -> None:
    """A scope has passed: break off what is awaited, if what has arrived does not make it whole."""
    stepper, loop = channel.stepper, channel.loop
    scope = next((one for one in task.scopes if one.when <= loop.now), None)
    if scope is None or channel.cancelled or loop.stopping or task.superseded:
        return
    operation: Any = task.awaited if channel.operation is task else channel.operation
    if getattr(operation, "woken", False):
        return  # what it waited for has come
    reads = operation is not None and operation.interest & READ
    if stepper is YIELDED and channel.inbox and reads:
        return  # it has only used up its share of the turn
    if scope.limit < 0:
        scope.limit = channel.bytes_received + broken._unread_bytes(channel.transport.sock)
    if reads and stepper is not None and stepper is operation:
        while channel.bytes_received < scope.limit and not (channel.cancelled or loop.stopping):
            before = channel.bytes_received
            channel.go_on(stepper.step(channel, READ))
            if channel.stepper is not stepper or channel.bytes_received == before:
                break
        if channel.stepper is not stepper or channel.cancelled or loop.stopping:
            return
    scope.expired = True
    scope.phase = channel.phase_name()
    raise Expired(scope)


class Scope:
    """One `with talk.timeout(seconds)` block. `expired`: whether its time has passed during an await."""

    __slots__ = ("expired", "limit", "phase", "seconds", "task", "when")

    def __init__(self, task: ConversationTask, seconds: float | None) -> None:
        self.task = task
        self.seconds = seconds
        self.when = INFINITY
        self.expired = False
        self.phase: TimeoutPhase | None = None  # what was broken off first
        self.limit = -1  # of received bytes: what had arrived when it passed

    def __enter__(self) -> Scope:
        task = self.task
        if self.when != INFINITY or self in task.scopes:
            raise RuntimeError("a timeout() block is entered once: make another one")
        if not getattr(task.coroutine, "cr_running", True):
            raise RuntimeError("timeout() bounds the awaits of its own conversation: take that one's")
        channel = task.channel
        if self.seconds is not None and channel is not None:
            self.when = channel.loop.clock() + self.seconds
            channel.loop.deadlines.arm(channel, self.when)
        task.scopes = (*task.scopes, self)
        return self

    if not TYPE_CHECKING:  # for checkers it has none

        async def __aenter__(self) -> None:
            raise TypeError("timeout() is a plain block: `with talk.timeout(...)`, without `async`")

        async def __aexit__(self, *exception: object) -> None:
            """Never called; `async with` wants both."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        task = self.task
        task.scopes = tuple([scope for scope in task.scopes if scope is not self])
        caught = error is None and self.expired and task.channel is not None  # in the block itself
        if caught or (isinstance(error, Expired) and error.scope is self):
            raise self.error() from None

    def error(self) -> SocketTimeoutError:
        """What the `with` raises."""
        assert self.phase is not None
        why = f"not done within {self.seconds:g} s"
        return timeouts.late(self.task.channel, TimeoutStage.SCOPE, why, self.phase)
