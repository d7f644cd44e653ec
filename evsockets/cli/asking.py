"""One peer of `fetch`: its address, the request, and its answer, without output."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .. import FrameError
from ..address import parse_address

if TYPE_CHECKING:
    from .. import Conversation, FramePicker


@dataclass(frozen=True, slots=True)
class Plan:
    """The request to every peer: `send` is sent, then a frame of `picker` is read (None: all up to the end),
    and kept if `keep`. `starttls` is the protocol in which TLS is started before that, or instead of it if
    there is nothing to send or pick."""

    send: bytes = b""
    picker: FramePicker | None = None
    keep: bool = False
    connect_only: bool = False
    starttls: str | None = None
    server_name: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Answer:
    """A peer's answer. `secured` and `written` are the seconds from the beginning of the conversation until
    TLS was started, and until the request was sent (None: there was none)."""

    secured: float = 0.0
    written: float | None = None
    chunks: list[bytes] = field(default_factory=list)
    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    reads: bool = True  # whether anything is read for it


@dataclass(slots=True)
class Ask:
    """One peer, the `number`th. `label` is its name in output, `problem` the reason if it cannot be asked.

    `start` is the beginning of its (last) attempt, in seconds since that of the run. `answer` is the answer
    received in this process, also of a failed conversation.
    """

    number: int
    address: str
    label: str
    path: str | None = None
    problem: str | None = None
    redirects: int = 0
    bare: bool = False  # whether the plan's headers are not for this one
    start: float | None = None
    answer: Answer = field(default_factory=Answer)


async def ask(talk: Conversation, plan: Plan) -> Answer:
    """Send the request of `plan` to the peer, whose Ask is the user context; returns its answer."""
    mine = talk.user_context
    assert isinstance(mine, Ask)
    began = time.monotonic()
    answer = mine.answer = Answer()
    if plan.starttls is not None:
        from .starttls import begin_tls

        await begin_tls(talk, plan.starttls, plan.server_name, None)
        answer.secured = time.monotonic() - began
    if mine.path is not None:
        from .web import get

        await get(talk, mine, plan)
        return answer
    if plan.send:
        answer.written = math.inf
        await talk.write(plan.send)
        answer.written = time.monotonic() - began
    if plan.connect_only or (plan.starttls is not None and not plan.send and plan.picker is None):
        answer.reads = False
        return answer
    if plan.picker is not None or parse_address(mine.address).is_datagram:
        try:
            frame = await talk.read(plan.picker)
        except BaseException as error:  # also a time-out, and the end of the run
            answer.chunks += [_arrived(talk, error)] * plan.keep
            raise
        answer.chunks += [frame.data] * plan.keep
        return answer
    async for frame in talk.frames():
        answer.chunks += [frame.data] * plan.keep
    return answer


def _arrived(talk: Conversation, error: BaseException) -> bytes:
    """The bytes of a frame that did not become whole: they show what the peer speaks."""
    if isinstance(error, FrameError) and error.partial is not None:
        return error.partial.data
    channel = talk._task.channel
    return b"" if channel is None else channel.inbox.peek(len(channel.inbox))
