"""Targets that are tried again: which, when, and with what besides."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from evsockets import ConnectionFailedError, EventType, Outcome, SocketTimeoutError, Target
from support.greeter import GREETING, Fan, hello
from support.stage import unanswered


@contextlib.contextmanager
def refusing() -> Iterator[tuple[str, Any]]:
    """The address of a port that refuses until the second thing is called: it greets then."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield "tcp://127.0.0.1:%d" % sock.getsockname()[1], lambda: sock.listen(5)


async def nothing(talk: Any) -> int:
    return 3


def test_one_that_is_there_at_the_second_attempt(fan: Fan) -> None:
    """Each attempt is a life of its own: another socket, and all its events."""
    events: list[Any] = []
    with refusing() as (address, listen):

        def watch(event: Any) -> None:
            events.append((event.type.name, id(event.socket)))
            sockets.append(event.socket)
            if event.type is EventType.FINALIZE:
                listen()

        sockets: list[Any] = []
        (outcome,) = fan(nothing, [address], retries=3, backoff=0.01, handler=watch)
    assert (outcome.value, outcome.attempts) == (3, 2)
    names = [name for name, _ in events]
    first, second = ["INITIALIZE", "EXCEPTION", "FINALIZE"], ["INITIALIZE", "CONNECTED"]
    assert names == [*first, *second, "DISCONNECTED", "FINALIZE"]
    assert events[0][1] == events[2][1] != events[3][1] == events[-1][1]


def test_pauses_are_never_shorter_and_grow(fan: Fan, unused_port: int) -> None:
    began: list[float] = []
    handler = {EventType.INITIALIZE: lambda event: began.append(time.monotonic())}
    (outcome,) = fan(hello, [f"tcp://127.0.0.1:{unused_port}"], retries=3, backoff=0.04, handler=handler)
    assert isinstance(outcome.error, ConnectionFailedError)
    assert outcome.attempts == len(began) == 4
    pauses = [later - earlier for earlier, later in pairwise(began)]
    assert all(pause >= least for pause, least in zip(pauses, (0.04, 0.08, 0.16), strict=True))


def test_a_place_is_free_during_the_pause(fan: Fan, unused_port: int) -> None:
    refused = [f"tcp://127.0.0.1:{unused_port}"] * 5
    outcomes = list(fan(hello, [*refused, fan.url], limit=1, retries=1, backoff=0.2))
    assert [outcome.ok for outcome in outcomes] == [True] + [False] * 5
    assert [outcome.attempts for outcome in outcomes] == [1] + [2] * 5


def test_an_opening_that_timed_out_is_tried_again(fan: Fan) -> None:
    with unanswered() as address:
        for name in ("connection_timeout", "request_timeout"):
            (outcome,) = fan(hello, [address], retries=2, backoff=0, **{name: 0.02})
            assert isinstance(outcome.error, SocketTimeoutError)
            assert outcome.attempts == 3


def test_what_is_not_tried_again(fan: Fan, unused_port: int) -> None:
    async def bug(talk: Any) -> None:
        raise ConnectionFailedError("elsewhere")

    def cancel(event: Any) -> None:
        if event.user_context == "cancel":
            event.cancel_operation()

    targets = [
        Target(fan.url),  # a bug: the function has run
        Target(f"tcp://127.0.0.1:{unused_port}", user_context="cancel"),
        Target("nonsense"),
    ]
    for outcome in fan(bug, targets, retries=5, backoff=0, handler={EventType.INITIALIZE: cancel}):
        assert not outcome.ok
        assert outcome.attempts == (0 if outcome.address == "nonsense" else 1), outcome


def test_retry_if_asks_for_more(fan: Fan) -> None:
    """It is asked about what is not tried again anyhow, results included, as long as attempts are left."""
    calls: list[Outcome[int]] = []

    async def busy_at_first(talk: Any) -> int:
        if len(calls) == 0:
            raise ValueError
        return len(calls)

    def again(outcome: Outcome[int]) -> bool:
        calls.append(outcome)
        return outcome.result != 2

    (outcome,) = fan(busy_at_first, retry_if=again, retries=5, backoff=0)
    assert (outcome.value, outcome.attempts) == (2, 3)
    assert [call.attempts for call in calls] == [1, 2, 3]
    assert isinstance(calls[0].error, ValueError)
    (outcome,) = fan(busy_at_first, retry_if=lambda outcome: True)
    assert outcome.attempts == 1


def test_a_bug_in_retry_if_is_raised(fan: Fan) -> None:
    def bug(outcome: Outcome[bytes]) -> bool:
        raise ZeroDivisionError

    outcomes = fan(hello, 3, retries=1, retry_if=bug)
    with pytest.raises(ZeroDivisionError):
        next(outcomes)
    assert list(outcomes) == []


def test_a_stop_during_a_pause(fan: Fan, unused_port: int) -> None:
    """What came of the last attempt is the outcome."""
    outcomes = fan(hello, [f"tcp://127.0.0.1:{unused_port}"], retries=1, backoff=30)
    outcomes.executor.call_later(0.1, outcomes.executor.stop_request)
    (outcome,) = outcomes
    assert isinstance(outcome.error, ConnectionFailedError)
    assert outcome.attempts == 1


def test_leaving_during_a_pause(fan: Fan, unused_port: int) -> None:
    with fan(hello, [f"tcp://127.0.0.1:{unused_port}", fan.url], retries=1, backoff=30) as outcomes:
        assert next(outcomes).value == GREETING
        assert outcomes.running == 0


def test_many_that_wait_are_not_without_bound(fan: Fan, unused_port: int) -> None:
    """Targets are pulled no further while a thousand, and ten times the places, wait to be tried again."""
    pulled = []

    def targets() -> Iterator[str]:
        while True:
            pulled.append(1)
            yield f"tcp://127.0.0.1:{unused_port}"

    def look(before: int) -> None:
        if len(pulled) > 1010 or len(pulled) == before >= 1000:
            outcomes.executor.stop_request()
        else:
            outcomes.executor.call_later(0.1, look, len(pulled))

    outcomes = fan(hello, targets(), limit=10, retries=1, backoff=60)
    outcomes.executor.call_later(0, look, 0)
    assert not next(outcomes).ok
    assert 1000 <= len(pulled) <= 1010
    outcomes.close()
