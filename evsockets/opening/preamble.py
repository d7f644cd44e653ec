"""What is said on a connection before it is the peer's own: a proxy's protocol, as a step of opening."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from ..core.failure import socket_error
from ..core.operation import Stepper
from ..engines.base import READ, WRITE
from ..errors import ConnectionFailedError
from ..frames.inbox import Inbox

if TYPE_CHECKING:
    from ..core.channel import Channel

#: Takes an answer out of the inbox, of a stream that has ended or not; None while it is not whole. Raises
#: Refused for what can be none.
Taker = Callable[[Inbox, bool], Any]
#: Yields what the other side is to do, the bytes to send, and what takes the answer; is sent the answer, and
#: returns when the connection is the peer's own. Raises Refused, which says what the other side does instead.
Dialogue = Generator[tuple[str, bytes, Taker], Any, None]


class Refused(ConnectionError):
    """The other side refuses, or does not speak the protocol."""


class Preamble(Stepper):
    """Has `dialogue` with `whom`, then goes on by `then`; what follows the last answer stays in the inbox.
    One object serves one attempt of a life."""

    __slots__ = ("_dialogue", "_doing", "_take", "_then", "_unsent", "_whom", "interest")

    def __init__(self, whom: str, dialogue: Dialogue, then: Stepper | None) -> None:
        self._whom = whom
        self._dialogue = dialogue
        self._then = then
        self.interest = READ

    def start(self, channel: Channel) -> Any:
        self._ask(*next(self._dialogue))
        return self.step(channel, WRITE) if self._unsent else self

    def _ask(self, what: str, unsent: bytes, take: Taker) -> None:
        self._doing = f"waiting for {self._whom} to {what}"
        self._unsent, self._take = unsent, take

    def step(self, channel: Channel, mask: int) -> Any:
        try:
            if not self._go_on(channel):
                return self
        except OSError as error:
            refused = isinstance(error, Refused)
            raise socket_error(
                ConnectionFailedError,
                channel,
                f"{self._whom} {error}" if refused else error,
                "connecting" if refused else self._doing,
                cause=error,
                attempts=[(channel.remote, error.with_traceback(None))],
            ) from error
        inbox = channel.inbox
        inbox._arrived = channel.loop.turn_time
        channel.bytes_received = len(inbox) if self._then is None else 0  # what follows, if not TLS
        return self._then

    def _go_on(self, channel: Channel) -> bool:
        """Say and hear what can be now; whether everything has been said."""
        transport, inbox = channel.transport, channel.inbox
        lost: OSError | None = None
        ended = False
        while True:
            try:
                self._unsent = self._unsent and self._unsent[transport.send(self._unsent) :]
            except OSError as error:  # what had arrived says why
                self._unsent, lost = b"", error
            self.interest = WRITE if self._unsent else READ
            if self._unsent:
                return False
            while (answer := self._take(inbox, ended)) is None:
                data = transport.recv()
                if not data and lost is not None:
                    raise lost
                if data is None:
                    return False
                if ended:
                    raise Refused("ended the connection" + (f" after {inbox.peek(40)!r}" if inbox else ""))
                ended = not data
                inbox._append(data)
            try:
                self._ask(*self._dialogue.send(answer))
            except StopIteration:
                return True
