"""Minimum speeds, on a clock that only the engine moves."""

from __future__ import annotations

import pytest

from evsockets import (
    READ,
    Configuration,
    FixedLengthFramePicker,
    NullOperation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ServerSocket,
    SlowTransferError,
    WriteOperation,
)
from evsockets.testing.scripted import ScriptedEngine
from support.life import END, USUAL
from support.wire import add, pair

LONG = FixedLengthFramePicker(1_000_000)
NEVER = {"io_timeout": None, "connection_timeout": None}
RECEIVE = {"min_receive_speed": 100, "min_receive_speed_duration": 10}
SEND = {"min_send_speed": 100, "min_send_speed_duration": 10}


class Bench:
    """An executor on a scripted clock, with one adopted socket and its peer."""

    def __init__(self) -> None:
        self.engine = ScriptedEngine(look=True)
        self.executor = RequestExecutor(engine=self.engine)
        self.start = self.engine.clock.now
        self.client, self.peer = pair()
        self.peer.setblocking(False)

    def sends(self, every: float, size: int, times: int) -> None:
        def send():
            self.peer.send(bytes(size))
            return [(self.client.fileno(), READ)]

        for _ in range(times):
            self.engine.call(send, after=every)

    def reads(self, every: float, size: int, times: int) -> None:
        for _ in range(times):
            self.engine.call(lambda: self.peer.recv(size) and None, after=every)

    @property
    def elapsed(self) -> float:
        return self.engine.clock.now - self.start

    def run(self, operation, **more):
        log = add(self.executor, None, operation, socket=self.client, **{**NEVER, **more})
        self.executor.execute_request()
        return log


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.executor.close()
    made.engine.close()
    made.peer.close()


def test_a_silent_peer_is_slow_after_the_duration(bench: Bench) -> None:
    log = bench.run(ReadOperation(LONG), **RECEIVE)
    error = log.error
    assert isinstance(error, SlowTransferError)
    assert (error.direction, error.speed, error.duration) == ("receive", 0.0, 10.0)
    assert error.socket is bench.client
    assert bench.elapsed == pytest.approx(10, abs=1e-9)
    assert log.names == [*USUAL, "EXCEPTION", *END]


def test_exactly_the_minimum_is_enough(bench: Bench) -> None:
    bench.sends(1, 100, 30)
    bench.engine.call(bench.peer.close, after=0.5)
    log = bench.run(ReadOperation(LONG), **RECEIVE)
    assert not any(isinstance(error, SlowTransferError) for error in log.errors)
    assert log.metadata.bytes_received == 3000


def test_a_fast_start_does_not_hide_a_stall(bench: Bench) -> None:
    bench.sends(1, 50_000, 1)
    log = bench.run(ReadOperation(LONG), **RECEIVE)
    assert isinstance(log.error, SlowTransferError)
    assert 10 < bench.elapsed < 12


def test_just_too_slow(bench: Bench) -> None:
    bench.sends(1, 99, 30)
    log = bench.run(ReadOperation(LONG), **RECEIVE)
    assert isinstance(log.error, SlowTransferError)
    assert 0 < log.error.speed < 100
    assert bench.elapsed == pytest.approx(10, abs=0.1)


def test_a_stalled_write_is_slow(bench: Bench) -> None:
    log = bench.run(WriteOperation(bytes(5_000_000)), **SEND)
    assert isinstance(log.error, SlowTransferError) and log.error.direction == "send"
    assert log.names == [*USUAL, "WRITE", "EXCEPTION", *END]


def test_sending_is_not_judged_by_the_receive_minimum(bench: Bench) -> None:
    """An absurd minimum for the other direction does not matter while nothing is read."""
    bench.reads(1, 200_000, 40)
    bench.engine.call(bench.peer.close, after=0.5)
    log = bench.run(WriteOperation(bytes(2_000_000)), min_receive_speed=10**9, min_receive_speed_duration=2)
    assert log.errors == []
    assert log.metadata.bytes_sent == 2_000_000


def test_reading_is_not_judged_by_the_send_minimum(bench: Bench) -> None:
    bench.sends(1, 10, 30)
    bench.engine.call(bench.peer.close)
    log = bench.run(ReadOperation(LONG), min_send_speed=10**9, min_send_speed_duration=1)
    assert not any(isinstance(error, SlowTransferError) for error in log.errors)


@pytest.mark.parametrize("direction", ["receive", "send"])
def test_both_directions_have_counters_of_their_own(bench: Bench, direction: str) -> None:
    """Bytes the other way make the one that stands still no faster."""
    if direction == "receive":
        bench.reads(0.5, 200_000, 100)
    else:
        bench.sends(0.5, 10_000, 100)
    duplex = ReadWriteOperation(True, [ReadOperation(LONG), WriteOperation(iter([bytes(10_000)] * 2_000))])
    log = bench.run(duplex, **(RECEIVE if direction == "receive" else SEND))
    assert isinstance(log.error, SlowTransferError) and log.error.direction == direction
    assert bench.elapsed == pytest.approx(10, abs=0.6)


def test_idle_is_not_judged(bench: Bench) -> None:
    log = bench.run(NullOperation(), keep_alive=True, idle_timeout=100, **RECEIVE, **SEND)
    assert log.timeouts == [("IDLE", "idle")] and log.errors == []


def test_set_while_running_it_counts_from_then(bench: Bench) -> None:
    bench.engine.call(lambda: bench.executor.socket_bag.set_metadata(bench.client, **RECEIVE), after=50)
    bench.engine.call(lambda: None, after=0.1)
    log = bench.run(ReadOperation(LONG), io_timeout=300)
    assert isinstance(log.error, SlowTransferError)
    assert bench.elapsed == pytest.approx(60, abs=0.2)


def test_a_changed_duration_counts_from_its_change(bench: Bench) -> None:
    shorter = {"min_receive_speed_duration": 3}
    bench.engine.call(lambda: bench.executor.socket_bag.set_metadata(bench.client, **shorter), after=5)
    log = bench.run(ReadOperation(LONG), io_timeout=300, **RECEIVE)
    assert isinstance(log.error, SlowTransferError) and log.error.duration == 3
    assert bench.elapsed == pytest.approx(8, abs=0.2)


@pytest.mark.parametrize("name", ["min_receive_speed", "min_receive_speed_duration"])
def test_taken_back_it_is_not_judged(bench: Bench, name: str) -> None:
    bench.engine.call(lambda: bench.executor.socket_bag.set_metadata(bench.client, **{name: None}), after=5)
    log = bench.run(ReadOperation(LONG), **{**RECEIVE, "io_timeout": 50})
    assert log.timeouts == [("IO", "reading")] and log.errors == []


def test_without_a_duration_it_is_not_judged(bench: Bench) -> None:
    """Neither when the live speed is asked for, which is measured over a duration of its own."""
    speeds = []

    def on_timeout(event):
        speeds.append(event.metadata.receive_speed)
        if len(speeds) < 3:
            event.enable_one_more_attempt()

    log = bench.run(ReadOperation(LONG), on={"TIMEOUT": on_timeout}, io_timeout=20, min_receive_speed=100)
    assert speeds == [0.0] * 3 and log.errors == []


def test_a_listener_has_no_speed(bench: Bench) -> None:
    """What the Configuration asks of connections does not end their server."""
    with RequestExecutor(bench.engine, configuration=Configuration(**RECEIVE, **SEND)) as executor:
        limits = {**NEVER, "io_timeout": 50}
        log = add(executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), **limits)
        executor.execute_request()
    assert log.timeouts == [("IO", "listening")] and log.errors == []
    bench.client.close()


def test_reset_starts_anew(bench: Bench) -> None:
    bench.engine.call(lambda: bench.executor.socket_bag.reset_transfer_rate_counters(bench.client), after=8)
    log = bench.run(ReadOperation(LONG), **RECEIVE)
    assert isinstance(log.error, SlowTransferError)
    assert bench.elapsed == pytest.approx(18, abs=0.2)


def test_live_speeds(bench: Bench) -> None:
    speeds = []
    bench.sends(1, 500, 20)
    bench.engine.call(lambda: speeds.append(metadata.receive_speed) or bench.peer.close())
    metadata = add(bench.executor, None, ReadOperation(LONG), socket=bench.client, **NEVER).metadata
    assert (metadata.receive_speed, metadata.send_speed) == (0.0, 0.0)
    bench.executor.execute_request()
    assert speeds == [pytest.approx(500, rel=0.3)]
    assert metadata.send_speed == 0.0


def test_a_stall_of_the_whole_window_is_speed_nought(bench: Bench) -> None:
    """The window is the last five seconds, whenever the speed is first asked for."""
    speeds = []
    bench.sends(1, 500, 1)
    on = {"TIMEOUT": lambda event: speeds.append(event.metadata.receive_speed)}
    log = bench.run(ReadOperation(LONG), on=on, io_timeout=8)
    assert speeds == [0.0] and log.metadata.bytes_received == 500


def test_set_while_an_answer_is_written_it_judges_the_read_after_it(bench: Bench) -> None:
    bench.sends(every=20, size=1, times=1)
    log = bench.run(
        ReadOperation(), on={
            "READ": lambda event: event.next_is_write(b"answer", then=ReadOperation(LONG)),
            "WRITE": lambda event: bench.executor.socket_bag.set_metadata(bench.client, **RECEIVE),
        },
    )  # fmt: skip
    assert isinstance(log.error, SlowTransferError) and log.error.direction == "receive"
    assert bench.elapsed == pytest.approx(30, abs=0.01)
