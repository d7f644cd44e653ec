"""RequestExecutor's members: running again, stopping, what is refused, callbacks."""

from __future__ import annotations

from typing import Any

import pytest

from evsockets import (
    ConnectionFailedError,
    EventType,
    NoLimitationSolver,
    ReadOperation,
    RequestExecutor,
    WriteOperation,
)
from evsockets.opening import connect
from support.conversation import Talk, sends
from support.life import FAILED
from support.wire import listening
from support.wire import talk as hold

X = WriteOperation(b"x")


def test_empty_run(executor: RequestExecutor) -> None:
    assert not executor.is_executing
    executor.execute_request()
    assert not executor.is_executing
    assert executor.engine.name


def test_complete_sockets_are_not_run_again(talk: Talk) -> None:
    first = talk(X, told=["WRITE"], sent=b"x")
    talk.run()
    talk(X, told=["WRITE"], sent=b"x")
    first.check(["WRITE"], b"x")


def test_context_reaches_the_handlers(talk: Talk) -> None:
    seen: list[Any] = []
    talk.executor.with_event_handler(lambda event: seen.append(event.context["key"]))
    one = talk.begin(X)
    talk.executor.execute_request({"key": "value"})
    assert set(seen) == {"value"} and len(seen) == len(one.names)


def test_stop_and_drain_need_a_run(executor: RequestExecutor) -> None:
    with pytest.raises(RuntimeError):
        executor.stop_request()
    with pytest.raises(RuntimeError):
        executor.drain(1)
    with pytest.raises(RuntimeError):
        executor.turn()


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_drain_has_a_time_out(executor: RequestExecutor, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        executor.drain(timeout)


@pytest.mark.parametrize("timeout", [-1, float("nan"), "1", b""])
def test_a_turn_waits_for_seconds(executor: RequestExecutor, timeout: Any) -> None:
    executor.start_request(until_stopped=True)
    with pytest.raises((TypeError, ValueError), match="timeout"):
        executor.turn(timeout)
    assert executor.is_executing and executor.turn(0.001)  # nothing has ended by it


@pytest.mark.parametrize("member", ["execute_request", "start_request", "close", "turn"])
def test_not_inside_a_run(talk: Talk, member: str) -> None:
    def call(event: Any) -> None:
        with pytest.raises(RuntimeError):
            getattr(talk.executor, member)()

    talk(X, told=["WRITE"], sent=b"x", on={"WRITE": call})


def test_solver_is_fixed_while_executing(talk: Talk) -> None:
    on = {"CONNECTED": lambda event: talk.executor.with_limitation_solver(NoLimitationSolver())}
    with pytest.raises(RuntimeError):
        talk(X, on=on)


def test_a_callback_may_add_a_socket(talk: Talk) -> None:
    lives: list[Any] = []
    talk.executor.call_soon_threadsafe(lambda: lives.append(talk.begin(ReadOperation(), sends(b"!"))))
    talk.run()
    lives[0].check([b"!"])


def test_a_callback_that_posts_itself_starves_nobody(talk: Talk) -> None:
    def again() -> None:
        if one.going_on:
            talk.executor.call_soon_threadsafe(again)

    one = talk.begin(ReadOperation(), sends(b"!"))
    talk.executor.call_soon_threadsafe(again)
    talk.run()
    one.check([b"!"])


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


def test_out_of_descriptors_while_connecting(
    executor: RequestExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> Any:
        raise OSError(24, "Too many open files")

    with listening() as (_, url):
        with monkeypatch.context() as patched:
            patched.setattr(connect, "open_client_socket", full)
            log = hold(executor, url, ReadOperation())
        assert log.names == FAILED
        assert isinstance(log.error, ConnectionFailedError) and log.error.errno == 24
        assert hold(executor, url, X).names[-1] == "FINALIZE"
