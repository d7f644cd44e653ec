"""What a `Timeline` records, exactly, on a clock that only the engine moves."""

from __future__ import annotations

import gc
import json
import socket
import weakref
from collections.abc import Callable
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
from evsockets.watching.timeline_picture import _grouped
from evsockets.watching.timeline_record import LeftOut
from support.conversation import Conversation, Talk, reads_nothing
from support.stage import unanswered
from support.wire import add

FOUR = ReadOperation(FixedLengthFramePicker(4))
ASK = WriteOperation(b"ask\n", then=FOUR)

Phases = list[tuple[str, float, float]]
Act = Callable[[Conversation], object]


@pytest.fixture
def timeline(talk: Talk) -> Timeline:
    made = Timeline()
    talk.executor.with_event_handler(made)
    return made


def play(
    talk: Talk, operation: Operation, steps: dict[int, Act], on: dict[str, Any] | None = None, **metadata: Any
) -> Conversation:
    """A life, to its end; at each second what `steps` says happens."""
    one = talk.pair()
    before = 0
    for second, act in steps.items():
        talk.later((second - before, lambda act=act: act(one)))  # type: ignore[misc]
        before = second
    one.live(operation, [reads_nothing], on or {}, **metadata)
    talk.run()
    return one


def says(data: bytes) -> Act:
    return lambda one: one.peer.send(data)


def recorded(timeline: Timeline) -> tuple[str, Phases]:
    (record,) = timeline._records()
    return record.outcome, [(name, round(a), round(b)) for name, a, b in record.phases(record.end)]


def test_waiting_for_the_first_byte_is_not_receiving(talk: Talk, timeline: Timeline) -> None:
    play(talk, ASK, {2: says(b"an"), 5: says(b"sw")})
    assert recorded(timeline) == ("complete", [("awaiting", 0, 2), ("receiving", 2, 5)])


def test_what_is_written_slowly(talk: Talk, timeline: Timeline) -> None:
    def take(one: Conversation) -> None:
        one.peer.recv(1 << 20)

    play(talk, WriteOperation(b"x" * 400_000, then=FOUR), {3: take, 4: take, 7: says(b"answer")})
    assert recorded(timeline) == ("complete", [("writing", 0, 3), ("awaiting", 3, 7)])


@pytest.mark.parametrize(
    ("sends", "phases"),
    [(b"", [("awaiting", 0, 6)]), (b"an", [("awaiting", 0, 2), ("receiving", 2, 8)])],
)
def test_a_time_out(talk: Talk, timeline: Timeline, sends: bytes, phases: Phases) -> None:
    play(talk, ASK, {2: says(sends)}, io_timeout=6)
    assert recorded(timeline) == ("timed out while reading", phases)
    assert timeline._records()[0].detail == "IO time-out"


def test_attempts_to_connect(talk: Talk, timeline: Timeline) -> None:
    seen: list[Any] = []

    def again(event: Any) -> None:
        seen.append(event)
        if len(seen) < 3:
            event.enable_one_more_attempt()

    with unanswered() as address:
        add(talk.executor, address, ASK, connection_timeout=5, on={"TIMEOUT": again})
        talk.run()
    assert recorded(timeline) == ("timed out while connecting", [("connecting", 0, 15)])


def test_one_more_attempt_that_succeeds_is_no_time_out(talk: Talk, timeline: Timeline) -> None:
    on = {"TIMEOUT": lambda event: event.enable_one_more_attempt()}
    play(talk, ASK, {5: says(b"four")}, on, io_timeout=3)
    assert recorded(timeline) == ("complete", [("awaiting", 0, 5)])


def test_a_connection_that_idles_and_is_used_again(talk: Talk, timeline: Timeline) -> None:
    steps: dict[int, Act] = {
        1: says(b"four"), 4: lambda one: talk.bag.set_operation(one.client, ASK), 6: says(b"more"),
        9: Conversation.close_peer,
    }  # fmt: skip
    play(talk, ASK, steps, keep_alive=True)
    assert recorded(timeline) == (
        "complete", [("awaiting", 0, 1), ("idle", 1, 4), ("awaiting", 4, 6), ("idle", 6, 9)],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("operation", "ends_by", "outcome"),
    [
        (FOUR, lambda event, one: event.cancel_operation(), "cancelled"),
        (FOUR, lambda event, one: event.executor.stop_request(), "stopped"),
        (FOUR, lambda event, one: one.close_peer(), "ended by the peer"),
        (ReadOperation(), lambda event, one: one.close_peer(), "complete"),
        (ASK, lambda event, one: one.close_peer(), "DisconnectedError while writing"),
        (NullOperation(), lambda event, one: None, "complete"),
    ],
)
def test_how_a_life_ended(
    talk: Talk, timeline: Timeline, operation: Operation, ends_by: Any, outcome: str
) -> None:
    one = talk.begin(operation, on={"CONNECTED": lambda event: ends_by(event, one)})
    talk.run()
    assert recorded(timeline)[0] == outcome


def test_what_never_began(talk: Talk, timeline: Timeline) -> None:
    add(talk.executor, None, ASK)
    add(talk.executor, "tcp://127.0.0.1:1", ASK, on={"INITIALIZE": lambda event: event.cancel_operation()})
    talk.run()
    assert sorted(record.outcome for record in timeline._records()) == [
        "ConnectionFailedError while connecting",
        "cancelled",
    ]


def test_events_that_an_operation_of_ones_own_tells(talk: Talk, timeline: Timeline) -> None:
    class Tells(Operation):
        def start(self, channel: Any) -> Any:
            channel.emit(Event(EventType.CONNECTED, channel))
            channel.emit(Event(EventType.INITIALIZE, channel))
            return None

    talk.begin(Tells())
    talk.run()
    assert recorded(timeline)[0] == "complete"


def test_a_server_listens(talk: Talk, timeline: Timeline) -> None:
    add(talk.executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), io_timeout=7)
    talk.run()
    assert recorded(timeline) == ("timed out while listening", [("listening", 0, 7)])


def test_a_servers_life_is_not_among_its_clients(talk: Talk, timeline: Timeline) -> None:
    add(talk.executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), io_timeout=None)
    talk.executor.call_later(9, talk.executor.drain, 0)
    play(talk, ASK, {2: says(b"answ")})
    groups = _grouped(timeline._records(), LeftOut(), talk.clock.now, 10)
    assert [(group.outcome, [round(one) for one in group.seconds]) for group in groups] == [
        ("complete", [2]), ("listening", [9]),
    ]  # fmt: skip


def test_of_many_phases_the_first_are_kept(talk: Talk, timeline: Timeline) -> None:
    steps: dict[int, Act] = {second: says(b"four") for second in range(1, 38)}
    on = {"READ": lambda event: event.next_is(ASK)}
    play(talk, ASK, steps | {38: says(b"four" * 100), 39: Conversation.close_peer}, on)
    (record,) = timeline._records()
    assert 30 < len(record.codes) <= 64
    assert record.sent >= 4 * 38


def test_a_running_life_can_be_drawn(talk: Talk, timeline: Timeline, tmp_path: Path) -> None:
    def look(one: Conversation) -> None:
        timeline.trace(tmp_path / "trace.json")
        one.peer.send(b"four")

    play(talk, ASK, {3: look})
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [(e["name"], e["args"]["outcome"]) for e in events if e["ph"] == "X"] == [("awaiting", "running")]


def test_a_timeline_that_comes_late(talk: Talk) -> None:
    late = Timeline()
    play(talk, ASK, {1: lambda one: talk.executor.with_event_handler(late), 3: says(b"four")})
    assert recorded(late)[0] == "complete"


def test_nothing_refers_to_a_socket_that_has_ended(talk: Talk, timeline: Timeline) -> None:
    ours, theirs = socket.socketpair()
    client = ClientSocket.from_socket(ours)
    gone = weakref.ref(client)
    gc.disable()
    try:
        with theirs:
            talk.bag.add_socket(client, NullOperation())
            talk.run()
        talk.bag.remove_socket(client)
        del client
        assert gone() is None
    finally:
        gc.enable()
    assert not timeline._running


@pytest.mark.parametrize(("most", "error"), [("many", TypeError), (True, TypeError), (-1, ValueError)])
def test_how_many_are_kept_is_a_number(most: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="most must be"):
        Timeline(most)


def test_two_executors(talk: Talk, timeline: Timeline) -> None:
    with RequestExecutor("selectors") as other:
        other.with_event_handler(timeline)
        for executor in (talk.executor, other):
            executor.socket_bag.add_socket(ClientSocket(), NullOperation())
            executor.execute_request()
    assert len(timeline._records()) == 2
