"""What `explain` says of each phase, and that the time-out it names comes when it says."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    ConstantLimitationSolver,
    DelayedOperation,
    FixedLengthFramePicker,
    NullOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
    explain,
)
from evsockets.watching.explain import next_timeout
from support.conversation import Talk, reads_nothing
from support.stage import Stage, unanswered
from support.wire import add, turns_to_the_end

FOUR = ReadOperation(FixedLengthFramePicker(4))


def never(*_: object) -> bool:
    return False


def busy(*_: object) -> bool:
    return True


def seen(executor: RequestExecutor, turns: int = 3, wait: float = 1.0) -> str:
    """What is said after a few turns of a second each, and then the run is stopped."""
    executor.start_request()
    for _ in range(turns):
        executor.turn(wait)
    said = explain(executor)
    executor.stop_request()
    turns_to_the_end(executor, 0)
    return said


def test_a_socket_that_reads(talk: Talk) -> None:
    talk.begin(FOUR, io_timeout=10).peer.send(b"ab")
    said = seen(talk.executor)
    assert "1 socket (1 reading)" in said
    assert re.search(
        r"reading for \d.*: <ReadOperation FixedLengthFramePicker>, waits for the peer to send; "
        r"2 B received lie here",
        said,
    )
    assert re.search(r"next time-out: IO in [789]\.\d+ s\n.* 0 B sent, 2 B received, 0 B unsent", said)


HUGE = b"x" * 9_000_000


@pytest.mark.parametrize(
    ("operation", "settings", "parts"),
    [
        (NullOperation(), {"keep_alive": True, "idle_timeout": 9}, ["idle", "IDLE in", "an operation, data"]),
        (DelayedOperation(FOUR, busy), {"request_timeout": 99}, ["delayed", "busy to say no", "REQUEST in"]),
        (
            DelayedOperation(FOUR, busy, interval=7), {"io_timeout": None},
            ["no time-out; goes on by itself in"],
        ),
        (
            WriteOperation(HUGE), {"io_timeout": 60},
            ["writing", "the peer to take what is sent", ", 0 B received, 8", "IO in"],
        ),
        (
            WriteOperation(HUGE, then=FOUR), {},
            ["writing", "then <ReadOperation FixedLengthFramePicker>"],
        ),
        (ReadWriteOperation(False, [FOUR]), {}, ["reading", "<ReadWriteOperation 1 reads, 0 writes>"]),
    ],
)  # fmt: skip
def test_what_is_waited_for(talk: Talk, operation: Operation, settings: Any, parts: list[str]) -> None:
    talk.begin(operation, **settings)
    said = seen(talk.executor)
    for part in parts:
        assert part in said


def test_on_the_way_to_a_connection(stage: Stage) -> None:
    with unanswered() as address:
        add(stage.executor, address, WriteOperation(b"four"), connection_timeout=5)
        said = seen(stage.executor, turns=2, wait=0.5)
    assert f"ClientSocket {address}\n" in said
    assert "connecting for" in said
    assert ", then <WriteOperation 4 bytes>, waits for the connection\n" in said
    assert "next time-out: CONNECTION in" in said


def test_before_and_after_a_run(stage: Stage) -> None:
    log = add(stage.executor, None, FOUR)
    (client,) = stage.executor.socket_bag
    assert "not executing: 1 socket (1 not started)" in explain(stage.executor)
    assert "not started, then <ReadOperation FixedLengthFramePicker>, waits for a run" in explain(client)
    stage.executor.execute_request()
    assert log.errors
    assert "1 socket (1 complete)" in explain(stage.executor)
    assert "complete\n" in explain(client)
    stage.executor.close()
    assert "closed" in explain(stage.executor)
    assert "in no bag" in explain(ClientSocket())


def test_who_has_to_wait_for_a_place(talk: Talk) -> None:
    talk.executor.with_limitation_solver(ConstantLimitationSolver(1))
    talk.begin(FOUR)
    add(talk.executor, "tcp://127.0.0.1:1", FOUR)
    said = seen(talk.executor)
    assert "not started, then" in said
    assert "waits for the leave of ConstantLimitationSolver" in said


def test_a_server_says_where_it_listens(stage: Stage) -> None:
    add(stage.executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), io_timeout=None)
    said = seen(stage.executor)
    assert re.search(r"ServerSocket tcp://127.0.0.1:0, bound to \('127.0.0.1', [1-9]\d*\)\n", said)
    assert "listening for" in said
    assert "waits for clients\n    no time-out" in said


def test_inside_a_handler(talk: Talk) -> None:
    said: list[str] = []
    on = {"CONNECTED": lambda event: said.extend((explain(event.executor), explain(event.socket)))}
    talk(NullOperation(), on=on)
    assert "executing, at work on ClientSocket unix://" in said[0]
    assert said[1].startswith("ClientSocket unix://")
    assert "waits for its handler" in said[1]


def test_the_phase_inside_each_handler(stage: Stage) -> None:
    said: dict[str, str] = {}

    def look(event: Any) -> None:
        said[event.type.name] = explain(event.socket).splitlines()[1].split()[0].rstrip(",:")

    kinds = ("INITIALIZE", "CONNECTED", "WRITE", "READ", "DISCONNECTED", "FINALIZE")
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.send(b"four")
        operation = WriteOperation(b"x", then=FOUR)
        on = dict.fromkeys(kinds, look)
        add(stage.executor, None, operation, socket=ClientSocket.from_socket(ours), on=on)
        stage.executor.execute_request()
    phases = ("connecting", "connecting", "writing", "reading", "closing", "complete")
    assert said == dict(zip(kinds, phases, strict=True))


def test_a_hostile_address_stays_in_its_line(stage: Stage) -> None:
    add(stage.executor, "unix:///tmp/\x1b[2J\nfake: 7", FOUR)
    said = explain(stage.executor)
    assert "unix:///tmp/\\x1b[2J\\nfake: 7\n" in said
    assert said.count("\n") == 4


@pytest.mark.parametrize("wrong", [None, "tcp://localhost:80", RequestExecutor])
def test_what_cannot_be_explained(wrong: Any) -> None:
    with pytest.raises(TypeError, match="RequestExecutor or a socket"):
        explain(wrong)


TIMED: list[tuple[Operation, dict[str, Any]]] = [
    (FOUR, {"io_timeout": 3}),
    (FOUR, {"io_timeout": 3, "request_timeout": 2}),
    (FOUR, {"io_timeout": 3, "request_timeout": 4}),
    (NullOperation(), {"io_timeout": 1, "idle_timeout": 5, "keep_alive": True}),
    (NullOperation(), {"idle_timeout": 5, "request_timeout": 4, "keep_alive": True}),
    (DelayedOperation(FOUR, busy), {"io_timeout": 1, "request_timeout": 6}),
    (DelayedOperation(FOUR, never), {"io_timeout": 2}),
    (WriteOperation(b"x" * 1_000_000), {"io_timeout": 4}),
    (ReadWriteOperation(True, [FOUR, WriteOperation(b"x" * 1_000_000)]), {"io_timeout": 4}),
]


@pytest.mark.parametrize(("operation", "settings"), TIMED)
def test_the_time_out_named_is_the_one_that_comes(
    talk: Talk, operation: Operation, settings: dict[str, Any]
) -> None:
    promised: list[Any] = []
    engine: Any = talk.executor.engine
    one = talk.begin(operation, reads_nothing, **settings)
    real = engine.poll

    def poll(timeout: float | None) -> Any:
        channel = one.metadata._channel
        if one.going_on and channel.stepper is not None:
            promised.append(next_timeout(channel))
        return real(timeout)

    engine.poll = poll
    talk.run()
    late = next(event for event in one.events if event.type.name == "TIMEOUT")
    assert promised[-1] == (pytest.approx(one.when("TIMEOUT")[0]), late.when)
