"""While one socket's handler is slow, bytes arrive for others: they are looked at before a time-out is told.

What a handler takes from its own socket's time-outs, exactly: tests/core/test_slow_handlers.py.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

import pytest

from evsockets import (
    Conversation,
    LineFramePicker,
    ReadOperation,
    RequestExecutor,
    SocketTimeoutError,
    Target,
    WriteOperation,
    fan_out,
)
from support.wire import add, pair

SHORT = 0.05
SOCKETS = 6
LINES = LineFramePicker()


@pytest.mark.parametrize("event", ["TIMEOUT", "READ", "DISCONNECTED", "FINALIZE"])
def test_what_arrives_during_a_slow_handler(executor: RequestExecutor, event: str) -> None:
    """All have the same time-out; the first one's handler takes longer than that, and wakes the others."""
    with contextlib.ExitStack() as stack:
        peers: list[Any] = []
        slow: list[Any] = []

        def first(told: Any) -> None:
            if slow:
                return
            slow.append(told.socket)
            time.sleep(2 * SHORT)
            for peer in peers:
                with contextlib.suppress(OSError):  # the first one's own is closed by now, perhaps
                    peer.send(b"just now")

        logs = []
        for _ in range(SOCKETS):
            ours, theirs = pair()
            peers.append(stack.enter_context(theirs))
            on = {event: first}
            logs.append(add(executor, None, ReadOperation(), socket=ours, io_timeout=SHORT, on=on))
        if event == "READ":
            executor.call_soon_threadsafe(peers[0].send, b"go")
        executor.execute_request()
    others = [log for log in logs if log.events[0].socket is not slow[0]]
    assert len(others) == SOCKETS - 1
    assert [(log.timeouts, log.frames) for log in others] == [([], [b"just now"])] * (SOCKETS - 1)


def test_what_can_be_sent_during_a_slow_handler(executor: RequestExecutor) -> None:
    """The others write, and their peers take what was in the way."""
    with contextlib.ExitStack() as stack:
        peers: list[Any] = []
        slow: list[Any] = []

        def first(told: Any) -> None:
            if slow:
                return
            slow.append(told.socket)
            time.sleep(2 * SHORT)
            for peer in peers:
                peer.setblocking(False)
                with contextlib.suppress(OSError):
                    while peer.recv(1 << 20):
                        pass

        logs = []
        for _ in range(SOCKETS):
            ours, theirs = pair()
            peers.append(stack.enter_context(theirs))
            operation = WriteOperation(bytes(400_000))
            logs.append(add(executor, None, operation, socket=ours, io_timeout=SHORT, on={"TIMEOUT": first}))
        executor.execute_request()
    others = [log for log in logs if log.events[0].socket is not slow[0]]
    assert [(log.timeouts, log.metadata.bytes_sent) for log in others] == [([], 400_000)] * (SOCKETS - 1)


def test_a_slow_body_of_a_fan_out_loop(engine: str) -> None:
    """What has arrived meanwhile is looked at first: only who got nothing is late."""
    limit = 0.5
    reading = 0

    async def answered(talk: Conversation) -> bytes:
        nonlocal reading
        reading += 1
        return (await talk.read(LINES)).data

    async def first(talk: Conversation) -> None:
        while reading < 4:
            await talk.sleep(0.001)

    async def talk_by(talk: Conversation, kind: str) -> bytes | None:
        return await (first if kind == "first" else answered)(talk)

    with contextlib.ExitStack() as stack:
        targets = []
        listeners = {}
        for kind in ("first", "one", "two", "three", "silent"):
            listeners[kind] = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            address = "tcp://%s:%d" % listeners[kind].getsockname()
            targets.append(Target(address, args=(kind,), user_context=kind, io_timeout=limit))
        results: dict[str, Any] = {}
        for outcome in stack.enter_context(fan_out(talk_by, targets, engine=engine)):
            kind = outcome.target.user_context
            results[kind] = outcome.error or outcome.result
            if kind == "first":
                for name in ("one", "two", "three"):
                    peer = stack.enter_context(listeners[name].accept()[0])
                    peer.sendall(b"line\n")
                time.sleep(2 * limit)
    assert [results[name] for name in ("one", "two", "three")] == [b"line"] * 3
    assert isinstance(results["silent"], SocketTimeoutError)
