"""Random programs as conversations: heard or not, cut as they may be, they give what a model says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evsockets import (
    BatchFramePicker,
    Conversation,
    ConversationOperation,
    DisconnectedError,
    EventType,
    FixedLengthFramePicker,
    Frame,
    FrameError,
    FramePicker,
    Inbox,
    ReadOperation,
    RequestExecutor,
    SocketTimeoutError,
    WriteOperation,
)
from support.conversation import LINE, Talk
from support.memory import MemoryEngine

SIZES = st.sampled_from([0, 1, 2, 63, 1000, 5000, 65_536, 250_000])
ACTIONS = st.one_of(
    st.tuples(st.just("line"), st.integers(0, 40)),
    st.tuples(st.just("own"), st.integers(0, 3)),
    st.tuples(st.just("fixed"), st.sampled_from([1, 2, 7, 100])),
    st.tuples(st.just("raw"), st.just(0)),
    st.tuples(st.just("batch"), st.integers(0, 5)),
    st.tuples(st.just("write"), SIZES),
    st.tuples(st.just("mutable"), SIZES),
    st.tuples(st.just("pieces"), SIZES),
    st.tuples(st.just("post"), SIZES),
    st.tuples(st.just("write then"), st.integers(1, 30)),
    st.tuples(st.just("sleep"), st.sampled_from([0, 0.001, 0.1])),
    st.tuples(st.just("flushed"), st.just(0)),
    st.tuples(st.just("too short"), st.just(0)),
)


class Own(FramePicker):
    """A line; of a user's own, which is asked at once."""

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        return LINE.pick(inbox, ended)


def arriving(program: list[Any]) -> bytes:
    """What its reads read, in order."""
    data = b""
    for number, (kind, size) in enumerate(program):
        if kind in ("line", "own", "write then"):
            data += bytes([97 + number % 26]) * size + b"\n"
        elif kind == "fixed":
            data += bytes([65 + number % 26]) * size
        elif kind == "batch":
            data += b"b" * size + b"\n"
    return data


def payload(number: int, size: int) -> bytes:
    return bytes([number % 256]) * size


def leaving(program: list[Any]) -> bytes:
    """What it writes and posts."""
    data = b""
    for number, (kind, size) in enumerate(program):
        if kind in ("write", "mutable", "pieces", "post"):
            data += payload(number, size)
        elif kind == "write then":
            data += b"?"
    return data


async def hold(talk: Conversation, program: list[Any]) -> bytes:
    """Run the program; everything read."""
    got = b""
    for number, (kind, size) in enumerate(program):
        if kind == "line":
            got += (await talk.read(LINE)).data
        elif kind == "own":
            got += (await talk.read(Own())).data
        elif kind == "fixed":
            got += (await talk.read(FixedLengthFramePicker(size))).data
        elif kind == "batch":
            got += (await talk.read(BatchFramePicker(LINE, 1))).data
        elif kind == "write":
            await talk.write(payload(number, size))
        elif kind == "mutable":
            await talk.write(bytearray(payload(number, size)))
        elif kind == "pieces":
            half = size // 2
            await talk.write([payload(number, half), b"", payload(number, size - half)])
        elif kind == "post":
            talk.post(payload(number, size))
        elif kind == "write then":
            got += (await talk.do(WriteOperation(b"?", then=ReadOperation(LINE)))).data
        elif kind == "sleep":
            with contextlib.suppress(DisconnectedError):
                await talk.sleep(size)
        elif kind == "flushed":
            with contextlib.suppress(DisconnectedError):
                await talk.flushed()
                assert talk.unsent == 0
        elif kind == "too short":
            with pytest.raises((SocketTimeoutError, DisconnectedError, FrameError)), talk.timeout(0):
                await talk.read(FixedLengthFramePicker(10**7))
    with pytest.raises(DisconnectedError):
        assert (await talk.read()).data == b""
    return got


def peer(data: bytes, cuts: list[int], room: int) -> Callable[[Any], bool]:
    """Sends in pieces, reads as much as there is room for."""
    left = [data]
    sizes = list(cuts)

    def step(one: Any) -> bool:
        size = sizes.pop(0) if sizes else len(left[0]) or 1
        if left[0]:
            try:
                sent = one.peer.send(left[0][:size])
                left[0] = left[0][sent:]
            except BlockingIOError:
                pass
        one.receive(max(room, 1))
        if not left[0] and not one.peer._shut:
            one.peer.shutdown(1)
        return not one.going_on

    return step


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(ACTIONS, max_size=25), st.lists(st.integers(1, 200), max_size=20),
    st.sampled_from([100, 5000, 1 << 20]), st.booleans(), st.integers(1, 3),
)  # fmt: skip
def test_a_random_program(program: list[Any], cuts: list[int], room: int, heard: bool, repeat: int) -> None:
    program = [each for each in program if each[0] != "raw"] * repeat
    with RequestExecutor(MemoryEngine()) as executor, closing(Talk(executor)) as talk:
        one = talk.pair()
        one.peer.room = room
        one.live(ConversationOperation(hold, program), [peer(arriving(program), cuts, room)], {})
        if not heard:
            talk.bag.remove_socket(one.client)
            one.client._channel = None  # type: ignore[assignment]
            one.metadata = talk.bag.add_socket(
                one.client, ConversationOperation(hold, program), handler={EventType.FINALIZE: one._tell},
            )  # fmt: skip
        talk.run()
        assert one.metadata.result == arriving(program), [str(each) for each in one.events]
        assert one.received == leaving(program)
