"""Time-outs on real clocks: never early, in order, at once when changed, and what a handler may ask for.

To the microsecond they are tested on the scripted engine.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from evsockets import (
    WAIT_FOREVER,
    ClientSocket,
    EventType,
    FixedLengthFramePicker,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.stage import unanswered
from support.wire import Log, add, pair, peer, read_to_end, talk

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
                listener = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                address = "tls://127.0.0.1:%d" % listener.getsockname()[1]
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
        self.log: Log = add(
            executor, address, operation, socket=self.socket, **{self.name: timeout, **more}
        )

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


def test_in_the_order_of_their_moments(executor: RequestExecutor) -> None:
    """Whatever the order in which they were added."""
    order: list[float] = []
    with contextlib.ExitStack() as stack:
        for timeout in (0.3, 0.1, 0.2, 0.05, 0.25, 0.15):
            ours, theirs = pair()
            stack.enter_context(theirs)
            on = {"TIMEOUT": lambda event: order.append(event.metadata.io_timeout)}
            add(executor, None, ReadOperation(), socket=ours, io_timeout=timeout, on=on)
        executor.execute_request()
    assert order == sorted(order) and len(order) == 6


def test_half_a_frame_and_then_nothing(executor: RequestExecutor) -> None:
    """The bytes that came are no frame; nothing of them is told, and the time without progress counts."""
    ours, theirs = pair()
    reading = ReadOperation(FixedLengthFramePicker(10))
    pending: list[Any] = []

    def late(event: Any) -> None:
        pending.append((executor.socket_bag.get_operation(ours), event.metadata.bytes_received))

    with theirs:
        theirs.sendall(b"half")
        log = talk(executor, None, reading, socket=ours, io_timeout=SHORT, on={"TIMEOUT": late})
    assert log.names == ["INITIALIZE", "CONNECTED", "TIMEOUT", "DISCONNECTED", "FINALIZE"]
    assert pending == [(reading, 4)]


@contextlib.contextmanager
def tick(ours: socket.socket, stop: threading.Event) -> Iterator[None]:
    """A peer that sends a byte every hundredth of a second until `stop` is set."""

    def run() -> None:
        while not stop.wait(0.01):
            with contextlib.suppress(OSError):
                ours.send(b"x")

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("name", ["io_timeout", "request_timeout"])
def test_what_progress_changes(executor: RequestExecutor, name: str) -> None:
    """A trickle keeps a read's clock from running out, but not the request's."""
    ours, theirs = pair()
    stop = threading.Event()
    seen: list[tuple[bool, int]] = []

    def late(event: Any) -> None:
        seen.append((stop.is_set(), event.metadata.bytes_received))

    def enough(event: Any) -> None:
        stop.set()

    picker = FixedLengthFramePicker(10_000_000)
    quiet, others = pair()
    with theirs, others, tick(theirs, stop):
        # The trickle outlasts the time-out, and ends only then.
        add(executor, None, ReadOperation(), socket=quiet, io_timeout=0.9, on={"TIMEOUT": enough})
        log = add(executor, None, ReadOperation(picker), socket=ours, on={"TIMEOUT": late}, **{name: 0.5})
        executor.execute_request()
    assert log.timeouts == [("IO" if name == "io_timeout" else "REQUEST", "reading")]
    ((trickle_ended, received),) = seen
    assert trickle_ended is (name == "io_timeout") and received > 0


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


def test_a_busy_socket_does_not_keep_a_silent_one_alive(executor: RequestExecutor) -> None:
    """A byte on one socket moves no other's clock."""
    busy, far = pair()
    silent, quiet = pair()
    ended: list[str] = []

    def bounce(event: Any) -> None:
        if not ended:
            far.sendall(b"x")
            event.next_is_read()

    with far, quiet:
        far.sendall(b"x")
        add(executor, None, ReadOperation(), socket=busy, on={"READ": bounce})
        on = {"TIMEOUT": lambda event: ended.append(event.phase)}
        log = add(executor, None, ReadOperation(), socket=silent, on=on, io_timeout=0.05)
        executor.execute_request()
    assert ended == ["reading"]
    assert log.names == ["INITIALIZE", "CONNECTED", "TIMEOUT", "DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize("stage", ["CONNECTION", "IO"])
def test_one_more_attempt_of_one_socket_is_not_the_next_ones(
    executor: RequestExecutor, stage: str
) -> None:
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


@pytest.mark.parametrize("name", ["request_timeout", "io_timeout", "connection_timeout"])
def test_a_time_out_set_when_the_life_ends_is_late_for_nobody(executor: RequestExecutor, name: str) -> None:
    """In the EXCEPTION handler of a socket that never had a connection, while another one goes on."""
    ended = add(
        executor, None, ReadOperation(),
        on={"EXCEPTION": lambda event: setattr(event.metadata, name, SHORT / 2)},
    )  # fmt: skip
    ours, theirs = pair()
    with theirs:
        going_on = add(executor, None, ReadOperation(), socket=ours, io_timeout=SHORT)
        executor.execute_request()
    assert ended.names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]
    assert going_on.timeouts == [("IO", "reading")]
