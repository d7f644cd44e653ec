"""One attempt to talk to a target: its life, what it notes of that, and when another one is due."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from ..conversations.operation import ConversationOperation, checked
from ..core.deadlines import INFINITY
from ..core.raised import drop_frames
from ..core.states import seconds_spent
from ..errors import (
    ConnectionFailedError,
    ConversationEndedError,
    HandlerError,
    NetworkSocketError,
    SocketTimeoutError,
)
from ..event_types import EventType
from ..events import Event, SocketExceptionEvent, TimeoutEvent
from ..sockets import ClientSocket
from ..transports.base import is_tls_error
from .outcomes import Outcome, Target, Times

if TYPE_CHECKING:
    from ..conversations.conversation import Conversation
    from ..core.channel import Channel
    from ..metadata import SocketMetadata
    from ..typing import HandlerMapping

# The longest pause before another attempt, in seconds, unless the first is longer.
_LONGEST_PAUSE = 60.0


def pause_before(attempt: int, backoff: float, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait before the `attempt`th attempt: `backoff` before the second, twice as long before each
    one after it, a minute at most unless `backoff` is longer, and up to half as much again by chance, so that
    what failed together is not tried again together."""
    doubled = backoff * 2.0 ** min(attempt - 2, 1000)
    return min(doubled, max(backoff, _LONGEST_PAUSE)) * (1.0 + chance() / 2.0)


class Heard(Protocol):
    """Who is told of the end of a life."""

    def ended(self, socket: TargetSocket) -> None:
        """It is over."""


class TargetOperation(ConversationOperation):
    """The conversation with any target: its socket knows what is particular about it."""

    __slots__ = ()

    def _coroutine(self, talk: Conversation) -> Coroutine[Any, Any, Any]:
        socket = talk.socket
        assert isinstance(socket, TargetSocket)
        socket._task = talk._task
        args = self.args if socket._target.args is None else socket._target.args
        return checked(self._function, self._function(talk, *args))


class TargetSocket(ClientSocket):
    """The socket of one life of a target. It notes what the outcome tells."""

    # One object for each target that is talked to, so it is slots only.
    __slots__ = (
        "_attempt", "_attempted_at", "_error", "_gathering", "_has_returned", "_late", "_metadata",
        "_target", "_task",
    )  # fmt: skip

    def __init__(self, gathering: Heard, target: Target, attempt: int) -> None:
        super().__init__()
        self._gathering: Heard | None = gathering
        self._target = target
        self._attempt = attempt
        self._attempted_at: float | None = None  # the last INITIALIZE
        self._has_returned = False
        self._task: Any = None  # the target's own conversation: a handler may put another one in its place
        self._error: Exception | None = None
        self._late: TimeoutEvent | None = None  # the last time-out told
        self._metadata: SocketMetadata | None = None  # until the end of its life is taken in

    def _over(self) -> None:
        if self._gathering is not None:
            self._gathering.ended(self)

    def _returned(self, task: object) -> None:
        if task is not self._task:
            return
        self._has_returned = True
        assert self._channel is not None
        if self._channel.metadata.keep_alive:  # set since: its outcome comes with the end
            self._channel.metadata.keep_alive = False

    def _raised(self, task: object, error: BaseException) -> None:
        if task is not self._task:
            return
        assert self._channel is not None
        if not isinstance(error, Exception) or self._channel.loop.is_inherited:
            return  # in the child of a fork nobody has an outcome
        self._failed(error)
        if not isinstance(error, NetworkSocketError):
            raise HandlerError(f"{self._target.address}: the conversation raised {error!r}") from error

    def _failed(self, error: Exception) -> None:
        if self._error is None:
            self._error = error

    def _outcome(self, metadata: SocketMetadata, now: float) -> Outcome[Any]:
        """What came of it, now that it is over."""
        error, late, target, life = self._error, self._late, self._target, metadata._channel
        if error is None and late is not None and not late._one_more:
            text = f"{target.address}: {late.when.value} time-out while {late._doing}"
            error = SocketTimeoutError(text, when=late.when, phase=late.phase, address=target.address)
            error._doing = late._doing
        if error is None and not self._has_returned:
            how = "the conversation was cancelled, closed or replaced before it returned"
            error = ConversationEndedError(f"{target.address}: {how}")
        if isinstance(error, NetworkSocketError):
            error.socket = None
            drop_frames(error)  # where nobody has been told of it
        return Outcome(
            target,
            metadata._result if self._has_returned else None,
            error,
            self._attempt,
            metadata.bytes_sent,
            metadata.bytes_received,
            metadata.tls,
            metadata.remote_address,
            self._times(life, now),
        )

    def _times(self, life: Channel, now: float) -> Times:
        """What was spent in each stage, the last one being over now."""
        if self._attempted_at is None:
            return Times()
        connected = now if life.connected_at == INFINITY else life.connected_at
        talking = max(0.0, now - connected)
        if not life.steps:  # nothing but connecting, as to a numeric address
            return Times(0.0, max(0.0, connected - self._attempted_at), 0.0, talking)
        return Times(talking=talking, **seconds_spent(life.steps, self._attempted_at, connected))

    def _let_go(self) -> None:
        """It has told; what it refers to refers back to it."""
        self._gathering = self._error = self._late = self._task = None


def may_try_again(outcome: Outcome[Any], metadata: SocketMetadata) -> bool:
    """Whether it was its opening that failed or timed out, and another one may fare better."""
    error = outcome.error
    if metadata._channel.connected_at != INFINITY or metadata._parsed is None:
        return False
    if isinstance(error, ConnectionFailedError):
        return not _is_refused_certificate(error.__cause__)
    return isinstance(error, SocketTimeoutError)


def _is_refused_certificate(cause: BaseException | None) -> bool:
    """Whether one end has refused the other's certificate: it would do so again."""
    reason = getattr(cause, "reason", None) if is_tls_error(cause) else None
    return reason is not None and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)


def _on_initialize(event: Event) -> None:
    event.socket._attempted_at = event._channel.loop.clock()  # type: ignore[attr-defined]


def _on_exception(event: SocketExceptionEvent) -> None:
    event.socket._failed(event.exception)  # type: ignore[attr-defined]


def _on_timeout(event: TimeoutEvent) -> None:
    event.socket._late = event  # type: ignore[attr-defined]


HEARING: HandlerMapping = {
    EventType.INITIALIZE: _on_initialize,
    EventType.EXCEPTION: _on_exception,
    EventType.TIMEOUT: _on_timeout,
}
"""What hears the events of a `TargetSocket`."""
