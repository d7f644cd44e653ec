"""Drives a conversation's coroutine: what it awaits are operations, done one after the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any

from ..core import closing, outbox
from ..core.activities import YIELDED
from ..core.deadlines import INFINITY
from ..core.failure import place
from ..core.operation import UNTOLD, Operation
from ..core.task import Task
from ..engines.base import WRITE
from ..errors import EngineError, MailboxClosedError, NetworkSocketError
from ..forks import refusal
from . import scopes
from .driver import DRIVER
from .scopes import Expired, Scope
from .waiting import Flushed

if TYPE_CHECKING:
    from ..core.channel import Channel


class Drained(Exception):
    """Thrown in where the next frame is awaited, when a drain is on and nothing of it has arrived."""


#: What it may have at once in a turn (see fast_path.py) before the others have their turn.
STEPS = 64
_NO_ASYNCIO = (
    "conversations run without asyncio: await talk.sleep(seconds) in place of asyncio.sleep(), and write "
    "`with talk.timeout(seconds):` in place of asyncio.timeout() and wait_for()"
)
_driver = DRIVER
# How often a coroutine may await anew while it is closed.
_CLOSINGS = 100


class ConversationTask(Task):
    """A conversation that is on: as an operation it has its coroutine go on, until that awaits something."""

    __slots__ = (
        "channel", "context", "coroutine", "drainable", "ended", "error", "fault", "name", "refusal",
        "scopes", "steps", "turn", "unawaited", "wanted",
    )  # fmt: skip

    interest = 0
    _phase = "reading"
    _replaceable = False
    _heeds_next = True
    _raiser = "the conversation"

    def __init__(self, channel: Channel, name: str) -> None:
        self.channel: Any = channel  # None when it is over
        self.name = name
        self.context: Context | None = None
        self.coroutine: Coroutine[Any, Any, Any] | None = None
        self.turn: Any = None  # the time of the turn in which `steps` were made at once
        self.steps = 0
        self.unawaited = 0  # calls of the conversation's methods whose results have not been awaited
        self.wanted: Operation | None = None  # what it awaits from now on
        self.awaited = self.frame = None
        self.error: BaseException | None = None  # to be thrown in where it awaits
        self.fault: BaseException | None = None  # what a handler has raised
        self.refusal: Callable[[], BaseException] | None = None  # why it can do nothing any more
        self.scopes: tuple[Scope, ...] = ()  # the outermost first
        self.superseded = self.is_shut = False
        self.ended = False  # when it is over: whether the stream had
        self.drainable: Operation | None = None  # a read that a drain ends, unless its frame is on the way

    # ---- what the coroutine awaits -------------------------------------------------------------------

    def ask(self, operation: Operation) -> None:
        """Have `operation` done while the coroutine suspends; `frame` is the last one read then. Raises what
        an await raises when nothing can be done any more."""
        if self.refusal is not None:
            # A coroutine that catches that again and again as it is closed suspends at last.
            if self.refusal is GeneratorExit:
                self.steps += 1
            if self.refusal is not GeneratorExit or self.steps <= _CLOSINGS:
                raise self.refusal()
        self.wanted = operation

    # ---- as the channel's operation ------------------------------------------------------------------

    def begin(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> None:
        """The conversation is on."""
        self.coroutine = coroutine
        self.context = context
        self.channel.task = self

    def start(self, channel: Channel) -> Any:
        ch = channel
        if ch.loop.delayed:
            ch.mark_active()
        self.wanted = None
        try:
            if self.error is None:
                asked = _driver.resume(self.context, self.coroutine)
            else:
                asked = self._throw()
        except StopIteration as stop:
            self._over()
            channel.metadata._result = stop.value
            channel.socket._returned(self)
            if self.unawaited:
                times = "once" if self.unawaited == 1 else f"{self.unawaited} times"
                why = f"{self.name} has called methods of its Conversation without `await`, {times}"
                warnings.warn(why, RuntimeWarning, stacklevel=1)
            return None
        except Expired as expired:  # out of a block that was entered and not left
            uncaught = expired.scope.error()
            self._over()
            raise uncaught from None
        except BaseException as error:
            self._over()
            if isinstance(error, MailboxClosedError) and error._ends_conversation:
                channel.socket._returned(self)
                return None
            channel.operation = channel.stepper = self  # also if it went on at once
            if type(error) is RuntimeError and error.args == ("no running event loop",):
                error.add_note(_NO_ASYNCIO)
            channel.socket._raised(self, error)
            raise
        wanted = self.wanted
        if asked is self and wanted is not None:
            self.awaited = wanted
            self.frame = None
            passed = scopes.passed(self) if self.scopes else None
            if passed is not None:
                self.error = Expired(passed)
                return None  # and so goes on with that
            if self.turn is ch.loop.turn_time and self.steps >= STEPS:
                channel.wait(YIELDED, wanted)
                return YIELDED
            return wanted
        if type(asked) is Flushed and asked.task.channel is not None:
            if asked.task.channel.loop is channel.loop:
                self.awaited = asked.wait(channel)
                return self.awaited
        self.error = RuntimeError(
            f"{self.name} awaits {asked!r}, which no conversation can do: await the methods of its own "
            "Conversation, and leave other libraries' awaitables to their own loop (in a thread, and "
            "call_soon_threadsafe() or a Mailbox brings the result)"
        )
        return None  # and so goes on with that

    def _throw(self) -> Any:
        error, self.error = self.error, None
        assert self.context is not None and self.coroutine is not None and error is not None
        try:
            return self.context.run(self.coroutine.throw, error)
        finally:
            _driver.forget()
            del error  # whose traceback refers back to here

    def _runs_ahead(self) -> bool:
        return True

    def step(self, channel: Channel, mask: int) -> Any:
        return self

    def __repr__(self) -> str:
        return f"<ConversationOperation {self.name}>"

    def follows(self, channel: Channel, following: Any) -> Operation | None:
        if channel.after is not None:
            following, channel.after = channel.after, None
            self.superseded = True
        if not self.superseded:
            return self if following is None else following
        self.end()
        return None if channel.forgotten else following

    def goes_on(self, channel: Channel, read: Any) -> Any:
        """Where it reads on and sends nothing, or only what is posted, no general way is gone."""
        ch: Any = channel
        if ch.stepper is not read or ch.outbox is not None or ch.loop.interrupt:
            return None
        if ch.after is not None or self.superseded:
            return None
        following: Any = self.start(ch)  # the same one, mostly
        box = ch.outbox
        if (
            (following is read or (type(following) is type(read) and not following._ask_at_once))
            and (box is None or not box.holds)
            and not ch.inbox._chunk
            and not (ch.ended or ch.loop.interrupt or ch.after is not None)
            and not (ch.plain is None and ch.transport.datagram)
        ):
            ch.operation = ch.stepper = following
        elif following is not ch.stepper or following is read:  # else it waits for its next turn
            ch.advance(following)
        return ch.stepper

    def tell(self, handler: Callable[[Any], object], event: Any, beside: bool = False) -> None:
        """What it raises is not the coroutine's, and what it names takes the coroutine's place, unless it is
        told `beside` the operation."""
        channel = self.channel
        before = channel.next
        try:
            handler(event)
        except BaseException as error:
            self.fault = error
            raise
        named = channel.next
        if not (beside or named is before or named is None) and event.operation is channel.stepper:
            self.superseded = True

    def catches(self, error: BaseException) -> bool:
        """It is raised at the await, when the conversation goes on as the next operation."""
        if self.coroutine is None or self.channel.cancelled or self.superseded or error is self.fault:
            return False
        if not isinstance(error, Exception | Expired) or isinstance(error, EngineError):
            return False
        channel = self.channel
        channel.next = UNTOLD
        closing.abandon(channel, channel.stepper, channel.operation)
        outbox.break_off(channel)
        if isinstance(error, NetworkSocketError):
            place(channel, error)
        if channel.transport.failure is not None:
            channel.transport.met = True
        self.error = error
        return True

    def is_sending(self) -> bool:
        return self.awaited is not None and self.awaited.interest == WRITE

    def _due(self, channel: Channel) -> float:
        return min([scope.when for scope in self.scopes]) if self.scopes else INFINITY

    def _expire(self, channel: Channel) -> None:
        scopes.expire(self, channel)

    def forked(self) -> None:
        self.refusal = refusal

    # ---- a drain -------------------------------------------------------------------------------------

    def is_drained(self) -> bool:
        """Whether a drain is on, nothing has arrived that it has not read, and no first byte is due."""
        channel = self.channel
        draining = channel.loop.draining
        if draining is None or channel.inbox or channel.ended or draining.may_send_first_byte(channel):
            return False
        return not channel.recv() and not channel.ended

    def drain(self, channel: Channel) -> None:
        awaited = self.awaited
        if awaited is not None and awaited is self.drainable and awaited is channel.stepper:
            if not self.is_drained():
                channel.go_on(awaited.step(channel, 0))
            elif self.catches(Drained()):
                channel.start_next(self)

    # ---- the end -------------------------------------------------------------------------------------

    def end(self) -> None:
        """Close the coroutine: GeneratorExit where it awaits, and wherever it awaits anew. What else it
        raises is raised."""
        coroutine, context = self.coroutine, self.context
        if coroutine is None or context is None:
            return self._over()
        self.refusal = self.refusal or GeneratorExit
        self.steps = 0
        loop = self.channel.loop
        outer, lives = loop.closing, False
        try:
            loop.closing = self
            for _ in range(_CLOSINGS):
                context.run(coroutine.throw, GeneratorExit())
            lives = True
            raise RuntimeError(f"{self.name} goes on awaiting after GeneratorExit: it shall return")
        except (StopIteration, GeneratorExit):
            return
        except BaseException as error:
            self.channel.socket._raised(self, error)
            raise
        finally:
            _driver.forget()
            loop.closing = outer
            self._over()
            if lives:  # until it is freed, which closes it once more
                self.refusal = GeneratorExit

    def _over(self) -> None:
        """The coroutine has ended: nothing here refers to the socket's life any more. Broken off by a signal
        handler's exception it can be called again; what is left of the coroutine then ends as it is freed."""
        channel = self.channel
        if channel is not None:
            self.ended = channel.ended
            channel.task = None
            self.channel = None
        self.coroutine = self.context = self.turn = self.drainable = None
        self.awaited = self.wanted = self.fault = self.error = None
        if self.refusal is None or self.refusal is GeneratorExit:
            self.refusal = _is_over
        self.scopes = ()


def _is_over() -> BaseException:
    return RuntimeError("this conversation is over")
