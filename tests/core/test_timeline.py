"""What a `Timeline` records, exactly, on a clock that only the engine moves."""

from __future__ import annotations

import gc
import json
import socket
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    Event,
    EventType,
    FixedLengthFramePicker,
    NullOperation,
    Operation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    Timeline,
    WriteOperation,
)
from evsockets.timeline_picture import _grouped
from evsockets.timeline_record import LeftOut
from support.stage import Stage, unanswered
from support.wire import add

FOUR = ReadOperation(FixedLengthFramePicker(4))
ASK = WriteOperation(b"ask\n", then=FOUR)

Phases = list[tuple[str, float, float]]


@pytest.fixture
def timeline(stage: Stage) -> Timeline:
    made = Timeline()
    stage.executor.with_event_handler(made)
    return made


@pytest.fixture
def ends() -> Iterator[tuple[ClientSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        client = ClientSocket.from_socket(ours)
        yield client, theirs
        client.close()


def play(stage: Stage, steps: dict[int, Callable[[], object]]) -> None:
    """Run to the end, a second a turn at most; at each second what `steps` says happens first."""
    stage.executor.start_request()
    second = 0
    while stage.executor.turn(max(0.0, second - stage.now)):
        while second <= stage.now and second < 40:
            steps.get(second, int)()
            second += 1


def recorded(timeline: Timeline) -> tuple[str, Phases]:
    (record,) = timeline._records()
    return record.outcome, [(name, round(a), round(b)) for name, a, b in record.phases(record.end)]


def test_waiting_for_the_first_byte_is_not_receiving(stage: Stage, timeline: Timeline, ends: Any) -> None:
    client, theirs = ends
    add(stage.executor, None, ASK, socket=client)
    play(stage, {2: lambda: theirs.send(b"an"), 5: lambda: theirs.send(b"sw")})
    assert recorded(timeline) == ("complete", [("awaiting", 0, 2), ("receiving", 2, 5)])


def test_what_is_written_slowly(stage: Stage, timeline: Timeline, ends: Any) -> None:
    client, theirs = ends

    def take() -> None:
        with pytest.raises(BlockingIOError):
            while True:
                theirs.recv(1 << 20)

    add(stage.executor, None, WriteOperation(b"x" * 400_000, then=FOUR), socket=client)
    play(stage, {3: take, 4: take, 7: lambda: theirs.send(b"answer")})
    assert recorded(timeline) == ("complete", [("writing", 0, 3), ("awaiting", 3, 7)])


@pytest.mark.parametrize(
    ("sends", "phases"),
    [
        (b"", [("awaiting", 0, 6)]),
        (b"an", [("awaiting", 0, 2), ("receiving", 2, 8)]),
    ],
)
def test_a_time_out(stage: Stage, timeline: Timeline, ends: Any, sends: bytes, phases: Phases) -> None:
    client, theirs = ends
    add(stage.executor, None, ASK, socket=client, io_timeout=6)
    play(stage, {2: lambda: theirs.send(sends)})
    assert recorded(timeline) == ("timed out while reading", phases)
    assert timeline._records()[0].detail == "IO time-out"


def test_attempts_to_connect(stage: Stage, timeline: Timeline) -> None:
    seen: list[Any] = []

    def again(event: Any) -> None:
        seen.append(event)
        if len(seen) < 3:
            event.enable_one_more_attempt()

    with unanswered() as address:
        add(stage.executor, address, ASK, connection_timeout=5, on={"TIMEOUT": again})
        stage.executor.execute_request()
    assert recorded(timeline) == ("timed out while connecting", [("connecting", 0, 15)])


def test_one_more_attempt_that_succeeds_is_no_time_out(stage: Stage, timeline: Timeline, ends: Any) -> None:
    client, theirs = ends
    on = {"TIMEOUT": lambda event: event.enable_one_more_attempt()}
    add(stage.executor, None, ASK, socket=client, io_timeout=3, on=on)
    play(stage, {5: lambda: theirs.send(b"four")})
    assert recorded(timeline) == ("complete", [("awaiting", 0, 5)])


def test_a_connection_that_idles_and_is_used_again(stage: Stage, timeline: Timeline, ends: Any) -> None:
    client, theirs = ends
    add(stage.executor, None, ASK, socket=client, keep_alive=True)
    bag = stage.executor.socket_bag
    steps = {
        1: lambda: theirs.send(b"four"),
        4: lambda: bag.set_operation(client, ASK),
        6: lambda: theirs.send(b"more"),
        9: lambda: theirs.close(),
    }
    play(stage, steps)
    assert recorded(timeline) == (
        "complete", [("awaiting", 0, 1), ("idle", 1, 4), ("awaiting", 4, 6), ("idle", 6, 9)],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("operation", "ends_by", "outcome"),
    [
        (FOUR, lambda event, theirs: event.cancel_operation(), "cancelled"),
        (FOUR, lambda event, theirs: event.executor.stop_request(), "stopped"),
        (FOUR, lambda event, theirs: theirs.close(), "ended by the peer"),
        (ReadOperation(), lambda event, theirs: theirs.close(), "complete"),
        (ASK, lambda event, theirs: theirs.close(), "DisconnectedError while writing"),
        (NullOperation(), lambda event, theirs: None, "complete"),
    ],
)
def test_how_a_life_ended(
    stage: Stage, timeline: Timeline, ends: Any, operation: Operation, ends_by: Any, outcome: str
) -> None:
    client, theirs = ends
    add(stage.executor, None, operation, socket=client, on={"CONNECTED": lambda e: ends_by(e, theirs)})
    stage.executor.execute_request()
    assert recorded(timeline)[0] == outcome


def test_what_never_began(stage: Stage, timeline: Timeline) -> None:
    add(stage.executor, None, ASK)
    add(stage.executor, "tcp://127.0.0.1:1", ASK, on={"INITIALIZE": lambda event: event.cancel_operation()})
    stage.executor.execute_request()
    assert sorted(record.outcome for record in timeline._records()) == [
        "ConnectionFailedError while connecting",
        "cancelled",
    ]


def test_events_that_an_operation_of_ones_own_tells(stage: Stage, timeline: Timeline, ends: Any) -> None:
    class Tells(Operation):
        def start(self, channel: Any) -> Any:
            channel.emit(Event(EventType.CONNECTED, channel))
            channel.emit(Event(EventType.INITIALIZE, channel))
            return None

    client, _theirs = ends
    add(stage.executor, None, Tells(), socket=client)
    stage.executor.execute_request()
    assert recorded(timeline)[0] == "complete"


def test_a_server_listens(stage: Stage, timeline: Timeline) -> None:
    add(stage.executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), io_timeout=7)
    stage.executor.execute_request()
    assert recorded(timeline) == ("timed out while listening", [("listening", 0, 7)])


def test_a_servers_life_is_not_among_its_clients(stage: Stage, timeline: Timeline, ends: Any) -> None:
    server, (client, theirs) = ServerSocket(), ends
    add(stage.executor, "tcp://127.0.0.1:0", ReadOperation(), socket=server, io_timeout=None)
    add(stage.executor, None, ASK, socket=client)
    stage.executor.call_later(9, stage.executor.drain, 0)
    play(stage, {2: lambda: theirs.send(b"answ")})
    groups = _grouped(timeline._records(), LeftOut(), stage.now, 10)
    assert [(group.outcome, [round(one) for one in group.seconds]) for group in groups] == [
        ("complete", [2]), ("listening", [9]),
    ]  # fmt: skip


def test_of_many_phases_the_first_are_kept(stage: Stage, timeline: Timeline, ends: Any) -> None:
    client, theirs = ends
    add(stage.executor, None, ASK, socket=client, on={"READ": lambda event: event.next_is(ASK)})
    steps: dict[int, Any] = {second: lambda: theirs.send(b"four") for second in range(1, 38)}
    play(stage, steps | {38: lambda: theirs.send(b"four" * 100), 39: theirs.close})
    (record,) = timeline._records()
    assert 30 < len(record.codes) <= 64
    assert record.sent >= 4 * 38


def test_a_running_life_can_be_drawn(stage: Stage, timeline: Timeline, ends: Any, tmp_path: Path) -> None:
    client, theirs = ends
    add(stage.executor, None, ASK, socket=client)

    def look() -> None:
        timeline.trace(tmp_path / "trace.json")
        theirs.send(b"four")

    play(stage, {3: look})
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [(e["name"], e["args"]["outcome"]) for e in events if e["ph"] == "X"] == [("awaiting", "running")]


def test_a_timeline_that_comes_late(stage: Stage, ends: Any) -> None:
    client, theirs = ends
    late = Timeline()
    add(stage.executor, None, ASK, socket=client)
    steps = {1: lambda: stage.executor.with_event_handler(late), 3: lambda: theirs.send(b"four")}
    play(stage, steps)
    assert recorded(late)[0] == "complete"


def test_nothing_refers_to_a_socket_that_has_ended(stage: Stage, timeline: Timeline) -> None:
    ours, theirs = socket.socketpair()
    client = ClientSocket.from_socket(ours)
    gone = weakref.ref(client)
    gc.disable()
    try:
        with theirs:
            stage.executor.socket_bag.add_socket(client, NullOperation())
            stage.executor.execute_request()
        stage.executor.socket_bag.remove_socket(client)
        del client
        assert gone() is None
    finally:
        gc.enable()
    assert not timeline._running


@pytest.mark.parametrize(("most", "error"), [("many", TypeError), (True, TypeError), (-1, ValueError)])
def test_how_many_are_kept_is_a_number(most: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="most must be"):
        Timeline(most)


def test_two_executors(timeline: Timeline, stage: Stage) -> None:
    with RequestExecutor("selectors") as other:
        other.with_event_handler(timeline)
        for executor in (stage.executor, other):
            ours, theirs = socket.socketpair()
            with theirs:
                add(executor, None, NullOperation(), socket=ClientSocket.from_socket(ours))
                executor.execute_request()
    assert len(timeline._records()) == 2
