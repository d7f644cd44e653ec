"""What is said and recorded of conversations, on a clock that only the engine moves."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    Conversation,
    ConversationOperation,
    FixedLengthFramePicker,
    PrometheusEventHandler,
    Timeline,
    TimeoutStage,
    explain,
)
from evsockets.explain import next_timeout
from support.optional import library
from support.stage import Stage
from support.wire import add, turns_to_the_end

FOUR = FixedLengthFramePicker(4)


@pytest.fixture
def ends() -> Iterator[tuple[ClientSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with theirs:
        client = ClientSocket.from_socket(ours)
        yield client, theirs
        client.close()


def seen(stage: Stage, turns: int = 3) -> str:
    """What is said after a few turns of a second each, and then the run is stopped."""
    stage.executor.start_request()
    for _ in range(turns):
        stage.executor.turn(1.0)
    said = explain(stage.executor)
    stage.executor.stop_request()
    turns_to_the_end(stage.executor, 0)
    return said


async def helper(talk: Conversation) -> bytes:
    return (await talk.read(FOUR)).data


async def asks(talk: Conversation) -> bytes:
    await talk.write(b"ask\n")
    return await helper(talk)


async def sleeps(talk: Conversation) -> None:
    await talk.sleep(30)


async def posts(talk: Conversation) -> None:
    talk.post(b"x" * 5_000_000)
    await talk.sleep(30)


async def hurries(talk: Conversation) -> None:
    with talk.timeout(5):
        await helper(talk)


def line_of(function: Any, text: str) -> int:
    """The line of this file in `function` that holds `text`."""
    with open(__file__) as source:
        lines = source.read().splitlines()
    first = function.__code__.co_firstlineno
    return next(number for number in range(first, first + 9) if text in lines[number - 1])


@pytest.mark.parametrize(
    ("function", "parts"),
    [
        (asks, [f"<ReadOperation FixedLengthFramePicker> awaited by {asks.__name__}", "IO in"]),
        (asks, [f"{__file__}, line {line_of(helper, 'talk.read')})", "waits for the peer to send"]),
        (sleeps, ["sleeping for", "awaited by sleeps()", "waits for its time"]),
        (sleeps, ["no time-out; goes on by itself in 2"]),
        (posts, ["sleeping for", ", 0 B received, 4", "next time-out: IO in"]),
        (hurries, ["next time-out: SCOPE in"]),
    ],
)
def test_what_is_awaited(stage: Stage, ends: Any, function: Any, parts: list[str]) -> None:
    client, _theirs = ends
    add(stage.executor, None, ConversationOperation(function), socket=client, io_timeout=20)
    said = seen(stage)
    for part in parts:
        assert part in said


def test_the_scope_named_is_the_one_that_passes(stage: Stage, ends: Any) -> None:
    client, _theirs = ends
    timeline = Timeline()
    stage.executor.with_event_handler(timeline)
    log = add(stage.executor, None, ConversationOperation(hurries), socket=client, io_timeout=20)
    stage.executor.start_request()
    stage.executor.turn(0.5)
    promised = next_timeout(log.metadata._channel)
    turns_to_the_end(stage.executor)
    assert promised == (pytest.approx(stage.now), TimeoutStage.SCOPE)
    (record,) = timeline._records()
    assert record.outcome == "timed out while reading"
    assert [name for name, _, _ in record.phases(0)] == ["awaiting"]


def test_a_time_out_of_a_scope_is_counted_as_one(stage: Stage, ends: Any) -> None:
    registry = library("prometheus_client").CollectorRegistry()
    stage.executor.with_event_handler(PrometheusEventHandler(registry))
    client, _theirs = ends
    add(stage.executor, None, ConversationOperation(hurries), socket=client)
    stage.executor.execute_request()
    assert registry.get_sample_value("evsockets_timeouts_total", {"stage": "scope"}) == 1


def test_a_conversation_that_is_kept_alive_does_not_idle_before_its_end(stage: Stage, ends: Any) -> None:
    client, theirs = ends
    timeline = Timeline()
    stage.executor.with_event_handler(timeline)
    theirs.sendall(b"four")

    async def twice(talk: Conversation) -> None:
        await talk.read(FOUR)
        await talk.sleep(3)

    add(stage.executor, None, ConversationOperation(twice), socket=client, keep_alive=True, request_timeout=5)
    stage.executor.execute_request()
    (record,) = timeline._records()
    assert "idle" not in [name for name, _, end in record.phases(0) if end < 3]
    assert record.outcome.startswith("timed out while idle")


def test_a_coroutine_of_another_kind(stage: Stage, ends: Any) -> None:
    """What is no native coroutine has no line to tell."""

    class Own:
        """A coroutine as Cython makes them."""

        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def send(self, value: Any) -> Any:
            return self.inner.send(value)

        def throw(self, *error: Any) -> Any:
            return self.inner.throw(*error)

        def close(self) -> None:
            self.inner.close()

        def __await__(self) -> Any:
            return self.inner.__await__()

    def makes(talk: Conversation) -> Any:
        return Own(sleeps(talk))

    client, _theirs = ends
    add(stage.executor, None, ConversationOperation(makes), socket=client)
    assert re.search(r"awaited by [\w.<>]*makes\(\),", seen(stage))
