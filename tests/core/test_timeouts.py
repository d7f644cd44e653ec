"""Every time-out, exactly, on a clock that only the engine moves: when it is told, and when it is changed."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from evsockets import (
    READ,
    WRITE,
    ClientSocket,
    Configuration,
    DelayedOperation,
    NullOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.conversation import READ_LINE, Conversation, Talk, fixed, reads_nothing, sends
from support.life import END, USUAL
from support.stage import Stage, unanswered
from support.wire import add, listening

FOREVER = {"connection_timeout": None, "io_timeout": None}
BIG = bytes(10_000_000)


def again(times: int) -> Any:
    """A TIMEOUT handler that goes on until there were so many of them."""
    seen: list[Any] = []

    def handler(event: Any) -> None:
        seen.append(event)
        if len(seen) < times:
            event.enable_one_more_attempt()

    return handler


# ---- while it connects, or listens ---------------------------------------------------------------------


def test_connection_timeout(stage: Stage) -> None:
    with unanswered() as address:
        log = add(
            stage.executor, address, ReadOperation(), connection_timeout=5, io_timeout=1, user_context="mine"
        )
        stage.executor.execute_request()
    assert log.names == ["INITIALIZE", "TIMEOUT", "FINALIZE"]
    assert log.timeouts == [("CONNECTION", "connecting")]
    assert log.events[1].user_context == "mine"
    assert stage.now == pytest.approx(5)


def test_connection_is_tried_again(stage: Stage) -> None:
    def times(event: Any) -> None:
        m = event.metadata
        assert (m.connection_start_time, m.connection_finish_time, m.last_io_start_time) == (None, None, None)

    with unanswered() as address:
        on = {"TIMEOUT": again(3), "INITIALIZE": times}
        log = add(stage.executor, address, ReadOperation(), on=on, connection_timeout=5)
        moments = stage.stamp(log)
        stage.executor.execute_request()
    assert log.names == ["INITIALIZE", "TIMEOUT"] * 3 + ["FINALIZE"]
    assert [when for name, when in moments if name == "TIMEOUT"] == pytest.approx([5, 10, 15])


def test_another_address_for_another_attempt(stage: Stage) -> None:
    with unanswered() as address, listening() as (_, url):

        def move(event: Any) -> None:
            event.metadata.address = url
            event.enable_one_more_attempt()

        log = add(stage.executor, address, WriteOperation(b"x"), on={"TIMEOUT": move}, connection_timeout=5)
        stage.executor.execute_request()
    assert log.names == ["INITIALIZE", "TIMEOUT", *USUAL, "WRITE", *END]


@pytest.mark.parametrize("scheme", ["unix", "tls"])
def test_request_timeout_counts_over_connection_attempts(stage: Stage, scheme: str) -> None:
    def again(event: Any) -> None:
        if event.when.name == "CONNECTION":
            event.enable_one_more_attempt()

    with unanswered() as address, listening("tls") as (_, url):
        log = add(
            stage.executor, address if scheme == "unix" else url, ReadOperation(), on={"TIMEOUT": again},
            connection_timeout=5, request_timeout=12,
        )  # fmt: skip
        stage.executor.execute_request()
    phase = "connecting" if scheme == "unix" else "handshaking"
    assert log.timeouts == [("CONNECTION", phase)] * 2 + [("REQUEST", phase)]
    assert stage.now == pytest.approx(12)


def test_resolving_counts_as_connecting() -> None:
    release = threading.Event()

    def slow(*args: Any, **named: Any) -> Any:
        release.wait(20)
        raise OSError("never mind")

    with RequestExecutor("selectors", resolver=slow) as executor:
        log = add(executor, "tcp://name.invalid:80", ReadOperation(), connection_timeout=0.05)
        try:
            executor.execute_request()
        finally:
            release.set()
    assert log.names == ["INITIALIZE", "TIMEOUT", "FINALIZE"]
    assert log.timeouts == [("CONNECTION", "resolving")]


def test_handshaking_counts_as_connecting(stage: Stage) -> None:
    with listening("tls") as (_, address):
        log = add(stage.executor, address, ReadOperation(), connection_timeout=5, io_timeout=1)
        stage.executor.execute_request()
    assert log.names == ["INITIALIZE", "TIMEOUT", "FINALIZE"]
    assert log.timeouts == [("CONNECTION", "handshaking")]
    assert stage.now == pytest.approx(5)


def test_a_server_has_the_time_outs_that_it_is_given() -> None:
    names = ("connection_timeout", "io_timeout", "idle_timeout", "request_timeout")
    configuration = Configuration(**dict.fromkeys(names, 3))
    with RequestExecutor(configuration=configuration) as executor:
        add_socket = executor.socket_bag.add_socket
        metadata = add_socket(ServerSocket(), ReadOperation(), address="tcp://127.0.0.1:0")
    assert [getattr(metadata, name) for name in names] == [None] * 4


def test_a_servers_time_counts_since_the_last_accept(stage: Stage) -> None:
    log = add(
        stage.executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), io_timeout=3,
        on={"TIMEOUT": again(2)},
    )  # fmt: skip
    moments = stage.stamp(log)
    with contextlib.ExitStack() as stack:

        def knock() -> None:
            stack.enter_context(socket.create_connection(log.metadata.local_address))

        stage.engine.call(knock, after=2)
        stage.executor.execute_request()
    assert log.timeouts == [("IO", "listening")] * 2
    assert log.names == [*USUAL, "ACCEPT", "TIMEOUT", "TIMEOUT", *END]
    assert [when for name, when in moments if name == "TIMEOUT"] == pytest.approx([5, 8])


# ---- while it is connected -----------------------------------------------------------------------------


class Waiting(Operation):
    """One that has filled what the kernel takes, and waits for `interest`."""

    def __init__(self, interest: int) -> None:
        self.waits_for = interest

    def start(self, channel: Any) -> Any:
        while channel.send(bytes(65536)):
            pass
        self.interest = self.waits_for
        return self


def delayed(talk: Talk, until: float) -> Operation:
    return DelayedOperation(ReadOperation(), lambda *_: talk.clock.now < until, interval=10)


#: An operation, its time-outs, what is told before them, which it is, and when.
STAGES: list[tuple[Any, dict[str, Any], list[str], str, float]] = [
    (ReadOperation, {"io_timeout": 3, "connection_timeout": 1}, [], "IO reading", 3),
    (ReadOperation, {"io_timeout": 0}, [], "IO reading", 0),
    (ReadOperation, {"io_timeout": 200_000.0}, [], "IO reading", 200_000),
    (ReadOperation, {**FOREVER, "request_timeout": 3}, [], "REQUEST reading", 3),
    (lambda: WriteOperation(BIG), {"io_timeout": 3}, ["WRITE"], "IO writing", 3),
    (lambda: NullOperation(), {"io_timeout": 1, "idle_timeout": 4, "keep_alive": True}, [], "IDLE idle", 4),
    (lambda: Waiting(READ), {"io_timeout": 1}, [], "IO reading", 1),
    (lambda: Waiting(WRITE), {"io_timeout": 1}, [], "IO writing", 1),
    # With nothing left to read, writing is what it waits for.
    (lambda: ReadWriteOperation(True, [WriteOperation(BIG)]), {"io_timeout": 1}, ["WRITE"], "IO writing", 1),
    (lambda: ReadWriteOperation(True, [WriteOperation(BIG), ReadOperation()]), {"io_timeout": 1},
     ["WRITE"], "IO reading", 1),
    (lambda: ReadWriteOperation(True, [ReadOperation()]), {"io_timeout": 1}, [], "IO reading", 1),
]  # fmt: skip


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(("operation", "timeouts", "before", "late", "seconds"), STAGES)
def test_told_in_time(
    talk: Talk, operation: Any, timeouts: Any, before: list[str], late: str, seconds: float, times: int
) -> None:
    """Each attempt has the whole time again; the engine waits for a day at the most."""
    one = talk(
        operation(), reads_nothing, told=[*before, *[f"TIMEOUT {late}"] * times], sent=None,
        on={"TIMEOUT": again(times)}, **timeouts,
    )  # fmt: skip
    assert one.when("TIMEOUT") == pytest.approx([seconds * (number + 1) for number in range(times)])
    assert max(filter(None, talk.executor.engine.polls), default=0) <= 86_400


@pytest.mark.parametrize("times", [1, 2])
def test_it_counts_on_when_a_connection_idles(talk: Talk, times: int) -> None:
    one = talk(
        WriteOperation(b"x"), told=["WRITE", *["TIMEOUT IDLE idle"] * times], sent=b"x",
        on={"TIMEOUT": again(times)}, keep_alive=True, io_timeout=1, idle_timeout=4,
    )  # fmt: skip
    assert one.when("TIMEOUT") == pytest.approx([4, 8][:times])


def test_bytes_move_the_io_clock_and_another_sockets_do_not(talk: Talk) -> None:
    one = talk.begin(fixed(9), io_timeout=3)
    two = talk.begin(ReadOperation(), io_timeout=3)
    talk.later(*[(2, lambda: one.peer.send(b"x"))] * 4)
    talk.run()
    assert two.when("TIMEOUT") == pytest.approx([3])
    assert one.when("TIMEOUT") == pytest.approx([8 + 3])


def test_half_a_frame_and_then_nothing(talk: Talk) -> None:
    """The bytes that came are no frame; nothing of them is told, and the operation is still current."""
    reading = fixed(10)
    pending: list[Any] = []

    def late(event: Any) -> None:
        pending.append((talk.bag.get_operation(event.socket), event.metadata.bytes_received))

    talk(reading, sends(b"half"), told=["TIMEOUT IO reading"], on={"TIMEOUT": late}, io_timeout=3)
    assert pending == [(reading, 4)]


def test_in_the_order_of_their_moments(talk: Talk) -> None:
    """Whatever the order in which they were added."""
    all_of_them = [talk.begin(ReadOperation(), io_timeout=timeout) for timeout in (30, 10, 20, 5, 25, 15)]
    talk.run()
    assert [one.when("TIMEOUT") for one in all_of_them] == [[30], [10], [20], [5], [25], [15]]


def test_delayed_does_not_count(talk: Talk) -> None:
    one = talk(delayed(talk, 100), told=["TIMEOUT IO reading"], io_timeout=3)
    assert one.when("TIMEOUT") == pytest.approx([103])


def test_delayed_phase_and_request_timeout(talk: Talk) -> None:
    one = talk(delayed(talk, 999), told=["TIMEOUT REQUEST delayed"], io_timeout=3, request_timeout=7)
    assert one.when("TIMEOUT") == pytest.approx([7])


def test_request_timeout_counts_through_progress(talk: Talk) -> None:
    one = talk.pair()
    talk.later(*[(1, lambda: one.peer.send(b"x"))] * 12)
    on = {"READ": lambda event: event.next_is_read(), "TIMEOUT": again(2)}
    talk(
        ReadOperation(), on=on, again=one, io_timeout=3, request_timeout=5.5,
        told=[*[b"x"] * 5, "TIMEOUT REQUEST reading", *[b"x"] * 6, "TIMEOUT REQUEST reading"],
    )  # fmt: skip
    assert one.when("TIMEOUT") == pytest.approx([5.5, 11])


@pytest.mark.parametrize("before", [0.001, 0.02, 0.9])
@pytest.mark.parametrize("name", ["io_timeout", "request_timeout", "idle_timeout"])
def test_not_early_though_somebody_else_is_awake(talk: Talk, name: str, before: float) -> None:
    """A turn shortly before the moment is not the moment."""
    idle = name == "idle_timeout"
    busy = talk.begin(ReadOperation())
    late = talk.begin(
        NullOperation() if idle else ReadOperation(), keep_alive=idle, **{"io_timeout": None, name: 3}
    )
    talk.later((3 - before, lambda: busy.peer.send(b"x")))
    talk.run()
    assert late.when("TIMEOUT") == pytest.approx([3], abs=1e-9)


def test_request_timeout_of_a_socket_that_is_connected_at_once(stage: Stage) -> None:
    """With no other clock running."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")
        listener.listen(1)
        url = "unix://@" + listener.getsockname()[1:].decode()
        log = add(stage.executor, url, ReadOperation(), request_timeout=3, **FOREVER)
        stage.executor.call_soon_threadsafe(lambda: None)
        stage.executor.execute_request()
    assert log.timeouts == [("REQUEST", "reading")]
    assert stage.now == pytest.approx(3)


@pytest.mark.parametrize("name", ["request_timeout", "io_timeout", "connection_timeout"])
def test_a_time_out_set_when_the_life_ends_is_late_for_nobody(talk: Talk, name: str) -> None:
    """In the EXCEPTION handler of a socket that never had a connection, while another one goes on."""
    on = {"EXCEPTION": lambda event: setattr(event.metadata, name, 1)}
    ended = add(talk.executor, None, ReadOperation(), on=on)
    talk(ReadOperation(), told=["TIMEOUT IO reading"], io_timeout=3)
    assert ended.names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]


# ---- changed on the way --------------------------------------------------------------------------------


@pytest.fixture
def unconnected(stage: Stage) -> Iterator[Any]:
    """One that connects for ever."""
    with unanswered() as address:
        yield address


@pytest.mark.parametrize(
    ("before", "after", "end"), [(100, 3, 3), (3, 8, 8), (None, 3, 3), (100, 0.5, 1), (100, 0, 1)]
)
@pytest.mark.parametrize("name", ["io_timeout", "request_timeout", "idle_timeout", "connection_timeout"])
def test_a_changed_timeout_acts_at_once(
    talk: Talk, unconnected: str, name: str, before: Any, after: Any, end: float
) -> None:
    timeouts = {**FOREVER, name: before}
    moments: list[float] = []
    on = {"TIMEOUT": lambda event: moments.append(talk.clock.now)}
    if name == "connection_timeout":
        metadata = add(talk.executor, unconnected, ReadOperation(), on=on, **timeouts).metadata
    else:
        idle = name == "idle_timeout"
        operation = NullOperation() if idle else ReadOperation()
        metadata = talk.begin(operation, on=on, keep_alive=idle, **timeouts).metadata
    talk.later((1, lambda: talk.executor.call_soon_threadsafe(setattr, metadata, name, after)))
    talk.run()
    assert moments == pytest.approx([end])


@pytest.mark.parametrize("name", ["io_timeout", "connection_timeout", "idle_timeout", "request_timeout"])
@pytest.mark.parametrize("value", [-1, -0.001, float("nan")])
def test_bad_values(stage: Stage, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        stage.executor.socket_bag.add_socket(ClientSocket(), ReadOperation(), **{name: value})
    metadata = stage.executor.socket_bag.add_socket(ClientSocket(), ReadOperation())
    with pytest.raises(ValueError, match=name):
        setattr(metadata, name, value)
    with pytest.raises(TypeError):
        setattr(metadata, name, "soon")


# ---- beside slow handlers ------------------------------------------------------------------------------


def test_slow_handler_takes_nothing_from_what_it_starts(talk: Talk) -> None:
    def slow(event: Any) -> None:
        talk.clock.advance(10)
        event.next_is_read()

    one = talk(
        ReadOperation(), sends(b"x"), told=[b"x", "TIMEOUT IO reading"], on={"READ": slow}, io_timeout=3
    )
    assert one.when("TIMEOUT") == pytest.approx([13])


@pytest.mark.parametrize("kind", ["INITIALIZE", "CONNECTED", "WRITE"])
def test_slow_handler_in_the_beginning(stage: Stage, kind: str) -> None:
    with unanswered() as address, listening() as (_, url):
        slow = {kind: lambda event: stage.engine.clock.advance(10)}
        own = add(
            stage.executor, url, WriteOperation(b"x", then=ReadOperation()), on=slow,
            connection_timeout=3, io_timeout=3,
        )  # fmt: skip
        other = add(stage.executor, address, ReadOperation(), connection_timeout=3)
        mine, others = stage.stamp(own), stage.stamp(other)
        stage.executor.execute_request()
    assert own.timeouts == [("IO", "reading")]
    assert dict(mine)["TIMEOUT"] == pytest.approx(13)
    if kind == "INITIALIZE":
        assert dict(others)["TIMEOUT"] == pytest.approx(13)


def test_slow_initialize_takes_nothing_from_the_request(talk: Talk) -> None:
    on = {"INITIALIZE": lambda event: talk.clock.advance(10)}
    one = talk(ReadOperation(), told=["TIMEOUT REQUEST reading"], on=on, request_timeout=3)
    assert one.when("TIMEOUT") == pytest.approx([13])


def test_slow_handler_takes_nothing_from_a_socket_ready_with_it(talk: Talk) -> None:
    """Bytes that came are progress when they are looked at, not when the turn began."""
    others = [talk.begin(READ_LINE, sends(b"x"), io_timeout=3) for _ in range(3)]
    slow = talk.begin(READ_LINE, sends(b"\n"), on={"READ": lambda event: talk.clock.advance(10)})
    # The slow one is somewhere among the three in the batch: second, whatever the engine's order.
    poll = talk.executor.engine.poll

    def shuffled(timeout: float | None) -> Any:
        batch = poll(timeout)
        batch.sort(key=lambda entry: getattr(entry[0], "socket", None) is not slow.client)
        return batch

    talk.executor.engine.poll = shuffled  # type: ignore[method-assign]
    talk.run()
    for one in others:
        one.check(["TIMEOUT IO reading"])
        assert one.when("TIMEOUT") == pytest.approx([13])


def stalling(talk: Talk, other: Conversation, data: bytes) -> Conversation:
    """One whose READ handler takes very long, and then `other` has its bytes."""

    def stall(event: Any) -> None:
        talk.clock.advance(100)
        other.peer.send(data)

    return talk.begin(ReadOperation(), sends(b"x"), on={"READ": stall}, io_timeout=200)


def test_io_is_looked_at_before_timeouts(talk: Talk) -> None:
    """After a long stall bytes that came meanwhile are delivered, and are progress if they are no frame."""
    one, two = talk.begin(ReadOperation(), io_timeout=3), talk.begin(fixed(8), io_timeout=3)
    stalling(talk, one, b"in time")
    stalling(talk, two, b"half")
    talk.run()
    one.check([b"in time"])
    two.check(["TIMEOUT IO reading"])
    assert two.when("TIMEOUT") == pytest.approx([203])


def test_no_look_at_idle_sockets(talk: Talk) -> None:
    """One busy socket among many idle ones: turns ask nothing of the others."""
    for _ in range(50):
        talk.begin(ReadOperation(), io_timeout=1000)
    reads = [fixed(1)] * 199
    busy = talk.begin(fixed(1), sends(b"x" * 200), on={"READ": reads, "FINALIZE": stop})
    talk.run()
    busy.check([b"x"] * 200)
    # One watch when they start, one when they end.
    assert len(talk.executor.engine.calls) <= 2 * 51 + 4


def stop(event: Any) -> None:
    event.executor.stop_request()
