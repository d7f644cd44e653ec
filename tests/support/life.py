"""What the events of one socket's life may be, in which order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evsockets import EventType, TimeoutStage

#: How the events of most lives begin and end, and a life that got no connection.
USUAL = ["INITIALIZE", "CONNECTED"]
END = ["DISCONNECTED", "FINALIZE"]
FAILED = ["INITIALIZE", "EXCEPTION", "FINALIZE"]

#: Events that need a connection.
IO = {EventType.READ, EventType.WRITE, EventType.OOB, EventType.ACCEPT, EventType.DATA_ALERT}


class Life:
    """The handler of one life: an AssertionError for an event out of order, then `act(life, event)`.

    `ending` is set by whoever ends the life from outside a failure (cancel, close, stop): from then on
    there is only the end.
    """

    def __init__(self, act: Callable[[Life, Any], object] | None = None) -> None:
        self.names: list[str] = []
        self.metadata: Any = None
        self.socket: Any = None
        self.connected = False
        self.disconnected = False
        self.finalized = False
        self.failed = False
        self.reused = False
        self.ending = False
        self.forgotten = False
        self.raising = False  # the handler running last raised a library error
        self._again = False  # another attempt to connect was asked for
        self._act = act

    @property
    def started(self) -> bool:
        return bool(self.names)

    def __call__(self, event: Any) -> None:
        name = event.type.name
        self.check(event)
        self.names.append(name)
        self._again = self.raising = False
        if self._act is not None:
            self._act(self, event)
        if event.type is EventType.TIMEOUT and event._one_more:
            self._again = event.when is TimeoutStage.CONNECTION

    def check(self, event: Any) -> None:
        """Whether `event` may come now."""
        kind, told = event.type, [*self.names, event.type.name]
        assert not self.finalized, told
        assert event.metadata is self.metadata and event.socket is self.socket, told
        assert event.executor.is_executing, told
        if kind is EventType.INITIALIZE:
            assert not self.names or self._again, told
            assert not self.connected and not event.metadata.request_complete, told
            self.reused = event.socket.is_connected
            self.ending = self.ending and not self.reused
        else:
            assert self.names and self.names[0] == "INITIALIZE", told
        if kind is EventType.CONNECTED:
            assert not self.connected and not self.reused and not self._over, told
            self.connected = True
        elif kind in IO:
            assert (self.connected or self.reused) and not self._over and not self.failed, told
        elif kind is EventType.TIMEOUT:
            assert not self._over and not self.failed, told
        elif kind is EventType.EXCEPTION:
            # Once, and once more for what the DISCONNECTED handler raised.
            assert self.raising or not (self._over or self.failed), told
            assert told.count("EXCEPTION") <= 2, told
            self.failed = True
        elif kind is EventType.DISCONNECTED:
            assert (self.connected or self.reused) and not self.disconnected, told
            self.disconnected = True
        elif kind is EventType.FINALIZE:
            self.finalized = True
            if self.connected and not self.disconnected:
                assert self.forgotten, told
            if self.disconnected and not self.failed:
                assert self.names[-1] == "DISCONNECTED", told
        complete = self.disconnected or self.finalized
        assert event.metadata.request_complete is complete, told
        if kind in IO or kind is EventType.CONNECTED:
            assert event.socket.is_connected and not event.metadata.request_complete, told

    @property
    def _over(self) -> bool:
        return self.ending or self.disconnected
