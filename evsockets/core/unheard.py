"""What no handler hears goes to the logger `evsockets`; nothing else does."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..errors import DisconnectedError, HandlerError, NetworkSocketError
from ..event_types import EventType, TimeoutStage
from ..text import printable

if TYPE_CHECKING:
    from .channel import Channel

# Imported with the package: when descriptors have run out, nothing more can be.
_LOGGER = logging.getLogger("evsockets")


def exception(channel: Channel, error: NetworkSocketError) -> None:
    """A WARNING, an ERROR with its traceback for a handler's bug; nothing for a peer's clean goodbye."""
    if isinstance(error, DisconnectedError) and error.clean:
        return
    if not channel.dispatch.is_heard(EventType.EXCEPTION, channel.loop.executor):
        text = _text(channel, f"{type(error).__name__}: {error}")
        if isinstance(error, HandlerError):
            _LOGGER.error("%s", text, exc_info=error.__cause__ or error)
        else:
            _LOGGER.warning("%s", text)


def timeout(channel: Channel, stage: TimeoutStage, doing: str) -> None:
    """A WARNING."""
    if not channel.dispatch.is_heard(EventType.TIMEOUT, channel.loop.executor):
        _LOGGER.warning("%s", _text(channel, f"TIMEOUT of stage {stage.name} while {doing}"))


def _text(channel: Channel, what: str) -> str:
    """`what`, with the address and the phase if it lacks them. One line, whatever a peer calls itself."""
    phase = channel.phase_name()
    address = channel.metadata.address or repr(channel.socket)
    if " while " not in what:
        what = f"{what} while {phase}"
    if address not in what:
        what = f"{address}: {what}"
    return printable(f"no handler hears: {what}")
