"""A descriptor closed behind the library's back, as another library or a careless `os.close` does."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    NetworkSocketError,
    NullOperation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.service import count_polls
from support.wire import Log, add, pair, talk

BIG = bytes(10_000_000)
OPERATIONS: dict[str, Callable[[], Any]] = {
    "read": ReadOperation,
    "write": lambda: WriteOperation(b"x"),
    "write much": lambda: WriteOperation(BIG),
    "both": lambda: ReadWriteOperation(True, [ReadOperation(), WriteOperation(BIG)]),
    "idle": NullOperation,
}
BRIEF = {"io_timeout": 0.1, "idle_timeout": 0.1}


def bystander(executor: RequestExecutor) -> tuple[Log, Any]:
    """Another socket of the same run: it must not notice anything."""
    ours, theirs = pair()
    log = add(executor, None, ReadOperation(), socket=ours, io_timeout=0.3)
    return log, theirs


def unharmed(log: Log) -> None:
    assert log.names == ["INITIALIZE", "CONNECTED", "TIMEOUT", "DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize("what", OPERATIONS)
def test_before_it_is_used(executor: RequestExecutor, what: str) -> None:
    """In CONNECTED: what comes next says so, on this socket alone."""
    ours, theirs = pair()
    other, others = bystander(executor)
    on = {"CONNECTED": lambda event: os.close(event.socket.fileno())}
    with theirs, others:
        log = talk(
            executor, None, OPERATIONS[what](), socket=ours, on=on, keep_alive=what == "idle", **BRIEF
        )
    assert isinstance(log.error, NetworkSocketError) and log.error.errno == errno.EBADF
    assert isinstance(log.error.__cause__, OSError) and log.error.socket is ours
    assert log.names[-3:] == ["EXCEPTION", "DISCONNECTED", "FINALIZE"]
    unharmed(other)


@pytest.mark.parametrize("what", [what for what in OPERATIONS if what != "write"])
def test_while_it_waits(executor: RequestExecutor, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Some systems never mention it again: then its time-out ends it. Nothing spins."""
    ours, theirs = pair()
    waker, wakers = pair()
    other, others = bystander(executor)
    polls = count_polls(executor, monkeypatch)

    def close(event: Any) -> None:
        os.close(ours.fileno())

    with theirs, wakers, others:
        wakers.sendall(b"!")
        log = add(executor, None, OPERATIONS[what](), socket=ours, keep_alive=what == "idle", **BRIEF)
        add(executor, None, ReadOperation(), socket=waker, on={"READ": close})
        executor.execute_request()
    assert log.timeouts or log.error.errno == errno.EBADF
    assert log.names[-2:] == ["DISCONNECTED", "FINALIZE"]
    assert len(polls) < 60
    unharmed(other)


def test_under_a_listener(executor: RequestExecutor) -> None:
    other, others = bystander(executor)
    on = {"CONNECTED": lambda event: os.close(event.socket.fileno())}
    with others:
        log = talk(
            executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), on=on, io_timeout=0.1
        )
    assert log.timeouts or log.error.errno == errno.EBADF
    assert log.names[-2:] == ["DISCONNECTED", "FINALIZE"]
    unharmed(other)


def test_the_number_is_somebody_elses_by_now(executor: RequestExecutor) -> None:
    """A file opened by somebody else has the number; its bytes are not taken for the socket's."""
    ours, theirs = pair()
    reader, writer = os.pipe()
    waker, wakers = pair()

    def replace(event: Any) -> None:
        os.dup2(reader, ours.fileno())
        os.write(writer, b"not for you")

    with theirs, wakers:
        wakers.sendall(b"!")
        log = add(executor, None, ReadOperation(), socket=ours, **BRIEF)
        add(executor, None, ReadOperation(), socket=waker, on={"READ": replace})
        executor.execute_request()
    assert log.frames == []
    assert log.timeouts or log.error.errno == errno.ENOTSOCK
    assert os.read(reader, 100) == b"not for you"
    os.close(reader)
    os.close(writer)
