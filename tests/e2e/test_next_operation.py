"""What comes next, over real sockets; and where it takes urgent bytes, a listener or another attempt."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from core.test_next_operation import *  # noqa: F403
from core.test_next_operation import NEXT, START, from_another
from evsockets import ReadOperation, ReadWriteOperation, RequestExecutor, ServerSocket, WriteOperation
from support.conversation import Talk, fixed, is_told, sends, urgent
from support.scenes import KINDS, scene
from support.wire import add
from support.wire import talk as hold


@pytest.mark.parametrize("kind", KINDS)
def test_of_another_socket_in_every_event(talk: Talk, kind: str) -> None:
    def tell(event: Any) -> None:
        if not one.metadata.request_complete:
            talk.bag.set_operation(one.client, NEXT)
        if kind == "ACCEPT":
            event.cancel_operation()

    with scene(talk.executor, kind) as other:
        one = talk.begin(ReadOperation())
        other.prepare(tell)
        talk.run()
    one.check(["WRITE"], b"next")


def test_in_its_own_oob(talk: Talk) -> None:
    told = ["OOB", "WRITE"]
    talk(fixed(2), urgent(b"!"), sends(b"xy"), told=told, sent=b"next", on={"OOB": [NEXT]}, over="tcp")


def test_an_urgent_byte_meanwhile_does_not_hurry_it(talk: Talk) -> None:
    """OOB whose handler names nothing lets the current operation go on, and what comes after it wait."""

    def tell() -> None:
        talk.bag.set_operation(one.client, NEXT)
        told.append(True)

    told: list[bool] = []
    one = talk.begin(
        ReadWriteOperation(True, [fixed(1)]), lambda one: bool(told), urgent(b"!"), is_told("OOB"),
        sends(b"r"), on={"OOB": []}, over="tcp",
    )  # fmt: skip
    from_another(talk, tell)
    talk.run()
    one.check(["OOB", b"r", "WRITE"], b"next")


def test_a_retry_starts_with_what_was_named_last(executor: RequestExecutor) -> None:
    first = fixed(1)
    second = WriteOperation(b"!")
    seen: list[Any] = []

    def initialize(event: Any) -> None:
        seen.append(event.next_operation)
        event.next_is(second)

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        address = deaf.getsockname()
        crowd = [socket.socket() for _ in range(3)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(address)
        log = hold(
            executor, "tcp://%s:%d" % address, first, connection_timeout=0.05,
            on={"INITIALIZE": initialize, "TIMEOUT": lambda e: len(seen) < 2 and e.enable_one_more_attempt()},
        )  # fmt: skip
        for one in crowd:
            one.close()
    assert seen == [first, second] and log.names.count("FINALIZE") == 1


@pytest.mark.parametrize("kind", START)
def test_a_listener_goes_on_accepting(executor: RequestExecutor, kind: str) -> None:
    address = "tcp://127.0.0.1:0"
    on = {kind: lambda event: event.next_is_write(b"no")}
    log = add(executor, address, ReadOperation(), socket=ServerSocket(), on=on)
    with pytest.raises(TypeError, match="a server's operation is its accepting"):
        executor.execute_request()
    assert log.names[-1] == "FINALIZE"
