"""A server of many workers, some of whose answers are slow, hang, stop half-way or are killed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from evsockets import (
    ConstantLimitationSolver,
    DisconnectedError,
    EventType,
    FrameError,
    RequestExecutor,
)
from support.clients import HEADERS, Get, begin
from support.http_workers import BODY, http_workers

WORKERS = 4
EACH = 25


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with http_workers(WORKERS) as port:
        yield port


def get(executor: RequestExecutor, port: int, path: str, **more: Any) -> Get:
    request = Get(path, done=more.pop("done", None))
    metadata = {"io_timeout": 20, "connection_timeout": 20, **more}
    begin(executor, request, address=f"tcp://127.0.0.1:{port}", **metadata)
    return request


def test_each_gets_what_its_peer_deserves(executor: RequestExecutor, port: int) -> None:
    """Two hundred requests, fifty at a time: every outcome is told once, none disturbs another's."""
    brief = 0.3
    executor.with_limitation_solver(ConstantLimitationSolver(50))

    def stands_still(event: Any) -> None:
        """From here on: a busy worker may be longer about the half that it does send."""
        if event.user_context == "half":
            event.metadata.io_timeout = brief

    executor.with_event_handler({EventType.READ: stands_still})

    requests = {
        "/page": [get(executor, port, "/page") for _ in range(EACH)],
        "/drip": [get(executor, port, "/drip") for _ in range(EACH)],
        "/hang": [get(executor, port, "/hang", io_timeout=brief) for _ in range(EACH)],
        "/half": [get(executor, port, "/half", user_context="half") for _ in range(EACH)],
        "/cut": [get(executor, port, "/cut") for _ in range(EACH)],
        "/reset": [get(executor, port, "/reset") for _ in range(EACH)],
        "/page again": [get(executor, port, "/page") for _ in range(EACH)],
    }
    executor.execute_request()
    assert {one.finished for some in requests.values() for one in some} == {1}
    for path in ("/page", "/drip", "/page again"):
        assert [one.failure for one in requests[path]] == [None] * EACH
        assert all(one.body == BODY for one in requests[path])
    for path in ("/hang", "/half"):
        assert Counter(one.failure for one in requests[path]) == {"timeout": EACH}
    assert {one.status for one in requests["/hang"]} == {0}
    assert {one.status for one in requests["/half"]} == {200}
    for one in requests["/cut"]:
        assert isinstance(one.failure, FrameError) and one.failure.partial.data == BODY[: len(BODY) // 2]
    for one in requests["/reset"]:
        assert isinstance(one.failure, DisconnectedError) and one.failure.errno == 104


def test_what_is_no_http_ends_at_the_frames_limit(executor: RequestExecutor, port: int) -> None:
    request = get(executor, port, "/garbage")
    small = type(HEADERS)(None, b"\r\n\r\n", max_length=1000)
    request.operation.then.picker = small  # type: ignore[union-attr]
    executor.execute_request()
    assert isinstance(request.failure, FrameError) and len(request.failure.partial) == 1000


def test_workers_killed_while_they_answer(executor: RequestExecutor) -> None:
    """Half-way answers' workers are killed, until one is left: what they served fails, the rest goes on."""
    with http_workers(WORKERS) as port:
        killed: set[int] = set()

        def kill(event: Any) -> None:
            _, found, rest = event.frame.data.partition(b"X-Worker: ")
            if not found or len(killed) == WORKERS - 1:
                return
            worker = int(rest.split()[0])
            if worker not in killed:
                killed.add(worker)
                os.kill(worker, signal.SIGKILL)
                if len(killed) == WORKERS - 1:
                    late.extend(get(executor, port, "/page") for _ in range(5))

        def more(event: Any) -> None:
            if len(killed) < WORKERS - 1 and len(halves) < 400:
                halves.append(get(executor, port, "/half", io_timeout=0.7))

        executor.with_event_handler({EventType.READ: kill, EventType.FINALIZE: more})
        late: list[Get] = []
        halves = [get(executor, port, "/half", io_timeout=0.7) for _ in range(40)]
        executor.execute_request()
        assert len(killed) == WORKERS - 1
        assert [one.body for one in late] == [BODY] * 5
    outcomes = Counter(type(one.failure) for one in halves)
    assert {one.finished for one in halves} == {1}
    # Those of the killed end inside their frame; the survivor's stand still until their time is up.
    assert outcomes[FrameError] + outcomes[DisconnectedError] >= WORKERS - 1
    assert set(outcomes) <= {FrameError, str, DisconnectedError}
