"""Connections that outlive a request: idle, alerted, and forgotten."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from evsockets import (
    DisconnectedError,
    EmptyFramePicker,
    EndOfStreamFramePicker,
    Frame,
    FramePicker,
    Inbox,
    NullOperation,
    Operation,
    ReadOperation,
    TlsDataFlushEventHandler,
    UnmanagedSocketError,
    WriteOperation,
)
from support.conversation import (
    READ_LINE,
    Conversation,
    Talk,
    closes,
    does,
    ends,
    fixed,
    gets,
    is_told,
    resets,
    sends,
    turns,
)

NULL = NullOperation()
EMPTY = ReadOperation(EmptyFramePicker())
FORGOTTEN = ["FINALIZE"]


def alerts(first: int, last: int) -> list[str]:
    return [f"DATA_ALERT {number}" for number in range(first, last + 1)]


def forget(event: Any) -> None:
    event.executor.socket_bag.forget_socket(event.socket)


# ---- idle ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [closes, resets, ends])
def test_the_peer_ends_an_idle_connection(talk: Talk, how: Any) -> None:
    steps = [gets(b"x"), turns(3), how]
    talk(WriteOperation(b"x"), steps, told=["WRITE"], sent=b"x", keep_alive=True, over="tcp")


def test_idle_timeout(talk: Talk) -> None:
    talk(NULL, told=["TIMEOUT IDLE idle"], keep_alive=True, idle_timeout=0.05, io_timeout=0.01)


@pytest.mark.parametrize("operation", [READ_LINE, NULL])
def test_twenty_five_alerts_then_the_end(talk: Talk, operation: Operation) -> None:
    frames = [b"line\n"] if operation is READ_LINE else []
    told = [*frames, *alerts(1, 25), UnmanagedSocketError]
    one = talk(operation, sends(b"line\nunread"), told=told, keep_alive=True)
    assert one.error.socket is one.client
    assert {event.total_attempts for event in one.events if event.type.name == "DATA_ALERT"} == {25}


def test_alerts_come_once_per_turn(talk: Talk) -> None:
    counts: list[int] = []

    def look(one: Conversation) -> bool:
        counts.append(one.names.count("DATA_ALERT"))
        return len(counts) > 15

    one = talk.begin(NULL, sends(b"unread"), look, does(talk.executor.stop_request), keep_alive=True)
    talk.run()
    assert {after - before for before, after in pairwise(counts)} <= {0, 1}
    assert 10 <= counts[-1] <= 15 and one.told[-2:] == ["DISCONNECTED", "FINALIZE"]


def test_even_when_the_peer_has_gone(talk: Talk) -> None:
    """What came before the end is told before the end."""
    on = {"DATA_ALERT": lambda event: event.attempt == 3 and event.next_is_read()}
    told = [b"line\n", *alerts(1, 3), b"unread"]
    talk(READ_LINE, sends(b"line\nunread"), closes, told=told, on=on, keep_alive=True)


class LastByte(FramePicker):
    """One byte, once no more will come."""

    def pick(self, inbox: Inbox, ended: bool) -> Frame | None:
        return Frame(inbox.take(1), inbox.remote_address) if ended and len(inbox) else None


def test_what_a_frame_at_the_end_left_is_told(talk: Talk) -> None:
    """The end has been seen already when the connection becomes idle."""
    on = {"DATA_ALERT": [ReadOperation()]}
    told = [b"a", "DATA_ALERT 1", b"bc"]
    talk(ReadOperation(LastByte()), sends(b"abc"), closes, told=told, on=on, keep_alive=True)


def test_an_answer_restarts_the_count(talk: Talk) -> None:
    on = {"DATA_ALERT": lambda event: event.attempt == 5 and event.next_is(fixed(1))}
    told = [*alerts(1, 5), b"a", *alerts(1, 5), b"b", *alerts(1, 5), b"c"]
    talk(NULL, sends(b"abc"), ends, told=told, on=on, keep_alive=True)


def test_an_empty_read_does_not_restart_the_count(talk: Talk) -> None:
    told = [each for alert in alerts(1, 25) for each in (alert, b"")]
    on = {"DATA_ALERT": [EMPTY] * 25}
    talk(NULL, sends(b"abc"), told=[*told, UnmanagedSocketError], on=on, keep_alive=True)


def test_an_operation_after_an_empty_read_counts_from_the_beginning(talk: Talk) -> None:
    def on_read(event: Any) -> None:
        if event.frame.data == b"":
            event.next_is_read()

    steps = [step for number in range(30) for step in (sends(b"x"), is_told("READ", 2 * number + 2))]
    on = {"READ": on_read, "DATA_ALERT": [EMPTY] * 30}
    talk(NULL, steps, ends, told=["DATA_ALERT 1", b"", b"x"] * 30, on=on, keep_alive=True)


def test_an_empty_read_set_from_elsewhere_counts_on(talk: Talk) -> None:
    def later(event: Any) -> None:
        if event.attempt < 25:
            talk.executor.call_soon_threadsafe(talk.bag.set_operation, event.socket, EMPTY)

    one = talk.begin(NULL, sends(b"x"), on={"DATA_ALERT": later}, keep_alive=True, request_timeout=20)
    talk.run()
    assert [each for each in one.told if each != b""][2:-2] == [*alerts(1, 25), UnmanagedSocketError]


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_an_alert_may_end_the_connection(talk: Talk, how: str) -> None:
    def on_alert(event: Any) -> None:
        event.cancel_operation() if how == "cancel" else event.socket.close()

    talk(NULL, sends(b"abc"), told=alerts(1, 1), on={"DATA_ALERT": on_alert}, keep_alive=True)


def test_the_bag_may_answer_an_alert(talk: Talk) -> None:
    on = {"DATA_ALERT": lambda event: talk.bag.set_operation(event.socket, ReadOperation())}
    talk(NULL, sends(b"abc"), ends, told=["DATA_ALERT 1", b"abc"], on=on, keep_alive=True)


def test_the_bag_may_forget_it_in_an_alert(talk: Talk) -> None:
    on = {"DATA_ALERT": forget}
    talk(NULL, sends(b"abc"), ends, told=alerts(1, 1), on=on, keep_alive=True, ends_with=FORGOTTEN)


def test_set_operation_starts_at_once(talk: Talk) -> None:
    def go() -> None:
        assert talk.bag.get_operation(one.client) is None
        talk.bag.set_operation(one.client, WriteOperation(b"x"))

    one = talk.pair()
    on = {"WRITE": lambda event: setattr(event.metadata, "keep_alive", False)}
    talk(NULL, turns(3), does(go), told=["WRITE"], sent=b"x", on=on, again=one, keep_alive=True)


def test_the_flush_handler_swallows_the_first_alert(talk: Talk) -> None:
    seen: list[Any] = []

    def inner(event: Any) -> None:
        seen.append((event.type.name, getattr(event, "attempt", None)))
        if event.type.name == "DATA_ALERT":
            event.next_is_read()

    flush = TlsDataFlushEventHandler(inner)
    told = ["DATA_ALERT 1", b"", "DATA_ALERT 2", b"abc"]
    talk(NULL, sends(b"abc"), ends, told=told, on=dict.fromkeys(ALL, flush), keep_alive=True)
    assert seen == [
        ("INITIALIZE", None), ("CONNECTED", None), ("DATA_ALERT", 2), ("READ", None),
        ("DISCONNECTED", None), ("FINALIZE", None),
    ]  # fmt: skip


ALL = ["INITIALIZE", "CONNECTED", "DATA_ALERT", "READ", "DISCONNECTED", "FINALIZE"]


# ---- forgotten -------------------------------------------------------------------------------------


def test_the_next_life_uses_the_connection(talk: Talk) -> None:
    """Bytes beyond the frame stay with it, a next operation set is ignored, and CONNECTED comes once."""

    def on_read(event: Any) -> None:
        forget(event)
        event.next_is_write(b"never")

    one = talk.pair("tcp")
    talk(
        READ_LINE, sends(b"one\ntwo\n"), told=[b"one\n"], on={"READ": on_read}, again=one, keep_alive=True,
        ends_with=FORGOTTEN,
    )  # fmt: skip
    assert one.metadata.request_complete and one.client.is_connected
    descriptor = one.client.fileno()
    assert descriptor >= 0

    def answer(event: Any) -> None:
        assert event.socket.fileno() == descriptor
        assert event.metadata.remote_address == one.peer_name
        event.next_is_write(b"1")

    on = {"READ": answer}
    talk(READ_LINE, told=[b"two\n", "WRITE"], sent=b"1", begins=["INITIALIZE"], on=on, again=one)
    assert not one.client.is_connected and one.client.fileno() == -1
    times = one.metadata
    assert times.connection_start_time is not None and times.connection_finish_time is not None


@pytest.mark.parametrize("when", ["idle", "CONNECTED", "WRITE"])
def test_forgetting_at_several_moments(talk: Talk, when: str) -> None:
    """It goes when the kernel has taken the last byte, and the connection is open."""
    one = talk.pair()
    data = bytes(500_000)
    steps = [turns(5), gets(data)]
    if when == "idle":
        steps = [gets(data), turns(3), does(lambda: talk.bag.forget_socket(one.client))]
    talk(
        WriteOperation(data), *steps, told=["WRITE"], sent=data, on={when: forget}, again=one,
        keep_alive=True, ends_with=FORGOTTEN,
    )  # fmt: skip
    assert one.client.is_connected and not one.at_end
    one.client.close()
    one.go_on()
    assert one.at_end


def test_forgetting_in_the_time_out_of_an_idle_one(talk: Talk) -> None:
    """There is no operation that it could wait for."""

    def on_timeout(event: Any) -> None:
        forget(event)
        event.enable_one_more_attempt()

    one = talk(
        NULL, told=["TIMEOUT IDLE idle"], on={"TIMEOUT": on_timeout}, keep_alive=True, idle_timeout=0.05,
        ends_with=FORGOTTEN,
    )  # fmt: skip
    assert one.client.is_connected


def test_ignored_without_keep_alive(talk: Talk) -> None:
    talk(WriteOperation(b"x"), told=["WRITE"], sent=b"x", on={"WRITE": forget})


def test_close_of_the_executor_closes_forgotten_ones(talk: Talk) -> None:
    one = talk(
        WriteOperation(b"1"), told=["WRITE"], sent=b"1", on={"WRITE": forget}, keep_alive=True,
        ends_with=FORGOTTEN,
    )  # fmt: skip
    assert one.client.is_connected
    talk.executor.close()
    assert not one.client.is_connected
    one.go_on()
    assert one.at_end


def test_the_peer_went_away_between_two_lives(talk: Talk) -> None:
    one = talk(NULL, on={"CONNECTED": forget}, keep_alive=True, ends_with=FORGOTTEN)
    one.close_peer()
    talk(READ_LINE, told=[DisconnectedError], begins=["INITIALIZE"], again=one)


def test_an_end_met_by_the_read_in_hand_ends_a_forgotten_socket(talk: Talk) -> None:
    """There is no connection left to let go of."""
    one = talk(ReadOperation(), is_told("CONNECTED"), closes, on={"CONNECTED": forget}, keep_alive=True)
    assert not one.client.is_connected


def test_a_read_to_the_end_leaves_a_half_closed_connection_to_the_next_life(talk: Talk) -> None:
    one = talk(
        ReadOperation(EndOfStreamFramePicker()), sends(b"question"), ends, told=[b"question"],
        on={"READ": forget}, keep_alive=True, ends_with=FORGOTTEN,
    )  # fmt: skip
    assert one.client.is_connected
    talk(WriteOperation(b"answer"), told=["WRITE"], sent=b"answer", begins=["INITIALIZE"], again=one)
