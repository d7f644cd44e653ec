"""The present state of an executor and its sockets, as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..core import timeouts
from ..core.channel import Channel
from ..core.deadlines import INFINITY
from ..core.states import Phase
from ..core.token import Token
from ..event_types import TimeoutStage
from ..executor import RequestExecutor
from ..limits import NoLimitationSolver
from ..operations.delay import DelayedOperation
from ..sockets import Socket
from ..text import human_seconds, printable

if TYPE_CHECKING:
    from ..core.loop import Loop

# What is waited for, by the words of `TimeoutEvent.phase`.
_AWAITED = {
    "resolving": "the resolver's answer",
    "connecting": "the connection",
    "handshaking": "the peer's part of the TLS handshake",
    "reading": "the peer to send",
    "writing": "the peer to take what is sent",
    "delayed": "its pending() to be false",
    "idle": "an operation, data, or the end",
    "listening": "clients",
    "sleeping": "its time",
    "waiting": "another, not for its connection",
    "closing": "the handlers",
}


def explain(executor_or_socket: RequestExecutor | Socket) -> str:
    """Return text about the present state of an executor and each of its sockets, or of one socket.

    For each socket: its phase and operation, what it waits for and since when, the time-out that comes next
    and when, and its bytes sent, received and unsent. It changes nothing and may be called anywhere, also in
    a signal handler or another thread, where its figures may be of different moments. TypeError for any
    other object.
    """
    if isinstance(executor_or_socket, RequestExecutor):
        return "\n".join(_executor(executor_or_socket._loop))
    if isinstance(executor_or_socket, Socket):
        return "\n".join(_socket(executor_or_socket))
    raise TypeError(
        f"explain() takes a RequestExecutor or a socket of this library, got {executor_or_socket!r}"
    )


def _executor(loop: Loop) -> Iterator[str]:
    sockets = list(loop.members)
    phases = Counter(_phase(socket) for socket in sockets)
    count = "1 socket" if len(sockets) == 1 else f"{len(sockets)} sockets"
    by_phase = ", ".join(f"{number} {phase}" for phase, number in phases.most_common())
    yield f"RequestExecutor on {loop.engine.name}, {_state(loop)}: {count}" + (by_phase and f" ({by_phase})")
    for socket in sockets:
        for number, line in enumerate(_socket(socket)):
            yield f"  {line}" if number else f"- {line}"


def _state(loop: Loop) -> str:
    if loop.is_inherited:
        return "its parent's, for this process is the child of a fork"
    if not loop.executing:
        return "closed" if loop.closed else "not executing"
    current = loop.current
    if not loop.in_turn:
        state = "executing, between two turns of its host"
    elif isinstance(current, Token):
        state = "executing, at work"
        if isinstance(current.channel, Channel):
            state += f" on {_name(current.channel.socket)}"
    else:
        state = "executing, waiting" if current is None else "executing, at work on a callback"
    if loop.stopping:
        state += ", about to stop"
    elif loop.draining is not None:
        state += f", draining{_in(loop.draining.deadline - loop.clock(), ', which ends in')}"
    return state


def _socket(socket: Socket) -> Iterator[str]:
    yield _name(socket)
    channel = socket._channel
    if not isinstance(channel, Channel):
        over = "complete" if channel is not None else "in no bag"
        yield f"  {over}{', its connection kept open' if socket._connection is not None else ''}"
        if channel is not None:
            yield f"  {_bytes(channel.bytes_sent, channel.bytes_received, 0)}"
        return
    since = _since(channel)
    ago = "" if since is None else f" for {human_seconds(max(0.0, channel.loop.clock() - since))}"
    yield printable(f"  {_phase(socket)}{ago}{_operation(channel)}, waits for {_awaited(channel)}")
    yield f"  {_next_timeout(channel)}"
    yield f"  {_bytes(channel.bytes_sent, channel.bytes_received, channel.unsent_bytes())}"


def _name(socket: Socket) -> str:
    channel = socket._channel
    name = type(socket).__name__
    if channel is None:
        return f"{name} {id(socket):#x}"
    name = f"{name} {channel.address or hex(id(socket))}"
    if socket.is_server and channel.connected:
        name += f", bound to {channel.local_address()}"
    return printable(name)


def _phase(socket: Socket) -> str:
    channel = socket._channel
    if not isinstance(channel, Channel) or channel.phase is Phase.COMPLETE:
        return "complete"
    return "not started" if channel.phase is Phase.WAITING else channel.phase_name()


def _operation(channel: Channel) -> str:
    if channel.operation is None:
        return ""
    conversation: Any = channel.task
    if conversation is None:
        return f": {channel.operation!r}" if channel.started else f", then {channel.operation!r}"
    awaited = conversation.awaited or channel.operation
    return f": {awaited!r} awaited by {conversation.name}{_place(conversation.coroutine)}"


def _place(coroutine: Any) -> str:
    """Where a coroutine is: its innermost line that is not the library's."""
    place = ""
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] != "evsockets":
            place = f" ({frame.f_code.co_filename}, line {frame.f_lineno})"
        coroutine = coroutine.cr_await
    return place


def _since(channel: Channel) -> float | None:
    """When what it waits for became pending, or last went on."""
    if channel.phase is Phase.OPENING:
        if channel.steps:
            return channel.steps[-1][1]
        return None if channel.opened_at is None else channel.opened_at.when
    return None if channel.io_start is None else channel.io_start.when


def _awaited(channel: Channel) -> str:
    loop, stepper = channel.loop, channel.stepper
    if channel.phase is Phase.WAITING:
        if not loop.executing:
            return "a run"
        solver = type(loop.solver)
        return "its turn" if solver is NoLimitationSolver else f"the leave of {solver.__name__}"
    if loop.in_turn and loop.current is channel:
        return "its handler"
    if channel.queued:
        return "the next turn"
    if isinstance(stepper, DelayedOperation):
        return f"{getattr(stepper.pending, '__qualname__', stepper.pending)} to say no"
    if stepper is None or not stepper.interest:
        return _AWAITED["closing"] if stepper is None else _AWAITED.get(channel.phase_name(), "its time")
    awaited = _AWAITED.get(channel.phase_name(), "the peer")
    if stepper._doing:
        awaited += f", {stepper._doing}"
    if channel.inbox:
        awaited += f"; {len(channel.inbox)} B received lie here"
        if channel.inbox._arrived is not None:
            awaited += f" for {human_seconds(max(0.0, loop.clock() - channel.inbox._arrived.when))}"
    return awaited


def _next_timeout(channel: Channel) -> str:
    when, stage = next_timeout(channel)
    text = "no time-out" if stage is None else f"next time-out: {stage.name}"
    if stage is not None:
        left = when - channel.loop.clock()
        text += f" in {human_seconds(left)}" if left > 0 else " now"
    due = INFINITY if channel.stepper is None else channel.stepper._due(channel)
    if due < when:
        text += f"; goes on by itself in {human_seconds(max(0.0, due - channel.loop.clock()))}"
    return text


def next_timeout(channel: Channel) -> tuple[float, TimeoutStage | None]:
    """Which time-out comes next if nothing happens, and when, on the executor's clock; infinity: none."""
    when, which = timeouts.first_passing(channel)
    return when, None if when == INFINITY else which.stage


def _bytes(sent: int, received: int, unsent: int) -> str:
    return f"{sent} B sent, {received} B received, {unsent} B unsent"


def _in(seconds: float, what: str) -> str:
    return "" if seconds == INFINITY else f"{what} {human_seconds(max(0.0, seconds))}"
