"""What nobody closed and nobody has any more: it is told, and nothing of it stays."""

from __future__ import annotations

import gc
import os
import socket
import threading
import weakref
from collections.abc import Iterator

import pytest

from evsockets import (
    ClientSocket,
    Engine,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from evsockets.engines import READ, create_engine


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def abandon(engine: str | Engine, ours: list[socket.socket]) -> weakref.ref[RequestExecutor]:
    """An executor in the midst of a run, which nobody has once this has returned."""
    executor = RequestExecutor(engine)
    add = executor.socket_bag.add_socket
    add(ServerSocket(), ReadOperation(), address="tcp://127.0.0.1:0")
    add(ClientSocket.from_socket(ours[0]), ReadOperation())
    add(ClientSocket.from_socket(ours[1]), ReadWriteOperation(operations=[WriteOperation(bytes(1 << 24))]))
    executor.start_request()
    for _ in range(3):
        executor.turn(0.01)
    assert len(executor._loop.running()) == 3
    return weakref.ref(executor)


def go_on(engine: str) -> None:
    """Let gevent's hub go on: it stands still where it switched to the last poll, in that engine's frame."""
    with create_engine(engine) as another:
        another.poll(0)


def collect(elsewhere: bool) -> None:
    if elsewhere:
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join()
    else:
        gc.collect()


@pytest.fixture
def collected_when_told() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("collected_when_told")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # each of its sockets says so, too
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in another thread"])
def test_an_abandoned_executor_is_told_of_and_leaves_nothing(engine: str, elsewhere: bool) -> None:
    create_engine(engine).close()  # a hub, made for the first, stays
    before = descriptors()
    pairs = [socket.socketpair() for _ in range(2)]
    known = abandon(engine, [pair[0] for pair in pairs])
    go_on(engine)
    with pytest.warns(ResourceWarning, match="unclosed <RequestExecutor on .* 3 sockets>: close"):
        collect(elsewhere)
    assert known() is None
    gc.collect()  # the recorded warning had held it, as its source
    for _, theirs in pairs:
        while theirs.recv(1 << 20):
            pass
        theirs.close()
    go_on(engine)
    assert descriptors() == before


def test_an_abandoned_engine_leaves_nothing(engine: str) -> None:
    create_engine(engine).close()
    before = descriptors()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lonely = create_engine(engine)
        token = Token()
        lonely.watch(ours.fileno(), READ, token)
        theirs.send(b"x")
        assert lonely.poll(1) == [(token, READ)]
        known = weakref.ref(token)
        del token, lonely
        go_on(engine)
        gc.collect()
        assert known() is None
        assert ours.recv(10) == b"x"
    assert descriptors() == before


class Token:
    """Something that can be looked for."""


@pytest.mark.usefixtures("collected_when_told")
def test_an_abandoned_executor_leaves_an_engine_of_ones_own_alone(engine: str) -> None:
    with create_engine(engine) as kept:
        executor = RequestExecutor(kept)
        executor.call_soon_threadsafe(executor.stop_request)
        executor.execute_request()
        go_on(engine)
        del executor
        with pytest.warns(ResourceWarning, match="unclosed <RequestExecutor"):
            gc.collect()
        gc.collect()
        assert kept.poll(0) == []
        ours, theirs = socket.socketpair()
        with ours, theirs:
            kept.watch(ours.fileno(), READ, "token")
            theirs.send(b"x")
            assert kept.poll(1) == [("token", READ)]
            kept.watch(ours.fileno(), 0, None)
