"""The end of a run: what was posted is done, everything is complete, and nothing is held on to."""

from __future__ import annotations

import gc
import socket
import threading
import time
import weakref
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    LimitationDecision,
    LimitationSolver,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.scenes import KINDS, scene
from support.wire import Log, add, pair, peer, read_to_end, talk


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ACCEPT"])
def test_callbacks_of_the_last_events_run_in_it(executor: RequestExecutor, kind: str) -> None:
    ran: list[Any] = []
    with scene(executor, kind) as one:
        one.prepare(lambda event: executor.call_soon_threadsafe(ran.append, event))
        executor.execute_request()
        assert [event.type.name for event in ran] == [kind] * len(ran)
        assert ran


def test_a_callback_of_the_last_event_may_add_a_socket(executor: RequestExecutor) -> None:
    """FINALIZE of a socket that timed out comes last in its turn."""
    first, one = pair()
    second, two = pair()
    logs: list[Log] = []
    with one, two:
        two.sendall(b"!")

        def more() -> None:
            logs.append(add(executor, None, ReadOperation(), socket=second))

        on = {"FINALIZE": lambda event: executor.call_soon_threadsafe(more)}
        talk(executor, None, ReadOperation(), socket=first, io_timeout=0.02, on=on)
    assert [log.frames for log in logs] == [[b"!"]]


def test_a_callback_that_posts_itself_does_not_keep_it_alive(executor: RequestExecutor) -> None:
    ran: list[int] = []

    def again() -> None:
        ran.append(1)
        executor.call_soon_threadsafe(again)

    ours, theirs = pair()
    with theirs:
        on = {"FINALIZE": lambda event: again()}
        talk(executor, None, ReadOperation(), socket=ours, io_timeout=0.02, on=on)
    assert 1 < len(ran) < 5
    executor.execute_request()
    assert len(ran) < 10


def test_an_exception_in_the_last_callback(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    with theirs:
        on = {"FINALIZE": lambda event: executor.call_soon_threadsafe(int, "no number")}
        log = add(executor, None, ReadOperation(), socket=ours, io_timeout=0.02, on=on)
        with pytest.raises(ValueError, match="no number"):
            executor.execute_request()
    assert not executor.is_executing
    assert log.names[-1] == "FINALIZE"
    executor.execute_request()


def test_a_solver_that_fails_at_the_end_leaves_nothing_incomplete(executor: RequestExecutor) -> None:
    class Failing(LimitationSolver):
        def decide(self, *_: Any) -> LimitationDecision:
            return LimitationDecision.SKIP_CURRENT

        def finalize(self, *_: Any) -> None:
            raise LookupError("finalize")

    executor.with_limitation_solver(Failing())
    log = add(executor, None, ReadOperation())
    executor.call_soon_threadsafe(executor.stop_request)
    with pytest.raises(LookupError):
        executor.execute_request()
    assert log.metadata.request_complete
    assert not executor.is_executing


def test_a_closed_executor_is_let_go(engine: str) -> None:
    with peer(read_to_end) as server:
        executor = RequestExecutor(engine)
        executor.socket_bag.add_socket(ClientSocket(), WriteOperation(b"x"), address=server.url())
        executor.execute_request()
        executor.close()
    known = weakref.ref(executor)
    del executor
    gc.collect()
    assert known() is None


@pytest.mark.parametrize("how", ["close", "stop"])
@pytest.mark.parametrize("kind", [ClientSocket, ServerSocket])
def test_a_name_found_when_the_end_was_asked_for_already(
    engine: str, unused_port: int, kind: Any, how: str
) -> None:
    """In one turn: a callback ends the socket or the run, and the next one brings the address."""
    asked, looked_up = threading.Event(), threading.Event()

    def resolver(host: str, port: int, *_: Any) -> list[Any]:
        assert asked.wait(20)
        executor.call_soon_threadsafe(sock.close if how == "close" else executor.stop_request)
        looked_up.set()
        where = "192.0.2.1" if kind is ServerSocket else "127.0.0.1"  # nobody's own: cannot be listened on
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (where, unused_port))]

    def busy() -> None:
        """Not until both are posted does the turn's next callback run."""
        asked.set()
        assert looked_up.wait(20)
        time.sleep(0.05)  # from there to the answer's own call there is nothing to wait for

    with RequestExecutor(engine, resolver=resolver) as executor:
        sock = kind()
        log = add(
            executor, f"tcp://name.test:{unused_port}", ReadOperation(), socket=sock,
            on={"INITIALIZE": lambda event: executor.call_soon_threadsafe(busy)},
        )  # fmt: skip
        executor.execute_request()
    assert log.names == ["INITIALIZE", "FINALIZE"]
