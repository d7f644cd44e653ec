"""ReadWriteOperation: both directions at once, what is queued in them, and who goes first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    DisconnectedError,
    EndOfStreamFramePicker,
    FrameError,
    NullOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    WriteOperation,
)
from support.conversation import (
    LINE,
    READ_LINE,
    Talk,
    does,
    ends,
    fixed,
    gets,
    is_told,
    reads_nothing,
    resets,
    sends,
    turns,
)

BIG = 2_000_000


def both(*operations: Operation, read_first: bool = False) -> ReadWriteOperation:
    return ReadWriteOperation(read_first, operations)


def writes(*data: Any) -> list[WriteOperation]:
    return [WriteOperation(each) for each in data]


# ---- order -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("read_first", [True, False])
@pytest.mark.parametrize("what", ["reads", "writes", "both"])
def test_twenty_first_in_first_out(talk: Talk, read_first: bool, what: str) -> None:
    """Reads of twenty different lengths: each frame tells which of them was served."""
    frames = [b"%c" % (65 + i) * (i + 1) for i in range(20)] if what != "writes" else []
    letters = [b"%c" % (97 + i) for i in range(20)] if what != "reads" else []
    to_read = [fixed(len(frame)) for frame in frames]
    to_write = writes(*letters)
    queued: list[Operation] = [*to_read, *to_write]
    if what == "both":
        queued = [each for pair in zip(to_read, to_write, strict=True) for each in pair]
    duplex = ReadWriteOperation(read_first, queued)
    assert duplex.read_first is read_first
    told = [*frames, *["WRITE"] * len(letters)]
    if not read_first:
        told = [*["WRITE"] * len(letters), *frames]
    one = talk(duplex, sends(b"".join(frames)), told=told, sent=b"".join(letters))
    assert [event.operation for event in one.events if event.type.name == "WRITE"] == to_write


@pytest.mark.parametrize("over", ["unix", "tcp"])
@pytest.mark.parametrize("read_first", [True, False])
def test_who_goes_first_at_the_beginning(talk: Talk, read_first: bool, over: str) -> None:
    """Something to read is in the kernel, and there is room to write."""
    told = [b"hello\n", "WRITE", "WRITE"] if read_first else ["WRITE", "WRITE", b"hello\n"]
    duplex = both(*writes(b"1", b"2"), READ_LINE, read_first=read_first)
    talk(duplex, sends(b"hello\n"), told=told, sent=b"12", over=over)


@pytest.mark.parametrize("read_first", [True, False])
def test_who_goes_first_when_both_are_ready(talk: Talk, read_first: bool) -> None:
    """What one read left over lies ready, and so does room to write."""
    second = [b"two\n", "WRITE"] if read_first else ["WRITE", b"two\n"]
    duplex = both(WriteOperation(b"y"), READ_LINE, read_first=read_first)
    talk(READ_LINE, sends(b"one\ntwo\n"), told=[b"one\n", *second], sent=b"y", on={"READ": [duplex]})


@pytest.mark.parametrize("read_first", [True, False])
def test_neither_direction_waits_for_the_other(talk: Talk, read_first: bool) -> None:
    talk(
        both(WriteOperation(b"ask\n"), READ_LINE, read_first=read_first), gets(b"ask\n"), sends(b"answer\n"),
        told=["WRITE", b"answer\n"], sent=b"ask\n", over="tcp",
    )  # fmt: skip


def test_it_reads_while_a_large_write_is_on_its_way(talk: Talk) -> None:
    """Not a byte is read by the peer before what it sends has been taken."""
    talk(
        both(WriteOperation(bytes(BIG)), fixed(BIG)), sends(b"x" * BIG), told=["WRITE", b"x" * BIG],
        sent=bytes(BIG),
    )  # fmt: skip


# ---- what is queued --------------------------------------------------------------------------------


def test_only_reads_and_writes_can_be_scheduled() -> None:
    with pytest.raises(TypeError):
        ReadWriteOperation(True, [NullOperation()])
    with pytest.raises(TypeError):
        ReadWriteOperation().schedule(NullOperation())
    with pytest.raises(TypeError):
        ReadWriteOperation().schedule(ReadWriteOperation())


def test_with_nothing_queued_the_request_ends(talk: Talk) -> None:
    talk(both())


def test_a_next_operation_is_queued_in_its_direction(talk: Talk) -> None:
    def on_read(event: Any) -> None:
        event.next_is_write(event.frame.data.upper())
        if event.frame.data != b"three\n":
            duplex.schedule(READ_LINE)

    duplex = both(READ_LINE, read_first=True)
    one = talk.begin(duplex, sends(b"one\ntwo\nthree\n"), on={"READ": on_read})
    talk.run()
    assert [each for each in one.told if isinstance(each, bytes)] == [b"one\n", b"two\n", b"three\n"]
    assert one.received == b"ONE\nTWO\nTHREE\n"


def test_then_is_queued_behind_what_is_queued(talk: Talk) -> None:
    first = WriteOperation(b"1", then=WriteOperation(b"3"))
    talk(both(first, WriteOperation(b"2")), told=["WRITE"] * 3, sent=b"123")


def test_another_kind_of_next_operation_is_a_type_error(talk: Talk) -> None:
    duplex = both(ReadOperation(), read_first=True)
    with pytest.raises(TypeError):
        talk(duplex, sends(b"x"), told=[b"x"], on={"READ": [NullOperation()]})


def test_the_same_operations_again(talk: Talk) -> None:
    write = WriteOperation(b"w")
    one = talk.begin(
        both(READ_LINE, write, read_first=True), sends(b"a\nb\nc\nend\n"),
        on={"READ": [READ_LINE] * 3, "WRITE": [write] * 5},
    )  # fmt: skip
    talk.run()
    assert [each for each in one.told if isinstance(each, bytes)] == [b"a\n", b"b\n", b"c\n", b"end\n"]
    assert one.names.count("WRITE") == 6 and one.received == b"w" * 6


def test_scheduling_from_another_sockets_handler(talk: Talk) -> None:
    duplex = both(ReadOperation(), read_first=True)
    text = b"from the other: hello"
    one = talk.begin(duplex, gets(text), sends(b"bye"))
    on = {"READ": lambda event: duplex.schedule(WriteOperation(b"from the other: " + event.frame.data))}
    talk(ReadOperation(), sends(b"hello"), told=[b"hello"], on=on)
    one.check(["WRITE", b"bye"], text)


def test_what_was_told_before_a_handler_failed_is_sent(talk: Talk) -> None:
    def on_write(event: Any) -> None:
        if event.operation.data == b"3":
            raise KeyError("a bug")

    with pytest.raises(KeyError):
        talk(both(*writes(b"1", b"2", b"3", b"4")), told=["WRITE"] * 3, sent=b"12", on={"WRITE": on_write})


def test_while_it_idles_the_next_use_is_planned(talk: Talk) -> None:
    duplex = both(WriteOperation(b"1"))

    def on_alert(event: Any) -> None:
        duplex.schedule(WriteOperation(b"2"))
        duplex.schedule(READ_LINE)
        event.next_is(duplex)

    def on_read(event: Any) -> None:
        event.metadata.keep_alive = False

    one = talk.begin(
        duplex, gets(b"1"), sends(b"go on\n"), on={"DATA_ALERT": on_alert, "READ": on_read}, keep_alive=True
    )
    talk.run()
    assert one.received == b"12"
    assert sorted(map(str, one.told[2:-2])) == sorted(["WRITE", "DATA_ALERT 1", str(b"go on\n"), "WRITE"])


# ---- how queued writes leave -----------------------------------------------------------------------

CROWDS: list[tuple[int, Any]] = [
    (3000, b"x"), (200, b"x" * 100), (200, bytearray(b"x" * 100)), (15, b"x" * 10_000), (1, b"x" * 100_000)
]  # fmt: skip


@pytest.mark.parametrize("data_when", ["scheduled", "told"])
@pytest.mark.parametrize(("count", "data"), CROWDS, ids=["tiny", "lines", "bytearrays", "large", "one"])
def test_the_queue_of_a_peer_that_takes_everything_is_empty_after_each_turn(
    talk: Talk, count: int, data: Any, data_when: str
) -> None:
    duplex = both(READ_LINE)
    queued: list[WriteOperation] = []
    told: list[Operation] = []

    def on_write(event: Any) -> None:
        told.append(event.operation)
        event.operation.data = data

    def schedule() -> None:
        told.clear()
        queued[:] = writes(*[data if data_when == "scheduled" else None] * count)
        for each in queued:
            duplex.schedule(each)

    def look(_: Any) -> bool:
        assert not duplex._writes and told == queued
        return True

    rounds = [step for _ in range(10) for step in (does(schedule), turns(1), look, gets(data * count))]
    one = talk.begin(duplex, is_told("CONNECTED"), rounds, sends(b"end\n"), on={"WRITE": on_write})
    talk.run()
    assert one.received == data * count * 10


def test_small_writes_leave_joined(talk: Talk) -> None:
    """The kernel keeps few hundred small sends for a peer that does not read, and as bytes all of them."""
    data = bytes(i % 256 for i in range(5000))
    queued = writes(*(data[i : i + 1] for i in range(5000)))
    one = talk(both(*queued), reads_nothing, told=["WRITE"] * 5000, sent=data)
    assert [event.operation for event in one.events if event.type.name == "WRITE"] == queued


def of_every_size() -> tuple[list[WriteOperation], bytes]:
    """Writes, and all of their bytes."""
    sizes = [1, 70_000, 10, 65_535, 65_536, 65_537, 3, 2_000_000, 0, 5] * 2
    data = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    queued = writes(*data, (part for part in [b"a", b"", b"b" * 300_000]), b"end")
    return queued, b"".join([*data, b"a", b"b" * 300_000, b"end"])


def test_writes_of_every_size_leave_in_order(talk: Talk) -> None:
    """Below and above what is joined, behind a peer that reads slowly, iterables among them."""
    queued, whole = of_every_size()
    talk(both(*queued), told=["WRITE"] * len(queued), sent=whole)


def test_much_scheduled_by_others_leaves_within_the_turn(talk: Talk) -> None:
    """A hundred sockets are ready at once, and each tells one that is not: the queue stays below the sum."""
    duplex = both(READ_LINE)
    most: list[int] = []

    def on_read(event: Any) -> None:
        duplex.schedule(WriteOperation(event.frame.data))
        most.append(sum(len(write.data) for write in duplex._writes))

    one = talk.begin(duplex, gets(b"x" * 100_000), sends(b"enough\n"))
    for _ in range(100):
        talk.begin(fixed(1000), sends(b"x" * 1000), on={"READ": on_read})
    talk.run()
    one.check([*["WRITE"] * 100, b"enough\n"], b"x" * 100_000)
    assert max(most) < 80_000


def test_a_long_queue_does_not_hold_up_others(talk: Talk) -> None:
    seen: list[int] = []
    one = talk.begin(both(*writes(*[b""] * 20_000)))
    talk.begin(ReadOperation(), sends(b"!"), on={"READ": lambda event: seen.append(len(one.events))})
    talk.run()
    assert one.names.count("WRITE") == 20_000 and seen[0] < 10_000


# ---- how it ends -----------------------------------------------------------------------------------

ENDINGS: list[tuple[Any, bytes, list[bytes], list[Any]]] = [
    (None, b"", [], []),
    (LINE, b"", [], [DisconnectedError]),
    (LINE, b"hal", [], [FrameError]),
    (LINE, b"one\n", [b"one\n"], []),
    (EndOfStreamFramePicker(), b"all of it", [b"all of it"], []),
]


@pytest.mark.parametrize(
    ("picker", "data", "frames", "errors"), ENDINGS, ids=["raw", "boundary", "inside", "whole", "to the end"]
)
def test_the_end_comes_after_queued_writes_have_been_sent(
    talk: Talk, picker: Any, data: bytes, frames: list[bytes], errors: list[Any]
) -> None:
    size = 3_000_000
    chunks = (bytes(50_000) for _ in range(size // 50_000))
    duplex = both(ReadOperation(picker), *writes(chunks, b"last"), read_first=True)
    one = talk.begin(duplex, sends(data), ends)
    talk.run()
    assert one.received == bytes(size) + b"last"
    assert [each for each in one.told if isinstance(each, bytes)] == frames
    assert [type(error) for error in one.errors] == errors
    assert one.names.count("WRITE") == 2 and one.names[-2:] == ["DISCONNECTED", "FINALIZE"]
    if errors == [FrameError]:
        assert bytes(one.error.partial) == data


def test_reset_in_the_middle(talk: Talk) -> None:
    duplex = both(READ_LINE, WriteOperation(bytes(100)), read_first=True)
    one = talk(
        duplex, gets(bytes(100)), resets, told=["WRITE", DisconnectedError], sent=bytes(100), over="tcp"
    )
    assert one.error.errno == 104


@pytest.mark.parametrize("kind", ["READ", "WRITE"])
def test_cancelled_in_either_direction(talk: Talk, kind: str) -> None:
    duplex = both(ReadOperation(), WriteOperation(b"y"), read_first=kind == "READ")
    on = {kind: lambda event: event.cancel_operation()}
    talk(duplex, sends(b"x"), told=[b"x" if kind == "READ" else "WRITE"], on=on)


def test_time_out_without_progress(talk: Talk) -> None:
    talk(both(ReadOperation(), read_first=True), told=["TIMEOUT IO reading"], io_timeout=0.05)


def test_kept_alive_it_idles_when_both_queues_are_empty(talk: Talk) -> None:
    told = ["WRITE", "TIMEOUT IDLE idle"]
    talk(both(WriteOperation(b"x")), told=told, sent=b"x", keep_alive=True, idle_timeout=0.05)


SCHEDULED_LATE: dict[str, Callable[[Talk], dict[str, Any]]] = {
    "ended": lambda talk: {"steps": [sends(b"line\n")]},
    "failed": lambda talk: {"steps": [sends(b"no line"), ends]},
    "cancelled": lambda talk: {"on": {"CONNECTED": lambda event: event.cancel_operation()}},
    "timed out": lambda talk: {"io_timeout": 0.02},
    "never connected": lambda talk: {"address": "unix:///nowhere/at/all"},
    "forgotten": lambda talk: {
        "steps": [sends(b"line\n")], "keep_alive": True,
        "on": {"READ": lambda event: talk.bag.forget_socket(event.socket)},
    },
    "idle": lambda talk: {"steps": [sends(b"line\n")], "keep_alive": True, "idle_timeout": 0.02},
}  # fmt: skip


@pytest.mark.parametrize("how", SCHEDULED_LATE)
def test_nothing_is_scheduled_on_a_complete_socket(talk: Talk, how: str) -> None:
    duplex = both(READ_LINE)
    more = SCHEDULED_LATE[how](talk)
    late: list[Any] = []

    def on_finalize(event: Any) -> None:
        with pytest.raises(RuntimeError, match="complete"):
            duplex.schedule(WriteOperation(b"too late"))
        late.append(event)

    one = talk.pair()
    if how == "never connected":
        one.client.close()
        one.client = ClientSocket()
    one.live(duplex, more.pop("steps", []), {**more.pop("on", {}), "FINALIZE": on_finalize}, **more)
    talk.run()
    assert len(late) == 1
    with pytest.raises(RuntimeError, match="complete"):
        duplex.schedule(READ_LINE)
    assert not duplex._writes


# ---- one object, many sockets ----------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [True, False])
def test_one_object_serves_many_sockets(talk: Talk, at_once: bool) -> None:
    shared = both(READ_LINE, *writes(b"hel", b"lo\n"), read_first=True)
    lives = []
    for _ in range(4):
        lives.append(talk.begin(shared, gets(b"hello\n"), sends(b"HELLO\n")))
        if not at_once:
            talk.run()
    if at_once:
        talk.run()
    for one in lives:
        one.check(["WRITE", "WRITE", b"HELLO\n"], b"hello\n")


def test_a_shared_object_is_done_by_who_is_forgotten_too(talk: Talk) -> None:
    shared = both(WriteOperation(b"hello\n"), READ_LINE)
    on = {"INITIALIZE": lambda event: talk.bag.forget_socket(event.socket)}
    lives = [talk.begin(shared, sends(b"answer\n"), on=on, keep_alive=True) for _ in range(3)]
    talk.run()
    for one in lives:
        one.check(["WRITE", b"answer\n"], b"hello\n", ends_with=["FINALIZE"])


def test_what_an_ended_socket_left_undone_is_not_the_next_ones(talk: Talk) -> None:
    shared = both(WriteOperation(b"1"), READ_LINE, WriteOperation(b"2"))
    for _ in range(2):
        talk(shared, told=["WRITE", "WRITE", "TIMEOUT IO reading"], sent=b"12", io_timeout=0.05)
