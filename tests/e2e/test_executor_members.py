"""RequestExecutor's members: running again, stopping, closing, other threads, forks."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    ConnectionFailedError,
    EngineError,
    EventType,
    NoLimitationSolver,
    ReadOperation,
    RequestExecutor,
    StreamContext,
    WriteOperation,
    create_engine,
)
from support.wire import add, pair, talk

ENDED = ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


def test_empty_run(executor: RequestExecutor) -> None:
    assert not executor.is_executing
    executor.execute_request()
    assert not executor.is_executing
    assert executor.engine.name


def test_complete_sockets_are_not_run_again(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    with theirs:
        first = talk(executor, None, WriteOperation(b"x"), socket=ours)
        before = list(first.names)
        executor.execute_request()
        assert first.names == before
        new, others = pair()
        with others:
            second = talk(executor, None, WriteOperation(b"x"), socket=new)
    assert second.names == before == first.names


def test_context_reaches_the_handlers(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    seen: list[Any] = []
    with theirs:
        log = add(executor, None, WriteOperation(b"x"), socket=ours)
        executor.with_event_handler(lambda event: seen.append(event.context["key"]))
        executor.execute_request({"key": "value"})
    assert set(seen) == {"value"} and len(seen) == len(log.names)


def test_stop_and_drain_need_a_run(executor: RequestExecutor) -> None:
    with pytest.raises(RuntimeError):
        executor.stop_request()
    with pytest.raises(RuntimeError):
        executor.drain(1)
    with pytest.raises(RuntimeError):
        executor.turn()


@pytest.mark.parametrize("member", ["execute_request", "start_request", "close", "turn"])
def test_not_inside_a_run(executor: RequestExecutor, member: str) -> None:
    caught: list[Exception] = []

    def call(event: Any) -> None:
        with pytest.raises(RuntimeError) as info:
            getattr(executor, member)()
        caught.append(info.value)

    ours, theirs = pair()
    with theirs:
        log = talk(executor, None, WriteOperation(b"x"), socket=ours, on={"WRITE": call})
    assert len(caught) == 1
    assert log.names == ["INITIALIZE", "CONNECTED", "WRITE", "DISCONNECTED", "FINALIZE"]


def test_solver_is_fixed_while_executing(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    with theirs:
        on = {"CONNECTED": lambda event: executor.with_limitation_solver(NoLimitationSolver())}
        log = add(executor, None, WriteOperation(b"x"), socket=ours, on=on)
        with pytest.raises(RuntimeError):
            executor.execute_request()
    assert log.names == ENDED


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


def test_a_callback_may_add_a_socket(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    logs: list[Any] = []
    with theirs:
        theirs.sendall(b"!")
        executor.call_soon_threadsafe(
            lambda: logs.append(add(executor, None, ReadOperation(), socket=ours))
        )
        executor.execute_request()
    assert logs[0].frames == [b"!"]


def test_a_callback_that_posts_itself_starves_nobody(executor: RequestExecutor) -> None:
    ours, theirs = pair()

    def again() -> None:
        if not log.metadata.request_complete:
            executor.call_soon_threadsafe(again)

    with theirs:
        theirs.sendall(b"!")
        log = add(executor, None, ReadOperation(), socket=ours)
        executor.call_soon_threadsafe(again)
        executor.execute_request()
    assert log.frames == [b"!"]


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
            while "CONNECTED" not in log.names:
                executor.turn()
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


def test_bad_arguments(executor: RequestExecutor) -> None:
    for handler in (None, 5, "x", {"READ": print}, {EventType.READ: 5}, {EventType.READ: [5]}):
        with pytest.raises(TypeError):
            executor.with_event_handler(handler)
    for call in (
        lambda: RequestExecutor(5),
        lambda: RequestExecutor(resolver=5),
        lambda: RequestExecutor(configuration=5),
        lambda: executor.with_limitation_solver(5),
        lambda: executor.call_soon_threadsafe(5),
    ):
        with pytest.raises(TypeError):
            call()


def test_out_of_descriptors_while_connecting(executor: RequestExecutor, monkeypatch: Any) -> None:
    from evsockets.opening import connect

    def full(*args: Any) -> Any:
        raise OSError(24, "Too many open files")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
        monkeypatch.setattr(connect, "open_client_socket", full)
        log = talk(executor, url, ReadOperation())
        assert log.names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]
        assert isinstance(log.error, ConnectionFailedError) and log.error.errno == 24
        monkeypatch.undo()
        assert talk(executor, url, WriteOperation(b"x")).names[-1] == "FINALIZE"


def test_stream_context_is_used(executor: RequestExecutor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
        for context in (StreamContext(bind_to="127.0.0.2"), {"bind_to": "127.0.0.2"}):
            log = talk(executor, url, WriteOperation(b"x"), stream_context=context)
            assert log.errors == []
            theirs, address = listener.accept()
            theirs.close()
            assert address[0] == "127.0.0.2"
