"""A bag of many clients beside a listener, and the time-outs on real clocks."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    ConstantLimitationSolver,
    EventType,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
)
from support.wire import add, pair, talk


def test_clients_wait_beside_a_running_listener(executor: RequestExecutor) -> None:
    """A listener among many waiting clients: refused ones are not looked through at every end."""
    executor.with_limitation_solver(ConstantLimitationSolver(1))
    server = add(executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket())
    ended: list[Any] = []

    def count(event: Any) -> None:
        ended.append(event)
        if len(ended) == 5000:
            executor.stop_request()

    handler = {EventType.FINALIZE: count}
    for _ in range(5000):
        executor.socket_bag.add_socket(ClientSocket(), ReadOperation(), handler=handler)
    executor.execute_request()
    assert len(ended) == 5000
    assert server.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize("stage", ["CONNECTION", "IO", "IDLE", "REQUEST", "LISTENING"])
def test_timeouts_are_never_early(executor: RequestExecutor, stage: str) -> None:
    with contextlib.ExitStack() as stack:
        before = time.monotonic()
        if stage == "LISTENING":
            log = talk(executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), io_timeout=0.05)
            expected = [("IO", "listening")]
        elif stage == "CONNECTION":
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            url = "tls://127.0.0.1:%d" % listener.getsockname()[1]
            log = talk(executor, url, ReadOperation(), connection_timeout=0.05)
            expected = [("CONNECTION", "handshaking")]
        else:
            ours, theirs = pair()
            stack.enter_context(theirs)
            name = f"{stage.lower()}_timeout"
            operation = NullOperation() if stage == "IDLE" else ReadOperation()
            keep = stage == "IDLE"
            log = talk(executor, None, operation, socket=ours, keep_alive=keep, **{name: 0.05})
            expected = [(stage, "idle" if keep else "reading")]
        assert time.monotonic() - before >= 0.05
    assert log.timeouts == expected
    assert log.names[-1] == "FINALIZE"
