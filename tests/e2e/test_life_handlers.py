"""What handlers do to sockets that are ready with them; many at once; and what an engine still watches."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from core.test_life_handlers import *  # noqa: F403
from evsockets import (
    FixedLengthFramePicker,
    ReadOperation,
    RequestExecutor,
)
from support.life import END, USUAL
from support.scenes import KINDS, end, scene
from support.wire import Log, add, pair, turns_to_the_end, turns_until

ENDED = [*USUAL, *END]


def crowd(executor: RequestExecutor, count: int, on: Any) -> tuple[list[Log], list[socket.socket]]:
    """Sockets that are all ready in one round."""
    logs, peers = [], []
    for _ in range(count):
        ours, theirs = pair()
        theirs.sendall(b"x")
        logs.append(add(executor, None, ReadOperation(), socket=ours, on={"READ": on}))
        peers.append(theirs)
    return logs, peers


def test_closed_in_the_round_in_which_it_was_ready(executor: RequestExecutor) -> None:
    """Twenty have bytes; the first told closes the others: nothing more is told of them."""

    def close_others(event: Any) -> None:
        for one in executor.socket_bag:
            if one is not event.socket:
                one.close()

    logs, peers = crowd(executor, 20, close_others)
    executor.execute_request()
    for theirs in peers:
        theirs.close()
    assert sorted(log.names == ENDED for log in logs) == [False] + [True] * 19
    assert sum(log.names.count("READ") for log in logs) == 1


def test_numbers_used_again_in_the_same_round(executor: RequestExecutor) -> None:
    """What the kernel said of a closed descriptor is not taken for its successor's."""
    numbers: set[int] = set()
    new: list[tuple[Log, socket.socket]] = []

    def replace(event: Any) -> None:
        if new:
            return
        for one in list(executor.socket_bag):
            numbers.add(one.fileno())
            one.close()
        executor.call_soon_threadsafe(add_new)

    def add_new() -> None:
        for _ in range(20):
            ours, theirs = pair()
            new.append((add(executor, None, ReadOperation(FixedLengthFramePicker(3)), socket=ours), theirs))
            reused.append(ours.fileno() in numbers)
        for number, (_, theirs) in enumerate(new):
            theirs.sendall(b"%03d" % number)

    reused: list[bool] = []
    logs, peers = crowd(executor, 20, replace)
    executor.execute_request()
    assert any(reused)
    assert [log.frames for log, _ in new] == [[b"%03d" % number] for number in range(20)]
    assert sum(log.names.count("READ") for log in logs) == 1
    for theirs in [*peers, *(theirs for _, theirs in new)]:
        theirs.close()


def test_two_thousand_at_once_with_high_numbers(executor: RequestExecutor) -> None:
    """All connected at the same time, most of them above what select() takes."""
    reserve = [os.dup(0) for _ in range(1100)]
    try:
        together = [0, 0]

        def connected(event: Any) -> None:
            together[0] += 1
            together[1] = max(together)

        def disconnected(event: Any) -> None:
            together[0] -= 1

        sockets = [pair() for _ in range(2000)]
        assert max(ours.fileno() for ours, _ in sockets) > 3000
        on = {"CONNECTED": connected, "DISCONNECTED": disconnected}
        picker = FixedLengthFramePicker(4)
        logs = [add(executor, None, ReadOperation(picker), socket=ours, on=on) for ours, _ in sockets]
        executor.start_request()
        turns_until(executor, lambda: together[0] >= 2000)
        for number, (_, theirs) in enumerate(sockets):
            theirs.sendall(b"%04d" % number)
        turns_to_the_end(executor)
        assert together == [0, 2000]
        assert [log.frames for log in logs] == [[b"%04d" % number] for number in range(2000)]
        for _, theirs in sockets:
            theirs.close()
    finally:
        for descriptor in reserve:
            os.close(descriptor)


def test_everything_is_unregistered(executor: RequestExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a run has ended the engine watches no descriptor of any of its sockets."""
    watched: dict[int, int] = {}
    watch = executor.engine.watch

    def watching(fd: int, interest: int, token: Any) -> None:
        watch(fd, interest, token)
        watched[fd] = interest

    monkeypatch.setattr(executor.engine, "watch", watching)
    for kind in KINDS:
        with scene(executor, kind) as one:
            one.prepare(end)
            silent, theirs = pair()
            with theirs:
                add(executor, None, ReadOperation(), socket=silent, io_timeout=0.05)
                executor.execute_request()
    assert watched and not any(watched.values())
