"""How a socket's life begins, up to its first operation, and how it ends: failed, forgotten or done.

Whatever handlers raise on the way to FINALIZE, all of it happens.

A signal handler may raise anywhere in here, and what it breaks off is taken up again by `finish`. So every
step can be done twice, and an event is marked as told in the very line that tells it: nothing comes between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import DisconnectedError, FrameError, NetworkSocketError, SocketTimeoutError
from ..event_types import EventType
from ..events import Event, IoEvent, SocketExceptionEvent
from ..frames.base import Frame, PartialFrame
from ..frames.inbox import Inbox
from ..inherited import InheritedTransport, refusal
from . import interest, outbox, progress, speed, timeouts, unheard
from .deadlines import INFINITY
from .dispatch import DEAF
from .failure import handler_error, place, socket_error
from .operation import UNTOLD, Stepper
from .out_of_band import want_out_of_band
from .raised import Unraisable, attempt, drop_frames, noted
from .remains import remains_of
from .states import Phase

if TYPE_CHECKING:
    from .channel import Channel

# Read by these names they cost compiled code no look-up.
_WAITING, _OPENING, _CONNECTED, _CLOSING, _COMPLETE = Phase

# ---- the beginning ---------------------------------------------------------------------------------

def open(channel: Channel, again: bool = False) -> None:
    """INITIALIZE, and on towards CONNECTED; `again`: another attempt within the same life."""
    loop = channel.loop
    channel.opened_at = None
    channel.steps = ()
    handler = channel.dispatch.initialize_again if again else channel.dispatch.initialize
    if handler is None:
        channel.phase = _OPENING
    else:
        event = _first_event(channel, EventType.INITIALIZE)
        # In one line: who got INITIALIZE gets FINALIZE, wherever a signal handler raises.
        for callback in channel.dispatch.each(handler):
            channel.phase = _OPENING; callback(event)  # fmt: skip # noqa: E702
        _take_named(channel)
        if channel.cancelled or loop.stopping:
            return
    channel.opened_at = loop.turn_time
    if channel.request_start is None:
        channel.request_start = loop.turn_time
    loop.begin(channel)
    if channel._armed is INFINITY:
        timeouts.arm(channel)


def open_by(channel: Channel, opener: Stepper | None) -> None:
    """Go on opening by `opener` and what it leads to, until one waits; None: the transport is usable."""
    while opener is not None:
        if channel.cancelled or channel.loop.stopping:
            return
        before, channel.stepper = channel.stepper, opener
        if before is None or before._phase != opener._phase:
            channel.socket._begins(opener._phase, channel.loop.clock)
        following = opener.start(channel)
        if following is opener:
            interest.update(channel)
            return
        opener = following
    opened(channel)


def opened(channel: Channel, reused: bool = False) -> None:
    """The connection is there: CONNECTED (unless an earlier life left it open), then the first operation."""
    if channel.cancelled or channel.loop.stopping:
        return
    channel.move(_CONNECTED)
    channel.stepper = None
    channel.socket._begins("talking", channel.loop.clock)
    channel.inbox.remote_address = channel.remote_address()
    channel.io_start = None
    progress.limit_io(channel)
    if channel.metadata._settings.minima:
        speed.start(channel)
    if channel.dispatch.oob is not None:
        channel.loop.want_out_of_band(channel)
    handler = None if reused else channel.dispatch.connected
    channel.mark_active()
    if handler is None:
        channel.connected_at = channel.loop.now
    else:
        event = _first_event(channel, EventType.CONNECTED)
        # In one line: who got CONNECTED gets DISCONNECTED, wherever a signal handler raises.
        for callback in channel.dispatch.each(handler):
            channel.connected_at = channel.loop.now; callback(event)  # fmt: skip # noqa: E702
        _take_named(channel)
    channel.start_next(channel.operation)


def _first_event(channel: Channel, type: EventType) -> IoEvent:
    """INITIALIZE or CONNECTED, whose handlers may name another first operation."""
    channel.mark_active()
    event = IoEvent(type, channel)
    channel.next = channel.operation
    return event


def _take_named(channel: Channel) -> None:
    named, channel.next = channel.next, UNTOLD
    if named is not channel.operation and channel.socket.is_server:
        raise TypeError(f"a server's operation is its accepting; {named!r} cannot take its place")
    channel.operation = named


# ---- the end ---------------------------------------------------------------------------------------

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
    while channel.conversation is not None:
        bug = attempt(bug, _close, channel)
    return bug


def _close(channel: Channel) -> None:
    if channel.conversation is not None:
        channel.conversation.close()


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
    if channel.conversation is not None:
        bug = _close_conversation(channel)
    trouble: OSError | None = None
    if phase is _CONNECTED:  # before that it is the library's own, and can be abandoned twice
        first = attempt(first, _abandon, channel)
    # What a signal handler's exception broke off is done again. The engine's failures are given up on.
    while channel.stepper is not None or channel.transport is not None:
        try:
            trouble = _close_transport(channel, orderly, kept)
        except BaseException as error:
            first = noted(first, error, f"of {channel.socket!r}")
    channel.operation = None
    outbox.drop(channel)
    channel.loop.deadlines.disarm(channel)  # last: a handler of the way here may have set a time-out
    if phase is not _CONNECTED:
        channel.socket._drop()  # ended before what it held was taken up
    while channel.phase is phase:
        first = attempt(first, _tell_end, channel, trouble, kept)
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
    if stepper is not None:
        stepper._abandon(channel)
    if operation is not None and operation is not stepper and channel.started:
        operation._abandon(channel)  # it waited for its bytes to leave


def _tell_end(channel: Channel, trouble: OSError | None, kept: bool) -> None:
    """DISCONNECTED, or what happened instead."""
    handler = channel.dispatch.disconnected
    if trouble is not None or handler is None or channel.connected_at is None or kept:
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
    while channel.dispatch is not DEAF:
        first = attempt(first, _tell_finalize, channel)
    if channel.inbox._chunk:
        channel.inbox = Inbox()
    _release(channel)
    if first is not None:
        raise first


def _tell_finalize(channel: Channel) -> None:
    dispatch = channel.dispatch  # it stays alive while its handlers are told
    handler = dispatch.finalize
    if handler is None:
        channel.dispatch = DEAF
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
    if channel.socket._leaves_by_itself:
        channel.loop.leave(channel)
    channel.next = UNTOLD  # what was named may refer to an event, and so to the channel
    remains: Any = remains_of(channel)
    if channel.socket._channel is channel:  # and not in a new life
        channel.socket._channel = remains
    channel.metadata._channel = remains
    channel.socket._over()  # last: what was interrupted before it is done again


def restart(channel: Channel) -> None:
    """Close this attempt and begin again at INITIALIZE."""
    _close_transport(channel, orderly=False)
    channel.loop.deadlines.disarm(channel)
    channel.local = None
    open(channel, again=True)


def _close_transport(channel: Channel, orderly: bool, kept: bool = False) -> OSError | None:
    """Unregister and close, or keep; the OSError of closing, if any. Broken off it can be called again."""
    if channel.stepper is not None:
        channel.stepper._abandon(channel)
        channel.stepper = None
    outbox.drop(channel)
    transport = channel.transport
    if transport is None:
        return None
    channel.local_address()  # for those who ask afterwards
    if kept and channel.dispatch.oob is not None and channel.plain is not None:
        want_out_of_band(channel.transport.sock, False)  # the next life may not listen to it
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


def forked(channel: Channel) -> None:
    """In the child of a fork: the socket is its parent's. Nothing is told here, or done to it."""
    channel.dispatch = DEAF
    if channel.conversation is not None:
        channel.conversation.refusal = refusal
    if channel.transport is not None:
        channel.set_transport(InheritedTransport(channel.transport.sock))


def disown(channel: Channel) -> None:
    """In the child of a fork the run is over: close the copies."""
    if channel.transport is not None:
        channel.transport.abort()
    channel.socket._drop()
    channel.phase = _COMPLETE


def discarded(channel: Channel) -> None:
    """Removed from the bag without having run: a server's client is closed."""
    if channel.phase is _WAITING and channel.socket._leaves_by_itself:
        channel.socket._drop()
    if channel.socket._channel is channel and not channel.complete:
        channel.socket._channel = None
        _release(channel)
