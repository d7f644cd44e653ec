"""Echoes by socat on every transport it shares with us."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from evsockets import (
    ClientSocket,
    EndOfStreamFramePicker,
    EventType,
    FixedLengthFramePicker,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ShutdownWriteOperation,
    WriteOperation,
)
from support.wire import Log

Echo = Callable[..., AbstractContextManager[str]]
STREAMS = ["tcp", "tcp6", "unix", "abstract"]


@pytest.mark.parametrize("kind", STREAMS)
def test_stream_echo(executor: RequestExecutor, socat_echo: Echo, kind: str) -> None:
    recorder = Log()
    executor.with_event_handler(recorder)
    data = os.urandom(20_000)
    with socat_echo(kind) as address:
        for _ in range(5):
            executor.socket_bag.add_socket(
                ClientSocket(),
                WriteOperation(data, then=ReadOperation(FixedLengthFramePicker(len(data)))),
                address=address,
            )
        executor.execute_request()
    assert recorder.errors == []
    assert [event.frame.data for event in recorder.of(EventType.READ)] == [data] * 5


@pytest.mark.parametrize("kind", STREAMS)
def test_our_end_first(executor: RequestExecutor, socat_echo: Echo, kind: str) -> None:
    recorder = Log()
    executor.with_event_handler(recorder)
    end = ShutdownWriteOperation(ReadOperation(EndOfStreamFramePicker()))
    with socat_echo(kind) as address:
        executor.socket_bag.add_socket(
            ClientSocket(), WriteOperation(b"to be returned", then=end), address=address
        )
        executor.execute_request()
    assert recorder.errors == []
    assert [event.frame.data for event in recorder.of(EventType.READ)] == [b"to be returned"]


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_both_directions_at_once(executor: RequestExecutor, socat_echo: Echo, kind: str) -> None:
    recorder = Log()
    executor.with_event_handler(recorder)
    data = os.urandom(8 * 1024 * 1024)
    # More than every buffer on the way: written first and read after, it would stand still.
    both = ReadWriteOperation(True, [WriteOperation(data), ReadOperation(FixedLengthFramePicker(len(data)))])
    with socat_echo(kind) as address:
        executor.socket_bag.add_socket(ClientSocket(), both, address=address)
        executor.execute_request()
    assert recorder.errors == []
    (read,) = recorder.of(EventType.READ)
    assert read.frame.data == data


def test_datagram_echo(executor: RequestExecutor, socat_echo: Echo) -> None:
    recorder = Log()
    executor.with_event_handler(recorder)
    with socat_echo("udp") as address:
        for number in range(10):
            executor.socket_bag.add_socket(
                ClientSocket(),
                WriteOperation(b"%d" % number, then=ReadOperation()),
                address=address,
                io_timeout=20,
            )
        executor.execute_request()
    assert recorder.errors == []
    assert {event.frame.data for event in recorder.of(EventType.READ)} == {b"%d" % n for n in range(10)}
