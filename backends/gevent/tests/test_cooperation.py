"""Other greenlets run while a poll waits and between polls under load, and may end one."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import gevent
import pytest

from evsockets.engines import READ
from evsockets_gevent import GeventEngine


@pytest.fixture
def engine() -> Iterator[GeventEngine]:
    with GeventEngine() as made:
        yield made


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


Pair = tuple[socket.socket, socket.socket]


def test_others_run_while_a_poll_waits(engine: GeventEngine, pair: Pair) -> None:
    left, right = pair
    engine.watch(left.fileno(), READ, "token")
    gevent.spawn(right.send, b"x")
    assert engine.poll(None) == [("token", READ)]


@pytest.mark.parametrize("timeout", [0, 0.01, None])
def test_a_busy_poller_starves_nobody(engine: GeventEngine, pair: Pair, timeout: float | None) -> None:
    left, right = pair
    right.send(b"x")
    engine.watch(left.fileno(), READ, "token")
    rounds = 0

    def other() -> None:
        nonlocal rounds
        for _ in range(1_000_000):
            gevent.sleep(0)
            rounds += 1

    greenlet = gevent.spawn(other)
    found = [engine.poll(timeout) for _ in range(200)]
    greenlet.kill()
    assert rounds >= 190
    assert [("token", READ)] in found
    assert all(batch in ([], [("token", READ)]) for batch in found)  # early and empty is allowed


def test_no_spin_while_a_handler_blocks_cooperatively(engine: GeventEngine, pair: Pair) -> None:
    left, right = pair
    right.send(b"x")
    engine.watch(left.fileno(), READ, 1)
    engine.watch(right.fileno(), READ, 2)
    assert engine.poll(None) == [(1, READ)]
    began, busy = time.monotonic(), time.process_time()
    gevent.sleep(0.1)
    left.send(b"y")  # another becomes ready meanwhile
    gevent.sleep(0.2)
    assert time.process_time() - busy < 0.5 * (time.monotonic() - began)
    assert sorted(engine.poll(0)) == [(1, READ), (2, READ)]


def test_kill_and_timeout_leave_it_reusable(engine: GeventEngine, pair: Pair) -> None:
    left, right = pair
    engine.watch(left.fileno(), READ, "token")
    greenlet = gevent.spawn(engine.poll, None)
    gevent.sleep(0)
    greenlet.kill()
    assert isinstance(greenlet.value, gevent.GreenletExit)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        engine.poll(None)
    right.send(b"x")
    assert engine.poll(None) == [("token", READ)]


def test_several_in_several_greenlets() -> None:
    def converse(number: int) -> Any:
        left, right = socket.socketpair()
        with left, right, GeventEngine() as engine:
            engine.watch(left.fileno(), READ, number)
            gevent.spawn_later(0.001 * (number % 3), right.send, b"x")
            return engine.poll(None)

    greenlets = [gevent.spawn(converse, number) for number in range(20)]
    gevent.joinall(greenlets)
    assert [each.value for each in greenlets] == [[(number, READ)] for number in range(20)]


def test_one_poller_at_a_time_and_none_in_the_hub(engine: GeventEngine) -> None:
    greenlet = gevent.spawn(engine.poll, None)
    gevent.sleep(0)
    with pytest.raises(RuntimeError, match="another greenlet"):
        engine.poll(0)
    greenlet.kill()
    failures: list[BaseException] = []

    def in_the_hub() -> None:
        try:
            engine.poll(0)
        except RuntimeError as error:
            failures.append(error)

    gevent.get_hub().loop.run_callback(in_the_hub)
    gevent.sleep(0)
    assert "hub" in str(failures[0])


def test_another_greenlet_may_watch_while_one_polls(engine: GeventEngine, pair: Pair) -> None:
    left, right = pair
    greenlet = gevent.spawn(engine.poll, None)
    gevent.sleep(0)
    right.send(b"x")
    engine.watch(left.fileno(), READ, "token")
    greenlet.join()
    assert greenlet.value == [("token", READ)]


def test_moves_to_the_thread_that_polls(engine: GeventEngine, pair: Pair) -> None:
    left, right = pair
    right.send(b"x")
    engine.watch(left.fileno(), READ, "token")
    found = [engine.poll(None)]

    def elsewhere() -> None:
        found.append(engine.poll(None))
        gevent.get_hub().destroy()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    found.append(engine.poll(None))
    assert found == [[("token", READ)]] * 3


@pytest.mark.skipif("libuv" in type(gevent.get_hub().loop).__module__, reason="its watchers hold the loop")
def test_an_idle_engine_does_not_keep_the_hub_alive(engine: GeventEngine, pair: Pair) -> None:
    engine.watch(pair[0].fileno(), READ, "token")
    engine.poll(0)
    assert gevent.wait(timeout=5) is True, "something keeps a reference on the loop"


def test_blocking_calls_do_not_block_the_hub(engine: GeventEngine) -> None:
    outcomes: list[Any] = []
    engine.run_blocking(lambda: time.sleep(0.02) or "slept", outcomes.append)
    engine.run_blocking(lambda: 1 // 0, outcomes.append)
    engine.run_blocking(
        partial(socket.getaddrinfo, "127.0.0.1", 80, type=socket.SOCK_STREAM), outcomes.append
    )
    ticks = 0
    for _ in range(2_000):
        engine.poll(0.01)
        ticks += 1
        if len(outcomes) == 3:
            break
    assert "slept" in outcomes
    assert any(isinstance(each, ZeroDivisionError) for each in outcomes)
    assert any(isinstance(each, list) and each[0][4] == ("127.0.0.1", 80) for each in outcomes)


def test_look_ups_go_to_gevents_resolver(engine: GeventEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = gevent.get_hub()
    asked: list[Any] = []

    class Resolver:
        def getaddrinfo(self, *args: Any) -> list[Any]:
            asked.append(args[:2])
            return []

    monkeypatch.setattr(type(hub), "resolver", Resolver())
    done: list[Any] = []
    engine.run_blocking(partial(socket.getaddrinfo, "name.invalid", 1), done.append)
    for _ in range(100):
        engine.poll(0)
        if done:
            break
    assert done == [[]]
    assert asked == [("name.invalid", 1)]


def test_patched_calls_run_in_a_greenlet(engine: GeventEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gevent.monkey.is_object_patched", lambda *names: names == ("socket", "getaddrinfo"))
    outcomes: list[Any] = []

    def cooperative() -> Any:
        gevent.sleep(0.001)
        return threading.current_thread() is threading.main_thread()

    engine.run_blocking(cooperative, outcomes.append)
    for _ in range(100):
        engine.poll(0.01)
        if outcomes:
            break
    assert outcomes == [True]


@pytest.mark.parametrize(
    ("loop", "cure"), [("libuv", "pip install cffi"), ("nonsense", "nonsense.*GEVENT_LOOP")]
)
def test_a_loop_that_cannot_be_loaded_is_said_beforehand(loop: str, cure: str) -> None:
    code = """if True:
        import sys
        sys.modules["_cffi_backend"] = None
        import evsockets
        print(evsockets.available_engines()["gevent"])
        try:
            evsockets.RequestExecutor("gevent")
        except evsockets.EngineUnavailableError:
            print("refused")
    """
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "GEVENT_LOOP": loop}
    output = subprocess.check_output(command, env=environment, text=True, timeout=60)
    assert re.search(cure, output) and output.strip().endswith("refused")


def test_closing_wakes_the_poller(engine: GeventEngine) -> None:
    greenlet = gevent.spawn(engine.poll, None)
    gevent.sleep(0)
    engine.close()
    greenlet.join(5)
    assert greenlet.value == []
