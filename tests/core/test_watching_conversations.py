"""What is said and recorded of conversations, on a clock that only the engine moves."""

from __future__ import annotations

import re
from typing import Any

import pytest

from core.test_explain import seen
from evsockets import (
    Conversation,
    ConversationOperation,
    FixedLengthFramePicker,
    PrometheusEventHandler,
    Timeline,
    TimeoutStage,
)
from evsockets.watching.explain import next_timeout
from support.conversation import Talk, sends
from support.optional import library
from support.wire import turns_to_the_end

FOUR = FixedLengthFramePicker(4)


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
def test_what_is_awaited(talk: Talk, function: Any, parts: list[str]) -> None:
    talk.begin(ConversationOperation(function), io_timeout=20)
    said = seen(talk.executor)
    for part in parts:
        assert part in said


def test_the_scope_named_is_the_one_that_passes(talk: Talk) -> None:
    timeline = Timeline()
    talk.executor.with_event_handler(timeline)
    one = talk.begin(ConversationOperation(hurries), io_timeout=20)
    talk.executor.start_request()
    talk.executor.turn(0.5)
    promised = next_timeout(one.metadata._channel)
    turns_to_the_end(talk.executor)
    assert promised == (pytest.approx(talk.clock.now), TimeoutStage.SCOPE)
    (record,) = timeline._records()
    assert record.outcome == "timed out while reading"
    assert [name for name, _, _ in record.phases(0)] == ["awaiting"]


def test_a_time_out_of_a_scope_is_counted_as_one(talk: Talk) -> None:
    registry = library("prometheus_client").CollectorRegistry()
    talk.executor.with_event_handler(PrometheusEventHandler(registry))
    talk.begin(ConversationOperation(hurries))
    talk.run()
    assert registry.get_sample_value("evsockets_timeouts_total", {"stage": "scope"}) == 1


def test_a_conversation_that_is_kept_alive_does_not_idle_before_its_end(talk: Talk) -> None:
    async def twice(conversation: Conversation) -> None:
        await conversation.read(FOUR)
        await conversation.sleep(3)

    timeline = Timeline()
    talk.executor.with_event_handler(timeline)
    talk.begin(ConversationOperation(twice), sends(b"four"), keep_alive=True, request_timeout=5)
    talk.run()
    (record,) = timeline._records()
    assert "idle" not in [name for name, _, end in record.phases(0) if end < 3]
    assert record.outcome.startswith("timed out while idle")


def test_a_coroutine_of_another_kind(talk: Talk) -> None:
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

    def makes(conversation: Conversation) -> Any:
        return Own(sleeps(conversation))

    talk.begin(ConversationOperation(makes))
    assert re.search(r"awaited by [\w.<>]*makes\(\),", seen(talk.executor))
