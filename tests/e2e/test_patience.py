"""`patience()` names the moment when a turn is next due, never one that has been lifted or put off."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evsockets import (
    DelayedOperation,
    FixedLengthFramePicker,
    NullOperation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.stage import unanswered
from support.wire import Log, add, listening, pair, tcp_pair, turns_to_the_end, turns_until

LONG = {"io_timeout": None, "connection_timeout": None}


class Hosted:
    """A started run, turned until it waits."""

    def __init__(self, executor: RequestExecutor, stack: contextlib.ExitStack) -> None:
        self.executor = executor
        self.stack = stack
        self.peer: socket.socket

    def start(self, operation: Any = None, *, tcp: bool = False, **metadata: Any) -> Log:
        ours, self.peer = tcp_pair() if tcp else pair()
        self.stack.enter_context(self.peer)
        first = ReadOperation() if operation is None else operation
        log = add(self.executor, None, first, socket=ours, **{**LONG, **metadata})
        log.socket = ours  # type: ignore[attr-defined]
        if not self.executor.is_executing:
            self.executor.start_request()
        self.settle()
        return log

    def settle(self) -> float | None:
        turns_until(self.executor, lambda: self.executor.patience() != 0, 0)
        return self.executor.patience()

    def turn_until(self, done: Callable[[], object]) -> None:
        turns_until(self.executor, done, 0.05)
        self.settle()


@pytest.fixture
def hosted(executor: RequestExecutor) -> Iterator[Hosted]:
    with contextlib.ExitStack() as stack:
        yield Hosted(executor, stack)
        if executor.is_executing:
            executor.stop_request()
            turns_to_the_end(executor, 0)


NAMES = ["io_timeout", "request_timeout"]


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_time_out_changed_between_turns(hosted: Hosted, name: str, tcp: bool) -> None:
    log = hosted.start(tcp=tcp, **{name: 100})
    before = hosted.executor.patience()
    assert before is not None and 50 < before <= 100
    setattr(log.metadata, name, 1000)
    put_off = hosted.executor.patience()
    assert put_off is not None and 500 < put_off <= 1000
    setattr(log.metadata, name, None)
    assert hosted.executor.patience() is None
    assert hosted.settle() is None
    setattr(log.metadata, name, 100)
    again = hosted.executor.patience()
    assert again is not None and again <= 100


def test_the_next_one_is_named(hosted: Hosted) -> None:
    first = hosted.start(io_timeout=100)
    hosted.start(io_timeout=1000)
    first.metadata.io_timeout = None
    due = hosted.executor.patience()
    assert due is not None and 500 < due <= 1000


def test_an_idle_time_out_lifted(hosted: Hosted) -> None:
    log = hosted.start(NullOperation(), keep_alive=True, idle_timeout=100)
    assert hosted.settle() is not None
    log.metadata.idle_timeout = None
    assert hosted.executor.patience() is None


def test_a_connection_time_out_lifted(hosted: Hosted) -> None:
    executor = hosted.executor
    address = hosted.stack.enter_context(unanswered())
    log = add(executor, address, ReadOperation(), **{**LONG, "connection_timeout": 100})
    executor.start_request()
    assert executor.turn(0)
    log.metadata.connection_timeout = None
    due = executor.patience()
    assert due is None or due < 1  # it is tried again with a back-off


def test_a_listeners_time_out_lifted(hosted: Hosted) -> None:
    executor = hosted.executor
    limits = {**LONG, "io_timeout": 100}
    log = add(executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), **limits)
    executor.start_request()
    assert hosted.settle() is not None
    log.metadata.io_timeout = None
    assert executor.patience() is None


@pytest.mark.parametrize("tcp", [False, True])
def test_an_operation_that_is_done(hosted: Hosted, tcp: bool) -> None:
    """The connection idles, without a time-out of its own."""
    log = hosted.start(tcp=tcp, keep_alive=True, io_timeout=100)
    assert hosted.executor.patience() is not None
    hosted.peer.send(b"x")
    hosted.turn_until(lambda: log.frames)
    assert hosted.executor.patience() is None


def test_connecting_is_done(hosted: Hosted) -> None:
    _, address = hosted.stack.enter_context(listening())
    log = add(hosted.executor, address, ReadOperation(), **{**LONG, "connection_timeout": 100})
    hosted.executor.start_request()
    hosted.turn_until(lambda: "CONNECTED" in log.names)
    assert hosted.executor.patience() is None


def test_an_operation_that_is_held_back(hosted: Hosted) -> None:
    """Delayed time does not count."""
    hosted.start(DelayedOperation(ReadOperation(), lambda socket, executor: True), io_timeout=100)
    assert hosted.executor.patience() is None


def test_a_minimum_speed_lifted(hosted: Hosted) -> None:
    log = hosted.start(
        ReadOperation(FixedLengthFramePicker(10)), min_receive_speed=1, min_receive_speed_duration=100
    )
    assert hosted.settle() is not None
    log.metadata.min_receive_speed = None
    assert hosted.executor.patience() is None


@pytest.mark.parametrize("how", ["close", "cancel", "peer"])
def test_a_socket_that_ended(hosted: Hosted, how: str) -> None:
    hosted.start()
    log = hosted.start(io_timeout=100)
    if how == "close":
        log.socket.close()  # type: ignore[attr-defined]
    elif how == "cancel":
        hosted.executor.call_soon_threadsafe(log.events[0].cancel_operation)
    else:
        hosted.peer.close()
    hosted.turn_until(lambda: "FINALIZE" in log.names)
    assert hosted.executor.patience() is None


def test_bytes_put_it_off(hosted: Hosted) -> None:
    """Also over TCP with an answer sent, once that is acknowledged."""
    on = {"READ": lambda event: event.next_is_write(b"!", then=ReadOperation())}
    ours, hosted.peer = tcp_pair()
    hosted.stack.enter_context(hosted.peer)
    log = add(hosted.executor, None, ReadOperation(), socket=ours, on=on, **{**LONG, "io_timeout": 100})
    hosted.executor.start_request()
    hosted.settle()
    hosted.peer.send(b"?")
    hosted.turn_until(lambda: log.frames)
    assert hosted.peer.recv(1) == b"!"
    while (due := hosted.executor.patience()) is not None and due <= 25:  # until it is acknowledged
        hosted.executor.turn(0.01)
    assert due is not None and 50 < due <= 100


def test_both_directions_done(hosted: Hosted) -> None:
    duplex = ReadWriteOperation(True, [WriteOperation(b"x"), ReadOperation()])
    log = hosted.start(duplex, keep_alive=True, io_timeout=100)
    hosted.peer.send(b"x")
    hosted.turn_until(lambda: log.frames)
    assert hosted.executor.patience() is None
