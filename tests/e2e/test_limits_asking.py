"""When a limitation solver is asked again."""

from __future__ import annotations

from typing import Any

from evsockets import (
    ClientSocket,
    EventType,
    LimitationDecision,
    LimitationSolver,
    ReadOperation,
    RequestExecutor,
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
