"""Operations of a user's own, where they do more than the simplest."""

from __future__ import annotations

from typing import Any

import pytest

from evsockets import (
    READ,
    WRITE,
    ClientSocket,
    ConversationOperation,
    EndOfStreamFramePicker,
    EventType,
    Frame,
    NullOperation,
    Operation,
    ReadEvent,
    ReadOperation,
    RequestExecutor,
    WriteOperation,
)
from support.certificates import Authority
from support.service import Service
from support.wire import pair, read_to_end, talk


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


@pytest.mark.parametrize("before", ["nothing", "a write", "a read"])
def test_its_interest_may_change(executor: RequestExecutor, before: str) -> None:
    ours, theirs = pair()
    turning = Turning(then=WriteOperation(b", bye"))
    first: Operation = turning
    if before == "a write":
        first = WriteOperation(b"", then=turning)
    elif before == "a read":
        first = ReadOperation()
    with theirs:
        theirs.sendall(b"question")

        def on_read(event: Any) -> None:
            theirs.sendall(b"another")
            event.next_is(turning)

        log = talk(executor, None, first, socket=ours, io_timeout=5, on={"READ": on_read})
        assert log.timeouts == [] and read_to_end(theirs) == b"answer, bye"
    assert turning.steps == [READ, WRITE]


def test_of_minimum_speeds_too(executor: RequestExecutor) -> None:
    """The same where the socket's bytes are measured, which goes another way."""
    ours, theirs = pair()
    turning = Turning()
    with theirs:
        theirs.sendall(b"question")
        log = talk(
            executor, None, turning, socket=ours, io_timeout=5,
            min_receive_speed=1, min_receive_speed_duration=60,
        )  # fmt: skip
        assert log.timeouts == [] and read_to_end(theirs) == b"answer"


class SendAll(Operation):
    """Sends `size` bytes, and is done when `channel.send` has taken them."""

    interest = WRITE

    def __init__(self, size: int) -> None:
        self.missing = size

    def start(self, channel: Any) -> Operation | None:
        return self.step(channel, WRITE)

    def step(self, channel: Any, mask: int) -> Operation | None:
        while self.missing:
            taken = channel.send(bytes(min(self.missing, 100_000)))
            if not taken:
                return self
            self.missing -= taken
        return None


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_what_send_took_arrives(executor: RequestExecutor, ca: Authority, scheme: str) -> None:
    """Also what TLS has taken and the kernel not yet: the end waits for it."""
    size = 2_000_000
    received: list[int] = []
    sent: list[Any] = []

    def started(event: Any) -> None:
        executor.socket_bag.add_socket(
            ClientSocket(), SendAll(size), address=f"{scheme}://localhost:{event.metadata.local_address[1]}",
            stream_context={"ca_file": ca.ca_file, "send_buffer_size": 8192}, handler=sent.append,
        )  # fmt: skip

    def on_read(event: Any) -> None:
        received.append(len(event.frame.data))
        event.next_is_read()

    service = Service(
        executor, f"{scheme}://127.0.0.1:0", first=ReadOperation, handler={EventType.READ: on_read},
        started=started, stream_context={
            "receive_buffer_size": 4096, "certificate": ca.server.certificate,
            "private_key": ca.server.private_key,
        },
    )  # fmt: skip
    executor.execute_request()
    assert sum(received) == size == sent[0].metadata.bytes_sent
    assert service.talking.errors == []


class ReadAll(Operation):
    """Reads to the end of the stream, whatever has been read before."""

    def __init__(self) -> None:
        self.received: list[Any] = []

    def step(self, channel: Any, mask: int) -> Operation | None:
        self.received.append(channel.recv())
        channel.inbox.drop(len(channel.inbox))
        return None if channel.ended else self


@pytest.mark.parametrize("before", ["a read to the end", "an idle moment"])
def test_one_that_begins_after_the_end_finds_it(executor: RequestExecutor, before: str) -> None:
    ours, theirs = pair()
    theirs.sendall(b"everything")
    theirs.close()
    own = ReadAll()
    if before == "a read to the end":
        log = talk(
            executor, None, ReadOperation(EndOfStreamFramePicker()), socket=ours, io_timeout=5,
            on={"READ": lambda event: event.next_is(own)},
        )  # fmt: skip
        assert own.received == [b""]
    else:
        log = talk(
            executor, None, NullOperation(), socket=ours, io_timeout=5, keep_alive=True,
            on={"DATA_ALERT": lambda event: event.next_is(own)},
        )  # fmt: skip
        assert own.received == [b""] and log.metadata.bytes_received == 10
    assert log.timeouts == [] and log.names[-1] == "FINALIZE"


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
def test_what_its_handlers_set_through_the_bag_follows_it(executor: RequestExecutor, told: int) -> None:
    """It has not asked what the event's handlers name, which is what the event alone tells it."""
    ours, theirs = pair()

    def on_read(event: Any) -> None:
        if event.frame.data == b"012"[told : told + 1]:
            executor.socket_bag.set_operation(event.socket, WriteOperation(b"set"))

    with theirs:
        theirs.sendall(b"012")
        log = talk(executor, None, Telling(3), socket=ours, on={"READ": on_read})
        assert log.frames == [b"0", b"1", b"2"] and read_to_end(theirs) == b"set"


def test_what_it_sets_itself_follows_it(executor: RequestExecutor) -> None:
    class Setting(Telling):
        def step(self, channel: Any, mask: int) -> Operation | None:
            following = super().step(channel, mask)
            executor.socket_bag.set_operation(channel.socket, WriteOperation(b"set"))
            return following

    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"0")
        talk(executor, None, Setting(1), socket=ours)
        assert read_to_end(theirs) == b"set"


def test_a_time_out_may_put_another_in_its_place(executor: RequestExecutor) -> None:
    """Though it has told an event of its own before."""
    ours, theirs = pair()

    def on_timeout(event: Any) -> None:
        event.enable_one_more_attempt()
        executor.socket_bag.set_operation(event.socket, WriteOperation(b"set"))

    with theirs:
        theirs.sendall(b"0")
        log = talk(executor, None, Telling(2), socket=ours, io_timeout=0.05, on={"TIMEOUT": on_timeout})
        assert log.names.count("TIMEOUT") == 1 and read_to_end(theirs) == b"set"


class Counted(WriteOperation):
    """Counts its starts, with the parameters that `Operation.start` has."""

    starts = 0

    def start(self, channel: Any) -> Operation | None:
        self.starts += 1
        return super().start(channel)


@pytest.mark.parametrize("data", [b"one", [b"o", b"ne"]])
@pytest.mark.parametrize("named", ["first", "in READ", "in a conversation"])
def test_a_write_of_ones_own(executor: RequestExecutor, data: Any, named: str) -> None:
    ours, theirs = pair()
    write = Counted(data)

    async def converse(conversation: Any) -> None:
        await conversation.do(write)

    first = {"first": write, "in READ": ReadOperation()}.get(named) or ConversationOperation(converse)
    with theirs:
        if named == "in READ":
            theirs.sendall(b"go")
        on_read = {"READ": lambda event: event.next_is(write)}
        talk(executor, None, first, socket=ours, on=on_read)
        assert read_to_end(theirs) == b"one" and write.starts == 1
