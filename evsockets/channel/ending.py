"""How a socket's life ends: cancelled, failed, forgotten or done; and what is told of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..deadlines import INFINITY
from ..errors import DisconnectedError, FrameError, HandlerError, NetworkSocketError
from ..events import Event, EventType, SocketExceptionEvent
from ..frames.base import Frame, PartialFrame
from ..frames.inbox import Inbox
from ..operations.begin import connection_settings
from ..persistence import Connection, put
from ..phases import Phase
from ..sockets import AcceptedSocket, DatagramClientSocket, PersistentClientSocket
from ..urgent import want_urgent
from .sending import Sending


class Ending(Sending):
    """The way of a channel to FINALIZE. Whatever handlers raise on it, all of it happens."""

    __slots__ = ()

    def cancel(self) -> None:
        """End this socket when the handlers running now have returned."""
        if self.started and not self.complete and not self.cancelled:
            self.cancelled = True
            self.executor.doomed.append(self)
            self.executor.attention = True
            self.executor.wake_if_hosted()

    def fail(self, error: NetworkSocketError) -> None:
        """EXCEPTION, then the end."""
        if self.complete:
            return
        first = _attempt(None, self.tell_exception, error)
        first = _attempt(first, self.end, False)
        if first is not None:
            raise first

    def tell_exception(self, error: NetworkSocketError) -> None:
        """EXCEPTION alone."""
        if error.socket is None:
            error.socket = self.socket
        if error.address is None:
            error.address = self.metadata.address
            if error._unplaced:
                error.args = (f"{error.address}: {error} while {self.doing()}",)
        handler = self.dispatch.exception
        if handler is None:
            return
        if isinstance(error, FrameError) and error.picker is None:
            self._complete(error)
        self.note_activity()
        try:
            handler(SocketExceptionEvent(self, error))
        except Exception as bug:
            self._unraisable(bug)

    def _complete(self, error: FrameError) -> None:
        """A picker of a user's own need not say who it is and what there was."""
        reads = getattr(self.operation, "reads", None)  # of both directions
        error.picker = getattr(reads[0] if reads else self.operation, "picker", None)
        if error.partial is None:
            inbox = self.inbox
            error.partial = PartialFrame(Frame(inbox.peek(len(inbox)), inbox.remote_address))

    def end(self, orderly: bool = True) -> None:
        """Close; DISCONNECTED if it was connected; FINALIZE."""
        phase = self.phase
        if phase is Phase.CLOSING or phase is Phase.COMPLETE:
            return
        first: BaseException | None = None
        operation, self.operation = self.operation, None
        if operation is not None:
            try:
                operation.abandon(self)  # type: ignore[arg-type]
            except BaseException as error:  # may be user code
                first = error
        trouble: OSError | None = None
        try:
            trouble = self.close_transport(orderly)
        except BaseException as error:  # the engine's or an operation's; this life ends all the same
            if first is None:
                first = error
            else:
                first.add_note(f"later: {error!r}")
        self.move(Phase.CLOSING)
        if phase is not Phase.CONNECTED:
            self.socket.drop()  # ended before what it held was taken up
        if trouble is not None:
            first = _attempt(first, self.tell_exception, self._trouble(trouble))
        elif phase is Phase.CONNECTED and self.dispatch.disconnected is not None:
            first = _attempt(first, self._tell_disconnected, self.dispatch.disconnected)
        self._finalize(first)

    def _trouble(self, error: OSError) -> NetworkSocketError:
        made = DisconnectedError(
            f"{self.metadata.address}: {error} while closing",
            address=self.metadata.address,
            errno=error.errno,
        )
        made.__cause__ = error
        return made

    def _tell_disconnected(self, handler: Callable[[Any], Any]) -> None:
        self.note_activity()
        try:
            handler(Event(EventType.DISCONNECTED, self))
        except NetworkSocketError as error:
            self.tell_exception(error)
        except Exception as bug:
            if not self.executor.configuration.isolate_handler_errors:
                raise
            self.tell_exception(handler_error(self, bug))

    def _finalize(self, first: BaseException | None = None) -> None:
        self.move(Phase.COMPLETE)
        self.executor.ended(self)
        self.note_activity()  # whether anybody listens or not: a delayed operation may wait for this
        handler = self.dispatch.finalize
        if handler is not None:
            first = _attempt(first, self._tell_finalize, handler)
        if self.inbox._chunk:
            self.inbox = Inbox()
        if isinstance(self.socket, AcceptedSocket | DatagramClientSocket):
            self.executor.socket_bag.leave(self)
        if first is not None:
            raise first

    def _tell_finalize(self, handler: Callable[[Any], Any]) -> None:
        try:
            handler(Event(EventType.FINALIZE, self))
        except Exception as bug:
            self._unraisable(bug)

    def _unraisable(self, bug: Exception) -> None:
        if not self.executor.configuration.isolate_handler_errors:
            raise bug
        _Unraisable(bug)

    def close_transport(self, orderly: bool) -> OSError | None:
        """Stop and close everything; the OSError of closing, if any."""
        operation, self.operation = self.operation, None
        if operation is not None:
            operation.abandon(self)  # type: ignore[arg-type]
        self.source = self.after = self.held = self.override = None
        self.unsent = self.gather = None
        if self.armed is not INFINITY:
            self.executor.deadlines.disarm(self)
        transport = self.transport
        if transport is None:
            return None
        trouble: OSError | None = None
        try:
            self._let_go()
        finally:  # whatever the engine says
            self.transport = self.plain = None
            try:
                if orderly:
                    transport.close()
                else:
                    transport.abort()
            except OSError as error:
                trouble = error
        return trouble

    def _let_go(self) -> Any:
        """The transport, which nothing here knows any more."""
        self.local_address()  # for those who ask afterwards
        transport = self.transport
        if self.watched:
            self.watched = 0
            self.executor.engine.watch(transport.fileno(), 0, self)
        self.transport = self.plain = None
        return transport

    def detach(self) -> None:
        """Forgotten: FINALIZE without DISCONNECTED; the connection stays open."""
        if self.transport.unflushed:
            self.flush_transport()
        if self.dispatch.oob is not None and self.plain is not None:
            want_urgent(self.plain, False)  # the next life may not listen to it
        transport = self._let_go()
        self.operation = None
        self.executor.deadlines.disarm(self)
        if self.settings is None:  # kept alive by a handler, in mid-life
            self.settings = connection_settings(self)
        connection = Connection(transport, self.inbox, self.ended, self.settings, self.remote, self.tls)
        self.inbox = Inbox()
        if isinstance(self.socket, PersistentClientSocket):
            put(self.settings, connection)
            connection.owner = self.socket
        else:
            self.executor.keep(self.socket)
        self.socket._connection = connection
        self.move(Phase.CLOSING)
        self._finalize()

    def abort_unstarted(self) -> None:
        """The run was aborted before this socket began."""
        self.move(Phase.COMPLETE)
        if isinstance(self.socket, AcceptedSocket | DatagramClientSocket):
            self.socket.close()
            self.executor.socket_bag.leave(self)

    def discarded(self) -> None:
        """Out of the bag without having run: an accepted client nobody took is closed."""
        if self.phase is Phase.WAITING and isinstance(self.socket, AcceptedSocket):
            self.socket.close()
        if self.socket._channel is self and not self.complete:
            self.socket._channel = None


def handler_error(channel: Ending, bug: Exception) -> HandlerError:
    """A handler's bug as an error of its socket alone."""
    error = HandlerError(
        f"{channel.metadata.address}: a handler raised {bug!r}",
        socket=channel.socket,
        address=channel.metadata.address,
    )
    error.__cause__ = bug
    return error


def _attempt(first: BaseException | None, call: Any, *args: Any) -> BaseException | None:
    """Call; the first exception stays the one that counts, later ones become notes on it."""
    try:
        call(*args)
    except BaseException as error:
        if first is None:
            return error
        first.add_note(f"later: {error!r}")
    return first


class _Unraisable:
    """Brings an exception to `sys.unraisablehook`, whose argument the interpreter alone can make."""

    def __init__(self, bug: BaseException) -> None:
        self._bug = bug

    def raised_by_an_event_handler(self) -> None:
        raise self._bug

    __del__ = raised_by_an_event_handler
