"""`Task`: what drives a channel's operations one after another, beside its handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..event_types import TimeoutStage
from .operation import Operation

if TYPE_CHECKING:
    from ..frames.base import Frame
    from .channel import Channel


class Task(Operation):
    """Goes on, as an operation of its own, after each operation that it has asked for and that names no
    other. While it lives it is the channel's `task`; the core and the operations ask it nothing else than
    what is here, and what can be late of its own (`_due`, `_expire`).

    `awaited`: the operation it has asked for. `frame`: the last one read by that. `is_shut`: our direction of
    the connection has ended. `superseded`: an operation that somebody else has named takes its place.
    """

    __slots__ = ("awaited", "frame", "is_shut", "superseded")

    #: Which time-out its `_due` is.
    stage = TimeoutStage.SCOPE

    awaited: Operation | None
    frame: Frame | None
    is_shut: bool
    superseded: bool

    def follows(self, channel: Channel, following: Any) -> Operation | None:
        """What comes next where `following` would without a task."""
        raise NotImplementedError

    def goes_on(self, channel: Channel, read: Operation) -> Any:
        """`read` is done and no handler hears of it: what follows, as of a step; None: what `follows`."""
        return None

    def tell(self, handler: Callable[[Any], object], event: Any, beside: bool = False) -> None:
        """Tell a handler of what the operation it has asked for has done, or of what came `beside` that."""
        raise NotImplementedError

    def catches(self, error: BaseException) -> bool:
        """Whether it deals with `error`, and goes on next."""
        return False

    def is_sending(self) -> bool:
        """Whether it waits until bytes, or our end of the stream, have left."""
        return False

    def drain(self, channel: Channel) -> None:
        """A drain begins."""

    def forked(self) -> None:
        """This is the child of a fork: nothing can be done any more."""

    def end(self) -> None:
        """End it, wherever it is; afterwards it is nobody's task."""
        raise NotImplementedError
