"""Servers under pressure: out of descriptors, full by a limitation solver."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from evsockets import (
    AcceptedSocket,
    AcceptError,
    ClientSocket,
    ConstantLimitationSolver,
    EventType,
    LimitationDecision,
    LimitationSolver,
    ReadOperation,
    RequestExecutor,
)
from support.service import Peers, Service, everything


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


def count_polls(executor: RequestExecutor, monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    polls: list[float | None] = []
    poll = executor.engine.poll

    def counting(timeout: float | None) -> Any:
        polls.append(timeout)
        return poll(timeout)

    monkeypatch.setattr(executor.engine, "poll", counting)
    return polls


def test_out_of_descriptors(executor: RequestExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """One EXCEPTION for the whole episode, no spin, and recovery without anybody's help."""
    polls = count_polls(executor, monkeypatch)
    episode = no_more_descriptors()
    during: list[int] = []
    with Peers() as peers, socket.create_server(("127.0.0.1", 0)) as silent:

        def started(event: Any) -> None:
            for number in range(3):
                peers.stream(event.metadata.local_address, b"%d\n" % number)
            executor.socket_bag.add_socket(
                ClientSocket(), ReadOperation(), handler=clock, io_timeout=0.15,
                address=f"tcp://127.0.0.1:{silent.getsockname()[1]}",
            )  # fmt: skip

        def clock(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                episode.__enter__()
                polls.clear()
            elif event.type is EventType.TIMEOUT:
                during.append(len(polls))
                episode.__exit__(None, None, None)

        service = Service(executor, clients=3)
        # The clients come when the descriptors have gone.
        service._started = started
        first = Service.__dict__["_on_server"]
        assert first is not None
        executor.execute_request()
        assert [everything(peer) for peer in peers] == [b"0\n", b"1\n", b"2\n"]
    names = service.listening.names()
    told = service.listening.exceptions()
    assert len(told) <= 1
    if told:
        assert isinstance(told[0], AcceptError) and told[0].errno == errno.EMFILE
        assert isinstance(told[0].__cause__, OSError)
    assert names[-2:] == ["DISCONNECTED", "FINALIZE"]
    assert during[0] < 60
