"""Closing: how a life ends when nothing is left to do, it failed or is aborted; and idling before that.

Whatever handlers raise on the way to FINALIZE, all of it happens.

A signal handler may raise anywhere in here, and what it breaks off is taken up again, by `finish` at the
latest. So every step can be done twice, and an event is marked as told in the very line that tells it:
nothing comes between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import DisconnectedError, NetworkSocketError, SocketTimeoutError
from ..event_types import EventType
from ..events import Event, SocketExceptionEvent
from ..frames.inbox import Inbox
from . import interest, out_of_band, outbox, snapshot, timeouts, unheard
from .activities import IDLE, SENDING, Linger
from .deadlines import INFINITY
from .dispatch import DEAF
from .failure import broken, isolated, place, socket_error
from .operation import UNTOLD, Operation, Stepper
from .raised import Unraisable, drop_frames, later
from .states import Phase

if TYPE_CHECKING:
    from .channel import Channel

# Read by these names they cost compiled code no look-up.
_WAITING, _OPENING, _CONNECTED, _CLOSING, _COMPLETE = Phase
_DEAF, _IDLE, _NEVER, _UNTOLD = DEAF, IDLE, INFINITY, UNTOLD


def nothing_next(channel: Channel) -> None:
    """The request is over: the connection is forgotten, idles, lingers, or is closed."""
    if channel.forgotten and channel.transport.unflushed:
        interest.flush_transport(channel)
    if channel.transport.failure is not None:
        if not channel.transport.met:
            raise broken(channel)
        end(channel)
        return
    if channel.forgotten:
        end(channel, kept=True)
        return
    # Bytes from before the end raise DATA_ALERT first; one that was idle has none.
    over = (channel.ended and not channel.inbox) or channel.stepper is _IDLE
    activity: Stepper = IDLE
    if over or not channel.metadata._keep_alive or channel.socket.is_server:
        if channel.tls is not None and not _send_close_notify(channel):
            channel.wait(SENDING, None)
            return
        if channel.tls is None or not Linger.is_needed(channel):
            end(channel)
            return
        activity = Linger()
    channel.stepper, channel.operation, channel.started = activity, None, False
    channel.io_start = channel.loop.turn_time
    channel.go_on(activity.start(channel))


def _send_close_notify(channel: Channel) -> bool:
    """Whether the kernel has taken TLS's close_notify, or never will."""
    try:
        done: bool = channel.transport.shutdown_write()
    except OSError:  # nobody is there to hear it
        return True
    if not done:
        outbox.keep(channel, b"")
    return done


def fail(channel: Channel, error: NetworkSocketError) -> None:
    """EXCEPTION, then the end."""
    if not channel.complete:
        _end(channel, False, False, error)


def end(channel: Channel, orderly: bool = True, kept: bool = False) -> None:
    """Close; DISCONNECTED if it was connected; FINALIZE. `kept`: forgotten, so that the connection stays open
    and there is no DISCONNECTED."""
    if not channel.complete:
        _end(channel, orderly, kept, None)


def finish(channel: Channel) -> None:
    """The run is broken off: go on to the end of this life, however far it has come."""
    if channel.phase is _WAITING:
        abort_unstarted(channel)
    else:
        _end(channel, False, False, None)


def _end(channel: Channel, orderly: bool, kept: bool, error: NetworkSocketError | None) -> None:
    """All that is left of this life. What is raised on the way is raised at the end, the first of it."""
    first: BaseException | None = None
    bugs: list[BaseException] = []  # of the task; they count as raised in a DISCONNECTED handler
    over = False
    while channel.task is not None:
        try:
            channel.task.end()
        except BaseException as raised:
            bugs.append(raised)
    while not over:
        try:
            if error is not None:
                told, error = error, None
                _tell_failure(channel, told)
            if not channel.complete:
                _disconnect(channel, orderly, kept)
            while bugs:
                tell_raised(channel, bugs.pop(0))
            _finalize(channel)
            over = True
        except BaseException as raised:
            first = later(first, channel, raised)
    _release(channel)
    if first is not None:
        raise first


def _tell_failure(channel: Channel, error: NetworkSocketError) -> None:
    if isinstance(error, SocketTimeoutError) and error._is_told_as_timeout:
        timeouts.uncaught(channel, error)
    else:
        tell_exception(channel, error)


def tell_exception(channel: Channel, error: NetworkSocketError) -> None:
    """EXCEPTION alone."""
    place(channel, error)
    unheard.exception(channel, error)
    handler = channel.dispatch.exception
    try:
        if handler is not None:
            channel.mark_active()
            handler(SocketExceptionEvent(channel, error))
    except Exception as bug:
        if not channel.loop.configuration.isolate_handler_errors:
            raise
        Unraisable(bug)
    finally:
        drop_frames(error)


def tell_raised(channel: Channel, error: BaseException) -> None:
    """EXCEPTION alone of what user code has raised, unless that ends the run: then it is raised."""
    tell_exception(channel, isolated(channel, error))


def _disconnect(channel: Channel, orderly: bool, kept: bool) -> None:
    """Close; DISCONNECTED, or what happened instead."""
    phase = channel.phase
    if phase is _CONNECTED:  # before that it is the library's own, and can be abandoned twice
        stepper, operation = channel.stepper, channel.operation
        channel.stepper = channel.operation = channel.after = None
        abandon(channel, stepper, operation)
    trouble = close_transport(channel, orderly, kept)
    channel.operation = None
    if phase is _OPENING:
        channel.socket._drop()  # ended before what it held was taken up
    handler = channel.dispatch.disconnected
    if trouble is not None or handler is None or channel.connected_at == _NEVER or kept:
        channel.move(_CLOSING)
        if trouble is not None:
            number, why = trouble.errno, str(trouble)
            error = socket_error(DisconnectedError, channel, why, "closing", cause=trouble, errno=number)
            tell_exception(channel, error)
        return
    channel.mark_active()
    event = Event(EventType.DISCONNECTED, channel)
    try:
        for callback in channel.dispatch.each(handler):
            channel.phase = _CLOSING; callback(event)  # fmt: skip # noqa: E702
    except BaseException as raised:
        tell_raised(channel, raised)


def abandon(channel: Channel, stepper: Stepper | None, operation: Operation | None) -> None:
    """Neither `stepper` nor `operation`, which it may have held up, is gone on with."""
    if stepper is not None:
        stepper._abandon(channel)
    if operation is not None and operation is not stepper and channel.started:
        operation._abandon(channel)  # it waited for its bytes to leave


def _finalize(channel: Channel) -> None:
    if channel.phase is not _COMPLETE:
        channel.move(_COMPLETE)
        channel.loop.admission.ended(channel)
        channel.mark_active()  # whether anybody listens or not: a delayed operation may wait for this
    dispatch = channel.dispatch  # it stays alive while its handlers are told
    handler = dispatch.finalize
    if handler is None:
        channel.dispatch = _DEAF
    else:
        event = Event(EventType.FINALIZE, channel)
        try:
            for callback in dispatch.each(handler):
                channel.dispatch = DEAF; callback(event)  # fmt: skip # noqa: E702
        except Exception as bug:
            if not channel.loop.configuration.isolate_handler_errors:
                raise
            Unraisable(bug)


def _release(channel: Channel) -> None:
    """Nobody needs the channel any more: what its metadata and its socket are still asked for takes its
    place there, and a server's client leaves the bag."""
    if channel.inbox._chunk:
        channel.inbox = Inbox()
    members = channel.loop.members
    if channel.socket._leaves_by_itself and members.get(channel.socket) is channel.metadata:
        del members[channel.socket]
    channel.next = _UNTOLD  # what was named may refer to an event, and so to the channel
    channel.metadata._channel = left = snapshot.of(channel)
    if channel.socket._channel is channel:  # and not in a new life
        channel.socket._channel = left
    channel.socket._over()  # last: what was interrupted before it is done again


def close_transport(channel: Channel, orderly: bool, kept: bool = False) -> OSError | None:
    """Unregister and close, or keep; the OSError of closing, if any. Broken off it can be called again."""
    stepper = channel.stepper
    if stepper is not None:
        stepper._abandon(channel)
        channel.stepper = None
    outbox.drop(channel)
    channel.loop.deadlines.disarm(channel)  # a handler may have set a time-out meanwhile
    transport = channel.transport
    if transport is None:
        return None
    channel.local_address()  # for those who ask afterwards
    if kept and channel.dispatch.oob is not None:
        out_of_band.want(channel, False)  # the next life may not listen to it
    interest.unwatch(channel, transport.fileno())
    if kept:
        channel.transport = channel.plain = None
        channel.inbox._tidy()
        channel.loop.keep(channel, transport)
        return None
    trouble: OSError | None = None
    try:
        if orderly:
            transport.close()
        else:
            transport.abort()
    except OSError as error:
        trouble = error.with_traceback(None)  # which would refer back to here
    channel.transport = channel.plain = None
    return trouble


def abort_unstarted(channel: Channel) -> None:
    """The run was aborted before this socket began."""
    channel.dispatch = DEAF  # no INITIALIZE, no FINALIZE
    channel.move(_COMPLETE)
    channel.operation = None
    if channel.socket._leaves_by_itself:
        channel.socket._drop()
    _release(channel)


def discarded(channel: Channel) -> None:
    """Removed from the bag without having run: a server's client is closed."""
    if channel.phase is _WAITING:
        if channel.socket._leaves_by_itself:
            channel.socket._drop()
        channel.socket._channel = None
        _release(channel)
