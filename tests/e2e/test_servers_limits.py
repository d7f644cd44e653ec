"""Servers under pressure: out of descriptors, full by a limitation solver."""

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    AcceptedSocket,
    AcceptError,
    ConstantLimitationSolver,
    DelayedOperation,
    LimitationDecision,
    LimitationSolver,
    ReadOperation,
    RequestExecutor,
)
from support.life import END, USUAL
from support.service import Serve, count_polls, echo
from support.wire import add, pair, reset, turns_to_the_end, turns_until

NUMBERS = [b"%d\n" % number for number in range(200)]


class Shortage:
    """While it lasts, the next descriptor asked for is one too many."""

    def __init__(self) -> None:
        self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def begin(self, *_: Any) -> None:
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, self.limits[1]))

    def end(self, *_: Any) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, self.limits)


@pytest.fixture
def shortage() -> Iterator[Shortage]:
    made = Shortage()
    yield made
    made.end()


def test_out_of_descriptors(
    executor: RequestExecutor, server: Serve, shortage: Shortage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One EXCEPTION for the whole episode, no spin, and recovery without anybody's help."""
    polls = count_polls(executor, monkeypatch)
    during: list[int] = []

    def begin(event: Any) -> None:
        for data in NUMBERS[:3]:
            service.come(data)
        shortage.begin()
        polls.clear()

    def end(event: Any) -> None:
        during.append(len(polls))
        shortage.end()

    clock, silent = pair()
    with silent:
        service = server(clients=3, started=begin)
        add(executor, None, ReadOperation(), socket=clock, on={"TIMEOUT": end}, io_timeout=0.15)
        assert service.execute().answers() == NUMBERS[:3]
    assert service.listening.names == [*USUAL, "EXCEPTION", "ACCEPT", "ACCEPT", "ACCEPT", *END]
    told = service.listening.error
    assert isinstance(told, AcceptError) and told.errno == errno.EMFILE
    assert isinstance(told.__cause__, OSError) and told.socket is service.server
    assert during[0] < 60, "a paused listener does not spin"


def test_each_episode_is_told(server: Serve, shortage: Shortage) -> None:
    """A second shortage after a recovery is another episode."""

    def more(event: Any) -> None:
        if len(service.peers) < 2:
            service.come(b"x\n")
            shortage.begin()

    service = server(
        clients=2, started=more, handler={"READ": echo, "FINALIZE": more},
        server_handler={"EXCEPTION": shortage.end},
    )  # fmt: skip
    service.execute()
    assert service.listening.names == [*USUAL, *["EXCEPTION", "ACCEPT"] * 2, *END]


def test_an_episode_can_end_by_stop(executor: RequestExecutor, server: Serve, shortage: Shortage) -> None:
    service = server(
        says=[b""], started=shortage.begin, server_handler={"EXCEPTION": lambda e: executor.stop_request()}
    ).execute()
    assert service.listening.names == [*USUAL, "EXCEPTION", *END]


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_a_client_that_hangs_up_while_held_back(
    executor: RequestExecutor, server: Serve, tmp_path: Path, scheme: str, how: str
) -> None:
    """Nobody reads it, so nothing wakes up; what it had sent comes first when it is read."""
    held = [True]
    address = "tcp://127.0.0.1:0" if scheme == "tcp" else f"unix://{tmp_path}/socket"
    service = server(
        address, first=lambda: DelayedOperation(ReadOperation(), lambda *_: held[0]), handler={}
    ).listen()
    peer = service.come(b"last words")
    turns_until(executor, lambda: "CONNECTED" in service.talking.names)
    reset(peer) if how == "reset" and scheme == "tcp" else peer.close()
    executor.turn(0)
    began = time.monotonic()
    executor.turn(0.2)
    assert time.monotonic() - began >= 0.19, "it woke up for nothing"
    held[0] = False
    executor.call_soon_threadsafe(lambda: None)
    turns_to_the_end(executor, 0.01)
    assert service.talking.names == [*USUAL, "READ", *END]
    assert service.talking.frames == [b"last words"]


@pytest.mark.parametrize("limit", [1, 3])
def test_a_full_house_pauses_the_listener(executor: RequestExecutor, server: Serve, limit: int) -> None:
    """Never more than `limit` clients run; the rest wait where they cost us nothing."""
    running: set[Any] = set()
    most: list[int] = []
    accepted_at_an_end: list[int] = []

    def begun(event: Any) -> None:
        running.add(event.socket)
        most.append(len(running))

    def ended(event: Any) -> None:
        running.discard(event.socket)
        accepted_at_an_end.append(len(service.accepted))

    executor.with_limitation_solver(ConstantLimitationSolver(limit))
    handler = {"INITIALIZE": begun, "FINALIZE": ended, "READ": echo}
    service = server(says=NUMBERS, handler=handler, stream_context={"backlog": 512})
    assert service.execute().answers() == NUMBERS
    assert max(most) <= limit and accepted_at_an_end[0] < 200
    assert service.listening.names.count("ACCEPT") == 200


class Solver(LimitationSolver):
    """Refuses as many questions as `refusals`; `asked` are the kinds of socket it was asked about."""

    def __init__(self, refusals: int, then: Any = lambda: None) -> None:
        self.refusals, self.then = refusals, then
        self.asked: list[type] = []

    def decide(self, executor: Any, socket: Any, context: Any, total: int) -> LimitationDecision:
        assert total == 1
        self.asked.append(type(socket))
        self.then()
        return LimitationDecision.OK if len(self.asked) > self.refusals else LimitationDecision.SKIP_CURRENT


def test_a_refused_client_is_asked_for_again_while_only_a_listener_runs(
    executor: RequestExecutor, server: Serve
) -> None:
    """The listener itself is never asked about."""
    executor.with_limitation_solver(solver := Solver(2))
    assert server(says=[b"x\n"]).execute().answers() == [b"x\n"]
    assert solver.asked == [AcceptedSocket] * 3


def test_a_refused_client_is_closed_with_the_run(executor: RequestExecutor, server: Serve) -> None:
    executor.with_limitation_solver(Solver(99, executor.stop_request))
    service = server(says=[b"x\n"]).execute()
    assert service.talking.names == []
    assert service.accepted[0].client_socket in executor.socket_bag, "it stays for the next run"
    executor.close()
    # With the client's line unread, closing resets the connection.
    with pytest.raises(ConnectionResetError):
        service.answers()
