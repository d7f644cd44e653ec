"""An executor hosted by any other loop, one turn at a time. No thread."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EventType,
    ReadOperation,
    RequestExecutor,
    UnsupportedOperationError,
    WriteOperation,
)
from support.machine import until
from support.service import CLIENT, Peers, Service, conversation, needs_descriptor
from support.wire import read_to_end, turns_to_the_end, turns_until


def test_turns(executor: RequestExecutor) -> None:
    _, events = conversation(executor)
    assert not executor.is_executing
    executor.start_request()
    assert executor.is_executing
    for _ in until(lambda: not executor.turn(1)):
        assert executor.is_executing
    assert not executor.is_executing
    assert events.names == CLIENT
    with pytest.raises(RuntimeError):
        executor.turn()


def test_turn_zero_never_waits(executor: RequestExecutor) -> None:
    _, events = conversation(executor)
    executor.start_request()
    for _ in range(100_000):
        if not executor.turn(0):
            break
    assert events.names == CLIENT


def test_nothing_to_do(executor: RequestExecutor) -> None:
    executor.start_request()
    assert executor.patience() == 0
    assert executor.turn(0) is False
    assert executor.patience() is None


def test_already_executing(executor: RequestExecutor) -> None:
    Service(executor)
    executor.start_request()
    for again in (executor.start_request, executor.execute_request, executor.close):
        with pytest.raises(RuntimeError):
            again()
    with pytest.raises((RuntimeError, UnsupportedOperationError)):
        asyncio.run(executor.execute_request_async())
    executor.stop_request()
    assert executor.patience() == 0
    assert executor.turn(0) is False


def test_patience(executor: RequestExecutor) -> None:
    """0 while work is queued, None when only the descriptor can tell, seconds until a time-out."""
    service = Service(executor)
    executor.start_request()
    assert executor.patience() == 0
    turns_until(executor, lambda: executor.patience() != 0, 0)
    assert executor.patience() is None
    service.metadata.io_timeout = 50
    turns_until(executor, lambda: executor.patience() != 0, 0)
    due = executor.patience()
    assert due is not None and 0 < due <= 50
    service.metadata.io_timeout = 0
    assert executor.patience() == 0
    turns_to_the_end(executor, 1)
    assert service.listening.names[-3:] == ["TIMEOUT", "DISCONNECTED", "FINALIZE"]


def test_an_exception_leaves_turn(executor: RequestExecutor) -> None:
    class Bug(Exception):
        pass

    def handler(event: Any) -> None:
        raise Bug

    with Peers() as peers:
        service = Service(
            executor, started=lambda e: peers.stream(e.metadata.local_address, b"x\n"),
            handler={EventType.READ: handler},
        )  # fmt: skip
        executor.start_request()
        with pytest.raises(Bug):
            turns_to_the_end(executor, 1)
        assert not executor.is_executing
        assert read_to_end(peers[0]) == b""
    assert service.listening.names[-2:] == ["DISCONNECTED", "FINALIZE"]
    assert service.talking.names[-2:] == ["DISCONNECTED", "FINALIZE"]


def test_descriptor_tells_when_a_turn_is_due(executor: RequestExecutor) -> None:
    """A foreign select() loop needs fileno() and patience(), no more."""
    fd = needs_descriptor(executor)
    _, events = conversation(executor)
    executor.start_request()
    more = True
    while more:
        select.select([fd], [], [], executor.patience())
        more = executor.turn(0)
    assert events.names == CLIENT


def test_changes_between_turns_wake_the_engine(executor: RequestExecutor) -> None:
    """Adding, setting an operation, forgetting, closing, stopping: the descriptor tells it."""
    fd = needs_descriptor(executor)
    service = Service(executor)
    executor.start_request()

    def settle() -> None:
        for _ in range(100):
            if executor.patience() != 0 and not select.select([fd], [], [], 0)[0]:
                return
            assert executor.turn(0)
        raise AssertionError("never at rest")

    def due() -> bool:
        return bool(select.select([fd], [], [], 0)[0])

    with Peers() as peers, socket.create_server(("127.0.0.1", 0)) as other:
        settle()
        assert not due()
        idle = ClientSocket()
        executor.socket_bag.add_socket(
            idle, WriteOperation(b"1"), address="tcp://127.0.0.1:%d" % other.getsockname()[1], keep_alive=True
        )
        assert due()
        settle()
        peer, _ = other.accept()
        peers.append(peer)
        executor.socket_bag.set_operation(idle, WriteOperation(b"2"))
        assert due()
        settle()
        assert peer.recv(10) == b"12"
        service.metadata.io_timeout = 50
        assert due()
        settle()
        executor.call_soon_threadsafe(lambda: None)
        assert due()
        settle()
        idle.close()
        assert due()
        settle()
        assert peer.recv(10) == b""
        service.server.close()
        assert due()
        assert executor.turn(0) is False


def test_used_from_another_thread(executor: RequestExecutor) -> None:
    """Between turns too: refused, naming what may be called."""
    Service(executor)
    executor.start_request()
    caught: list[BaseException] = []

    def other() -> None:
        for call in (lambda: executor.turn(0), lambda: executor.socket_bag.add_socket(
                ClientSocket(), ReadOperation(), address="tcp://127.0.0.1:1")):  # fmt: skip
            try:
                call()
            except RuntimeError as error:
                caught.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(caught) == 2 and all("call_soon_threadsafe" in str(error) for error in caught)
    executor.stop_request()
    assert executor.turn(0) is False
