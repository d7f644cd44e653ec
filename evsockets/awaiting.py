"""The asynchronous iterators of a conversation: frames, and items of a mailbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeVar

from .core import at_once
from .core.conversation import Drained, Running
from .errors import DisconnectedError, MailboxClosedError
from .frames.base import FrameT_co
from .mailbox import Mailbox
from .operations.read import ReadOperation

if TYPE_CHECKING:
    from .conversation import Conversation

T = TypeVar("T")


class Frames(AsyncIterator[FrameT_co]):
    """See `Conversation.frames`."""

    __slots__ = ("_read", "_running")

    def __init__(self, running: Running, read: ReadOperation[FrameT_co]) -> None:
        self._running = running
        self._read = read

    async def __anext__(self) -> FrameT_co:
        running = self._running
        frame: FrameT_co | None = at_once.read_next(running, self._read)
        if frame is not None:
            return frame
        try:
            await running
        except Drained:
            raise StopAsyncIteration from None
        except DisconnectedError as error:
            if error.clean:
                raise StopAsyncIteration from None
            raise
        return running.frame  # type: ignore[return-value]


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
