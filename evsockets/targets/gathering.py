"""The targets of a fan-out: who is talked to, who waits for another attempt, and what came of the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..core import run
from ..handlers import EventMultiHandler
from .attempts import HEARING, TargetOperation, TargetSocket, may_try_again, pause_before
from .outcomes import Outcome, Target

if TYPE_CHECKING:
    from ..executor import RequestExecutor

R = TypeVar("R")

# Seconds for which targets are pulled before those under way have their turn.
_SHARE = 0.002


class Gathering(Generic[R]):
    """It starts lives where places are free, and has their outcomes.

    A place is taken from the start of a life until its outcome is taken. A target that waits for another
    attempt has none.
    """

    def __init__(
        self,
        executor: RequestExecutor,
        *,
        operation: TargetOperation,
        targets: Iterator[str | Target],
        limit: int,
        retries: int,
        backoff: float,
        retry_if: Callable[[Outcome[R]], object] | None,
        handlers: Iterable[Any],
        metadata: Mapping[str, Any],
    ) -> None:
        self.executor = executor
        self.outcomes: deque[Outcome[R]] = deque()
        self.failure: BaseException | None = None  # what the targets' iterator raised
        self.closed = False
        self.running = 0  # how many lives have begun and not been taken in
        self.notify: Callable[[], None] | None = None  # called when there is something to settle or to fill
        self._targets: Iterator[str | Target] | None = targets
        self._operation = operation
        self._limit = limit
        self._retries = retries
        self._backoff = backoff
        self._retry_if = retry_if
        self._metadata = metadata
        self._handler = EventMultiHandler([HEARING, *handlers])  # ours hears whatever a user's raises
        self._ended: deque[TargetSocket] = deque()
        # Who waits for another attempt, with what came of the last one; and for whom the pause is over.
        self._waiting: dict[int, Outcome[R]] = {}
        self._most_waiting = max(1000, 10 * limit)
        self._due: deque[int] = deque()
        self._numbers = 0

    @property
    def busy(self) -> bool:
        """Whether there is, or may be, an outcome still."""
        return bool(self.outcomes or self.running or self._waiting or self._targets is not None)

    @property
    def pulls(self) -> bool:
        """Whether another target may start at once."""
        return self._has_place() and (bool(self._due) or self._pulls_new())

    def _pulls_new(self) -> bool:
        return self._targets is not None and len(self._waiting) < self._most_waiting

    def _has_place(self) -> bool:
        return self.running + len(self.outcomes) < self._limit

    def settle(self) -> None:
        """Between turns: take in who has ended."""
        while self._ended:
            self._settle(self._ended.popleft())

    def fill(self) -> None:
        """Between turns: start whom there is a place for, if that takes no longer than a share."""
        if not self.pulls:
            return
        if self.executor._loop.draining is not None:
            self._targets = None  # nothing starts any more
            return
        clock = self.executor._loop.clock
        until = clock() + _SHARE
        while self._has_place() and self._due:
            before = self._waiting.pop(self._due.popleft())
            self._start(before.target, before.attempts + 1)
        while self._has_place() and self._pulls_new() and clock() <= until:
            assert self._targets is not None
            try:
                target = next(self._targets)
            except StopIteration:
                self._targets = None
            except Exception as error:
                self._targets, self.failure = None, error
            else:
                self._start(target if isinstance(target, Target) else Target(target), 1)

    def _start(self, target: Target, attempt: int) -> None:
        socket = TargetSocket(self, target, attempt)
        metadata = {**self._metadata, "address": target.address}
        if target._metadata:
            metadata.update(target._metadata)
        if target.user_context is not None:
            metadata["user_context"] = target.user_context
        try:
            socket._metadata = self.executor.socket_bag.add_socket(
                socket, self._operation, handler=self._handler, **metadata
            )
            self.running += 1
        except (TypeError, ValueError) as error:  # everything but the address has been looked at before
            socket._let_go()
            self.outcomes.append(Outcome(target, error=error.with_traceback(None)))

    def ended(self, socket: TargetSocket) -> None:
        """A life is over."""
        self._ended.append(socket)
        self._tell()

    def _tell(self) -> None:
        if self.notify is not None:
            self.notify()

    def _settle(self, socket: TargetSocket) -> None:
        metadata, socket._metadata = socket._metadata, None
        if metadata is None:
            return
        self.running -= 1
        loop = self.executor._loop
        outcome = socket._outcome(metadata, loop.clock())
        opening = may_try_again(outcome, metadata)
        socket._let_go()
        if loop.members.get(socket) is metadata:  # and not a handler's new life of it
            self.executor.socket_bag.remove_socket(socket)
        more = outcome.attempts <= self._retries and loop.executing and loop.draining is None
        if not (more and (opening or (self._retry_if is not None and self._retry_if(outcome)))):
            self.outcomes.append(outcome)
            return
        self._numbers += 1
        self._waiting[self._numbers] = outcome
        pause = pause_before(outcome.attempts + 1, self._backoff)
        self.executor.call_later(pause, self._pause_over, self._numbers)

    def _pause_over(self, number: int) -> None:
        self._due.append(number)
        self._tell()

    def run_over(self) -> None:
        """The run was stopped or drained: nobody starts any more, and each who has begun has an outcome."""
        self._targets = None
        self._ended.extend(self._sockets())
        self.settle()
        self.outcomes.extend(self._waiting.values())
        self._waiting.clear()
        self._due.clear()
        self._tell()

    def take_failure(self) -> BaseException:
        """What is to be raised, once."""
        try:
            assert self.failure is not None
            return self.failure
        finally:
            self.failure = None

    def stop(self) -> None:
        """End the run: every life ends now, or, inside a turn, when that is over."""
        loop = self.executor._loop
        loop.check_thread()
        self.closed = True
        if loop.executing and not loop.is_inherited:
            run.stop(loop)
            while loop.executing and not loop.in_turn:
                self.executor.turn(0)
        if not loop.in_turn:
            self.let_go()

    def close(self) -> None:
        """The same, and close the executor. Closed already: nothing."""
        loop = self.executor._loop
        if loop.closed:
            return
        loop.check_thread()
        loop.waker.ignore_signals()
        try:
            self.stop()
        except BaseException as error:
            if not loop.in_turn:
                run.abort(loop, error)  # if it was not raised on the way of that
                self.let_go()
                self.executor.close()
            raise
        if not loop.in_turn:
            self.executor.close()

    def let_go(self) -> None:
        """Nothing more is asked for."""
        for socket in self._sockets():
            socket._let_go()
            self.executor.socket_bag.remove_socket(socket)
        for held in (self.outcomes, self._ended, self._waiting, self._due):
            held.clear()
        self.running = 0
        self._targets = self.notify = None

    def _sockets(self) -> list[TargetSocket]:
        """Those in the bag."""
        return [socket for socket in self.executor._loop.members if isinstance(socket, TargetSocket)]


def iterated(targets: Iterable[str | Target]) -> Iterator[str | Target]:
    """Return the iterator of `targets`. TypeError for a single one, and for what is no iterable."""
    if isinstance(targets, str | bytes | Target) or not isinstance(targets, Iterable):
        raise TypeError(f"targets must be an iterable of addresses and Targets, such as [{targets!r}]")
    return iter(targets)
