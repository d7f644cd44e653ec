"""Tells events beside the current operation, such as alerts and time-outs; its I/O clock pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import io_clock

if TYPE_CHECKING:
    from ..events import Event
    from .channel import Channel
    from .operation import Operation


def tell(channel: Channel, handler: Any, event: Event) -> None:
    """Call `handler`; the time that takes does not count for the operation that goes on."""
    channel.mark_active()
    began = channel.loop.clock()
    if channel.task is None:
        handler(event)
    else:
        channel.task.tell(handler, event, beside=True)
    io_clock.excuse(channel, began)


def tell_beside(channel: Channel, handler: Any, event: Event) -> Operation | None:
    """The same; returns what the handlers named, apart from what comes next."""
    saved = channel.next, channel.after
    channel.next = channel.after = None
    try:
        tell(channel, handler, event)
    finally:
        named = channel.next if channel.after is None else channel.after
        channel.next, channel.after = saved
    return named  # type: ignore[no-any-return]
