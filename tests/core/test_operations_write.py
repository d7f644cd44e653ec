"""Writing: what can be written, what comes after it, and what happens while the peer does not take it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evsockets import DisconnectedError, FrameError, ReadOperation, WriteOperation
from support.conversation import (
    READ_LINE,
    Talk,
    does,
    fixed,
    gets,
    gets_any,
    is_told,
    reads_nothing,
    resets,
    sends,
    turns,
)

BIG = 2_000_000


# ---- what can be written ---------------------------------------------------------------------------

WRITTEN: list[tuple[Callable[[], Any], bytes]] = [
    (lambda: b"hello", b"hello"),
    (lambda: bytearray(b"hello"), b"hello"),
    (lambda: memoryview(b"xhellox")[1:-1], b"hello"),
    (lambda: memoryview(bytes(8)).cast("I"), bytes(8)),
    (lambda: b"0", b"0"),
    (lambda: b"", b""),
    (lambda: None, b""),
    (lambda: [b"a", b"", bytearray(b"b"), memoryview(b"c"), b"0"], b"abc0"),
    (lambda: (b"0" for _ in range(300)), b"0" * 300),
    (list, b""),
    (lambda: [b"", b""], b""),
    (lambda: bytes(range(256)) * 12_000, bytes(range(256)) * 12_000),
    (lambda: bytearray(bytes(range(256)) * 12_000), bytes(range(256)) * 12_000),
    (lambda: iter([bytes(range(256)) * 12_000]), bytes(range(256)) * 12_000),
    (lambda: (bytes([i]) * 5000 for i in range(200)), b"".join(bytes([i]) * 5000 for i in range(200))),
]


@pytest.mark.parametrize(("data", "sent"), WRITTEN, ids=range(len(WRITTEN)))
def test_what_can_be_written(talk: Talk, data: Callable[[], Any], sent: bytes) -> None:
    """WRITE comes once, however often the kernel takes a part of it."""
    talk(WriteOperation(data()), told=["WRITE"], sent=sent)


def test_text_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="encode"):
        WriteOperation("text")  # type: ignore[arg-type]
    operation = WriteOperation()
    with pytest.raises(TypeError):
        operation.data = "text"
    with pytest.raises(TypeError):
        WriteOperation(12)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        WriteOperation(b"", then=b"")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="then must be an operation, got b'next'"):
        operation.then = b"next"  # type: ignore[assignment]
    with pytest.raises(TypeError):
        ReadOperation(b"\n")  # type: ignore[arg-type]


@pytest.mark.parametrize("chunk", ["text", 7, None])
def test_an_iterable_of_something_else_ends_the_run(talk: Talk, chunk: Any) -> None:
    with pytest.raises(TypeError, match="bytes"):
        talk(WriteOperation([b"a", chunk]), told=["WRITE"], sent=b"a")


def first_and_then(error: Exception) -> Iterator[bytes]:
    yield b"first"
    raise error


def test_an_iterator_that_raises_midway_ends_the_run(talk: Talk) -> None:
    with pytest.raises(ZeroDivisionError, match="midway"):
        talk(WriteOperation(first_and_then(ZeroDivisionError("midway"))), told=["WRITE"], sent=b"first")


def test_a_library_error_out_of_an_iterator_is_that_sockets_exception(talk: Talk) -> None:
    broken = WriteOperation(first_and_then(FrameError("no more")))
    one = talk(broken, told=["WRITE", FrameError], sent=b"first")
    assert one.error.socket is one.client


def test_an_iterable_is_pulled_as_the_peer_accepts(talk: Talk) -> None:
    pulled: list[int] = []

    def endless() -> Iterator[bytes]:
        while True:
            pulled.append(1)
            yield bytes(10_000)

    told = ["WRITE", "TIMEOUT IO writing"]
    talk(WriteOperation(endless()), reads_nothing, told=told, sent=None, io_timeout=0.1)
    assert len(pulled) < 200  # what the kernel's buffers hold, no more


def test_one_character_zero_goes_everywhere(talk: Talk) -> None:
    """It is data: alone, out of an iterable, as what a frame left over."""
    on = {"READ": [fixed(1), WriteOperation([b"0", b"0"])]}
    talk(
        WriteOperation(b"0", then=fixed(1)), sends(b"10"), on=on,
        told=["WRITE", b"1", b"0", "WRITE"], sent=b"000",
    )  # fmt: skip


# ---- what comes next -------------------------------------------------------------------------------


def test_write_fires_once_before_the_first_byte_and_may_set_the_data(talk: Talk) -> None:
    def on_write(event: Any) -> None:
        with pytest.raises(BlockingIOError):
            one.peer.recv(1)
        assert event.metadata.bytes_sent == 0
        event.operation.data = [b"in", b"stead"]

    one = talk.pair()
    talk(WriteOperation(b"hello"), told=["WRITE"], sent=b"instead", on={"WRITE": on_write}, again=one)


def test_then_is_next_unless_a_handler_says_otherwise(talk: Talk) -> None:
    def on_write(event: Any) -> None:
        if event.operation is first:
            assert event.next_operation is then
            event.next_is(WriteOperation(b"2"))

    then = WriteOperation(b"never")
    first = WriteOperation(b"1", then=then)
    talk(first, told=["WRITE", "WRITE"], sent=b"12", on={"WRITE": on_write})


def test_then_can_be_cleared(talk: Talk) -> None:
    on = {"WRITE": lambda event: event.next_operation_not_required()}
    talk(WriteOperation(b"1", then=ReadOperation()), told=["WRITE"], sent=b"1", on=on)


def test_the_same_write_again_and_again(talk: Talk) -> None:
    again = WriteOperation(b"x")
    talk(again, told=["WRITE"] * 201, sent=b"x" * 201, on={"WRITE": [again] * 200})


def test_one_write_object_serves_many_sockets(talk: Talk) -> None:
    data = b"shared" * 100_000
    shared = WriteOperation(data, then=fixed(2))
    all_of_them = [talk.begin(shared, gets(data), sends(b"ok")) for _ in range(5)]
    talk.run()
    for one in all_of_them:
        one.check(["WRITE", b"ok"], data)


def test_two_writes_do_not_mix(talk: Talk) -> None:
    last = WriteOperation(b"c" * BIG)
    talk(
        WriteOperation(b"a" * BIG, then=WriteOperation([b"b"] * 1000, then=last)),
        told=["WRITE"] * 3, sent=b"a" * BIG + b"b" * 1000 + b"c" * BIG,
    )  # fmt: skip


# ---- what the kernel does not take -----------------------------------------------------------------


def test_nothing_advances_until_the_last_byte_is_taken(talk: Talk) -> None:
    def check() -> None:
        assert one.told == ["INITIALIZE", "CONNECTED", "WRITE"]
        assert one.metadata.bytes_received == 0  # nothing is read meanwhile
        assert 0 < one.metadata.bytes_sent < BIG

    one = talk.pair()
    talk(
        WriteOperation(bytes(BIG), then=READ_LINE), sends(b"early\n"), turns(5), does(check),
        told=["WRITE", b"early\n"], sent=bytes(BIG), again=one,
    )  # fmt: skip


def test_it_is_writing_that_times_out(talk: Talk) -> None:
    talk(
        WriteOperation(bytes(BIG), then=READ_LINE), reads_nothing, told=["WRITE", "TIMEOUT IO writing"],
        sent=None, io_timeout=0.05,
    )  # fmt: skip


def test_one_more_attempt_goes_on_where_it_was(talk: Talk) -> None:
    def on_timeout(event: Any) -> None:
        event.enable_one_more_attempt()
        event.metadata.io_timeout = None

    talk(
        WriteOperation(bytes(range(250)) * 8000), is_told("TIMEOUT"), on={"TIMEOUT": on_timeout},
        told=["WRITE", "TIMEOUT IO writing"], sent=bytes(range(250)) * 8000, io_timeout=0.05,
    )  # fmt: skip


def test_cancelling_does_not_wait_for_the_last_byte(talk: Talk) -> None:
    one = talk.pair()
    talk(WriteOperation(bytes(BIG)), turns(2), does(one.client.close), told=["WRITE"], sent=None, again=one)
    assert 0 < len(one.received) < BIG


@pytest.mark.parametrize("data", [lambda: bytes(BIG), lambda: itertools.repeat(bytes(10_000))])
def test_reset_while_bytes_are_unsent(talk: Talk, data: Callable[[], Any]) -> None:
    one = talk(
        WriteOperation(data(), then=READ_LINE), gets_any(1000), resets, over="tcp",
        told=["WRITE", DisconnectedError], sent=None,
    )  # fmt: skip
    assert one.error.errno in (104, 32) and one.error.socket is one.client
    assert one.metadata.address in str(one.error) and str(one.error.errno) in str(one.error)
    assert isinstance(one.error.__cause__, OSError)


def test_a_chunk_that_ends_inside_a_frame(talk: Talk) -> None:
    """The answers leave before the rest of it is waited for."""
    answers = [WriteOperation(data, then=READ_LINE) for data in (b"A\n", b"B\n")]
    talk(
        READ_LINE, sends(b"a\nb\nen"), gets(b"A\nB\n"), sends(b"d\n"), on={"READ": answers},
        told=[b"a\n", "WRITE", b"b\n", "WRITE", b"end\n"], sent=b"A\nB\n",
    )  # fmt: skip


@pytest.mark.parametrize("nothing", [[], [b"", b""], iter(())])
def test_an_empty_answer_before_the_rest_of_a_frame(talk: Talk, nothing: Any) -> None:
    """Nothing is left to leave: nothing is kept for it."""
    answer = WriteOperation(nothing, then=READ_LINE)
    talk(
        READ_LINE, sends(b"a\nen"), turns(3), sends(b"d\n"), on={"READ": [answer]},
        told=[b"a\n", "WRITE", b"end\n"], sent=b"",
    )  # fmt: skip


def test_a_pipelining_peer_that_does_not_read(talk: Talk) -> None:
    """Memory is bounded: with answers unsent no more requests are read."""
    answer = WriteOperation(bytes(20_000), then=READ_LINE)
    on = {"READ": lambda event: event.next_is(answer)}
    one = talk.begin(READ_LINE, sends(b"x\n" * 2_000_000), on=on, io_timeout=0.05)
    talk.run()
    assert one.names.count("READ") < 100
    assert one.metadata.bytes_received < one.progress  # what was sent
    assert one.told[-3:] == ["TIMEOUT IO writing", "DISCONNECTED", "FINALIZE"]


def test_replacing_a_read_keeps_what_was_received(talk: Talk) -> None:
    one = talk.pair()

    def received(_: Any) -> bool:
        return one.metadata.bytes_received == 11

    replace = does(lambda: talk.bag.set_operation(one.client, fixed(4)))
    talk(READ_LINE, sends(b"half a line"), received, replace, told=[b"half"], again=one)


def test_one_busy_socket_leaves_the_others_their_turns(talk: Talk) -> None:
    """A sender that always has data, and a writer whose peer always reads, starve nobody."""
    order: list[str] = []

    def on_greedy(event: Any) -> None:
        order.append("greedy")
        greedy.peer.send(bytes(60_000))
        if "modest" not in order and len(order) < 5000:
            event.next_is(fixed(60_000))

    greedy = talk.begin(fixed(60_000), sends(bytes(60_000)), on={"READ": on_greedy})
    talk.begin(ReadOperation(), sends(b"x"), on={"READ": lambda event: order.append("modest")})
    talk.run()
    assert order.index("modest") <= 3
