"""Operations of a user's own, where they do more than the simplest."""

from __future__ import annotations

from typing import Any

import pytest

from evsockets import (
    READ,
    WRITE,
    ConversationOperation,
    EndOfStreamFramePicker,
    Frame,
    NullOperation,
    Operation,
    ReadEvent,
    ReadOperation,
    WriteOperation,
)
from support.conversation import Talk, closes, sends


class Turning(Operation):
    """Reads a question, then waits to write the answer: what it waits for changes on the way."""

    def __init__(self, then: Operation | None = None) -> None:
        self.interest = READ
        self.steps: list[int] = []
        self.then = then

    def step(self, channel: Any, mask: int) -> Operation | None:
        self.steps.append(mask)
        if self.interest == READ:
            if channel.recv() is not None:
                channel.inbox.drop(len(channel.inbox))
                self.interest = WRITE
            return self
        channel.send(b"answer")
        return self.then


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("before", ["nothing", "a write", "a read"])
def test_its_interest_may_change(talk: Talk, before: str, measured: bool) -> None:
    """The same where the socket's bytes are measured, which goes another way."""
    turning = Turning(then=WriteOperation(b", bye"))
    first: Operation = turning
    told: list[Any] = ["WRITE"]
    steps = [sends(b"question")]
    if before == "a write":
        first, told = WriteOperation(b"", then=turning), ["WRITE", *told]
    elif before == "a read":
        first, told = ReadOperation(), [b"question", *told]

    def on_read(event: Any) -> None:
        one.peer.send(b"another")
        event.next_is(turning)

    one = talk.pair()
    limits = {"min_receive_speed": 1, "min_receive_speed_duration": 60} if measured else {}
    talk(first, *steps, told=told, sent=b"answer, bye", on={"READ": on_read}, again=one, **limits)
    assert turning.steps == [READ, WRITE]


class ReadAll(Operation):
    """Reads to the end of the stream, whatever has been read before."""

    def __init__(self) -> None:
        self.received: list[Any] = []

    def step(self, channel: Any, mask: int) -> Operation | None:
        self.received.append(channel.recv())
        channel.inbox.drop(len(channel.inbox))
        return None if channel.ended else self


@pytest.mark.parametrize(("first", "told"), [
    (ReadOperation(EndOfStreamFramePicker()), [b"everything"]), (NullOperation(), ["DATA_ALERT 1"]),
])  # fmt: skip
def test_one_that_begins_after_the_end_finds_it(talk: Talk, first: Operation, told: list[Any]) -> None:
    own = ReadAll()
    on = {"READ": [own], "DATA_ALERT": [own]}
    one = talk(first, sends(b"everything"), closes, told=told, on=on, keep_alive=type(first) is NullOperation)
    assert own.received == [b""] and one.metadata.bytes_received == 10


class Telling(Operation):
    """Tells READ for each of `count` bytes, and goes on whatever the handlers name."""

    interest = READ

    def __init__(self, count: int) -> None:
        self.missing = count

    def step(self, channel: Any, mask: int) -> Operation | None:
        while self.missing and (channel.inbox or channel.recv()):
            self.missing -= 1
            channel.emit(ReadEvent(channel, Frame(channel.inbox.take(1), None), self))
        return self if self.missing else None


@pytest.mark.parametrize("told", [0, 1, 2])
def test_what_its_handlers_set_through_the_bag_follows_it(talk: Talk, told: int) -> None:
    """It has not asked what the event's handlers name, which is what the event alone tells it."""

    def on_read(event: Any) -> None:
        if event.frame.data == b"012"[told : told + 1]:
            talk.bag.set_operation(event.socket, WriteOperation(b"set"))

    talk(Telling(3), sends(b"012"), told=[b"0", b"1", b"2", "WRITE"], sent=b"set", on={"READ": on_read})


def test_what_it_sets_itself_follows_it(talk: Talk) -> None:
    class Setting(Telling):
        def step(self, channel: Any, mask: int) -> Operation | None:
            following = super().step(channel, mask)
            talk.bag.set_operation(channel.socket, WriteOperation(b"set"))
            return following

    talk(Setting(1), sends(b"0"), told=[b"0", "WRITE"], sent=b"set")


def test_a_time_out_may_put_another_in_its_place(talk: Talk) -> None:
    """Though it has told an event of its own before."""

    def on_timeout(event: Any) -> None:
        event.enable_one_more_attempt()
        talk.bag.set_operation(event.socket, WriteOperation(b"set"))

    told = [b"0", "TIMEOUT IO reading", "WRITE"]
    talk(Telling(2), sends(b"0"), told=told, sent=b"set", on={"TIMEOUT": on_timeout}, io_timeout=3)


class Counted(WriteOperation):
    """Counts its starts, with the parameters that `Operation.start` has."""

    starts = 0

    def start(self, channel: Any) -> Operation | None:
        self.starts += 1
        return super().start(channel)


@pytest.mark.parametrize("data", [b"one", [b"o", b"ne"]])
@pytest.mark.parametrize("named", ["first", "in READ", "in a conversation"])
def test_a_write_of_ones_own(talk: Talk, data: Any, named: str) -> None:
    async def converse(conversation: Any) -> None:
        await conversation.do(write)

    write = Counted(data)
    first = {"first": write, "in READ": ReadOperation()}.get(named) or ConversationOperation(converse)
    one = talk.begin(first, *[sends(b"go")] * (named == "in READ"), on={"READ": [write]})
    talk.run()
    assert one.received == b"one" and write.starts == 1
