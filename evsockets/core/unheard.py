"""Logs errors and time-outs that no handler hears."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import DisconnectedError, HandlerError, NetworkSocketError
from ..event_types import EventType, TimeoutStage
from ..text import printable

if TYPE_CHECKING:
    from logging import Logger

    from .channel import Channel


def logger() -> Logger:
    """The logger. Every executor asks for it when it is made: once descriptors have run out, `logging` could
    not be imported any more."""
    import logging

    return logging.getLogger("evsockets")


def exception(channel: Channel, error: NetworkSocketError) -> None:
    """A WARNING, an ERROR with its traceback for a handler's bug; nothing for a peer's clean goodbye."""
    if isinstance(error, DisconnectedError) and error.clean:
        return
    if not channel.dispatch.is_heard(EventType.EXCEPTION, channel.loop.executor):
        text = _text(channel, f"{type(error).__name__}: {error}")
        if isinstance(error, HandlerError):
            logger().error("%s", text, exc_info=error.__cause__ or error)
        else:
            logger().warning("%s", text)


def timeout(channel: Channel, stage: TimeoutStage, doing: str) -> None:
    """A WARNING."""
    if not channel.dispatch.is_heard(EventType.TIMEOUT, channel.loop.executor):
        logger().warning("%s", _text(channel, f"TIMEOUT of stage {stage.name} while {doing}"))


def _text(channel: Channel, what: str) -> str:
    """`what`, with the address and the phase if it lacks them. One line, whatever a peer calls itself."""
    phase = channel.phase_name()
    address = channel.metadata.address or repr(channel.socket)
    if " while " not in what:
        what = f"{what} while {phase}"
    if address not in what:
        what = f"{address}: {what}"
    return printable(f"no handler hears: {what}")
