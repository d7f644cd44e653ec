"""What a conversation's methods return: a coroutine that has one operation done, without a frame of its own.

It begins when it is awaited, and does not suspend where the operation can be done at once.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from ..errors import DisconnectedError
from . import fast_path
from .conversation import Drained
from .driver import DRIVER
from .fast_path import LEFT

if TYPE_CHECKING:
    from .conversation import Running
    from .operation import Operation

_driver = DRIVER
_NEW, _WAITS, _DONE = 0, 1, 2
_LEFT = LEFT


class Await:
    """Has `operation` done; `gives` the last frame that was read then, or None."""

    __slots__ = ("gives", "operation", "running", "state")

    def __init__(self, running: Running, operation: Operation, gives: bool = False) -> None:
        self.running = running
        self.operation: Any = operation
        self.gives = gives
        self.state = _NEW
        running.unawaited += 1

    def __await__(self) -> Generator[Any, Any, Any]:
        return self  # type: ignore[return-value]  # an iterator will do

    def __next__(self) -> Running:
        running = self.running
        if self.state == _NEW:
            self.state = _DONE
            running.unawaited -= 1
            if not self._begin(running):
                self.state = _WAITS
                return running
        elif self.state == _DONE:
            raise RuntimeError(f"{self!r} was awaited before: call the method once for each await")
        elif running.wanted is not None:
            return running
        self.state = _DONE
        if self.gives:
            _driver.give(running.frame)
        raise StopIteration

    def _begin(self, running: Running) -> bool:
        """Do it at once, or ask for it: whether it is done."""
        running.ask(self.operation)
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
            self.running.unawaited -= 1
        self.state = _DONE

    def __repr__(self) -> str:
        return f"<await of {self.operation!r}>"


class AwaitRead(Await):
    """Reads a frame."""

    __slots__ = ()

    def _begin(self, running: Running) -> bool:
        frame = fast_path.read(running, self.operation)
        if frame is None:
            running.ask(self.operation)
            return False
        running.frame = frame
        return True


class AwaitWrite(Await):
    """Writes `operation`, which is the data; a WriteOperation is made where that cannot leave at once."""

    __slots__ = ()

    def _begin(self, running: Running) -> bool:
        data = self.operation
        done = fast_path.write(running, data) if type(data) is bytes else -1
        if done > 0:
            return True
        channel = running.channel  # None when the conversation is over, which is told
        running.ask(_LEFT if done == 0 else channel and channel.loop.maker.write(data, None))
        return False

    def __repr__(self) -> str:
        return "<await of write()>"


class AwaitNext(AwaitRead):
    """Reads the next frame of an `async for`, or ends that."""

    __slots__ = ()

    def _begin(self, running: Running) -> bool:
        if running.refusal is None and running.channel.loop.draining is not None and running.is_drained():
            raise StopAsyncIteration
        running.drainable = self.operation
        return AwaitRead._begin(self, running)

    def throw(self, kind: Any, value: Any = None, trace: Any = None) -> Any:
        """An end in order ends the `async for`."""
        error = kind if value is None else value
        self.close()
        if isinstance(error, Drained) or (isinstance(error, DisconnectedError) and error.clean):
            raise StopAsyncIteration
        try:
            raise error
        finally:
            del error, kind, value  # as above


class Frames:
    """See `Conversation.frames`."""

    __slots__ = ("operation", "running")

    def __init__(self, running: Running, operation: Operation) -> None:
        self.running = running
        self.operation = operation

    def __aiter__(self) -> Frames:
        return self

    def __anext__(self) -> AwaitNext:
        following = AwaitNext.__new__(AwaitNext)
        following.running = self.running
        following.operation = self.operation
        following.gives = True
        following.state = _NEW
        following.running.unawaited += 1
        return following
