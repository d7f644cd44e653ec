"""Run a conversation: a coroutine that awaits the socket's operations one after the other."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from ..core.operation import Operation
from ..validation import ASYNC_GENERATOR, is_function_of
from .conversation import Conversation
from .task import ConversationTask

if TYPE_CHECKING:
    from ..core.channel import Channel

P = ParamSpec("P")


class ConversationOperation(Operation):
    """Runs `function(talk, *args, **kwargs)`, where `talk` is the `Conversation` of the socket.

    `function`: a callable that returns a coroutine, mostly an `async def`. The coroutine's return value is
    `metadata.result`; then the request ends as without a next operation. TypeError unless callable, for a
    coroutine instead of its function, for an async generator function, and at the start if `function` returns
    no coroutine. One object may serve many sockets.
    """

    __slots__ = ("_function", "_name", "args", "kwargs")

    interest = 0
    _replaceable = False
    _raiser = "the conversation"

    def __init__(
        self,
        function: Callable[Concatenate[Conversation, P], Coroutine[Any, Any, object]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs

    @property
    def function(self) -> Callable[..., Coroutine[Any, Any, object]]:
        """The function of the conversation; TypeError for one that cannot be."""
        return self._function

    @function.setter
    def function(self, value: Callable[..., Coroutine[Any, Any, object]]) -> None:
        check_function(value)
        self._function = value
        self._name = _name(value)

    def start(self, channel: Channel) -> Operation | None:
        if channel.task is not None:
            raise TypeError(f"{self!r} cannot start inside a conversation: await its function")
        context = contextvars.copy_context()
        task = ConversationTask(channel, self._name)
        talk = Conversation(channel, task)
        try:
            coroutine = context.run(self._coroutine, talk)
        except BaseException as error:
            channel.socket._raised(task, error)
            raise
        task.begin(coroutine, context)
        first: Operation | None = task.start(channel)
        return first

    def _coroutine(self, talk: Conversation) -> Coroutine[Any, Any, Any]:
        """What `function` returns."""
        return checked(self._function, self._function(talk, *self.args, **self.kwargs))

    def step(self, channel: Channel, mask: int) -> Operation | None:
        return self

    def __repr__(self) -> str:
        return f"<ConversationOperation {self._name}>"


def check_function(function: Any) -> None:
    """TypeError unless a conversation can be made of `function`."""
    if isinstance(function, Coroutine):
        function.close()
        raise TypeError(
            f"a conversation is given its function, not the coroutine {_name(function)}: leave the call out, "
            "arguments follow the function"
        )
    if not callable(function):
        raise TypeError(f"a conversation takes a function that returns a coroutine, got {function!r}")
    if is_function_of(function, ASYNC_GENERATOR):
        raise TypeError(f"{_name(function)} is an async generator function: a conversation has no `yield`")


def checked(function: Any, coroutine: Any) -> Coroutine[Any, Any, Any]:
    """Return what `function` has returned. TypeError if that is no coroutine."""
    if type(coroutine) is not CoroutineType and not isinstance(coroutine, Coroutine):  # mostly the first
        name = _name(function)
        raise TypeError(f"{name} must return a coroutine, as an `async def` does; it returned {coroutine!r}")
    return coroutine


def _name(function: Any) -> str:
    name = getattr(function, "__qualname__", None)
    return f"{name}()" if name else repr(function)
