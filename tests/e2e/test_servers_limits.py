"""Servers under pressure: out of descriptors, full by a limitation solver."""

from __future__ import annotations

import errno
import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    AcceptedSocket,
    AcceptError,
    ClientSocket,
    ConstantLimitationSolver,
    DelayedOperation,
    EventType,
    LimitationDecision,
    LimitationSolver,
    ReadOperation,
    RequestExecutor,
)
from support.service import Peers, Service, count_polls
from support.wire import read_to_end, reset


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """The next descriptor asked for is one too many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_out_of_descriptors(executor: RequestExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """One EXCEPTION for the whole episode, no spin, and recovery without anybody's help."""
    polls = count_polls(executor, monkeypatch)
    episode = no_more_descriptors()
    during: list[int] = []
    with Peers() as peers, socket.create_server(("127.0.0.1", 0)) as silent:

        def started(event: Any) -> None:
            executor.socket_bag.add_socket(
                ClientSocket(), ReadOperation(), handler=clock, io_timeout=0.15,
                address=f"tcp://127.0.0.1:{silent.getsockname()[1]}",
            )  # fmt: skip

        def clock(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                for number in range(3):
                    peers.stream(service.local, b"%d\n" % number)
                episode.__enter__()
                polls.clear()
            elif event.type is EventType.TIMEOUT:
                during.append(len(polls))
                episode.__exit__(None, None, None)

        service = Service(executor, clients=3, started=started)
        executor.execute_request()
        assert [read_to_end(peer) for peer in peers] == [b"0\n", b"1\n", b"2\n"]
    assert service.listening.names() == [
        "INITIALIZE", "CONNECTED", "EXCEPTION", "ACCEPT", "ACCEPT", "ACCEPT", "DISCONNECTED", "FINALIZE"
    ]  # fmt: skip
    told = service.listening.exceptions()[0]
    assert isinstance(told, AcceptError) and told.errno == errno.EMFILE
    assert isinstance(told.__cause__, OSError) and told.socket is service.server
    assert during[0] < 60, "a paused listener does not spin"


def test_each_episode_is_told(executor: RequestExecutor) -> None:
    """A second shortage after a recovery is another episode."""
    with Peers() as peers:
        left = 2

        def started(event: Any) -> None:
            more()

        def more() -> None:
            peers.stream(service.local, b"x\n")
            episode = no_more_descriptors()
            episode.__enter__()
            episodes.append(episode)

        def on_exception(event: Any) -> None:
            if event.type is EventType.EXCEPTION:
                episodes.pop().__exit__(None, None, None)
            elif event.type is EventType.FINALIZE and isinstance(event.socket, AcceptedSocket):
                nonlocal left
                left -= 1
                if left:
                    more()

        episodes: list[Any] = []
        service = Service(executor, clients=2, started=started)
        executor.with_event_handler(on_exception)
        executor.execute_request()
    assert service.listening.names().count("EXCEPTION") == 2
    assert service.listening.names().count("ACCEPT") == 2


def test_accepts_are_many_and_bounded_a_turn(executor: RequestExecutor) -> None:
    """A burst is taken in few turns, but others have theirs in between."""
    with Peers() as peers:
        service = Service(executor, stream_context={"backlog": 512})
        executor.start_request()
        while service.local is None:
            executor.turn(0.01)
        for _ in range(300):
            peers.stream(service.local)
        counts = []
        while len(service.accepted) < 300 and len(counts) < 300:
            before = len(service.accepted)
            executor.turn(1)
            counts.append(len(service.accepted) - before)
        assert len(service.accepted) == 300
        assert 16 <= max(counts) <= 100
        executor.stop_request()
        assert not executor.turn(0)


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_a_client_that_hangs_up_while_held_back(
    executor: RequestExecutor, tmp_path: Path, scheme: str, how: str
) -> None:
    """Nobody reads it, so nothing wakes up; what it had sent comes first when it is read."""
    held = True

    def first() -> DelayedOperation:
        return DelayedOperation(ReadOperation(), lambda *_: held)

    address = "tcp://127.0.0.1:0" if scheme == "tcp" else f"unix://{tmp_path}/socket"
    with Peers() as peers:
        service = Service(executor, address, first=first, handler={})
        executor.start_request()
        while service.local is None:
            executor.turn(0.01)
        family = socket.AF_INET if scheme == "tcp" else socket.AF_UNIX
        peer = peers.stream(service.local, b"last words", family)
        while "CONNECTED" not in service.talking.names():
            executor.turn(0.01)
        if how == "reset" and scheme == "tcp":
            reset(peer)
        peer.close()
        executor.turn(0)
        began = time.monotonic()
        executor.turn(0.2)
        assert time.monotonic() - began >= 0.19, "it woke up for nothing"
        held = False
        executor.call_soon_threadsafe(lambda: None)
        while executor.turn(0.01):
            pass
    assert service.talking.names() == ["INITIALIZE", "CONNECTED", "READ", "DISCONNECTED", "FINALIZE"]
    assert service.talking.of(EventType.READ)[0].frame.data == b"last words"


def test_an_episode_can_end_by_stop(executor: RequestExecutor) -> None:
    with Peers() as peers, no_more_descriptors_after(executor) as begin:

        def started(event: Any) -> None:
            peers.stream(event.metadata.local_address)
            begin()

        service = Service(executor, started=started)
        executor.with_event_handler({EventType.EXCEPTION: lambda e: executor.stop_request()})
        executor.execute_request()
    assert service.listening.names() == ["INITIALIZE", "CONNECTED", "EXCEPTION", "DISCONNECTED", "FINALIZE"]


@contextmanager
def no_more_descriptors_after(executor: RequestExecutor) -> Iterator[Any]:
    episodes: list[Any] = []

    def begin() -> None:
        episodes.append(no_more_descriptors())
        episodes[0].__enter__()

    try:
        yield begin
    finally:
        for episode in episodes:
            episode.__exit__(None, None, None)


@pytest.mark.parametrize("limit", [1, 3])
def test_a_full_house_pauses_the_listener(executor: RequestExecutor, limit: int) -> None:
    """Never more than `limit` clients run; the rest wait where they cost us nothing."""
    running: set[Any] = set()
    most = 0
    accepted_at_first_end: list[int] = []

    def watch(event: Any) -> None:
        nonlocal most
        if not isinstance(event.socket, AcceptedSocket):
            return
        if event.type is EventType.INITIALIZE:
            running.add(event.socket)
            most = max(most, len(running))
        elif event.type is EventType.FINALIZE:
            running.discard(event.socket)
            accepted_at_first_end.append(len(service.accepted))

    with Peers() as peers:

        def started(event: Any) -> None:
            for number in range(200):
                peers.stream(event.metadata.local_address, b"%d\n" % number)

        service = Service(executor, clients=200, started=started, stream_context={"backlog": 512})
        executor.with_event_handler(watch)
        executor.with_limitation_solver(ConstantLimitationSolver(limit))
        executor.execute_request()
        assert [read_to_end(peer) for peer in peers] == [b"%d\n" % number for number in range(200)]
    assert most <= limit
    assert accepted_at_first_end[0] < 200
    assert service.listening.names().count("ACCEPT") == 200


class Later(LimitationSolver):
    """Lets clients in from the third question on; the listener itself is never asked about."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def decide(self, executor: Any, socket: Any, context: Any, total: int) -> LimitationDecision:
        self.asked.append((type(socket).__name__, total))
        return LimitationDecision.OK if len(self.asked) > 2 else LimitationDecision.SKIP_CURRENT


def test_a_refused_client_is_asked_for_again_while_only_a_listener_runs(executor: RequestExecutor) -> None:
    solver = Later()
    executor.with_limitation_solver(solver)
    with Peers() as peers:
        Service(executor, started=lambda e: peers.stream(e.metadata.local_address, b"x\n"))
        executor.execute_request()
        assert read_to_end(peers[0]) == b"x\n"
    assert solver.asked == [("AcceptedSocket", 1)] * 3


def test_a_refused_client_is_closed_with_the_run(executor: RequestExecutor) -> None:
    class Never(LimitationSolver):
        def decide(self, executor: Any, socket: Any, context: Any, total: int) -> LimitationDecision:
            executor.stop_request()
            return LimitationDecision.SKIP_CURRENT

    executor.with_limitation_solver(Never())
    with Peers() as peers:
        service = Service(executor, started=lambda e: peers.stream(e.metadata.local_address, b"x\n"))
        executor.execute_request()
        assert service.talking.names() == []
        client = service.accepted[0].client_socket
        assert client in executor.socket_bag, "it never started: it stays for the next run"
        executor.close()
        # With the client's line unread, closing resets the connection.
        with pytest.raises(ConnectionResetError):
            peers[0].recv(10)
