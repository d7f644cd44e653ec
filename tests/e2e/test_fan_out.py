"""Talking to many by `fan_out`: who has which outcome, how many at a time, and what is pulled when."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from evsockets import (
    AddressError,
    Configuration,
    ConnectionFailedError,
    ConversationEndedError,
    ConversationOperation,
    DisconnectedError,
    EngineError,
    EventType,
    FixedLengthFramePicker,
    FrameError,
    HandlerError,
    Mailbox,
    MailboxClosedError,
    NetworkSocketError,
    ReadOperation,
    SocketTimeoutError,
    Target,
    TimeoutStage,
    TlsHandshakeError,
    fan_out,
)
from support.certificates import Authority
from support.greeter import GREETING, Fan, ask, greeter, hello, wait
from support.machine import until
from support.stage import unanswered
from support.wire import listening

ISOLATED = Configuration(isolate_handler_errors=True)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "evsockets"]


def test_each_target_has_one_outcome(fan: Fan) -> None:
    outcomes = list(fan(ask, 3, args=(b"me\n",)))
    assert [outcome.address for outcome in outcomes] == [fan.url] * 3
    for outcome in outcomes:
        assert (outcome.ok, outcome.result, outcome.value, outcome.error) == (True, b"ME\n", b"ME\n", None)
        assert (outcome.target, outcome.attempts, outcome.tls) == (outcome.address, 1, None)
        assert (outcome.bytes_sent, outcome.bytes_received) == (3, len(GREETING) + 3)
        assert outcome.remote_address == ("127.0.0.1", fan.server.port)
        assert outcome.times.resolving == outcome.times.handshaking == 0.0 < outcome.times.talking < 20


def test_outcomes_come_as_they_end(fan: Fan) -> None:
    async def sleep(talk: Any, seconds: float) -> float:
        await talk.sleep(seconds)
        return seconds

    targets = [Target(fan.url, (seconds,)) for seconds in (0.2, 0.0, 0.1)]
    assert [outcome.value for outcome in fan(sleep, targets)] == [0.0, 0.1, 0.2]


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_than_limit_at_a_time(fan: Fan, limit: int) -> None:
    seen, lives, most = [], 0, 0

    def count(event: Any) -> None:
        nonlocal lives, most
        lives += 1 if event.type is EventType.INITIALIZE else -1
        most = max(most, lives)

    handler = {EventType.INITIALIZE: count, EventType.FINALIZE: count}
    with fan(ask, 20, limit=limit, handler=handler) as outcomes:
        assert outcomes.running == 0
        for outcome in outcomes:
            seen.append(outcomes.running)
            assert outcome.ok
    assert len(seen) == 20
    assert max(seen) < most == limit
    assert outcomes.running == 0


def test_targets_are_pulled_as_places_become_free(fan: Fan) -> None:
    """An outcome that has not been taken keeps its place."""
    pulled = []

    def targets() -> Iterator[str]:
        while True:
            pulled.append(fan.url)
            yield fan.url

    with fan(ask, targets(), limit=5) as outcomes:
        assert outcomes.executor.is_executing is False
        assert pulled == []
        for taken, outcome in enumerate(outcomes, 1):
            assert outcome.ok
            assert len(pulled) <= taken + 4
            if taken == 30:
                break


def test_a_target_has_its_own(fan: Fan) -> None:
    """What a target is given goes over what all are."""
    seen: dict[str, Any] = {}

    async def look(talk: Any, *args: object) -> tuple[object, ...]:
        metadata = talk.metadata
        return args, talk.user_context, metadata.io_timeout, metadata.stream_context.no_delay

    targets = [
        Target(fan.url, user_context="first", io_timeout=7),
        Target(fan.url, (3, 4), stream_context={"no_delay": False}),
        fan.url,
    ]
    common: Any = {"args": (1,), "user_context": "common", "io_timeout": 9}
    for outcome in fan(look, targets, handler=lambda event: None, **common):
        seen[str(outcome.target)] = outcome.value
        assert any(outcome.target is target or outcome.target == target for target in targets)
    assert seen[str(targets[0])] == ((1,), "first", 7, True)
    assert seen[str(targets[1])] == ((3, 4), "common", 9, False)
    assert seen[str(Target(fan.url))] == ((1,), "common", 9, True)


def test_none_at_all(fan: Fan) -> None:
    assert list(fan(hello, [])) == []


def test_it_is_used_up(fan: Fan) -> None:
    outcomes = fan(hello)
    assert iter(outcomes) is outcomes
    assert next(outcomes).value == GREETING
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(outcomes)
    outcomes.close()
    with pytest.raises(RuntimeError, match="closed"):
        outcomes.executor.execute_request()


GARBAGE = [
    ("nonsense", AddressError),
    ("foo://x:1", AddressError),
    ("tcp://127.0.0.1", AddressError),
    ("tcp://127.0.0.1:0", AddressError),
    ("", AddressError),
    ("fd://3", AddressError),
    ("\0\n", AddressError),
    ("unix://" + "x" * 500, AddressError),
    (b"tcp://127.0.0.1:1", TypeError),
    (42, TypeError),
    ([], TypeError),
    (None, ConnectionFailedError),
]


def test_garbage_is_its_own_outcome(fan: Fan) -> None:
    """What is no address, bare or in a Target, has its error as outcome; the others go on."""
    targets: list[Any] = []
    for garbage, _ in GARBAGE:
        targets += [garbage, fan.url, Target(garbage)]  # type: ignore[arg-type]
    good, bad = [], []
    for outcome in fan(hello, targets, limit=4, retries=3, backoff=0):
        (good if outcome.ok else bad).append(outcome)
    assert len(good) == len(GARBAGE)
    for garbage, kind in GARBAGE:
        mine = [outcome for outcome in bad if outcome.target == garbage]
        assert [type(outcome.error) for outcome in mine] == [kind] * 2, garbage
        assert {outcome.attempts for outcome in mine} == {1 if garbage is None else 0}


def test_a_bug_is_the_outcome_as_it_is(fan: Fan, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged: the outcomes are heard. Handlers are told of it."""
    raised = [ValueError("a"), StopAsyncIteration(), OSError(5, "b"), DisconnectedError("mine")]
    told = []

    async def fail(talk: Any, error: Exception) -> None:
        await talk.read()
        raise error

    handler = {EventType.EXCEPTION: lambda event: told.append(event.exception)}
    targets = [Target(fan.url, (error,)) for error in raised]
    errors = [outcome.error for outcome in fan(fail, targets, handler=handler)]
    assert sorted(map(id, errors)) == sorted(map(id, raised))
    assert {type(error) for error in told} == {HandlerError, DisconnectedError}
    assert {error.__cause__ for error in told if type(error) is HandlerError} == set(raised[:3])
    assert logged(caplog) == []


async def too_long(talk: Any) -> None:
    await talk.read()
    await talk.write(b"wait\n")
    await talk.read()


async def cut_off(talk: Any) -> None:
    await talk.read()
    await talk.write(b"reset\n")
    await talk.read()


async def ended(talk: Any) -> None:
    await talk.read()
    await talk.write(b"bye\n")
    await talk.read(FixedLengthFramePicker(3))


async def cut_short(talk: Any) -> None:
    await talk.write(b"bye\n")
    await talk.read(FixedLengthFramePicker(100))


async def wrong_call(talk: Any) -> None:
    await talk.read(1, 2, 3)


async def forbidden(talk: Any) -> None:
    import asyncio

    await asyncio.sleep(1)


@pytest.mark.parametrize(
    ("function", "settings", "error"),
    [
        (too_long, {"io_timeout": 0.05}, SocketTimeoutError),
        (too_long, {"request_timeout": 0.05}, SocketTimeoutError),
        (cut_off, {}, DisconnectedError),
        (ended, {}, DisconnectedError),
        (cut_short, {}, FrameError),
        (wrong_call, {}, TypeError),
        (forbidden, {}, RuntimeError),
        (lambda talk: 3, {}, TypeError),
        (lambda: hello, {}, TypeError),
    ],
)
def test_errors_of_conversations(
    fan: Fan, function: Any, settings: Any, error: type[Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """They are no reason to try again."""
    outcome = fan.one(function, retries=2, backoff=0, **settings)
    assert type(outcome.error) is error
    assert (outcome.attempts, outcome.result, outcome.remote_address) == (
        1,
        None,
        ("127.0.0.1", fan.server.port),
    )
    if isinstance(outcome.error, NetworkSocketError):
        assert (outcome.error.socket, outcome.error.address) == (None, fan.url)
    if isinstance(outcome.error, SocketTimeoutError):
        stage = TimeoutStage.IO if "io_timeout" in settings else TimeoutStage.REQUEST
        assert (outcome.error.when, outcome.error.phase) == (stage, "reading")
        assert isinstance(outcome.error, TimeoutError)
    if isinstance(outcome.error, FrameError):
        assert outcome.error.partial is not None and outcome.error.partial.data == GREETING
    assert logged(caplog) == []


def test_errors_before_it_is_connected(fan: Fan, unused_port: int, caplog: pytest.LogCaptureFixture) -> None:
    outcome = fan.one(hello, f"tcp://127.0.0.1:{unused_port}")
    assert isinstance(outcome.error, ConnectionFailedError)
    assert (outcome.error.socket, outcome.bytes_sent, outcome.remote_address) == (None, 0, None)
    assert outcome.times.connecting > 0 == outcome.times.talking

    def lift(event: Any) -> None:
        event.metadata.connection_timeout = None  # too late

    caplog.set_level(logging.DEBUG, "evsockets")
    with unanswered() as address:
        outcome = fan.one(hello, address, connection_timeout=0.05, on_timeout=lift)
    assert type(outcome.error) is SocketTimeoutError and logged(caplog) == []
    assert (outcome.error.when, outcome.error.phase) == (TimeoutStage.CONNECTION, "connecting")
    assert outcome.error.address == address
    assert outcome.times.connecting >= 0.05 > outcome.times.talking == 0


def test_a_name_and_tls_have_their_times(engine: str, ca: Authority) -> None:
    with greeter("tls://127.0.0.1:0", stream_context=ca.server.settings) as server:
        fan = Fan(engine, server)
        outcome = fan.one(hello, stream_context={"ca_file": ca.ca_file})
        assert outcome.value == GREETING
        assert outcome.tls.version == "TLSv1.3"
        assert "subjectAltName" in outcome.tls.peer_certificate
        assert all(seconds > 0 for seconds in outcome.times)
        refused = fan.one(hello, retries=3, backoff=0)
        assert isinstance(refused.error, TlsHandshakeError)
        assert refused.attempts == 1  # another attempt would be refused as well
        assert refused.times.handshaking > 0 == refused.times.talking


def test_a_base_exception_ends_everything(fan: Fan) -> None:
    for kind in (SystemExit, KeyboardInterrupt, GeneratorExit):
        lives = []

        async def leave(talk: Any, kind: type[BaseException] = kind) -> None:
            await talk.read()
            for _ in until(lambda: len(lives) >= 3):  # noqa: B023
                await talk.sleep(0)
            raise kind

        handler = {EventType.INITIALIZE: lives.append, EventType.FINALIZE: lives.append}
        outcomes = fan(wait, 3, handler=handler)
        other = fan(leave, 3, handler=handler)
        with pytest.raises(kind):
            list(other)
        assert len(lives) == 6
        with pytest.raises(RuntimeError, match="closed"):
            other.executor.execute_request()
        assert list(other) == []
        outcomes.close()


def bug(event: Any) -> None:
    raise ZeroDivisionError


def test_a_handlers_bug_ends_everything_unless_isolated(fan: Fan) -> None:
    with pytest.raises(ZeroDivisionError):
        list(fan(hello, 3, on_read=bug))
    outcomes = fan(hello, 3, on_read=bug, configuration=ISOLATED)
    assert [type(outcome.error) for outcome in outcomes] == [HandlerError] * 3


def test_a_bug_at_the_very_end_loses_no_outcome(fan: Fan, monkeypatch: Any) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    assert fan.one(hello, on_finalize=bug, configuration=ISOLATED).value == GREETING
    assert len(unraisable) == 1


async def another(talk: Any) -> str:
    return "not the target's"


ENDINGS: dict[str, tuple[str, Any]] = {
    "another conversation from CONNECTED": ("connected", lambda e: e.next_is(ConversationOperation(another))),
    "another conversation from READ": ("read", lambda e: e.next_is(ConversationOperation(another))),
    "cancelled in CONNECTED": ("connected", lambda event: event.cancel_operation()),
    "cancelled in INITIALIZE": ("initialize", lambda event: event.cancel_operation()),
    "cancelled in READ": ("read", lambda event: event.cancel_operation()),
    "closed": ("read", lambda event: event.socket.close()),
    "replaced in READ": ("read", lambda event: event.next_is_write(b"bye\n")),
    "replaced in CONNECTED": ("connected", lambda event: event.next_is_read()),
    "replaced in INITIALIZE": ("initialize", lambda event: event.next_is(ReadOperation())),
    "stopped": ("read", lambda event: event.executor.stop_request()),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_one_that_did_not_return(fan: Fan, how: str) -> None:
    name, act = ENDINGS[how]
    outcome = fan.one(ask, retries=2, backoff=0, **{f"on_{name}": act})
    assert type(outcome.error) is ConversationEndedError
    assert fan.url in str(outcome.error)
    assert (outcome.attempts, outcome.result) == (1, None)


async def goes_on(talk: Any) -> None:
    while True:
        try:
            await talk.read()
        except GeneratorExit:
            pass


# Python warns itself of each when it is freed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_those_that_go_on_awaiting_have_outcomes(fan: Fan) -> None:
    outcomes = list(fan(goes_on, 5, request_timeout=0.05))
    assert len(outcomes) == 5
    for outcome in outcomes:
        assert type(outcome.error) is RuntimeError
        assert "goes_on() goes on awaiting after GeneratorExit" in str(outcome.error)
    del outcome, outcomes
    gc.collect()


async def cancels(talk: Any) -> None:
    await talk.read()
    talk.cancel()
    await talk.read()


async def cancels_and_returns(talk: Any) -> int | None:
    await talk.read()
    talk.cancel()
    try:
        await talk.read()
    except GeneratorExit:
        pass
    return 3


@pytest.mark.parametrize("function", [cancels, cancels_and_returns])
def test_one_that_cancels_itself(fan: Fan, function: Any) -> None:
    outcome = fan.one(function)
    assert type(outcome.error) is ConversationEndedError
    assert outcome.result is None


def test_a_stop_is_an_outcome_of_each_that_was_pulled(fan: Fan) -> None:
    """And of nobody else: nothing is pulled after it."""
    pulled = []

    def targets() -> Iterator[str]:
        for _ in range(100):
            pulled.append(fan.url)
            yield fan.url

    outcomes = fan(wait, targets(), limit=7)
    outcomes.executor.call_later(0.1, outcomes.executor.stop_request)
    errors = [type(outcome.error) for outcome in outcomes]
    assert errors == [ConversationEndedError] * 7
    assert len(pulled) == 7


def test_a_drain_lets_those_under_way_return(fan: Fan) -> None:
    def drain(event: Any) -> None:
        event.executor.drain(10)

    outcomes = list(fan(ask, 100, limit=4, handler={EventType.READ: drain}))
    assert 1 <= len(outcomes) < 20
    assert {outcome.result for outcome in outcomes} <= {b"ASK\n", None}
    assert any(outcome.ok for outcome in outcomes)


def test_a_drain_between_two_outcomes_pulls_no_more_targets(fan: Fan) -> None:
    pulled = 0

    def targets() -> Iterator[str]:
        nonlocal pulled
        while pulled < 100:
            pulled += 1
            yield fan.url

    outcomes = fan(ask, targets(), limit=3)
    assert next(outcomes).result == b"ASK\n"
    before = pulled
    outcomes.executor.drain(10)
    assert len(list(outcomes)) == before - 1 and pulled == before


def test_an_exception_of_the_targets_comes_after_those_under_way(fan: Fan) -> None:
    error = LookupError("no more")

    def targets() -> Iterator[str]:
        for _ in range(5):
            yield fan.url
        raise error

    outcomes = fan(ask, targets(), limit=3)
    given = []
    with pytest.raises(LookupError) as caught:
        for outcome in outcomes:
            given.append(outcome.value)
    assert caught.value is error
    assert given == [b"ASK\n"] * 5
    assert list(outcomes) == []


def test_an_interrupt_of_the_targets_ends_everything(fan: Fan) -> None:
    def targets() -> Iterator[str]:
        yield fan.url
        raise KeyboardInterrupt

    outcomes = fan(wait, targets())
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    assert outcomes.running == 0


def test_targets_that_block_hold_nobody_up_for_longer(fan: Fan) -> None:
    """The others have a turn after each, and none of them is late by it."""
    pulled = []

    def targets() -> Iterator[str]:
        for number in range(10):
            pulled.append(number)
            yield fan.url
            time.sleep(0.05)

    with fan(ask, targets(), limit=100, io_timeout=0.4) as outcomes:
        assert next(outcomes).ok
        assert len(pulled) < 10
        assert all(outcome.ok for outcome in outcomes)
    assert len(pulled) == 10


def test_a_body_that_takes_its_time(fan: Fan) -> None:
    """Those under way go on whenever an outcome is asked for, whether one is there or not."""
    with fan(ask, 12, limit=6, io_timeout=0.5) as outcomes:
        for outcome in outcomes:
            time.sleep(0.02)
            assert outcome.ok


@pytest.mark.parametrize("targets", ["tcp://127.0.0.1:1", b"x", Target("tcp://127.0.0.1:1"), None, 3])
def test_what_is_no_iterable_of_targets(engine: str, targets: Any) -> None:
    with pytest.raises(TypeError, match="targets"):
        fan_out(hello, targets, engine=engine)


async def generator(talk: Any) -> Any:
    yield await talk.read()


@pytest.mark.parametrize(
    ("function", "settings", "error", "words"),
    [
        (hello, {"io_timeuot": 1}, TypeError, "io_timeout"),
        (hello, {"address": "tcp://127.0.0.1:1"}, TypeError, "address"),
        (hello, {"keep_alive": True}, TypeError, "keep_alive"),
        (hello, {"keep_alive": False}, TypeError, "keep_alive"),
        (hello, {"io_timeout": -1}, ValueError, "io_timeout"),
        (hello, {"stream_context": 3}, TypeError, "stream context"),
        (hello, {"limit": 0}, ValueError, "limit"),
        (hello, {"limit": None}, TypeError, "limit"),
        (hello, {"limit": True}, TypeError, "limit"),
        (hello, {"retries": -1}, ValueError, "retries"),
        (hello, {"retries": None}, TypeError, "retries"),
        (hello, {"backoff": -0.1}, ValueError, "backoff"),
        (hello, {"backoff": None}, TypeError, "backoff"),
        (hello, {"backoff": float("inf")}, ValueError, "backoff"),
        (hello, {"retry_if": 3}, TypeError, "retry_if"),
        (hello, {"args": "me"}, TypeError, "args"),
        (hello, {"args": 3}, TypeError, "args"),
        (hello, {"handler": 3}, TypeError, "handler"),
        (hello, {"on_read": 3}, TypeError, "on_read"),
        (hello, {"on_raed": print}, TypeError, "on_read"),
        (hello, {"configuration": {}}, TypeError, "configuration"),
        (hello, {"engine": 3}, TypeError, "engine"),
        (hello, {"processes": 0}, ValueError, "processes"),
        (hello, {"processes": 10_000}, ValueError, "processes"),
        (hello, {"processes": True}, TypeError, "processes"),
        (hello, {"processes": 2, "handler": lambda event: None}, TypeError, "importable"),
        (None, {}, TypeError, "function"),
        (generator, {}, TypeError, "generator"),
    ],
)
def test_what_it_cannot_be_called_with(
    engine: str, function: Any, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    """Nothing is pulled, and nothing is left open."""

    def targets() -> Iterator[str]:
        raise AssertionError("pulled")
        yield

    with pytest.raises(error, match=words):
        fan_out(function, targets(), **{"engine": engine, **settings})


def test_handlers_are_told_as_always(fan: Fan) -> None:
    names = []
    assert fan.one(ask, handler=lambda event: names.append(event.type.name)).ok
    assert names == "INITIALIZE CONNECTED READ WRITE READ DISCONNECTED FINALIZE".split()


def test_callables_by_event_come_before_the_handler(fan: Fan) -> None:
    heard: list[Any] = []
    assert fan.one(
        hello, handler={EventType.READ: lambda event: heard.append("handler")},
        on_read=lambda event: heard.append(("on_read", event.frame.data)),
        on_finalize=lambda event: heard.append("on_finalize"),
    ).ok  # fmt: skip
    assert heard == [("on_read", GREETING), "handler", "on_finalize"]


def test_a_closed_mailbox_ends_a_conversation_as_if_it_returned(fan: Fan) -> None:
    async def work(talk: Any, mailbox: Mailbox[int]) -> int:
        while True:
            done.append(await talk.take(mailbox))

    async def put(talk: Any, mailbox: Mailbox[int]) -> None:
        await talk.put(mailbox, 3)

    done: list[int] = []
    mailbox: Mailbox[int] = Mailbox()
    for number in range(3):
        mailbox.put(number)
    mailbox.close()
    outcome = fan.one(work, args=(mailbox,))
    assert (outcome.ok, outcome.result, done) == (True, None, [0, 1, 2])
    closed: Mailbox[int] = Mailbox()
    closed.close()
    assert type(fan.one(put, args=(closed,)).error) is MailboxClosedError


def test_an_address_set_by_a_handler(fan: Fan) -> None:
    def choose(event: Any) -> None:
        event.metadata.address = fan.url

    outcome = fan.one(hello, Target(None), on_initialize=choose)  # type: ignore[arg-type]
    assert outcome.value == GREETING


def test_what_could_not_leave_is_an_error_beside_the_result(fan: Fan) -> None:
    """It had returned, and what it had posted was lost."""

    async def leave(talk: Any) -> int:
        talk.post(bytes(50_000_000))
        return 3

    with listening() as (_, address):
        outcome = fan.one(leave, address, io_timeout=0.1)
    assert outcome.result == 3
    assert isinstance(outcome.error, SocketTimeoutError)
    assert not outcome.ok


def test_a_connection_ends_with_its_conversation(fan: Fan) -> None:
    async def keep(talk: Any) -> int:
        await talk.read()
        talk.metadata.keep_alive = True
        return 3

    assert fan.one(keep).value == 3


def test_one_more_attempt_within_a_life(fan: Fan) -> None:
    """A handler's: another connection, one attempt of the fan-out's, and the times are the last one's."""
    with unanswered() as address:

        def again(event: Any) -> None:
            event.metadata.address = fan.url
            event.enable_one_more_attempt()

        outcome = fan.one(hello, address, connection_timeout=0.3, on_timeout=again)
    assert (outcome.value, outcome.attempts, outcome.address) == (GREETING, 1, address)
    assert outcome.times.connecting < 0.3


def test_datagrams_and_unix_sockets(fan: Fan, tmp_path: Any) -> None:
    async def ping(talk: Any) -> bytes:
        await talk.write(b"ping")
        return bytes((await talk.read()).data)

    def answer(sock: socket.socket) -> None:
        for _ in range(2):
            data, sender = sock.recvfrom(100)
            sock.sendto(data.upper(), sender)

    with contextlib.ExitStack() as stack:
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        udg = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        udg.bind(f"{tmp_path}/datagrams")
        threads = [threading.Thread(target=answer, args=(sock,)) for sock in (udp, udg)]
        for thread in threads:
            thread.start()
        addresses = ["udp://127.0.0.1:%d" % udp.getsockname()[1], f"udg://{tmp_path}/datagrams"] * 2
        assert [outcome.value for outcome in fan(ping, addresses)] == [b"PING"] * 4
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("way", ["return", "raise", "exit"])
def test_a_fork_in_a_conversation_is_no_business_of_the_parents(fan: Fan, way: str) -> None:
    """In the child it is over, whatever it does; the parent's others go on."""

    async def fork(talk: Any) -> bytes:
        greeting = bytes((await talk.read()).data)
        if not (child := os.fork()):
            if way == "raise":
                raise ZeroDivisionError
            if way == "exit":
                sys.exit(7)
            return b"child"
        children.append(child)
        return greeting

    children: list[int] = []
    parent = os.getpid()
    try:
        outcomes = list(fan(fork, 3))
    finally:
        if os.getpid() != parent:
            error = sys.exception()
            os._exit(7 if isinstance(error, EngineError | SystemExit | ZeroDivisionError) else 8)
    assert [outcome.value for outcome in outcomes] == [GREETING] * 3
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [7] * 3


def test_stream_contexts_are_shared(fan: Fan) -> None:
    seen = set()

    async def look(talk: Any) -> None:
        seen.add(id(talk.metadata.stream_context))

    assert all(outcome.ok for outcome in fan(look, 5, stream_context={"no_delay": True}))
    assert len(seen) == 1
