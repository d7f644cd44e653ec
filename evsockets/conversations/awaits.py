"""What a conversation's methods return: a coroutine that has one operation done, without a frame of its own.

It begins when it is awaited, and does not suspend where the operation can be done at once.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from ..errors import DisconnectedError
from . import fast_path
from .driver import DRIVER
from .fast_path import LEFT
from .task import Drained

if TYPE_CHECKING:
    from ..core.operation import Operation
    from .task import ConversationTask

_driver = DRIVER
_NEW, _WAITS, _DONE = 0, 1, 2
_LEFT = LEFT


class Await:
    """Has `operation` done; its value is the last frame that was read then, or None."""

    __slots__ = ("operation", "state", "task")

    task: ConversationTask
    operation: Any
    state: int

    def __init__(self, task: ConversationTask, operation: Operation) -> None:
        prepared(self, task, operation)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self  # type: ignore[return-value]  # an iterator will do

    def __next__(self) -> ConversationTask:
        task = self.task
        if self.state == _NEW:
            self.state = _DONE
            task.unawaited -= 1
            if not self._begin(task):
                self.state = _WAITS
                return task
        elif self.state == _DONE:
            raise RuntimeError(f"{self!r} was awaited before: call the method once for each await")
        elif task.wanted is not None:
            return task
        self.state = _DONE
        if task.frame is not None:
            _driver.give(task.frame)
        raise StopIteration

    def _begin(self, task: ConversationTask) -> bool:
        """Do it at once, or ask for it: whether it is done."""
        task.ask(self.operation)
        return False

    def send(self, value: Any) -> Any:
        """Go on, as any coroutine does."""
        return self.__next__()

    def throw(self, kind: Any, value: Any = None, trace: Any = None) -> Any:
        """The await raises `kind`, or its `value`."""
        error = kind if value is None else value
        self.close()
        try:
            raise error
        finally:
            del error, kind, value  # whose traceback refers to this frame

    def close(self) -> None:
        """It is awaited no more."""
        if self.state == _NEW:
            self.task.unawaited -= 1
        self.state = _DONE

    def __repr__(self) -> str:
        return f"<await of {self.operation!r}>"


def prepared(awaits: Await, task: ConversationTask, operation: Any) -> Any:
    """`awaits`, which has done nothing yet; made by `__new__` it costs compiled code less than by a call."""
    awaits.task = task
    awaits.operation = operation
    awaits.state = _NEW
    task.unawaited += 1
    return awaits


class AwaitRead(Await):
    """Reads a frame."""

    __slots__ = ()

    def _begin(self, task: ConversationTask) -> bool:
        frame = fast_path.read(task, self.operation)
        if frame is None:
            task.ask(self.operation)
            return False
        task.frame = frame
        return True


class AwaitWrite(Await):
    """Writes `operation`, which is the data; a WriteOperation is made where that cannot leave at once."""

    __slots__ = ()

    def _begin(self, task: ConversationTask) -> bool:
        data = self.operation
        done = fast_path.write(task, data) if type(data) is bytes else -1
        if done > 0:
            task.frame = None
            return True
        channel = task.channel  # None when the conversation is over, which is told
        task.ask(_LEFT if done == 0 else channel and channel.loop.maker.write(data, None))
        return False

    def __repr__(self) -> str:
        return "<await of write()>"


class AwaitNext(AwaitRead):
    """Reads the next frame of an `async for`, or ends that."""

    __slots__ = ()

    def _begin(self, task: ConversationTask) -> bool:
        if task.refusal is None and task.channel.loop.draining is not None and task.is_drained():
            raise StopAsyncIteration
        task.drainable = self.operation
        return AwaitRead._begin(self, task)

    def throw(self, kind: Any, value: Any = None, trace: Any = None) -> Any:
        """An end in order ends the `async for`."""
        error = kind if value is None else value
        if isinstance(error, Drained) or (isinstance(error, DisconnectedError) and error.clean):
            self.close()
            raise StopAsyncIteration
        try:
            return Await.throw(self, error)
        finally:
            del error, kind, value  # as above


class Frames:
    """See `Conversation.frames`."""

    __slots__ = ("operation", "task")

    def __init__(self, task: ConversationTask, operation: Operation) -> None:
        self.task = task
        self.operation = operation

    def __aiter__(self) -> Frames:
        return self

    def __anext__(self) -> AwaitNext:
        return prepared(AwaitNext.__new__(AwaitNext), self.task, self.operation)  # type: ignore[no-any-return]
