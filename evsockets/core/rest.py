"""What a socket does when its last operation is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import life, outbox
from .activities import IDLE, SENDING, Linger

if TYPE_CHECKING:
    from .channel import Channel
    from .operation import Stepper


def nothing_next(channel: Channel) -> None:
    """The request is over: the connection is forgotten, idles, lingers, or is closed."""
    if channel.forgotten and channel.transport.unflushed:
        outbox.flush_transport(channel)
    if channel.transport.failure is not None:
        if not channel.transport.met:
            raise outbox.broken(channel)
        life.end(channel)
        return
    if channel.forgotten:
        life.end(channel, kept=True)
        return
    # Bytes from before the end raise DATA_ALERT first; one that was idle has none.
    over = (channel.ended and not channel.inbox) or channel.stepper is IDLE
    activity: Stepper = IDLE
    if over or not channel.metadata._keep_alive or channel.socket.is_server:
        if channel.tls is not None and not outbox.send_close_notify(channel):
            channel.wait(SENDING, None)
            return
        if not Linger.is_needed(channel):
            life.end(channel)
            return
        activity = Linger()
    channel.stepper, channel.operation, channel.started = activity, None, False
    channel.io_start = channel.loop.turn_time
    channel.go_on(activity.start(channel))
