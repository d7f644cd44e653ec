"""When a limitation solver is asked again."""

from __future__ import annotations

from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    ConstantLimitationSolver,
    EventType,
    LimitationDecision,
    LimitationSolver,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.wire import add, pair


class After(LimitationSolver):
    """Lets `socket` in once `condition` is true, all others at once."""

    def __init__(self, socket: ClientSocket, condition: list[Any]) -> None:
        self.socket = socket
        self.condition = condition

    def decide(self, executor: Any, socket: Any, context: Any, total: int) -> LimitationDecision:
        if socket is self.socket and not self.condition:
            return LimitationDecision.SKIP_CURRENT
        return LimitationDecision.OK


def test_a_skipped_socket_is_asked_for_when_one_fails_within_the_round(executor: RequestExecutor) -> None:
    """A socket that ends as soon as it starts gives its place to one skipped before it, though others run."""
    ended: list[Any] = []
    long, theirs = pair()
    skipped, peer = pair()
    executor.with_limitation_solver(After(skipped, ended))
    running: list[bool] = []
    long_log = add(executor, None, ReadOperation(), socket=long)

    def start(event: Any) -> None:
        running.append(not long_log.metadata.request_complete)
        long.close()

    with theirs, peer:
        add(executor, None, WriteOperation(b"x"), socket=skipped, on={"INITIALIZE": start})
        handler = {EventType.FINALIZE: ended.append}  # without an address it ends as soon as it starts
        executor.socket_bag.add_socket(ClientSocket(), ReadOperation(), handler=handler)
        long_log.metadata.request_timeout = 5
        executor.execute_request()
        assert peer.recv(10) == b"x"
    assert running == [True] and long_log.timeouts == []


@pytest.mark.parametrize("how", ["stop", "cancel"])
def test_listeners_behind_a_full_house_obey_at_once(executor: RequestExecutor, how: str) -> None:
    """The first one's INITIALIZE ends the run, or itself."""
    executor.with_limitation_solver(ConstantLimitationSolver(1))
    inside, one = pair()
    outside, two = pair()
    with one, two:
        add(executor, None, ReadOperation(), socket=inside)
        add(executor, None, ReadOperation(), socket=outside)
        ended: list[int] = []

        def end(event: Any) -> None:
            if how == "stop":
                executor.stop_request()
            else:
                event.cancel_operation()

        def begun(event: Any) -> None:
            ended.append(len(first.names))
            executor.stop_request()

        server = {"address": "tcp://127.0.0.1:0", "operation": ReadOperation()}
        first = add(executor, socket=ServerSocket(), on={"INITIALIZE": end}, **server)
        second = add(executor, socket=ServerSocket(), on={"INITIALIZE": begun}, **server)
        executor.execute_request()
    assert first.names == ["INITIALIZE", "FINALIZE"]
    if how == "stop":
        assert second.names == []
    else:
        assert second.names[0] == "INITIALIZE" and ended == [2]
