"""The object that a conversation's coroutine gets, whose methods it awaits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from .._generic import overload
from ..core import outbox
from ..core.operation import Operation
from ..errors import MailboxClosedError
from ..frames.base import Frame, FramePicker, FrameT_co
from ..operations.handshake import TlsHandshakeOperation
from ..operations.null import NullOperation
from ..operations.read import ReadOperation
from ..operations.shutdown import ShutdownWriteOperation
from ..validation import check_number, check_timeout
from . import fast_path
from .awaits import Await, Frames
from .exchange import Exchange
from .mailbox import Mailbox, checked_mailbox
from .scopes import Scope
from .task import ConversationTask
from .waiting import Flushed, Wait

if TYPE_CHECKING:
    import ssl

    from ..context import ExecutionContext
    from ..core.channel import Channel
    from ..executor import RequestExecutor
    from ..metadata import SocketMetadata
    from ..sockets import Socket


T = TypeVar("T")

_NOTHING = NullOperation()


class Conversation(Exchange):
    """One socket's side of a conversation, given to the function of a `ConversationOperation`.

    Only that function's coroutine may await its methods; `post` and `flushed` may be called by any code in
    the executor's thread. An await raises errors of the connection (subclasses of `NetworkSocketError`) and
    time-outs (`SocketTimeoutError`).
    """

    __slots__ = ("__weakref__", "_metadata", "_socket")

    def __init__(self, channel: Channel, task: ConversationTask) -> None:
        super().__init__(channel, task)
        self._socket = channel.socket
        self._metadata = channel.metadata

    # ---- what is awaited -----------------------------------------------------------------------------

    @overload
    def do(self, operation: ReadOperation[FrameT_co]) -> Coroutine[object, None, FrameT_co]: ...

    @overload
    def do(self, operation: Operation) -> Coroutine[object, None, Frame | None]: ...

    def do(self, operation: Operation) -> Coroutine[object, None, Frame | None]:
        """Run `operation` and those after it (`then`); returns the last frame read, or None. TypeError unless
        an operation, and for a ConversationOperation: await its function instead."""
        if not isinstance(operation, Operation):
            raise TypeError(f"do() takes an operation, such as ReadOperation(), got {operation!r}")
        if hasattr(operation, "function"):
            raise TypeError(f"do() cannot run {operation!r}: await its function with this conversation")
        return Await(self._task, operation)

    def start_tls(
        self,
        *,
        context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        allow_leftover: bool = False,
    ) -> Coroutine[object, None, None]:
        """Start TLS (STARTTLS); see `TlsHandshakeOperation`. TlsHandshakeError if that fails."""
        handshake = TlsHandshakeOperation(
            context=context, server_hostname=server_hostname, allow_leftover=allow_leftover
        )
        return Await(self._task, handshake)

    def shutdown_write(self) -> Coroutine[object, None, None]:
        """End the sending direction (half-close); receiving goes on."""
        return Await(self._task, ShutdownWriteOperation())

    def sleep(self, seconds: float) -> Coroutine[object, None, None]:
        """Wait `seconds`. DisconnectedError if the connection ends meanwhile.

        TypeError unless a number, ValueError for a negative one or NaN."""
        return Await(self._task, Wait("sleeping", check_number("seconds", seconds)))

    async def flushed(self) -> None:
        """Wait until no bytes are unsent, or this conversation ends. Any conversation of the executor may
        await it."""
        self._loop.check_fork()
        while self.unsent:
            if self._loop.closing is not None:
                await Await(self._loop.closing, _NOTHING)
            await Flushed(self._task)

    def frames(self, picker: FramePicker[FrameT_co] | None = None) -> AsyncIterator[FrameT_co]:
        """`async for frame in talk.frames(picker)`: each frame, until the stream ends cleanly, or during a
        drain no byte of the next one has arrived."""
        return Frames(self._task, ReadOperation(picker))

    async def take(self, mailbox: Mailbox[T]) -> T:
        """Return the next item of `mailbox`; waits until there is one, behind conversations that wait longer.

        MailboxClosedError if it is closed and empty: if that is not caught, the conversation ends as if it
        returned None. DisconnectedError if the connection ends meanwhile. RuntimeError if the mailbox belongs
        to another executor."""
        task = self._task
        if task.refusal is not None:
            await Await(task, _NOTHING)
        place = checked_mailbox(mailbox)._come(task)
        try:
            if not (place.woken and place.at_once and fast_path.may(task)):
                await Await(task, place)
            return mailbox._take()
        finally:
            mailbox._leave(place)

    async def put(self, mailbox: Mailbox[T], item: T) -> None:
        """Put `item` into `mailbox`; waits while that is full. Raises as `take` does, MailboxClosedError if
        the mailbox is or becomes closed; not caught, that fails the conversation as any other error."""
        checked_mailbox(mailbox)
        if not fast_path.may(self._task):
            await Await(self._task, _NOTHING)
        place = mailbox._come_to_put(self._task, item)
        if place is not None:
            try:
                await Await(self._task, place)
            finally:
                mailbox._leave(place)
            if place.refused:
                raise mailbox._is_closed()

    def items(self, mailbox: Mailbox[T]) -> Items[T]:
        """`async for item in talk.items(mailbox)`: every item this conversation takes, until the mailbox is
        closed and empty."""
        return Items(self, checked_mailbox(mailbox))

    def _suspend(self) -> Coroutine[object, None, None]:
        """Wait until `_wake` is called: what mailboxes and the like are made of. Meanwhile the connection is
        watched (DisconnectedError); whatever ends the wait earlier is raised here."""
        return Await(self._task, Wait("waiting"))

    def _wake(self) -> bool:
        """Have a `_suspend` return, in a turn of its own; whether there is one."""
        channel = self._task.channel
        waits = self._task.awaited
        if channel is None or type(waits) is not Wait or waits.woken or channel.operation is not waits:
            return False
        waits.wake(channel)
        return True

    # ---- what is not ---------------------------------------------------------------------------------

    def timeout(self, seconds: float | None) -> Scope:
        """`with talk.timeout(seconds) as scope:` limits the awaits inside; None: no limit, 0: only what needs
        no waiting. After that time the `with` raises SocketTimeoutError, and `scope.expired` is True."""
        return Scope(self._task, check_timeout("seconds", seconds))

    def cancel(self) -> None:
        """End the socket, as `event.cancel_operation()` does, at the next await or when the handler running
        now has returned."""
        self._loop.check_thread()
        if self._task.channel is not None:
            self._task.channel.cancel()

    @property
    def unsent(self) -> int:
        """The number of bytes written or posted that the kernel has not accepted yet."""
        channel = self._task.channel
        return 0 if channel is None else outbox.unsent(channel)

    @property
    def socket(self) -> Socket:
        """The conversation's socket."""
        return self._socket

    @property
    def metadata(self) -> SocketMetadata:
        """The socket's settings and counters."""
        return self._metadata

    @property
    def executor(self) -> RequestExecutor:
        """The executor that runs the socket."""
        return self._loop.executor

    @property
    def context(self) -> ExecutionContext:
        """The context of this run."""
        return self._loop.context

    @property
    def user_context(self) -> Any:
        """`metadata.user_context`, as it is now."""
        return self._metadata.user_context

    @property
    def ended(self) -> bool:
        """Whether the peer has ended its side of the stream."""
        channel = self._task.channel
        return self._task.ended if channel is None else channel.ended

    @property
    def draining(self) -> bool:
        """Whether the executor is draining."""
        return self._loop.draining is not None

    def __repr__(self) -> str:
        return f"<Conversation {self._task.name} on {self._socket!r}>"


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
