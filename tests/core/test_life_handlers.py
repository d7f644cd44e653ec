"""What handlers do to other sockets, in every event: close them, add them, wake them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EventType,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    WriteOperation,
)
from support.life import END, USUAL
from support.scenes import KINDS, end, scene
from support.wire import Log, add, pair, read_to_end

ENDED = [*USUAL, *END]


@pytest.mark.parametrize("kind", KINDS)
def test_closing_another_socket_in_every_event(executor: RequestExecutor, kind: str) -> None:
    """It ends without an EXCEPTION; the one whose handler did it goes its way."""
    silent, theirs = pair()
    idle, others = pair()

    def close(event: Any) -> None:
        silent.close()
        idle.close()
        silent.close()
        end(event)

    with theirs, others, scene(executor, kind) as one:
        victims = [
            add(executor, None, ReadOperation(), socket=silent),
            add(executor, None, NullOperation(), socket=idle, keep_alive=True),
        ]
        log = one.prepare(close)
        executor.execute_request()
        assert theirs.recv(1) == others.recv(1) == b""
    assert [victim.names for victim in victims] == [ENDED, ENDED]
    assert kind in log.names and log.names[-1] == "FINALIZE"
    assert len(log.errors) == (kind == "EXCEPTION")


@pytest.mark.parametrize("kind", KINDS)
def test_adding_a_socket_in_every_event(executor: RequestExecutor, kind: str) -> None:
    """It runs in the same run, also when the last socket's last event added it."""
    ours, theirs = pair()
    late = Log()

    def add_one(event: Any) -> None:
        if ours not in executor.socket_bag:
            operation = WriteOperation(b"late", then=ReadOperation())
            executor.socket_bag.add_socket(ours, operation, handler=late.handler())
        end(event)

    with theirs, scene(executor, kind) as one:
        theirs.sendall(b"!")
        log = one.prepare(add_one)
        executor.execute_request()
        assert read_to_end(theirs) == b"late"
    assert late.names == [*USUAL, "WRITE", "READ", *END]
    assert kind in log.names and log.names[-1] == "FINALIZE"


@pytest.mark.parametrize("kind", KINDS)
def test_adding_a_thousand_sockets_in_every_event(executor: RequestExecutor, kind: str) -> None:
    count = Counter[str]()
    handler = {type: lambda event: count.update([event.type.name]) for type in EventType}

    def add_many(event: Any) -> None:
        for _ in range(1000 if len(executor.socket_bag) == 1 else 0):
            executor.socket_bag.add_socket(ClientSocket(), ReadOperation(), handler=handler)
        end(event)

    with scene(executor, kind) as one:
        log = one.prepare(add_many)
        executor.execute_request()
    assert count == {"INITIALIZE": 1000, "EXCEPTION": 1000, "FINALIZE": 1000}
    assert log.names[-1] == "FINALIZE" and len(executor.socket_bag) == 1001


@pytest.mark.parametrize("kind", KINDS)
def test_waking_an_idle_socket_in_every_event(executor: RequestExecutor, kind: str) -> None:
    idle, theirs = pair()

    def wake(event: Any) -> None:
        if executor.socket_bag.get_operation(idle) is None and not kept.metadata.request_complete:
            kept.metadata.keep_alive = False
            executor.socket_bag.set_operation(idle, WriteOperation(b"awake"))
        end(event)

    with theirs, scene(executor, kind) as one:
        kept = add(executor, None, NullOperation(), socket=idle, keep_alive=True)
        one.prepare(wake)
        executor.execute_request()
        assert read_to_end(theirs) == b"awake"
    assert kept.names == [*USUAL, "WRITE", *END]
