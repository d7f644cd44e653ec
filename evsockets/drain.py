"""Drain, the graceful end of a run: listeners close, clients finish, the deadline aborts what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import timer
from .core import closing, run
from .core.activities import IDLE, has_unread
from .core.admission import tell_listener
from .core.deadlines import AT_ONCE, INFINITY
from .core.states import Phase

if TYPE_CHECKING:
    from .core.channel import Channel
    from .core.loop import Loop
    from .sockets import Socket


# Seconds that a server's client has for its first byte: it may have been sent before the client could know.
_FIRST_BYTE = 1.0


def is_accepted(channel: Channel) -> bool:
    """Whether it is a server's client."""
    return channel.socket._leaves_by_itself


class DrainReport:
    """The end of a drained run: counts every socket that had started or been accepted, once; no servers.

    `finished`: sockets whose operations ended by themselves. `closed_idle`: idle connections closed at
    once. `aborted`: `(socket, why)` for each one ended at the deadline, or by an earlier end of the run
    (stopped, or an exception); for a worker of `serve` the socket is text.
    """

    __match_args__ = ("finished", "closed_idle", "aborted")

    def __init__(
        self,
        finished: int = 0,
        closed_idle: int = 0,
        aborted: list[tuple[Socket | str, str]] | None = None,
    ) -> None:
        self.finished = finished
        self.closed_idle = closed_idle
        self.aborted = [] if aborted is None else aborted

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if type(other) is type(self) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __replace__(self, **changes: object) -> DrainReport:
        return DrainReport(**self.__dict__ | changes)

    def __repr__(self) -> str:
        return f"DrainReport({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"


class Drain:
    """One drain on its way."""

    def __init__(self, loop: Loop, timeout: float | None) -> None:
        self.report = DrainReport()
        self.deadline = INFINITY
        self._loop = loop
        self._asked_at = loop.clock()
        # Whose handler is running, if any. (The executor itself: a thread-safe callback is.)
        self._asked_by = loop.current if loop.current is not loop else None
        self._timeout = timeout
        self._first_byte_until = INFINITY
        self._begun = False
        self._over = False  # nothing starts any more
        self._counted: Channel | None = None  # is ending, and in the report already

    def begin(self) -> None:
        """In the executor's thread: let in who was accepted, stop listening and close what idles."""
        loop, admission = self._loop, self._loop.admission
        if loop.draining is not self:
            return
        self._begun = True
        loop.now = loop.turn_time.when = loop.clock()
        if self._timeout is not None:
            self.deadline = loop.now + self._timeout
            timer.call_later(loop, self._timeout, self._expire, (), False)
        self._give_time_for_first_bytes()
        admission.set_aside(self.keeps_out)
        for channel in loop.running():
            if channel.socket.is_server:
                loop.call_for(channel, self._close_listener, channel)
        if admission.clients or any(map(is_accepted, admission.waiting)):
            # They may need what was added in this turn: a proxy's clients its connections.
            admission.admit()
            admission.ask = True
        admission.set_aside(lambda channel: not is_accepted(channel))
        for channel in loop.running():
            if channel.stepper is IDLE:
                loop.call_for(channel, self._close_idle, channel)
            elif channel.task is not None:
                loop.call_for(channel, channel.task.drain, channel)
        loop.update_time()

    def _give_time_for_first_bytes(self) -> None:
        patience = _FIRST_BYTE if self._timeout is None else min(_FIRST_BYTE, self._timeout / 2)
        self._first_byte_until = self._loop.now + patience
        timer.call_later(self._loop, patience, self._end_silent, (), False)

    def may_send_first_byte(self, channel: Channel) -> bool:
        """Whether it is a server's client that has sent nothing yet and has time for it."""
        in_time = self._loop.now < self._first_byte_until
        return in_time and not channel.bytes_received and is_accepted(channel)

    def _end_silent(self) -> None:
        self._first_byte_until = AT_ONCE
        for channel in self._loop.running():
            if channel.task is not None:
                self._loop.call_for(channel, channel.task.drain, channel)

    def keeps_out(self, channel: Channel) -> bool:
        """Whether a socket that has not started has to wait for another run."""
        return self._over or (self._begun and channel.socket.is_server)

    def _close_listener(self, channel: Channel) -> None:
        last = getattr(channel.operation, "last", None)
        if last is not None and channel.started:
            channel.advance(last(channel))
        else:  # it does not listen yet
            closing.end(channel)

    def _close_idle(self, channel: Channel) -> None:
        if has_unread(channel):
            channel.step_next_turn()  # DATA_ALERT, and what its handler does with it
            return
        if self._asked_by is not None:
            ended_meanwhile = channel is self._asked_by
        else:  # its operation may have ended while this drain was on its way here
            ended_meanwhile = channel.io_start is not None and channel.io_start.when > self._asked_at
        if ended_meanwhile:
            self.report.finished += 1
        else:
            self.report.closed_idle += 1
        self._counted = channel
        closing.end(channel)

    def abort(self, channel: Channel, when: str) -> None:
        """End one of them before the deadline, as that would."""
        if not channel.socket.is_server:
            self.report.aborted.append((channel.socket, f"still {channel.doing()} {when}"))
        self._counted = channel
        closing.end(channel)

    def ended(self, channel: Channel) -> None:
        """A socket's life is over."""
        if channel is not self._counted and not channel.socket.is_server and not self._over:
            self.report.finished += 1
        tell_listener(channel, "client_ended")

    def _expire(self) -> None:
        """The deadline: abort the rest."""
        loop = self._loop
        self.cut_short(f"after {self._timeout:g} s")
        for channel in loop.running():
            loop.call_for(channel, closing.end, channel)
        accepted = list(filter(is_accepted, loop.admission.waiting))
        loop.admission.set_aside(self.keeps_out)
        for channel in accepted:
            closing.abort_unstarted(channel)

    def cut_short(self, when: str) -> None:
        """Nothing starts any more, and nothing ends by itself: who runs is aborted, and who was accepted and
        waits."""
        if self._over:
            return
        self._over = True
        for channel in [*self._loop.running(), *self._loop.admission.waiting]:
            if channel.phase is Phase.WAITING:
                if is_accepted(channel):
                    self.report.aborted.append((channel.socket, f"still waiting to start {when}"))
            elif not channel.socket.is_server:
                self.report.aborted.append((channel.socket, f"still {channel.doing()} {when}"))


def request(loop: Loop, timeout: float | None) -> DrainReport:
    """End the run in an orderly way; see `RequestExecutor.drain`."""
    if not loop.executing:
        raise RuntimeError("the executor is not executing")
    begun = Drain(loop, timeout)
    if loop.draining is None:  # nothing can come between this and the next line, no signal either
        loop.draining = begun
        loop.call_soon_threadsafe(begun.begin)
    else:
        begun = loop.draining
    if not (loop.in_turn or loop.turns_taken_by_us) and loop.thread_id == loop.ident():
        while loop.executing and run.part(loop, run.take_turn, None):
            pass
    return begun.report
