"""Readiness interest: what the engine watches for a socket; bytes that it depends on are sent first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engines import asking
from ..engines.base import READ, WRITE
from . import outbox, timeouts
from .activities import YIELDED

if TYPE_CHECKING:
    from .channel import Channel

# Seconds until a datagram that a full queue did not take is sent again: nothing tells that it has room.
SEND_AGAIN = 0.005
# What `watched` is when the engine has failed once to forget the descriptor.
_AGAIN = -2


def step(token: Any, mask: int) -> None:
    """Have the stepper take one step, and go on by what it returns."""
    following = token.stepper.step(token, mask)
    if following is not token.stepper:
        token.advance(following)
    elif token.indirect or (following is not None and token.watched != following.interest):
        update(token)


def update(channel: Channel) -> None:
    """Tell the engine, if what the stepper waits for has changed."""
    stepper = channel.stepper
    transport = channel.transport
    if transport is None or stepper is None or stepper is YIELDED:
        return
    interest = stepper.interest
    indirect = channel.indirect
    if indirect:
        channel.inbox._tidy()
        box, handshakes = channel.outbox, stepper._phase == "handshaking"
        layered = channel.plain is None
        if layered and transport.wants:
            interest = transport.wants if interest else 0
        if layered and transport.unflushed:
            # Of a socket that reads it is TLS's own: received bytes come before the loss met in sending it.
            if not (transport.flush_quietly() if interest == READ else flush_transport(channel)):
                interest |= WRITE
            transport = channel.transport  # which may be broken now
        if box is not None and not (box.holds or handshakes or outbox.is_empty(channel)):
            interest |= WRITE  # for what was posted: what was written the stepper sends
        channel.indirect = channel.plain is None or channel.ended or channel.outbox is not None
        transport = channel.transport
        if channel.ended and interest & READ and not handshakes:
            interest &= ~READ  # a level-triggered end would be reported for ever
        box = channel.outbox
        if box is not None and transport.shared:
            # The server's descriptor is not watched for one answer: try again a little later.
            box.retry_at = channel.loop.now + SEND_AGAIN
        if box is not None or channel.loop.now + channel.io_limit < channel._armed:
            timeouts.arm(channel)
    if interest != channel.watched and (channel.plain is not None or not transport.shared):
        channel.watched = interest  # first: what interrupts the call then has the engine forget it
        try:
            asking.watch(channel.loop.engine, transport.fileno(), interest, channel)
        except OSError as error:
            raise stepper._unwatchable(channel, error) from error
    if not indirect or channel.plain is not None:
        return
    answers = transport.shared and interest and channel.outbox is None
    if answers or (transport.pending and stepper.interest & READ):
        channel.step_next_turn()


def flush_transport(channel: Channel) -> bool:
    """Send what lies between us and the kernel (TLS); whether nothing is left."""
    try:
        return bool(channel.transport.flush())
    except OSError as error:
        outbox.send_failed(channel, error)
        return True


def unwatch(token: Any, number: int) -> None:
    """Have the engine forget descriptor `number`, watched for a channel or one of its attempts to connect,
    which must be before it is closed. What fails or is interrupted can be called again, once: then there is
    nothing more to be done."""
    if not token.watched:
        return
    again = token.watched == _AGAIN
    try:
        asking.watch(token.loop.engine, number, 0, token)
    except BaseException:
        token.watched = 0 if again else _AGAIN
        raise
    token.watched = 0
