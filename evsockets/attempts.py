"""One attempt to talk to a target: its life, what it notes of that, and when another one is due."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from .core.raised import drop_frames
from .errors import (
    ConnectionFailedError,
    ConversationEndedError,
    HandlerError,
    NetworkSocketError,
    SocketTimeoutError,
)
from .event_types import EventType
from .events import SocketExceptionEvent, TimeoutEvent
from .operations.conversation import ConversationOperation, checked
from .outcomes import Outcome, Target, Times
from .sockets import ClientSocket

if TYPE_CHECKING:
    from .conversation import Conversation
    from .metadata import SocketMetadata
    from .typing import HandlerMapping

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
        return socket._talk(talk, self.function, self.args)


class TargetSocket(ClientSocket):
    """The socket of one life of a target. It notes what the outcome tells."""

    # One object for each target that is talked to, so it is slots only.
    __slots__ = (
        "_attempt", "_began", "_connecting", "_error", "_gathering", "_handshaking", "_late", "_resolving",
        "_returned", "_talking", "_target", "_value",
    )  # fmt: skip

    def __init__(self, gathering: Heard, target: Target, attempt: int) -> None:
        super().__init__()
        self._gathering: Heard | None = gathering
        self._target = target
        self._attempt = attempt
        self._resolving = self._connecting = self._handshaking = self._talking = 0.0  # when each began
        self._began = False  # the conversation
        self._returned = False
        self._value: Any = None
        self._error: Exception | None = None
        self._late: TimeoutEvent | None = None  # the last time-out told

    def _begins(self, stage: str, clock: Callable[[], float]) -> None:
        name = f"_{stage}"
        if getattr(self, name):  # another attempt within the same life
            self._resolving = self._connecting = self._handshaking = 0.0
        setattr(self, name, clock())

    def _over(self) -> None:
        if self._gathering is not None:
            self._gathering.ended(self)

    async def _talk(
        self, talk: Conversation, function: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...]
    ) -> Any:
        """The conversation, watched."""
        self._began = True
        if self._target.args is not None:
            args = self._target.args
        try:
            value = await checked(function, function(talk, *args))
        except NetworkSocketError as error:
            self._failed(error)
            raise
        except Exception as error:
            if getattr(error, "_ends_conversation", False):  # a closed mailbox's, as if it had returned
                self._returned = talk._running.refusal is None
                raise
            if talk._loop.is_inherited:  # the child of a fork, where nobody has an outcome
                raise
            self._failed(error)
            # In no variable: the traceback would hold it, and it the error.
            raise HandlerError(f"{self._target.address}: the conversation raised {error!r}") from error
        if talk.metadata.keep_alive:  # set since: its outcome comes with the end
            talk.metadata.keep_alive = False
        # Else it was closed, and does not heed that.
        self._returned = talk._running.refusal is None
        self._value = value
        return value

    def _failed(self, error: Exception) -> None:
        if self._error is None:
            self._error = error

    def _outcome(self, metadata: SocketMetadata, now: float) -> Outcome[Any]:
        """What came of it, now that it is over."""
        error, late, target = self._error, self._late, self._target
        if error is None and late is not None and not late._one_more:
            text = f"{target.address}: {late.when.value} time-out while {late.phase}"
            error = SocketTimeoutError(text, when=late.when, phase=late.phase, address=target.address)
        if error is None and not self._returned:
            how = "the conversation was cancelled, closed or replaced before it returned"
            error = ConversationEndedError(f"{target.address}: {how}")
        if isinstance(error, NetworkSocketError):
            error.socket = None
            drop_frames(error)  # where nobody has been told of it
        return Outcome(
            target,
            self._value if self._returned else None,
            error,
            self._attempt,
            metadata.bytes_sent,
            metadata.bytes_received,
            metadata.tls,
            metadata.remote_address,
            self._times(now),
        )

    def _times(self, now: float) -> Times:
        """What was spent in each stage, the last one being over now."""
        spent, ended = [], now
        for began in (self._talking, self._handshaking, self._connecting, self._resolving):
            spent.append(max(0.0, ended - began) if began else 0.0)
            ended = began or ended
        return Times(*reversed(spent))

    def _may_try_again(self, outcome: Outcome[Any]) -> bool:
        """Whether it was its opening that failed or timed out, and another one may fare better."""
        error = outcome.error
        if self._began or self._talking or not (self._resolving or self._connecting):
            return False
        if isinstance(error, ConnectionFailedError):
            return not _is_refused_certificate(error.__cause__)
        return isinstance(error, SocketTimeoutError)

    def _let_go(self) -> None:
        """It has told; what it refers to refers back to it."""
        self._gathering = self._error = self._late = None


def _is_refused_certificate(cause: BaseException | None) -> bool:
    """Whether one end has refused the other's certificate: it would do so again."""
    reason = getattr(cause, "reason", None) if isinstance(cause, ssl.SSLError) else None
    return reason is not None and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)


def _on_exception(event: SocketExceptionEvent) -> None:
    event.socket._failed(event.exception)  # type: ignore[attr-defined]


def _on_timeout(event: TimeoutEvent) -> None:
    event.socket._late = event  # type: ignore[attr-defined]


HEARING: HandlerMapping = {
    EventType.EXCEPTION: _on_exception,
    EventType.TIMEOUT: _on_timeout,
}
"""What hears the events of a `TargetSocket`."""
