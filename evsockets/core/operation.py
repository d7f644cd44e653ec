"""`Stepper` and `Operation`, the bases of all that a socket can be doing, and the marks that they return."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, cast

from ..engines.base import READ
from ..errors import NetworkSocketError, ReceiveError, SendError
from .deadlines import INFINITY
from .failure import io_error

if TYPE_CHECKING:
    from typing import Self

    from ..address import Address
    from ..metadata import SocketMetadata
    from ..typing import TimeoutPhase
    from .channel import Channel


class Stepper:
    """What a channel does at present: one of the library's activities, or an operation.

    It keeps no progress of its own where one object serves many sockets.
    """

    __slots__ = ()

    #: READ, WRITE, or both: what to wait for. 0 waits for nothing.
    interest: int = 0
    #: What TimeoutEvent.phase says meanwhile.
    _phase: TimeoutPhase = "connecting"
    #: The same in the words of an error, where these say more.
    _doing: str = ""
    #: Whether time spent here counts towards `io_timeout`.
    _timed: bool = False
    #: Whether what was posted has to leave before it starts.
    _after_posts: bool = False
    #: Whether an operation set from outside takes its place at once, and not when it is done.
    _replaceable: bool = False
    #: Whether it does next what the handlers of its I/O events name, `SocketBag.set_operation` being one way
    #: to name it; one of a user's own reads `next_operation` of what it emits, or does not.
    _heeds_next: bool = True
    #: Whose bug it is that is raised meanwhile, in the words of an error.
    _raiser: str = "a handler"

    def start(self, channel: Channel) -> Self | Operation | None:
        """Called once when it becomes current; returns as `step` does. Default: itself."""
        return self

    def step(self, channel: Channel, mask: int) -> Self | Operation | None:
        """Called when the descriptor is ready for `mask`, or for nothing. Returns itself while it is not
        done, then what follows: a stepper, None for nothing, or DONE for what the handlers have named."""
        return self

    def _abandon(self, channel: Channel) -> None:
        """Called when the socket ends, or another operation takes its place, before it was done."""

    def _check_place(self, channel: Channel, address: Address | None) -> None:
        """Raise TypeError if the socket cannot begin with this, as far as its kind and `address` tell."""

    def _added(self, metadata: SocketMetadata) -> None:
        """A socket is to begin with this."""

    def _named_beside(self, channel: Channel, operation: Operation) -> None:
        """A TIMEOUT handler named `operation` and enabled one more attempt."""
        channel.set_operation(operation, inside=False)

    def _unwatchable(self, channel: Channel, error: OSError) -> NetworkSocketError:
        """What to raise when the engine cannot watch the descriptor: it was closed behind our back, or is one
        more than the system allows."""
        return io_error(channel, error, SendError if self._phase == "writing" else ReceiveError, self._phase)

    def _due(self, channel: Channel) -> float:
        """When to take a step whatever the engine says, on the executor's clock; INFINITY: never."""
        return INFINITY

    def _expire(self, channel: Channel) -> None:
        """That has passed."""
        channel.go_on(self.step(channel, self.interest))

    def __getstate__(self) -> Any:
        return object.__getstate__(self)  # what Cython gives leaves out the slots of subclasses

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Operation(Stepper):
    """The base of all operations: what a socket does at present.

    A subclass of your own sets `interest` (READ, WRITE, both, or 0 to wait for neither), and overrides
    `start` and `step`. Each returns itself while it is not done, the next operation when it is, or None to
    end the request. `channel` has `recv()`, `send(data)`, `inbox`, `socket`, `metadata` and `emit(event)`.
    One object may serve many sockets if it keeps no progress in itself.
    """

    __slots__ = ()

    interest: int = READ
    _phase: TimeoutPhase = "reading"
    _timed: bool = True
    _replaceable: bool = True
    _heeds_next: bool = False
    #: Whether it leaves received bytes unread, so that an idle connection's alerts go on counting.
    _takes_nothing: bool = False

    def step(self, channel: Channel, mask: int) -> Operation | None:
        """Called when the descriptor is ready for `mask`; a call may be spurious, with nothing ready."""
        raise NotImplementedError(f"{type(self).__name__} has no step(channel, mask)")

    def _at_hand(self, channel: Channel) -> Any:
        """The frame that it reads, if that lies in the inbox; None: it has to start."""
        return None

    def _runs_ahead(self) -> bool:
        """Whether it may start while bytes written during one received chunk still wait to leave together."""
        return False


class Maker:
    """Makes the operations that events name; what they are stands above the core."""

    __slots__ = ()

    def read(self, picker: Any) -> Operation:
        """One that reads a frame of `picker`."""
        raise NotImplementedError

    def write(self, data: Any, then: Operation | None) -> Operation:
        """One that writes `data`, and after which comes `then`."""
        raise NotImplementedError


class Mark(enum.Enum):
    """What stands where an operation could."""

    DONE = "what the handlers have named follows"
    UNTOLD = "no I/O event is being told"


#: Returned by a step that has told an I/O event: what follows is what the handlers named (`Channel.next`).
DONE: Final = cast(Operation, Mark.DONE)
#: The value of `Channel.next` while no I/O event's handlers are being called.
UNTOLD: Final[Any] = Mark.UNTOLD
