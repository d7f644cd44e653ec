"""Closing: how a life ends when nothing is left to do, it failed or is aborted; and idling before that.

Whatever handlers raise on the way to FINALIZE, all of it happens.

A signal handler may raise anywhere in here, and what it breaks off is taken up again by `finish`. So every
step can be done twice, and an event is marked as told in the very line that tells it: nothing comes between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import DisconnectedError, FrameError, NetworkSocketError, SocketTimeoutError
from ..event_types import EventType
from ..events import Event, SocketExceptionEvent
from ..frames.base import Frame, PartialFrame
from ..frames.inbox import Inbox
from . import interest, out_of_band, outbox, snapshot, timeouts, unheard
from .activities import IDLE, SENDING, Linger
from .deadlines import INFINITY
from .dispatch import DEAF
from .failure import handler_error, place, socket_error
from .operation import UNTOLD, Operation, Stepper
from .raised import Unraisable, attempt, drop_frames, later
from .states import Phase

if TYPE_CHECKING:
    from .channel import Channel

# Read by these names they cost compiled code no look-up.
_WAITING, _, _CONNECTED, _CLOSING, _COMPLETE = Phase
_DEAF, _IDLE, _NEVER, _UNTOLD = DEAF, IDLE, INFINITY, UNTOLD


def nothing_next(channel: Channel) -> None:
    """The request is over: the connection is forgotten, idles, lingers, or is closed."""
    if channel.forgotten and channel.transport.unflushed:
        outbox.flush_transport(channel)
    if channel.transport.failure is not None:
        if not channel.transport.met:
            raise outbox.broken(channel)
        end(channel)
        return
    if channel.forgotten:
        end(channel, kept=True)
        return
    # Bytes from before the end raise DATA_ALERT first; one that was idle has none.
    over = (channel.ended and not channel.inbox) or channel.stepper is _IDLE
    activity: Stepper = IDLE
    if over or not channel.metadata._keep_alive or channel.socket.is_server:
        if channel.tls is not None and not outbox.send_close_notify(channel):
            channel.wait(SENDING, None)
            return
        if channel.tls is None or not Linger.is_needed(channel):
            end(channel)
            return
        activity = Linger()
    channel.stepper, channel.operation, channel.started = activity, None, False
    channel.io_start = channel.loop.turn_time
    channel.go_on(activity.start(channel))


def fail(channel: Channel, error: NetworkSocketError) -> None:
    """EXCEPTION, then the end."""
    if not channel.complete:
        bug = _close_conversation(channel)
        tell: Any = tell_exception
        if isinstance(error, SocketTimeoutError) and error._is_told_as_timeout:
            tell = timeouts.uncaught
        end(channel, orderly=False, first=attempt(None, tell, channel, error), bug=bug)


def _close_conversation(channel: Channel) -> BaseException | None:
    """Have the coroutine run to its end; what it raises counts as raised in a DISCONNECTED handler."""
    bug: BaseException | None = None
    while channel.task is not None:
        try:
            channel.task.end()
        except BaseException as error:
            bug = later(bug, channel, error)
    return bug


def tell_exception(channel: Channel, error: NetworkSocketError) -> None:
    """EXCEPTION alone."""
    place(channel, error)
    unheard.exception(channel, error)
    handler = channel.dispatch.exception
    if handler is None:
        drop_frames(error)
        return
    if isinstance(error, FrameError) and error.picker is None:
        complete(channel, error)
    channel.mark_active()
    try:
        handler(SocketExceptionEvent(channel, error))
    except Exception as bug:
        if not channel.loop.configuration.isolate_handler_errors:
            raise
        Unraisable(bug)
    finally:
        drop_frames(error)


def complete(channel: Channel, error: FrameError) -> None:
    """A picker of a user's own need not say who it is and what there was."""
    reads = getattr(channel.operation, "_reads", None)  # of both directions
    error.picker = getattr(reads[0] if reads else channel.operation, "picker", None)
    if error.partial is None:
        inbox = channel.inbox
        error.partial = PartialFrame(Frame(inbox.peek(len(inbox)), inbox.remote_address))


def end(
    channel: Channel, orderly: bool = True, kept: bool = False, first: BaseException | None = None,
    bug: BaseException | None = None,
) -> None:  # fmt: skip
    """Close; DISCONNECTED if it was connected; FINALIZE. `kept`: forgotten, so that the connection stays open
    and there is no DISCONNECTED. Then `first`, what was raised before, is raised if it is anything. `bug`
    counts as raised in a DISCONNECTED handler."""
    phase = channel.phase
    if channel.complete:
        return
    if channel.task is not None:
        bug = _close_conversation(channel)
    trouble: OSError | None = None
    if phase is _CONNECTED:  # before that it is the library's own, and can be abandoned twice
        try:
            _abandon(channel)
        except BaseException as error:
            first = later(first, channel, error)
    # What a signal handler's exception broke off is done again. The engine's failures are given up on.
    while channel.stepper is not None or channel.transport is not None:
        try:
            trouble = close_transport(channel, orderly, kept)
        except BaseException as error:
            first = later(first, channel, error)
    channel.operation = None
    outbox.drop(channel)
    channel.loop.deadlines.disarm(channel)  # last: a handler of the way here may have set a time-out
    if phase is not _CONNECTED:
        channel.socket._drop()  # ended before what it held was taken up
    while channel.phase is phase:
        try:
            _tell_end(channel, trouble, kept)
        except BaseException as error:
            first = later(first, channel, error)
    if bug is not None:
        first = attempt(first, _count_as_told, channel, bug)
    _finalize(channel, first)


def finish(channel: Channel) -> None:
    """The run is broken off: go on to the end of this life, however far it has come."""
    if channel.phase is _WAITING:
        abort_unstarted(channel)
    elif not channel.complete:
        end(channel, orderly=False)
    else:
        _finalize(channel)


def _abandon(channel: Channel) -> None:
    """The end has come before the stepper and the operation it held up were done."""
    stepper, operation = channel.stepper, channel.operation
    channel.stepper = channel.operation = channel.after = None
    abandon(channel, stepper, operation)


def abandon(channel: Channel, stepper: Stepper | None, operation: Operation | None) -> None:
    """Neither `stepper` nor `operation`, which it may have held up, is gone on with."""
    if stepper is not None:
        stepper._abandon(channel)
    if operation is not None and operation is not stepper and channel.started:
        operation._abandon(channel)  # it waited for its bytes to leave


def _tell_end(channel: Channel, trouble: OSError | None, kept: bool) -> None:
    """DISCONNECTED, or what happened instead."""
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
    except BaseException as error:
        _count_as_told(channel, error)


def _count_as_told(channel: Channel, error: BaseException) -> None:
    """What a handler of DISCONNECTED has raised, or what counts as that."""
    if isinstance(error, NetworkSocketError):
        tell_exception(channel, error)
    elif isinstance(error, Exception) and channel.loop.configuration.isolate_handler_errors:
        tell_exception(channel, handler_error(channel, error))
    else:
        raise error


def _finalize(channel: Channel, first: BaseException | None = None) -> None:
    if channel.phase is not _COMPLETE:
        channel.move(_COMPLETE)
        channel.loop.admission.ended(channel)
        channel.mark_active()  # whether anybody listens or not: a delayed operation may wait for this
    while channel.dispatch is not _DEAF:
        try:
            _tell_finalize(channel)
        except BaseException as error:
            first = later(first, channel, error)
    if channel.inbox._chunk:
        channel.inbox = Inbox()
    _release(channel)
    if first is not None:
        raise first


def _tell_finalize(channel: Channel) -> None:
    dispatch = channel.dispatch  # it stays alive while its handlers are told
    handler = dispatch.finalize
    if handler is None:
        channel.dispatch = _DEAF
        return
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
    if channel.phase is _WAITING and channel.socket._leaves_by_itself:
        channel.socket._drop()
    if channel.socket._channel is channel and not channel.complete:
        channel.socket._channel = None
        _release(channel)
