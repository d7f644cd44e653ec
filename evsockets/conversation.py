"""What a conversation's coroutine is handed: every method waits, as a line of a program does."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, TypeVar

from ._generic import overload
from .awaiting import Frames, Items, checked_mailbox
from .core import at_once, posted
from .core.conversation import Running
from .core.operation import Operation
from .core.scopes import Scope
from .core.waiting import Flushed, Wait
from .errors import EngineError
from .frames.base import Frame, FramePicker, FrameT_co
from .mailbox import Mailbox
from .operations.handshake import TlsHandshakeOperation
from .operations.null import NullOperation
from .operations.read import ReadOperation
from .operations.shutdown import ShutdownWriteOperation
from .operations.write import WriteOperation
from .validation import check_number, check_timeout

if TYPE_CHECKING:
    from .context import ExecutionContext
    from .core.channel import Channel
    from .executor import RequestExecutor
    from .metadata import SocketMetadata
    from .sockets import Socket
    from .typing import Buffer, Data


T = TypeVar("T")

_RAW = ReadOperation()
_NOTHING = NullOperation()


class Conversation:
    """One socket's side of a conversation, given to the function of a `ConversationOperation`.

    Its methods are awaited by that function's coroutine alone; `post` and `flushed` are for everybody in the
    executor's thread. What goes wrong on the connection is raised where it is awaited (`NetworkSocketError`
    family), and so is a time-out (`SocketTimeoutError`).
    """

    __slots__ = ("__weakref__", "_loop", "_metadata", "_read", "_running", "_socket")

    def __init__(self, channel: Channel, running: Running) -> None:
        self._running = running
        self._read = _RAW  # the last one
        self._loop = channel.loop
        self._socket = channel.socket
        self._metadata = channel.metadata

    # ---- what is awaited -----------------------------------------------------------------------------

    @overload
    async def do(self, operation: ReadOperation[FrameT_co]) -> FrameT_co: ...

    @overload
    async def do(self, operation: Operation) -> Frame | None: ...

    async def do(self, operation: Operation) -> Frame | None:
        """Run `operation` and what it leads to (`then`); the last frame read, else None. TypeError for what
        is no operation, and for a ConversationOperation: await its function instead."""
        if not isinstance(operation, Operation):
            raise TypeError(f"do() takes an operation, such as ReadOperation(), got {operation!r}")
        if hasattr(operation, "function"):
            raise TypeError(f"do() cannot run {operation!r}: await its function with this conversation")
        await self._running.perform(operation)
        frame: Frame | None = self._running.frame
        return frame

    async def read(self, picker: FramePicker[FrameT_co] | None = None) -> FrameT_co:
        """The next frame of `picker` (default: whatever comes first).

        DisconnectedError at the end of the stream (`clean` at a frame's boundary), FrameError for what makes
        no frame, whose bytes stay."""
        operation = self._read
        if picker is not operation.picker:
            operation = self._read = ReadOperation(picker)
        running = self._running
        frame: FrameT_co | None = at_once.read(running, operation)
        if frame is None:
            await running
            frame = running.frame  # type: ignore[assignment]
        return frame  # type: ignore[return-value]

    async def write(self, data: Data) -> None:
        """Send `data` (bytes-like or an iterable of bytes-like); returns when the kernel has taken the last
        byte."""
        running = self._running
        done = at_once.write(running, data) if type(data) is bytes else None
        if not done:
            await running.perform(WriteOperation(data) if done is None else at_once.LEFT)

    async def start_tls(
        self,
        *,
        context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        allow_leftover: bool = False,
    ) -> None:
        """Hand over to TLS (STARTTLS); see `TlsHandshakeOperation`. TlsHandshakeError if that fails."""
        handshake = TlsHandshakeOperation(
            context=context, server_hostname=server_hostname, allow_leftover=allow_leftover
        )
        await self._running.perform(handshake)

    async def shutdown_write(self) -> None:
        """End our direction; the other stays open."""
        await self._running.perform(ShutdownWriteOperation())

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds. DisconnectedError if the connection ends meanwhile.

        TypeError for no number, ValueError for a negative one or NaN."""
        until = self._loop.clock() + check_number("seconds", seconds)
        await self._running.perform(Wait("sleeping", until))

    async def flushed(self) -> None:
        """Wait until nothing is unsent. Any conversation of the executor may await it; it returns, too, when
        this conversation ends."""
        self._loop.check_fork()
        while self.unsent:
            if self._loop.closing is not None:
                await self._loop.closing.perform(_NOTHING)
            await Flushed(self._running)

    def frames(self, picker: FramePicker[FrameT_co] | None = None) -> Frames[FrameT_co]:
        """`async for frame in talk.frames(picker)`: each frame, until the stream ends cleanly, or a drain is
        on and nothing of a next one has arrived."""
        return Frames(self._running, ReadOperation(picker))

    async def take(self, mailbox: Mailbox[T]) -> T:
        """The next item of `mailbox`; waits until there is one and it is this conversation's turn.

        MailboxClosedError if it is closed and empty: not caught, the conversation ends as if it returned
        None. DisconnectedError if the connection ends meanwhile. RuntimeError if the mailbox belongs to
        another executor."""
        running = self._running
        if running.refusal is not None:
            await running.perform(_NOTHING)
        place = checked_mailbox(mailbox)._come(running)
        try:
            if not (place.woken and place.at_once and at_once.may(running)):
                await running.perform(place)
            return mailbox._take()
        finally:
            mailbox._leave(place)

    async def put(self, mailbox: Mailbox[T], item: T) -> None:
        """Put `item` into `mailbox`; waits while that is full. Raises as `take` does; MailboxClosedError,
        which is as any other error here, if it is or becomes closed."""
        checked_mailbox(mailbox)
        if not at_once.may(self._running):
            await self._running.perform(_NOTHING)
        place = mailbox._come_to_put(self._running, item)
        if place is not None:
            try:
                await self._running.perform(place)
            finally:
                mailbox._leave(place)
            if place.refused:
                raise mailbox._is_closed()

    def items(self, mailbox: Mailbox[T]) -> Items[T]:
        """`async for item in talk.items(mailbox)`: every item this conversation takes, until the mailbox is
        closed and empty."""
        return Items(self, checked_mailbox(mailbox))

    async def _suspend(self) -> None:
        """Wait until `_wake` is called: what mailboxes and the like are made of. Meanwhile the connection is
        watched (DisconnectedError); whatever ends the wait earlier is raised here."""
        await self._running.perform(Wait("waiting"))

    def _wake(self) -> bool:
        """Have a `_suspend` return, in a turn of its own; whether there is one."""
        channel = self._running.channel
        waits = self._running.awaited
        if channel is None or type(waits) is not Wait or waits.woken or channel.operation is not waits:
            return False
        waits.wake(channel)
        return True

    # ---- what is not ---------------------------------------------------------------------------------

    def timeout(self, seconds: float | None) -> Scope:
        """`with talk.timeout(seconds) as scope:` bounds what is awaited inside; None: no bound, 0: what can
        be had without waiting. The `with` raises SocketTimeoutError; `scope.expired` tells, too."""
        return Scope(self._running, check_timeout("seconds", seconds))

    def post(self, data: Buffer) -> int:
        """Have `data` sent beside whatever is awaited, without waiting; how many bytes wait to be sent.

        After the conversation's end and after `shutdown_write()` they are dropped: 0. TypeError for what is
        not bytes-like."""
        self._loop.check_thread()
        if type(data) is not bytes:
            try:
                data = bytes(memoryview(data).cast("B"))
            except TypeError:
                raise TypeError(f"post() takes bytes, got {type(data).__name__}") from None
        running = self._running
        channel = running.channel
        if running.refusal is not None:
            error = running.refusal()
            if isinstance(error, EngineError):
                raise error
            return 0
        if running.is_shut or channel.cancelled or channel.transport.failure is not None:
            return 0
        if data or channel.transport.datagram:
            posted.post(channel, data)
        return posted.unsent(channel)

    def cancel(self) -> None:
        """End the socket, as `event.cancel_operation()` does, at the next await or when the handler running
        now has returned."""
        self._loop.check_thread()
        if self._running.channel is not None:
            self._running.channel.cancel()

    @property
    def unsent(self) -> int:
        """How many bytes that were written or posted the kernel has yet to take."""
        channel = self._running.channel
        return 0 if channel is None else posted.unsent(channel)

    @property
    def socket(self) -> Socket:
        """The socket."""
        return self._socket

    @property
    def metadata(self) -> SocketMetadata:
        """Its metadata."""
        return self._metadata

    @property
    def executor(self) -> RequestExecutor:
        """The executor running it."""
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
        """Whether the peer's end of the stream has been seen."""
        channel = self._running.channel
        return self._running.ended if channel is None else channel.ended

    @property
    def draining(self) -> bool:
        """Whether a drain is on."""
        return self._loop.draining is not None

    def __repr__(self) -> str:
        return f"<Conversation {self._running.name} on {self._socket!r}>"
