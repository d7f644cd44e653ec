"""Time-outs on real clocks: never early, in order, at once when changed, and what a handler may ask for.

To the microsecond they are tested on the scripted engine.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from typing import Any

import pytest

from evsockets import (
    WAIT_FOREVER,
    ClientSocket,
    EventType,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.stage import unanswered
from support.wire import Log, add, listening, pair, peer, read_to_end, talk

SHORT = 0.04
STAGES = ("CONNECTION", "HANDSHAKE", "IO", "WRITING", "IDLE", "REQUEST", "LISTENING")


class Late:
    """A socket for which nothing happens, in a stage of its life; `timeout` is that stage's."""

    def __init__(self, executor: RequestExecutor, stage: str, timeout: float | None, **more: Any) -> None:
        self._stack = contextlib.ExitStack()
        operation: Any = ReadOperation()
        address: str | None = None
        self.socket: Any = ClientSocket()
        self.name = "io_timeout"
        self.told = "IO", "reading"
        self.before = ["INITIALIZE", "CONNECTED"]
        self.after = ["DISCONNECTED", "FINALIZE"]
        if stage in ("CONNECTION", "HANDSHAKE"):
            self.name = "connection_timeout"
            self.before, self.after = ["INITIALIZE"], ["FINALIZE"]
            if stage == "CONNECTION":
                address = self._stack.enter_context(unanswered())
                self.told = "CONNECTION", "connecting"
            else:
                _, address = self._stack.enter_context(listening("tls"))
                self.told = "CONNECTION", "handshaking"
        elif stage == "LISTENING":
            self.socket, address = ServerSocket(), "tcp://127.0.0.1:0"
            self.told = "IO", "listening"
        else:
            self.socket, theirs = pair()
            self._stack.enter_context(theirs)
            if stage == "WRITING":
                operation = WriteOperation(bytes(5_000_000))
                self.told = "IO", "writing"
                self.before = [*self.before, "WRITE"]
            elif stage == "IDLE":
                operation, more["keep_alive"] = NullOperation(), True
                self.name, self.told = "idle_timeout", ("IDLE", "idle")
            elif stage == "REQUEST":
                self.name, self.told = "request_timeout", ("REQUEST", "reading")
                more["io_timeout"] = WAIT_FOREVER  # nothing else is due
        self.log: Log = add(executor, address, operation, socket=self.socket, **{self.name: timeout, **more})

    def __enter__(self) -> Late:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()


@pytest.mark.parametrize("stage", STAGES)
def test_never_early_and_told_once(executor: RequestExecutor, stage: str) -> None:
    moments: list[float] = []
    start = time.monotonic()
    on = {"TIMEOUT": lambda event: moments.append(time.monotonic() - start)}
    with Late(executor, stage, SHORT, on=on, user_context="mine") as late:
        executor.execute_request()
    assert moments[0] >= SHORT
    assert late.log.names == [*late.before, "TIMEOUT", *late.after]
    assert late.log.timeouts == [late.told]
    assert {event.user_context for event in late.log.events} == {"mine"}


@pytest.mark.parametrize("timeout", [0, 1e-6, 0.001])
@pytest.mark.parametrize("stage", STAGES)
def test_no_time_at_all(executor: RequestExecutor, stage: str, timeout: float) -> None:
    """It may do what takes no waiting, and is told late like any other; nothing hangs, nothing spins."""
    with Late(executor, stage, timeout) as late:
        executor.execute_request()
    assert late.log.timeouts == [late.told]
    assert late.log.names == [*late.before, "TIMEOUT", *late.after]


@pytest.mark.parametrize("stage", STAGES)
def test_one_more_attempt_has_the_whole_time_again(executor: RequestExecutor, stage: str) -> None:
    moments = [time.monotonic()]
    times: list[tuple[Any, ...]] = []

    def again(event: Any) -> None:
        moments.append(time.monotonic())
        if len(moments) < 4:
            event.enable_one_more_attempt()

    def look(event: Any) -> None:
        m = event.metadata
        times.append((m.connection_start_time, m.connection_finish_time, m.last_io_start_time))

    with Late(executor, stage, SHORT, on={"TIMEOUT": again, "INITIALIZE": look}) as late:
        executor.execute_request()
    assert late.log.timeouts == [late.told] * 3
    if late.told[0] == "CONNECTION":  # from INITIALIZE on, as if nothing had been
        assert late.log.names == ["INITIALIZE", "TIMEOUT"] * 3 + late.after
        assert times == [(None, None, None)] * 3
    else:
        assert late.log.names == [*late.before, *["TIMEOUT"] * 3, *late.after]
    assert all(later - sooner >= SHORT for sooner, later in itertools.pairwise(moments))


@pytest.mark.parametrize("after", [SHORT, 0])
@pytest.mark.parametrize("stage", STAGES)
def test_a_changed_time_out_acts_at_once(executor: RequestExecutor, stage: str, after: float) -> None:
    """Another socket's handler shortens what would have been for ever."""
    ours, theirs = pair()
    with theirs, Late(executor, stage, WAIT_FOREVER) as late:
        theirs.sendall(b"!")

        def shorten(event: Any) -> None:
            if "CONNECTED" not in late.log.names and late.told[0] != "CONNECTION":
                event.next_is_read()
                theirs.sendall(b"!")
            else:
                executor.socket_bag.set_metadata(late.socket, **{late.name: after})

        add(executor, None, ReadOperation(), socket=ours, on={"READ": shorten})
        executor.execute_request()
    assert late.log.timeouts == [late.told]
    assert late.log.names[-len(late.after) :] == late.after


def test_wait_forever_and_nothing_else_pending(executor: RequestExecutor) -> None:
    """No deadline at all: the engine waits without one, and a byte, or another thread, wakes it."""
    asked: list[float | None] = []
    poll = executor.engine.poll
    waiting = threading.Event()

    def noting(timeout: float | None) -> Any:
        asked.append(timeout)
        if timeout is None:
            waiting.set()
        return poll(timeout)

    executor.engine.poll = noting  # type: ignore[method-assign]
    ours, theirs = pair()

    def send() -> None:
        waiting.wait(20)
        theirs.sendall(b"at last")

    thread = threading.Thread(target=send)
    forever = dict.fromkeys(
        ("connection_timeout", "io_timeout", "idle_timeout", "request_timeout"), WAIT_FOREVER
    )
    with theirs:
        log = add(executor, None, ReadOperation(), socket=ours, **forever)
        thread.start()
        executor.execute_request()
    thread.join()
    assert log.frames == [b"at last"] and None in asked
    assert EventType.TIMEOUT.name not in log.names


@pytest.mark.parametrize("stage", ["CONNECTION", "IO"])
def test_one_more_attempt_of_one_socket_is_not_the_next_ones(executor: RequestExecutor, stage: str) -> None:
    """A socket made after another has gone, perhaps where it was in memory, begins with nothing of it."""
    seen: list[str] = []

    def again(event: Any) -> None:
        seen.append(event.when.name)
        if len(seen) == 1:
            event.enable_one_more_attempt()

    scheme = "tls" if stage == "CONNECTION" else "tcp"
    with peer(read_to_end, count=3 if stage == "CONNECTION" else 2) as server:
        first = add(
            executor, server.url(scheme), ReadOperation(), on={"TIMEOUT": again},
            connection_timeout=0.03, io_timeout=0.03, stream_context={"verify": False},
        )  # fmt: skip
        executor.execute_request()
        executor.socket_bag.remove_socket(first.events[0].socket)
        second = talk(
            executor, server.url(scheme), ReadOperation(), connection_timeout=0.03, io_timeout=0.03,
            stream_context={"verify": False},
        )  # fmt: skip
    assert seen == [stage, stage]
    assert [when for when, _ in second.timeouts] == [stage]
