"""Minimum speeds, on a clock that only the engine moves."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from evsockets import (
    Configuration,
    NullOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ServerSocket,
    SlowTransferError,
    WriteOperation,
)
from support.conversation import Conversation, Talk, fixed, reads_nothing
from support.memory import MemoryEngine
from support.wire import add

LONG = fixed(1_000_000)
NEVER = {"io_timeout": None, "connection_timeout": None}
RECEIVE = {"min_receive_speed": 100, "min_receive_speed_duration": 10}
SEND = {"min_send_speed": 100, "min_send_speed_duration": 10}


def sends(one: Conversation, every: float, size: int, times: int) -> list[Any]:
    """The peer sends so much, again and again."""
    return [(every, lambda: one.peer.send(bytes(size)))] * times


def reads(one: Conversation, every: float, size: int, times: int) -> list[Any]:
    return [(every, lambda: one.peer.recv(size))] * times


class Bench:
    """One socket, whose peer does what `talk.later` says."""

    def __init__(self, talk: Talk) -> None:
        self.talk, self.one = talk, talk.pair()

    def run(self, operation: Operation, *later: Any, on: Any = None, **more: Any) -> Conversation:
        """Without a time-out; its `error` is that it is too slow."""
        self.talk.later(*later)
        self.one.live(operation, [reads_nothing], on or {}, **{**NEVER, **more})
        self.talk.run()
        return self.one

    def set(self, after: float, **metadata: Any) -> Any:
        return after, lambda: self.talk.bag.set_metadata(self.one.client, **metadata)

    def is_slow(self, direction: str, when: float, within: float = 1e-9) -> SlowTransferError:
        error = self.one.error
        assert isinstance(error, SlowTransferError) and error.direction == direction
        assert self.talk.clock.now == pytest.approx(when, abs=within)
        return error


@pytest.fixture
def bench(talk: Talk) -> Bench:
    return Bench(talk)


def test_a_silent_peer_is_slow_after_the_duration(bench: Bench) -> None:
    one = bench.run(LONG, **RECEIVE)
    error = bench.is_slow("receive", 10)
    assert (error.speed, error.duration, error.socket) == (0.0, 10.0, one.client)
    one.check([SlowTransferError])


def test_exactly_the_minimum_is_enough(bench: Bench) -> None:
    one = bench.run(LONG, *sends(bench.one, 1, 100, 30), (0.5, bench.one.close_peer), **RECEIVE)
    assert not isinstance(one.error, SlowTransferError)
    assert one.metadata.bytes_received == 3000


def test_a_fast_start_does_not_hide_a_stall(bench: Bench) -> None:
    bench.run(LONG, *sends(bench.one, 1, 50_000, 1), **RECEIVE)
    bench.is_slow("receive", 11, within=1)


def test_just_too_slow(bench: Bench) -> None:
    bench.run(LONG, *sends(bench.one, 1, 99, 30), **RECEIVE)
    assert 0 < bench.is_slow("receive", 10, within=0.1).speed < 100


def test_a_stalled_write_is_slow(bench: Bench) -> None:
    one = bench.run(WriteOperation(bytes(5_000_000)), **SEND)
    bench.is_slow("send", 10, within=1)
    one.check(["WRITE", SlowTransferError], sent=None)


def test_sending_is_not_judged_by_the_receive_minimum(bench: Bench) -> None:
    """An absurd minimum for the other direction does not matter while nothing is read."""
    absurd = {"min_receive_speed": 10**9, "min_receive_speed_duration": 2}
    one = bench.run(WriteOperation(bytes(2_000_000)), *reads(bench.one, 1, 200_000, 40), **absurd)
    assert one.errors == [] and one.metadata.bytes_sent == 2_000_000


def test_reading_is_not_judged_by_the_send_minimum(bench: Bench) -> None:
    absurd = {"min_send_speed": 10**9, "min_send_speed_duration": 1}
    one = bench.run(LONG, *sends(bench.one, 1, 10, 30), (0, bench.one.close_peer), **absurd)
    assert not isinstance(one.error, SlowTransferError)


@pytest.mark.parametrize("direction", ["receive", "send"])
def test_both_directions_have_counters_of_their_own(bench: Bench, direction: str) -> None:
    """Bytes the other way make the one that stands still no faster."""
    if direction == "receive":
        later, limits = reads(bench.one, 0.5, 200_000, 100), RECEIVE
    else:
        later, limits = sends(bench.one, 0.5, 9_000, 100), SEND
    writes = WriteOperation(itertools.repeat(bytes(10_000)))
    bench.run(ReadWriteOperation(True, [LONG, writes]), *later, **limits)
    bench.is_slow(direction, 10, within=0.6)


def test_idle_is_not_judged(bench: Bench) -> None:
    one = bench.run(NullOperation(), keep_alive=True, idle_timeout=100, **RECEIVE, **SEND)
    one.check(["TIMEOUT IDLE idle"])


def test_set_while_running_it_counts_from_then(bench: Bench) -> None:
    bench.run(LONG, bench.set(50, **RECEIVE), (0.1, lambda: None), io_timeout=300)
    bench.is_slow("receive", 60, within=0.2)


def test_a_changed_duration_counts_from_its_change(bench: Bench) -> None:
    bench.run(LONG, bench.set(5, min_receive_speed_duration=3), io_timeout=300, **RECEIVE)
    assert bench.is_slow("receive", 8, within=0.2).duration == 3


@pytest.mark.parametrize("name", ["min_receive_speed", "min_receive_speed_duration"])
def test_taken_back_it_is_not_judged(bench: Bench, name: str) -> None:
    bench.run(LONG, bench.set(5, **{name: None}), **RECEIVE, io_timeout=50).check(["TIMEOUT IO reading"])


def test_without_a_duration_it_is_not_judged(bench: Bench) -> None:
    """Neither when the live speed is asked for, which is measured over a duration of its own."""
    speeds: list[float] = []

    def on_timeout(event: Any) -> None:
        speeds.append(event.metadata.receive_speed)
        if len(speeds) < 3:
            event.enable_one_more_attempt()

    one = bench.run(LONG, on={"TIMEOUT": on_timeout}, io_timeout=20, min_receive_speed=100)
    assert speeds == [0.0] * 3 and one.errors == []


def test_a_listener_has_no_speed() -> None:
    """What the Configuration asks of connections does not end their server."""
    with RequestExecutor(MemoryEngine(), configuration=Configuration(**RECEIVE, **SEND)) as executor:
        limits = {**NEVER, "io_timeout": 50}
        log = add(executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), **limits)
        executor.execute_request()
    assert log.timeouts == [("IO", "listening")] and log.errors == []


def test_reset_starts_anew(bench: Bench) -> None:
    reset = bench.talk.bag.reset_transfer_rate_counters
    bench.run(LONG, (8, lambda: reset(bench.one.client)), **RECEIVE)
    bench.is_slow("receive", 18, within=0.2)


def test_live_speeds(bench: Bench) -> None:
    speeds: list[float] = []

    def look() -> None:
        speeds.append(bench.one.metadata.receive_speed)
        bench.one.close_peer()

    initially = {"INITIALIZE": lambda event: speeds.append(event.metadata.receive_speed)}
    bench.run(LONG, *sends(bench.one, 1, 500, 20), (0, look), on=initially)
    assert speeds == [0.0, pytest.approx(500, rel=0.3)]
    assert bench.one.metadata.send_speed == 0.0


def test_a_stall_of_the_whole_window_is_speed_nought(bench: Bench) -> None:
    """The window is the last five seconds, whenever the speed is first asked for."""
    speeds: list[float] = []
    on = {"TIMEOUT": lambda event: speeds.append(event.metadata.receive_speed)}
    one = bench.run(LONG, *sends(bench.one, 1, 500, 1), on=on, io_timeout=8)
    assert speeds == [0.0] and one.metadata.bytes_received == 500


def test_set_while_an_answer_is_written_it_judges_the_read_after_it(bench: Bench) -> None:
    on = {
        "READ": [WriteOperation(b"answer", then=LONG)],
        "WRITE": lambda event: bench.talk.bag.set_metadata(event.socket, **RECEIVE),
    }
    bench.run(ReadOperation(), *sends(bench.one, 20, 1, 1), on=on)
    bench.is_slow("receive", 30, within=0.01)
