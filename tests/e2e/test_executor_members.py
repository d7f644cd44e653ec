"""RequestExecutor's members: closing, other threads, forks."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from core.test_executor_members import *  # noqa: F403
from evsockets import (
    ClientSocket,
    EngineError,
    NoLimitationSolver,
    ReadOperation,
    RequestExecutor,
    create_engine,
)
from support.wire import add, pair, talk, turns_until

ENDED = ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


def test_call_soon_threadsafe(executor: RequestExecutor) -> None:
    called: list[tuple[int, Any]] = []

    def note(value: Any) -> None:
        called.append((threading.get_ident(), value))

    executor.call_soon_threadsafe(note, "before")
    ours, theirs = pair()
    connected = threading.Event()

    def post() -> None:
        connected.wait(20)
        executor.call_soon_threadsafe(note, "while")
        executor.call_soon_threadsafe(ours.close)

    thread = threading.Thread(target=post)
    with theirs:
        log = add(executor, None, ReadOperation(), socket=ours, on={"CONNECTED": lambda e: connected.set()})
        thread.start()
        executor.execute_request()
    thread.join()
    assert called == [(threading.get_ident(), "before"), (threading.get_ident(), "while")]
    assert log.names == ENDED
    # It does not keep a run alive, and runs in the next one.
    executor.call_soon_threadsafe(note, "after")
    assert len(called) == 2
    executor.execute_request()
    assert called[-1][1] == "after"


def test_other_threads_are_told_off(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    bag = executor.socket_bag
    metadata: Any = None
    calls = {
        "add": lambda: bag.add_socket(ClientSocket(), ReadOperation()),
        "remove": lambda: bag.remove_socket(ours),
        "forget": lambda: bag.forget_socket(ours),
        "get_operation": lambda: bag.get_operation(ours),
        "set_operation": lambda: bag.set_operation(ours, ReadOperation()),
        "get_metadata": lambda: bag.get_metadata(ours),
        "set_metadata": lambda: bag.set_metadata(ours, io_timeout=1),
        "reset": lambda: bag.reset_transfer_rate_counters(ours),
        "timeout": lambda: setattr(metadata, "io_timeout", 1),
        "cancel": lambda: events[0].cancel_operation(),
        "close socket": ours.close,
        "handler": lambda: executor.with_event_handler(print),
        "solver": lambda: executor.with_limitation_solver(NoLimitationSolver()),
        "execute": executor.execute_request,
        "start": executor.start_request,
        "turn": executor.turn,
        "patience": executor.patience,
        "fileno": executor.fileno,
        "close": executor.close,
        "with": lambda: executor.__exit__(None, None, None),
        "has": lambda: bag.has_socket(ours),
        "in": lambda: ours in bag,
        "len": lambda: len(bag),
        "iteration": lambda: list(bag),
    }
    events: list[Any] = []
    failures: list[str] = []
    connected = threading.Event()

    def try_all() -> None:
        connected.wait(20)
        for name, call in calls.items():
            try:
                call()
                failures.append(f"{name}: no error")
            except RuntimeError as error:
                if "call_soon_threadsafe" not in str(error):
                    failures.append(f"{name}: {error}")
            except BaseException as error:
                failures.append(f"{name}: {error!r}")
        executor.stop_request()

    def start(event: Any) -> None:
        events.append(event)
        connected.set()

    thread = threading.Thread(target=try_all)
    with theirs:
        log = add(executor, None, ReadOperation(), socket=ours, on={"CONNECTED": start})
        metadata = log.metadata
        thread.start()
        executor.execute_request()
    thread.join()
    assert failures == []
    assert log.names == ENDED


def test_close(engine: str) -> None:
    executor = RequestExecutor(engine)
    held, theirs = pair()
    with theirs:
        executor.socket_bag.add_socket(held, ReadOperation())
        executor.close()
        executor.close()
        assert theirs.recv(1) == b""
    for call in (executor.execute_request, executor.start_request):
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(RuntimeError):
        executor.call_soon_threadsafe(print)
    with pytest.raises(RuntimeError):
        executor.socket_bag.add_socket(ClientSocket(), ReadOperation())


def test_with_closes_only_its_own_engine(engine: str) -> None:
    made = create_engine(engine)
    try:
        for _ in range(2):
            ours, theirs = pair()
            with RequestExecutor(made) as executor, theirs:
                assert executor.engine is made
                theirs.sendall(b"!")
                assert talk(executor, None, ReadOperation(), socket=ours).frames == [b"!"]
        assert made.poll(0) == []
    finally:
        made.close()


def test_an_exception_inside_with_closes_everything(engine: str) -> None:
    ours, theirs = pair()
    with theirs:
        with pytest.raises(ZeroDivisionError), RequestExecutor(engine) as executor:
            log = add(executor, None, ReadOperation(), socket=ours)
            executor.start_request()
            turns_until(executor, lambda: "CONNECTED" in log.names)
            raise ZeroDivisionError
        assert log.names == ENDED


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    with theirs:
        theirs.sendall(b"!")
        log = add(executor, None, ReadOperation(), socket=ours)
        child = os.fork()
        if child == 0:  # pragma: no cover
            status = 1
            try:
                executor.execute_request()
            except EngineError as error:
                status = 0 if "fork" in str(error) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        executor.execute_request()
    assert log.frames == [b"!"]
