"""Echoes by socat on every transport it shares with us."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from evsockets import (
    EndOfStreamFramePicker,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ShutdownWriteOperation,
    WriteOperation,
)
from support.conversation import fixed
from support.wire import Log, Said, add

Echo = Callable[..., AbstractContextManager[str]]
STREAMS = ["tcp", "tcp6", "unix", "abstract"]


@pytest.fixture
def ask(executor: RequestExecutor, socat_echo: Echo) -> Callable[..., list[list[bytes]]]:
    """What the clients that do these operations at once get from an echo server of that kind."""

    def ask(kind: str, *operations: Said) -> list[list[bytes]]:
        with socat_echo(kind) as address:
            logs: list[Log] = [add(executor, address, each) for each in operations]
            executor.execute_request()
        assert [log.errors for log in logs] == [[]] * len(logs)
        return [log.frames for log in logs]

    return ask


@pytest.mark.parametrize("kind", STREAMS)
def test_stream_echo(ask: Callable[..., list[list[bytes]]], kind: str) -> None:
    data = os.urandom(20_000)
    assert ask(kind, *[WriteOperation(data, then=fixed(len(data)))] * 5) == [[data]] * 5


@pytest.mark.parametrize("kind", STREAMS)
def test_our_end_first(ask: Callable[..., list[list[bytes]]], kind: str) -> None:
    end = ShutdownWriteOperation(ReadOperation(EndOfStreamFramePicker()))
    assert ask(kind, WriteOperation(b"to be returned", then=end)) == [[b"to be returned"]]


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_both_directions_at_once(ask: Callable[..., list[list[bytes]]], kind: str) -> None:
    """More than every buffer on the way: written first and read after, it would stand still."""
    data = os.urandom(8 * 1024 * 1024)
    assert ask(kind, ReadWriteOperation(True, [WriteOperation(data), fixed(len(data))])) == [[data]]


def test_datagram_echo(ask: Callable[..., list[list[bytes]]]) -> None:
    words = [b"%d" % number for number in range(10)]
    assert ask("udp", *[WriteOperation(word, then=ReadOperation()) for word in words]) == [[w] for w in words]
