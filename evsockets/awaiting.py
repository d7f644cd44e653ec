"""The awaitables of a conversation: an operation, and in `async for` frames or items of a mailbox."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from .core import at_once
from .core.conversation import Drained, Running
from .core.operation import Operation
from .errors import DisconnectedError, MailboxClosedError
from .frames.base import FrameT_co
from .mailbox import Mailbox
from .operations.null import NullOperation
from .operations.read import ReadOperation

if TYPE_CHECKING:
    from .conversation import Conversation

T = TypeVar("T")

NOTHING = NullOperation()


@types.coroutine
def awaited(running: Running, operation: Operation) -> Generator[Running, None, Any]:
    """Run `operation`; returns the last frame read."""
    if running.refusal is not None:
        yield from running.refused()
    running.wanted = operation
    yield running
    return running.frame


class Frames(AsyncIterator[FrameT_co]):
    """See `Conversation.frames`."""

    __slots__ = ("_read", "_running")

    def __init__(self, running: Running, read: ReadOperation[FrameT_co]) -> None:
        self._running = running
        self._read = read

    async def __anext__(self) -> FrameT_co:
        running = self._running
        if running.refusal is not None:
            await awaited(running, NOTHING)
        if running.channel.loop.draining is not None and running.is_drained():
            raise StopAsyncIteration
        frame: FrameT_co | None = at_once.read(running, self._read)
        if frame is not None:
            return frame
        running.ends_by_drain = True
        try:
            read: FrameT_co = await awaited(running, self._read)
        except Drained:
            raise StopAsyncIteration from None
        except DisconnectedError as error:
            if error.clean:
                raise StopAsyncIteration from None
            raise
        finally:
            running.ends_by_drain = False
        return read


def checked_mailbox(mailbox: Mailbox[T]) -> Mailbox[T]:
    """Return `mailbox`. TypeError unless it is a Mailbox."""
    if not isinstance(mailbox, Mailbox):
        raise TypeError(f"items are taken from a Mailbox and put into one, got {mailbox!r}")
    return mailbox


class Items(AsyncIterator[T]):
    """See `Conversation.items`."""

    __slots__ = ("_mailbox", "_talk")

    def __init__(self, talk: Conversation, mailbox: Mailbox[T]) -> None:
        self._talk = talk
        self._mailbox = mailbox

    async def __anext__(self) -> T:
        try:
            return await self._talk.take(self._mailbox)
        except MailboxClosedError:
            raise StopAsyncIteration from None
