"""Every time-out, exactly, on a clock that only the engine moves."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import pytest

from evsockets import (
    READ,
    WRITE,
    DelayedOperation,
    FixedLengthFramePicker,
    NullOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.stage import Stage, unanswered
from support.wire import add, pair


def again(stage: Stage, seen: list[float], times: int) -> Any:
    """A TIMEOUT handler that notes the moment in `seen`, and goes on until there were `times` of them."""

    def handler(event: Any) -> None:
        seen.append(stage.now)
        if len(seen) < times:
            event.enable_one_more_attempt()

    return handler


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
    seen: list[float] = []

    def times(event: Any) -> None:
        m = event.metadata
        assert (m.connection_start_time, m.connection_finish_time, m.last_io_start_time) == (None, None, None)

    with unanswered() as address:
        on = {"TIMEOUT": again(stage, seen, 3), "INITIALIZE": times}
        log = add(stage.executor, address, ReadOperation(), on=on, connection_timeout=5)
        stage.executor.execute_request()
    assert log.names == ["INITIALIZE", "TIMEOUT"] * 3 + ["FINALIZE"]
    assert seen == pytest.approx([5, 10, 15])


def test_another_address_for_another_attempt(stage: Stage) -> None:
    with unanswered() as address, socket.create_server(("127.0.0.1", 0)) as listener:

        def move(event: Any) -> None:
            event.metadata.address = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
            event.enable_one_more_attempt()

        log = add(
            stage.executor, address, WriteOperation(b"x"), on={"TIMEOUT": move}, connection_timeout=5
        )
        stage.executor.execute_request()
    assert log.names[:3] == ["INITIALIZE", "TIMEOUT", "INITIALIZE"]
    assert log.names[3:] == ["CONNECTED", "WRITE", "DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize("scheme", ["unix", "tls"])
def test_request_timeout_counts_over_connection_attempts(stage: Stage, scheme: str) -> None:
    with unanswered() as address, socket.create_server(("127.0.0.1", 0)) as listener:
        if scheme == "tls":
            address = "tls://127.0.0.1:%d" % listener.getsockname()[1]

        def again(event: Any) -> None:
            if event.when.name == "CONNECTION":
                event.enable_one_more_attempt()

        on = {"TIMEOUT": again}
        log = add(
            stage.executor, address, ReadOperation(), on=on, connection_timeout=5, request_timeout=12
        )
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
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "tls://127.0.0.1:%d" % listener.getsockname()[1]
        log = add(stage.executor, address, ReadOperation(), connection_timeout=5, io_timeout=1)
        stage.executor.execute_request()
    assert log.names == ["INITIALIZE", "TIMEOUT", "FINALIZE"]
    assert log.timeouts == [("CONNECTION", "handshaking")]
    assert stage.now == pytest.approx(5)


def test_io_timeout_reading(stage: Stage) -> None:
    ours, theirs = pair()
    with theirs:
        log = add(stage.executor, None, ReadOperation(), socket=ours, io_timeout=3, connection_timeout=1)
        stage.executor.execute_request()
    assert log.names == ["INITIALIZE", "CONNECTED", "TIMEOUT", "DISCONNECTED", "FINALIZE"]
    assert log.timeouts == [("IO", "reading")]
    assert stage.now == pytest.approx(3)


def test_io_timeout_writing(stage: Stage) -> None:
    ours, theirs = pair()
    with theirs:
        log = add(stage.executor, None, WriteOperation(bytes(10_000_000)), socket=ours, io_timeout=3)
        stage.executor.execute_request()
    assert log.names == ["INITIALIZE", "CONNECTED", "WRITE", "TIMEOUT", "DISCONNECTED", "FINALIZE"]
    assert log.timeouts == [("IO", "writing")]
    assert stage.now == pytest.approx(3)


def test_io_timeout_once_more(stage: Stage) -> None:
    seen: list[float] = []

    ours, theirs = pair()
    with theirs:
        on = {"TIMEOUT": again(stage, seen, 3)}
        log = add(stage.executor, None, ReadOperation(), socket=ours, on=on, io_timeout=3)
        stage.executor.execute_request()
    assert seen == pytest.approx([3, 6, 9])
    assert log.names == ["INITIALIZE", "CONNECTED", *["TIMEOUT"] * 3, "DISCONNECTED", "FINALIZE"]


def test_bytes_move_the_io_clock_and_another_sockets_do_not(stage: Stage) -> None:
    busy, talker = pair()
    idle, silent = pair()
    with talker, silent:
        for _ in range(4):
            stage.engine.call(lambda: talker.send(b"x") and None, after=2)
        one = add(stage.executor, None, ReadOperation(FixedLengthFramePicker(9)), socket=busy, io_timeout=3)
        two = add(stage.executor, None, ReadOperation(), socket=idle, io_timeout=3)
        first, second = stage.stamp(one), stage.stamp(two)
        stage.executor.execute_request()
    assert dict(second)["TIMEOUT"] == pytest.approx(3)
    assert dict(first)["TIMEOUT"] == pytest.approx(8 + 3)


def test_delayed_does_not_count(stage: Stage) -> None:
    ours, theirs = pair()
    with theirs:
        operation = DelayedOperation(ReadOperation(), lambda s, e: stage.now < 100, interval=10)
        log = add(stage.executor, None, operation, socket=ours, io_timeout=3)
        stage.executor.execute_request()
    assert log.timeouts == [("IO", "reading")]
    assert stage.now == pytest.approx(103)


def test_delayed_phase_and_request_timeout(stage: Stage) -> None:
    ours, theirs = pair()
    with theirs:
        operation = DelayedOperation(ReadOperation(), lambda s, e: True)
        log = add(stage.executor, None, operation, socket=ours, io_timeout=3, request_timeout=7)
        stage.executor.execute_request()
    assert log.timeouts == [("REQUEST", "delayed")]
    assert log.names == ["INITIALIZE", "CONNECTED", "TIMEOUT", "DISCONNECTED", "FINALIZE"]
    assert stage.now == pytest.approx(7)


def test_idle_timeout(stage: Stage) -> None:
    seen: list[float] = []

    ours, theirs = pair()
    with theirs:
        log = add(
            stage.executor, None, WriteOperation(b"x"), socket=ours, keep_alive=True, io_timeout=1,
            idle_timeout=4, on={"TIMEOUT": again(stage, seen, 2)},
        )  # fmt: skip
        stage.executor.execute_request()
    assert log.timeouts == [("IDLE", "idle")] * 2
    assert seen == pytest.approx([4, 8])


def test_request_timeout_counts_through_progress(stage: Stage) -> None:
    ours, theirs = pair()
    seen: list[float] = []

    with theirs:
        for _ in range(12):
            stage.engine.call(lambda: theirs.send(b"x") and None, after=1)
        on = {"READ": lambda event: event.next_is_read(), "TIMEOUT": again(stage, seen, 2)}
        log = add(
            stage.executor, None, ReadOperation(), socket=ours, io_timeout=3, request_timeout=5.5, on=on
        )
        stage.executor.execute_request()
    assert log.timeouts == [("REQUEST", "reading")] * 2
    assert seen == pytest.approx([5.5, 11])


def test_server_timeouts(stage: Stage) -> None:
    server = ServerSocket()
    metadata = stage.executor.socket_bag.add_socket(server, ReadOperation(), address="tcp://127.0.0.1:0")
    for name in ("connection_timeout", "io_timeout", "idle_timeout", "request_timeout"):
        assert getattr(metadata, name) is None
    log = add(
        stage.executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), io_timeout=3,
        on={"FINALIZE": lambda event: stage.executor.stop_request()},
    )  # fmt: skip
    with contextlib.ExitStack() as stack:

        def knock() -> None:
            stack.enter_context(socket.create_connection(log.metadata.local_address))

        stage.engine.call(knock, after=2)
        stage.executor.execute_request()
    assert log.timeouts == [("IO", "listening")]
    assert log.names == ["INITIALIZE", "CONNECTED", "ACCEPT", "TIMEOUT", "DISCONNECTED", "FINALIZE"]
    assert stage.now == pytest.approx(5)


@pytest.mark.parametrize("before", [0.001, 0.02, 0.9])
@pytest.mark.parametrize("name", ["io_timeout", "request_timeout", "idle_timeout"])
def test_not_early_though_somebody_else_is_awake(stage: Stage, name: str, before: float) -> None:
    """A turn shortly before the moment is not the moment."""
    busy, talker = pair()
    late, silent = pair()
    with talker, silent:
        stage.engine.call(lambda: talker.send(b"x") and None, after=3 - before)
        idle = name == "idle_timeout"
        log = add(
            stage.executor, None, NullOperation() if idle else ReadOperation(), socket=late, keep_alive=idle,
            **{"io_timeout": None, name: 3},
        )  # fmt: skip
        add(stage.executor, None, ReadOperation(), socket=busy)
        moments = stage.stamp(log)
        stage.executor.execute_request()
    assert dict(moments)["TIMEOUT"] == pytest.approx(3, abs=1e-9)


@pytest.mark.parametrize("kind", ["adopted", "unix"])
def test_request_timeout_of_a_socket_that_is_connected_at_once(stage: Stage, kind: str) -> None:
    """With no other clock running."""
    with contextlib.ExitStack() as stack:
        if kind == "adopted":
            ours, theirs = pair()
            stack.enter_context(theirs)
            url = None
        else:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind("")
            listener.listen(1)
            ours, url = None, "unix://@" + listener.getsockname()[1:].decode()
        log = add(
            stage.executor, url, ReadOperation(), socket=ours,
            connection_timeout=None, io_timeout=None, request_timeout=3,
        )  # fmt: skip
        stage.executor.call_soon_threadsafe(lambda: None)
        stage.executor.execute_request()
    assert log.timeouts == [("REQUEST", "reading")]
    assert stage.now == pytest.approx(3)


def test_phase_of_both_directions(stage: Stage) -> None:
    """With nothing left to read, writing is what it waits for."""
    for operations, phase in (
        ([WriteOperation(bytes(10_000_000))], "writing"),
        ([WriteOperation(bytes(10_000_000)), ReadOperation()], "reading"),
        ([ReadOperation()], "reading"),
    ):
        ours, theirs = pair()
        with theirs:
            duplex = ReadWriteOperation(True, operations)
            log = add(stage.executor, None, duplex, socket=ours, io_timeout=1)
            stage.executor.execute_request()
        assert log.timeouts == [("IO", phase)]


@pytest.mark.parametrize(("interest", "phase"), [(READ, "reading"), (WRITE, "writing")])
def test_phase_of_an_operation_of_ones_own(stage: Stage, interest: int, phase: str) -> None:
    class Waiting(Operation):
        def start(self, channel: Any) -> Any:
            while channel.send(bytes(65536)):
                pass
            self.interest = interest
            return self

    ours, theirs = pair()
    with theirs:
        log = add(stage.executor, None, Waiting(), socket=ours, io_timeout=1)
        stage.executor.execute_request()
    assert log.timeouts == [("IO", phase)]
