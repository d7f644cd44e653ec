"""The asynchronous iterator of a mailbox's items in a conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeVar

from .errors import MailboxClosedError
from .mailbox import Mailbox

if TYPE_CHECKING:
    from .conversation import Conversation

T = TypeVar("T")


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
