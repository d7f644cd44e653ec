"""The sockets an executor runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .channel import Channel
from .errors import UnknownSocketError
from .metadata import SocketMetadata
from .operations.base import Operation
from .operations.read import ReadOperation
from .sockets import AcceptedSocket, DatagramClientSocket, Socket

if TYPE_CHECKING:
    from .channel.state import State
    from .executor import RequestExecutor


class SocketBag:
    """Sockets with their operations, metadata and handlers. Membership is by identity.

    While the executor runs, everything here belongs to its thread (RuntimeError elsewhere).
    """

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor
        self._channels: dict[Socket, Channel] = {}

    def add_socket(
        self, socket: Socket, operation: Operation, *, handler: Any = None, **metadata: Any
    ) -> SocketMetadata:
        """Add a socket with its first operation.

        `handler`: a callable taking the event, or a mapping of EventType to callables. `metadata`: any
        writable name of SocketMetadata. ValueError while the socket's life is not complete; TypeError
        for a wrong operation, handler or metadata name; AddressError for a malformed address.
        """
        executor = self._executor
        if executor._executing:
            executor.check_thread()
        if executor.closed:
            raise RuntimeError("the executor is closed: make a new one")
        if not isinstance(socket, Socket):
            raise TypeError(f"add_socket() takes a socket of this library first, got {socket!r}")
        if not isinstance(operation, Operation):
            raise TypeError(
                f"add_socket() takes an operation second, such as ReadOperation(), got {operation!r}"
            )
        if socket.is_server and type(operation) is not ReadOperation:
            raise TypeError(f"a server is added with ReadOperation(), got {operation!r}")
        former = socket._channel
        if former is not None and not former.complete:
            raise ValueError(f"{socket!r} is in a bag already and its life is not complete")
        if isinstance(socket, AcceptedSocket | DatagramClientSocket) and (
            socket._listener is None or (former is not None and socket._connection is None)
        ):
            raise ValueError(
                f"{socket!r} has lived already and holds no connection: an accepted socket cannot be "
                "opened again"
            )
        channel = Channel(executor, socket, operation, executor.dispatch_for(handler))
        if metadata:
            channel.metadata.apply(metadata)
        socket._channel = channel
        if former is not None:
            former.executor.socket_bag._channels.pop(socket, None)
        self._channels[socket] = channel
        executor.admission.enqueue(channel)
        if executor._executing:
            executor.wake_if_hosted()
        return channel.metadata

    def remove_socket(self, socket: Socket) -> None:
        """Take a socket out. RuntimeError if it is unfinished while executing; unknown: nothing."""
        self._executor.check_thread()
        channel = self._channels.get(socket)
        if channel is None:
            return
        if self._executor.is_executing and not channel.complete:
            raise RuntimeError(
                f"{socket!r} is not finished: cancel_operation() or close() ends it, forget_socket() lets go"
            )
        del self._channels[socket]
        self._executor.admission.dequeue(channel)
        channel.discarded()

    def forget_socket(self, socket: Socket) -> None:
        """End the request when the current operation is done, and leave its connection open. Ignored on
        servers and without keep-alive; unknown: nothing."""
        self._executor.check_thread()
        channel = self._channels.get(socket)
        if channel is not None and not socket.is_server and channel.metadata.keep_alive:
            channel.forget()

    def has_socket(self, socket: Socket) -> bool:
        """Whether this very object is in the bag."""
        self._executor.check_thread()
        return socket in self._channels

    def __contains__(self, socket: object) -> bool:
        self._executor.check_thread()
        return socket in self._channels

    def __len__(self) -> int:
        self._executor.check_thread()
        return len(self._channels)

    def channels(self) -> list[Channel]:
        """What the library knows of each."""
        return list(self._channels.values())

    def holds(self, channel: Channel) -> bool:
        """Whether this is what is known of a socket in here now, and not of a former life."""
        return self._channels.get(channel.socket) is channel

    def leave(self, channel: State) -> None:
        """An accepted socket leaves by itself."""
        if self._channels.get(channel.socket) is channel:
            del self._channels[channel.socket]

    def __iter__(self) -> Iterator[Socket]:
        self._executor.check_thread()
        return iter([channel.socket for channel in self._channels.values()])

    def _channel(self, socket: Socket) -> Channel:
        self._executor.check_thread()
        channel = self._channels.get(socket)
        if channel is None:
            raise UnknownSocketError(f"{socket!r} is not in this bag: add_socket() first")
        return channel

    def get_operation(self, socket: Socket) -> Operation | None:
        """The socket's operation: the first one before its start, the current one later, None when it is
        idle or complete. UnknownSocketError if it is not in the bag."""
        return self._channel(socket).current_operation()

    def set_operation(self, socket: Socket, operation: Operation) -> None:
        """Give the socket another operation. Before the start it replaces the first one; idle: it starts
        at once; reading: it replaces the read and received bytes stay; otherwise it comes next; inside
        the socket's own handler it is `event.next_is`."""
        self._executor.check_thread()
        if not isinstance(operation, Operation):
            raise TypeError(f"set_operation() takes an operation, got {operation!r}")
        channel = self._channel(socket)
        if socket.is_server:
            if type(operation) is not ReadOperation:
                raise TypeError(f"a server reads, and that is its accepting; got {operation!r}")
            return  # it accepts already
        channel.set_operation(operation)

    def get_metadata(self, socket: Socket) -> SocketMetadata:
        """The socket's metadata. UnknownSocketError if it is not in the bag."""
        return self._channel(socket).metadata

    def set_metadata(self, socket: Socket, **values: Any) -> None:
        """Set writable metadata by name. TypeError names the closest one for an unknown name."""
        self._executor.check_thread()
        self._channel(socket).metadata.apply(values)

    def reset_transfer_rate_counters(self, socket: Socket) -> None:
        """Start measuring both speeds anew."""
        self._executor.check_thread()
        self._channel(socket).reset_speed()
