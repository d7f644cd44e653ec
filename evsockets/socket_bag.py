"""The sockets an executor runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .core import closing, dispatch, snapshot, speed
from .core.channel import Channel
from .core.operation import Operation
from .core.states import Phase
from .errors import UnknownSocketError
from .metadata import SocketMetadata
from .operations.datagrams import DatagramOperation
from .operations.read import ReadOperation
from .sockets import Socket

if TYPE_CHECKING:
    from typing import Unpack

    from .core.loop import Loop
    from .typing import Handler, MetadataKeywords, SocketKeywords


class SocketBag:
    """Sockets with their operations, metadata and handlers. Membership is by identity.

    While the executor runs, only its thread may use the bag (RuntimeError elsewhere).
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def add_socket(
        self,
        socket: Socket,
        operation: Operation,
        *,
        handler: Handler | None = None,
        **metadata: Unpack[SocketKeywords],
    ) -> SocketMetadata:
        """Add a socket with its first operation.

        `handler`: a callable that takes the event, or a mapping of EventType to callables. `on_read=` and
        the others of EventCallbacks: a callable for one event type, called before `handler`. `metadata`:
        any writable name of SocketMetadata. Returns the socket's metadata. ValueError while the socket's
        life is not complete; TypeError for a wrong operation, handler or name; AddressError for a malformed
        address.
        """
        return self._add(socket, operation, handler, metadata)

    def _add(self, socket: Socket, operation: Operation, handler: Any, keywords: Any) -> SocketMetadata:
        loop = self._loop
        loop.check_thread()
        if loop.closed:
            raise RuntimeError("the executor is closed: make a new one")
        if not isinstance(socket, Socket):
            raise TypeError(f"add_socket() takes a socket of this library first, got {socket!r}")
        if not isinstance(operation, Operation):
            raise TypeError(
                f"add_socket() takes an operation second, such as ReadOperation(), got {operation!r}"
            )
        first = operation
        if socket.is_server and type(operation) not in (ReadOperation, DatagramOperation):
            raise TypeError(
                "a server is added with ReadOperation(), or with DatagramOperation() for datagrams, "
                f"got {operation!r}"
            )
        former = socket._channel
        if former is not None and not former.complete:
            raise ValueError(f"{socket!r} is in a bag already and its life is not complete")
        client: Any = socket
        if socket._leaves_by_itself and (
            client._listener is None or (former is not None and socket._connection is None)
        ):
            raise ValueError(
                f"{socket!r} has lived already and holds no connection: an accepted socket cannot be "
                "opened again"
            )
        channel = Channel(loop, socket, operation, dispatch.of(handler, loop, keywords))
        metadata = channel.metadata
        try:
            if keywords:
                metadata._apply(keywords)
            if metadata._parsed is None:
                first._check_place(channel, None)
            first._added(metadata)
        except BaseException:
            metadata._channel = snapshot.of(channel)  # never to be
            raise
        socket._channel = channel
        if former is not None:
            former.loop.members.pop(socket, None)
        loop.members[socket] = metadata
        if loop.thread_id is not None:  # a run is on, or about to be: a signal handler may add
            loop.admission.enqueue(channel)
        loop.wake_if_hosted()
        return metadata

    def remove_socket(self, socket: Socket) -> None:
        """Remove a socket; an unknown one is ignored. RuntimeError if it is unfinished while executing."""
        loop = self._loop
        loop.check_thread()
        metadata = loop.members.get(socket)
        if metadata is None:
            return
        if loop.executing and not metadata.request_complete:
            raise RuntimeError(
                f"{socket!r} is not finished: cancel_operation() or close() ends it, forget_socket() lets go"
            )
        del loop.members[socket]
        channel = metadata._channel
        if isinstance(channel, Channel):
            loop.admission.dequeue(channel)
            closing.discarded(channel)

    def forget_socket(self, socket: Socket) -> None:
        """End the request when the current operation is done, and leave its connection open. Ignored on
        servers, without keep-alive, and for an unknown socket."""
        self._loop.check_thread()
        metadata = self._loop.members.get(socket)
        if metadata is not None and not socket.is_server and metadata.keep_alive:
            if isinstance(metadata._channel, Channel):
                metadata._channel.forget()

    def has_socket(self, socket: Socket) -> bool:
        """Whether this very object is in the bag."""
        self._loop.check_thread()
        return socket in self._loop.members

    def __contains__(self, socket: object) -> bool:
        self._loop.check_thread()
        return socket in self._loop.members

    def __len__(self) -> int:
        self._loop.check_thread()
        return len(self._loop.members)

    def __iter__(self) -> Iterator[Socket]:
        self._loop.check_thread()
        return iter(list(self._loop.members))

    def get_operation(self, socket: Socket) -> Operation | None:
        """The socket's operation: the first one before its start, then the current one, None when it is idle
        or complete. UnknownSocketError if it is not in the bag."""
        channel = self.get_metadata(socket)._channel
        if not isinstance(channel, Channel):
            return None
        talk, operation = channel.task, channel.operation
        return talk.awaited if talk is not None and talk is operation else operation

    def set_operation(self, socket: Socket, operation: Operation) -> None:
        """Give the socket another operation. It replaces the first one before the start, and a pending read
        (received bytes stay); it starts at once on an idle socket, and otherwise comes next. In the socket's
        own handler it is the same as `event.next_is`."""
        self._loop.check_thread()
        if not isinstance(operation, Operation):
            raise TypeError(f"set_operation() takes an operation, got {operation!r}")
        metadata = self.get_metadata(socket)
        channel = metadata._channel
        if isinstance(channel, Channel):
            operation._check_place(channel, metadata._parsed)
        if socket.is_server:
            if type(operation) not in (ReadOperation, DatagramOperation):
                raise TypeError(f"a server reads, and that is its accepting; got {operation!r}")
            if isinstance(channel, Channel) and channel.phase is Phase.WAITING:
                channel.operation = operation
            elif type(operation) is DatagramOperation:
                raise TypeError(f"{socket!r} listens already: a server begins with {operation!r}")
            return  # it accepts already
        if channel.complete or not isinstance(channel, Channel):
            raise RuntimeError(f"{socket!r} is complete: add_socket() gives it a new life")
        channel.set_operation(operation, inside=channel.loop.current is channel)

    def get_metadata(self, socket: Socket) -> SocketMetadata:
        """The socket's metadata. UnknownSocketError if it is not in the bag."""
        self._loop.check_thread()
        metadata = self._loop.members.get(socket)
        if metadata is None:
            raise UnknownSocketError(f"{socket!r} is not in this bag: add_socket() first")
        return metadata

    def set_metadata(self, socket: Socket, **values: Unpack[MetadataKeywords]) -> None:
        """Set writable metadata by name. TypeError, with the closest name, for an unknown one."""
        self.get_metadata(socket)._apply({**values})

    def reset_transfer_rate_counters(self, socket: Socket) -> None:
        """Start measuring both speeds anew."""
        channel = self.get_metadata(socket)._channel
        if isinstance(channel, Channel):
            speed.reset(channel)
