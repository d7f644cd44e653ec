"""A queue of items between conversations, and from threads to conversations."""

from __future__ import annotations

import sys
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import chain, compress, repeat
from typing import TYPE_CHECKING, Any

from .._generic import Generic, TypeVar
from ..errors import MailboxClosedError, MailboxFullError
from ..validation import check_int
from .waiting import Wait

if TYPE_CHECKING:
    from ..core.channel import Channel
    from ..core.loop import Loop
    from .task import ConversationTask

T = TypeVar("T", default=Any)


class Place(Wait):
    """A conversation's place in a line: what its socket does until it is called. `item`: what it would put.
    `at_once`: it is the first and need not wait, when it begins."""

    __slots__ = ("at_once", "item", "refused", "task")

    def __init__(self, task: ConversationTask, item: Any = None) -> None:
        super().__init__("waiting")
        self.task = task
        self.item = item
        self.at_once = False
        self.refused = False

    def call(self) -> None:
        """Its conversation goes on, in a turn of its own."""
        self.woken = True
        channel = self.task.channel
        if channel is not None:
            self.wake(channel)

    def start(self, channel: Channel) -> Any:
        if self.woken and self.at_once:
            return None
        return Wait.start(self, channel)


class Mailbox(Generic[T]):
    """Items for conversations to take, in the order in which they were put.

    `limit`: the greatest number of items, None for any; ValueError below 1. Conversations take items with
    `Conversation.take` or `items`; all of them run in the executor whose conversation took first.
    """

    __slots__ = (
        "__weakref__", "_called", "_closed", "_free", "_fresh", "_items", "_owner", "_posted", "_putting",
        "_used", "_waiting", "limit",
    )  # fmt: skip

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None:
            check_int("limit", limit, 1, sys.maxsize)
        self.limit = limit
        self._items: deque[T] = deque()
        # Whoever puts needs one of `limit` slots, used ones first, and whoever takes gives one back. Slot and
        # item move by one call in C, without a lock: a signal handler that raises comes before it or after
        # it. None is free while somebody waits to put. Both iterators raise IndexError when none is left.
        self._free: deque[int] = deque()
        self._used = _popped(self._free)
        self._fresh = None if limit is None else chain(range(1, limit + 1), _popped(deque()))
        self._waiting: OrderedDict[Place, None] = OrderedDict()  # takers without an item
        self._called: OrderedDict[Place, None] = OrderedDict()  # takers that have yet to take theirs
        self._putting: OrderedDict[Place, None] = OrderedDict()  # waiting for room
        self._closed = False
        self._owner: weakref.ref[Loop] | None = None
        self._posted = False  # the executor is to look for what was put

    def put(self, item: T) -> None:
        """Put an item. The conversation that takes it goes on in a later turn.

        MailboxFullError if there are `limit` items, MailboxClosedError after `close()`; RuntimeError from
        another thread while the executor runs (see `put_threadsafe`), and when the executor is closed."""
        _check_thread(self._loop(), "put_threadsafe()")
        if not self._add(item):
            raise self._full()
        self._call()

    def put_threadsafe(self, item: T) -> None:
        """Put an item at once, from any thread or signal handler, without a lock; MailboxFullError and
        MailboxClosedError as of `put`."""
        loop = self._loop()
        if not self._add(item):
            raise self._full()
        loop = self._loop() if loop is None else loop
        if loop is not None and not self._posted:
            try:
                self._posted = True
                loop.call_soon_threadsafe(self._answer)
            except BaseException:  # a signal handler's, between the two
                self._posted = False
                raise

    def close(self) -> None:
        """Refuse further items. Those in the mailbox can be taken; then `take` raises MailboxClosedError, and
        `items` ends. A second call does nothing. RuntimeError from another thread while the executor runs."""
        _check_thread(self._owner() if self._owner is not None else None, "call_soon_threadsafe() with close")
        self._closed = True
        while self._putting:
            place, _ = self._putting.popitem(last=False)
            place.refused = True
            place.call()
        self._call()

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        most = "" if self.limit is None else f" of at most {self.limit}"
        return f"<Mailbox {'closed, ' if self._closed else ''}{len(self._items)} items{most}>"

    # ---- what conversations use ----------------------------------------------------------------------

    def _come(self, task: ConversationTask) -> Place:
        """A taker comes: the place it has to wait in."""
        self._belong(task.channel.loop)
        place = Place(task)
        place.at_once = not (self._waiting or self._called)
        self._waiting[place] = None
        self._call()
        return place

    def _take(self) -> T:
        """The item of a taker who was called."""
        items = self._items
        if not items:
            raise self._is_closed(taking=True)
        item = items[0]
        leaving = map(id, map(deque.popleft, (items,)))  # leaves when this is asked for its one value
        if self._putting:
            place = next(iter(self._putting))
            items.extend(compress((place.item,), leaving))
            self._putting.pop(place, None)
            place.call()
        elif self.limit is not None:
            self._free.extend(leaving)
        else:
            items.popleft()
        return item

    def _come_to_put(self, task: ConversationTask, item: T) -> Place | None:
        """An item is put; None, or the place in which its putter has to wait for room."""
        if self._add(item):
            self._call()
            return None
        self._belong(task.channel.loop)
        place = Place(task, item)
        self._putting[place] = None
        return place

    def _leave(self, place: Place) -> None:
        """It has taken or put, or has ended before; then another takes what was meant for it."""
        self._waiting.pop(place, None)
        self._called.pop(place, None)
        self._putting.pop(place, None)
        self._call()

    # ---- the line ------------------------------------------------------------------------------------

    def _call(self) -> None:
        """Call as many takers as there are items, or all if there will be no more."""
        while self._waiting and (self._closed or len(self._called) < len(self._items)):
            place, _ = self._waiting.popitem(last=False)
            self._called[place] = None
            place.call()

    def _answer(self) -> None:
        """In the executor's thread, after something was put in another."""
        self._posted = False  # before it looks: who puts from now on posts again
        self._call()

    def _add(self, item: T) -> bool:
        """Add an item; whether there was room. MailboxClosedError after `close()`."""
        if self._closed:
            raise self._is_closed()
        if self._fresh is None:
            self._items.append(item)
            return True
        for slots in (self._used, self._fresh):
            try:
                self._items.extend(compress((item,), slots))  # asks for one slot
            except IndexError:
                continue
            return True
        return False

    def _belong(self, loop: Loop) -> None:
        if self._owner is None:
            self._owner = weakref.ref(loop)  # before it is looked for items: see `put_threadsafe`
        elif self._owner() is not loop:
            raise RuntimeError(
                f"{self!r} belongs to the executor that took from it first: another one needs its own"
            )

    def _loop(self) -> Loop | None:
        """Its executor's, None while it has none. RuntimeError if that is closed."""
        if self._owner is None:
            return None
        loop = self._owner()
        if loop is None or loop.closed:
            raise RuntimeError(f"the executor whose conversations take from {self!r} is closed")
        return loop

    def _full(self) -> MailboxFullError:
        items = "1 item" if self.limit == 1 else f"{self.limit} items"
        cure = "in a conversation, `await talk.put(mailbox, item)` waits for room"
        return MailboxFullError(f"the mailbox is full, its limit is {items}; {cure}")

    def _is_closed(self, *, taking: bool = False) -> MailboxClosedError:
        error = MailboxClosedError("the mailbox is closed")
        error._ends_conversation = taking
        return error


def _popped(slots: deque[int]) -> Iterator[int]:
    """Each slot when it is asked for; IndexError while there is none."""
    return map(deque.pop, repeat(slots))


def _check_thread(loop: Loop | None, cure: str) -> None:
    if loop is not None and loop.executing and loop.thread_id != loop.ident():
        raise RuntimeError(f"the executor runs in another thread: {cure} does this there")


def checked_mailbox(mailbox: Mailbox[T]) -> Mailbox[T]:
    """Return `mailbox`. TypeError unless it is a Mailbox."""
    if not isinstance(mailbox, Mailbox):
        raise TypeError(f"items are taken from a Mailbox and put into one, got {mailbox!r}")
    return mailbox
