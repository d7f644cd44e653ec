"""What the peer's kernel acknowledges is progress of a send, on a clock that only the engine moves."""

from __future__ import annotations

import itertools
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    SlowTransferError,
    WriteOperation,
)
from evsockets.transports import stream
from evsockets.transports.stream import send_queue
from support.machine import comes_true
from support.stage import Stage
from support.wire import add, tcp_pair

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no other kernel is asked")

LIMIT = 4.0
QUARTER = LIMIT / 4


class Sending(Operation):
    """An operation of a user's own that writes and waits for the answer."""

    def start(self, channel: Any) -> Any:
        while channel.send(bytes(65_536)):
            pass
        return self

    def step(self, channel: Any, mask: int) -> Any:
        return self if channel.recv() is None else None


HUGE = 20_000_000
KINDS: dict[str, Callable[[], Operation]] = {
    "a large write": lambda: WriteOperation(bytes(HUGE)),
    "an iterable": lambda: WriteOperation(itertools.repeat(bytes(100_000), HUGE // 100_000)),
    "a read after a write": lambda: WriteOperation(bytes(1_000_000), then=ReadOperation()),
    "both directions": lambda: ReadWriteOperation(True, [ReadOperation(), WriteOperation(bytes(HUGE))]),
    "an operation of one's own": Sending,
}


def unacknowledged(client: Any) -> int | None:
    return send_queue(client)


class Reader:
    """A peer that reads, at moments of the stage's clock, until its acknowledgements have moved on."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.client, self.peer = tcp_pair()
        self.read_at: list[float] = []

    def reads(self, every: float, times: int) -> None:
        for _ in range(times):
            self._stage.engine.call(self._read, after=every)

    def _read(self) -> None:
        before = unacknowledged(self.client)
        assert before, "there is nothing to be acknowledged"

        def moved() -> bool:
            self.peer.recv(32_768)
            return unacknowledged(self.client) != before

        comes_true(moved, "an acknowledgement")
        self.read_at.append(self._stage.now)


@pytest.fixture
def reader(stage: Stage) -> Any:
    made = Reader(stage)
    with made.peer:
        yield made


@pytest.mark.parametrize("kind", KINDS)
def test_a_steady_reader_is_no_stall(stage: Stage, reader: Reader, kind: str) -> None:
    """However long nothing is taken by our kernel; and when it stops to read, that is a stall."""
    reader.reads(every=LIMIT * 0.7, times=6)
    log = add(stage.executor, None, KINDS[kind](), socket=reader.client, io_timeout=LIMIT)
    moments = stage.stamp(log)
    stage.executor.execute_request()
    (timeout,) = [when for name, when in moments if name == "TIMEOUT"]
    assert len(reader.read_at) == 6
    assert LIMIT <= timeout - reader.read_at[-1] <= LIMIT + QUARTER


@pytest.mark.parametrize("kind", KINDS)
def test_a_stall_is_told(stage: Stage, reader: Reader, kind: str) -> None:
    log = add(stage.executor, None, KINDS[kind](), socket=reader.client, io_timeout=LIMIT)
    moments = stage.stamp(log)
    stage.executor.execute_request()
    assert LIMIT <= dict(moments)["TIMEOUT"] <= LIMIT + QUARTER
    assert len(log.timeouts) == 1


@pytest.mark.parametrize("quiet", [0.5, 2.0, 3.9])
def test_a_stall_after_a_quiet_time(stage: Stage, reader: Reader, quiet: float) -> None:
    """What is written when the connection has been looked at, and nothing was left, is looked at anew."""

    def ask() -> list[tuple[int, int]]:
        reader.peer.send(b"?")
        return [(reader.client.fileno(), 1)]

    stage.engine.call(ask, after=quiet)
    on = {"READ": lambda event: event.next_is_write(bytes(1_000_000), then=ReadOperation())}
    log = add(stage.executor, None, ReadOperation(), socket=reader.client, on=on, io_timeout=LIMIT)
    moments = stage.stamp(log)
    stage.executor.execute_request()
    assert LIMIT <= dict(moments)["TIMEOUT"] - quiet <= LIMIT + QUARTER


@pytest.mark.parametrize("quiet", [0.5, 2.0, 3.9])
def test_a_duplex_that_was_quiet_before(stage: Stage, reader: Reader, quiet: float) -> None:
    duplex = ReadWriteOperation(True, [ReadOperation()])
    stage.engine.call(
        lambda: stage.executor.call_soon_threadsafe(duplex.schedule, WriteOperation(bytes(1_000_000))),
        after=quiet,
    )
    reader.reads(every=LIMIT * 0.9, times=3)
    log = add(stage.executor, None, duplex, socket=reader.client, io_timeout=LIMIT)
    moments = stage.stamp(log)
    stage.executor.execute_request()
    assert LIMIT <= dict(moments)["TIMEOUT"] - reader.read_at[-1] <= LIMIT + QUARTER


def test_one_more_attempt_counts_anew(stage: Stage, reader: Reader) -> None:
    seen: list[float] = []

    def again(event: Any) -> None:
        seen.append(stage.now)
        if len(seen) < 3:
            event.enable_one_more_attempt()

    add(
        stage.executor, None, WriteOperation(bytes(HUGE)), socket=reader.client, on={"TIMEOUT": again},
        io_timeout=LIMIT,
    )  # fmt: skip
    stage.executor.execute_request()
    for before, after in itertools.pairwise([0.0, *seen]):
        assert LIMIT <= after - before <= LIMIT + QUARTER


def test_other_time_outs_are_not_put_off(stage: Stage, reader: Reader) -> None:
    reader.reads(every=LIMIT * 0.7, times=8)
    log = add(
        stage.executor, None, WriteOperation(bytes(HUGE)), socket=reader.client, io_timeout=LIMIT,
        request_timeout=10,
    )  # fmt: skip
    stage.executor.execute_request()
    assert log.timeouts == [("REQUEST", "writing")]
    assert stage.now == pytest.approx(10)


def test_nobody_looks_where_nothing_waits(stage: Stage, reader: Reader, monkeypatch: Any) -> None:
    """One look at what was written, and none for a message."""
    looks: list[float] = []

    def ask() -> list[tuple[int, int]]:
        reader.peer.send(b"?")
        return [(reader.client.fileno(), 1)]

    for _ in range(50):
        stage.engine.call(ask, after=0.01)

    def acknowledged() -> None:
        comes_true(lambda: unacknowledged(reader.client) == 0, "everything is acknowledged")

    stage.engine.call(acknowledged, after=0.01)

    def look(sock: Any) -> int | None:
        looks.append(stage.now)
        return send_queue(sock)

    monkeypatch.setattr(stream, "send_queue", look)
    on = {"READ": lambda event: event.next_is_write(b"!", then=ReadOperation())}
    log = add(stage.executor, None, ReadOperation(), socket=reader.client, on=on, io_timeout=400)
    stage.executor.execute_request()
    assert log.timeouts == [("IO", "reading")]
    assert len(log.frames) == 50
    assert len(looks) == 1
    assert stage.now == pytest.approx(400.5)


SPEED = {"min_send_speed": 1_000, "min_send_speed_duration": LIMIT}


def test_speed_is_what_was_acknowledged(stage: Stage, reader: Reader) -> None:
    """Our kernel takes nothing for longer than the duration; the peer's acknowledges enough all the time."""
    reader.reads(every=QUARTER, times=20)
    log = add(
        stage.executor, None, WriteOperation(bytes(HUGE)), socket=reader.client, io_timeout=None, **SPEED
    )
    stage.executor.execute_request()
    error = log.error
    assert isinstance(error, SlowTransferError) and error.direction == "send"
    assert 0 <= error.speed < 1_000
    assert len(reader.read_at) == 20
    assert 0 <= stage.now - reader.read_at[-1] - LIMIT <= QUARTER


def test_too_little_is_acknowledged(stage: Stage, reader: Reader) -> None:
    """Some, but less than the minimum in every window."""
    reader.reads(every=QUARTER, times=40)
    log = add(
        stage.executor, None, WriteOperation(bytes(HUGE)), socket=reader.client, io_timeout=None,
        min_send_speed=1_000_000, min_send_speed_duration=LIMIT,
    )  # fmt: skip
    stage.executor.execute_request()
    error = log.error
    assert isinstance(error, SlowTransferError) and 0 < error.speed < 1_000_000
    assert LIMIT <= stage.now <= 2 * LIMIT + QUARTER


def test_the_live_speed_is_the_one_that_is_judged(stage: Stage, reader: Reader) -> None:
    speeds: list[float] = []
    reader.reads(every=QUARTER, times=9)
    stage.engine.call(lambda: speeds.append(log.metadata.send_speed) or None)  # type: ignore[func-returns-value]
    log = add(
        stage.executor, None, WriteOperation(bytes(HUGE)), socket=reader.client, io_timeout=None, **SPEED
    )
    stage.executor.execute_request()
    assert speeds[0] >= 1_000


def test_unix_sockets_go_by_the_kernels_taking(stage: Stage) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        log = add(
            stage.executor, None, WriteOperation(bytes(HUGE)), socket=ClientSocket.from_socket(ours),
            io_timeout=LIMIT,
        )  # fmt: skip
        stage.executor.execute_request()
    assert log.timeouts == [("IO", "writing")]
    assert stage.now == pytest.approx(LIMIT)
