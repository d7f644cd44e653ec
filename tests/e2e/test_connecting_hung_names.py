"""Names whose look-up hangs do not stop the look-ups of others."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from evsockets import Configuration, ConnectionFailedError, NullOperation, RequestExecutor
from support.command import run_python
from support.wire import PATIENCE, add


class HungNames:
    """Looks up like `socket.getaddrinfo`; names that begin with "hung" wait for `go_on`."""

    def __init__(self, listener: socket.socket) -> None:
        self.where = listener.getsockname()
        self.go_on = threading.Event()
        self.at_once = 0
        self.most = 0
        self.enough: int | None = None  # so many at once, and they go on
        self._lock = threading.Lock()

    def __call__(self, host: str, *arguments: Any, **more: Any) -> list[Any]:
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            if self.at_once == self.enough:
                self.go_on.set()
        try:
            if host.startswith("hung"):
                self.go_on.wait(PATIENCE)
                raise socket.gaierror(socket.EAI_AGAIN, "no answer")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", self.where)]
        finally:
            with self._lock:
                self.at_once -= 1


@pytest.fixture
def names() -> Iterator[HungNames]:
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        made = HungNames(listener)
        yield made
        made.go_on.set()


def others_go_on(executor: RequestExecutor, names: HungNames, hung: int, others: int = 10) -> None:
    """`hung` names hang until `others`, added behind them, are connected."""
    connected: list[Any] = []

    def on_connected(event: Any) -> None:
        connected.append(event.socket)
        if len(connected) == others:
            names.go_on.set()

    dead = [add(executor, f"tcp://hung{number}.test:1", NullOperation()) for number in range(hung)]
    for number in range(others):
        add(executor, f"tcp://name{number}.test:1", NullOperation(), on={"CONNECTED": on_connected})
    executor.execute_request()
    assert len(connected) == others
    for log in dead:
        assert isinstance(log.error, ConnectionFailedError), log.names  # not a time-out: others went first
        assert log.error.errno == socket.EAI_AGAIN


def test_sixty_three_names_hang(engine: str, names: HungNames) -> None:
    with RequestExecutor(engine, resolver=names) as executor:
        others_go_on(executor, names, 63)
    assert names.most <= 64


def test_the_systems_look_up_hangs(engine: str, names: HungNames, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", names)
    with RequestExecutor(engine) as executor:
        others_go_on(executor, names, 63)


@pytest.mark.parametrize("threads", [1, 2, 100])
def test_how_many_is_a_setting(engine: str, names: HungNames, threads: int) -> None:
    configuration = Configuration(resolver_threads=threads)
    with RequestExecutor(engine, configuration=configuration, resolver=names) as executor:
        others_go_on(executor, names, threads - 1)
    assert names.most <= threads


def test_a_place_that_a_hung_name_leaves_is_taken(engine: str, names: HungNames) -> None:
    """More names hang than there are places: whoever waits goes on when they have ended."""
    configuration = Configuration(resolver_threads=2)
    with RequestExecutor(engine, configuration=configuration, resolver=names) as executor:
        names.enough = 2
        others_go_on(executor, names, 9)
    assert names.most == 2


PATCHED = """
    import _socket, socket, sys, threading

    hung = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0), backlog=50)
    where = listener.getsockname()

    def look_up(host, *arguments):
        if host.startswith("hung"):
            hung.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", where)]

    socket.getaddrinfo = _socket.getaddrinfo = look_up
    from gevent import monkey
    monkey.patch_all()
    from evsockets import ClientSocket, EventType, NullOperation, RequestExecutor

    connected = []

    def on_connected(event):
        connected.append(event.socket)
        if len(connected) == 10:
            event.executor.stop_request()

    with RequestExecutor() as executor:
        assert executor.engine.name == "gevent"
        for name in [f"hung{n}" for n in range(63)] + [f"name{n}" for n in range(10)]:
            executor.socket_bag.add_socket(
                ClientSocket(), NullOperation(), address=f"tcp://{name}.test:1",
                handler={EventType.CONNECTED: on_connected}, connection_timeout=%s,
            )
        executor.execute_request()
    print(len(connected), flush=True)
"""


def test_names_hang_in_a_patched_program(gevent_is_tested: None) -> None:
    """There the look-ups of the whole program share ten threads."""
    result = run_python(PATCHED % PATIENCE)
    assert (result.stdout, result.returncode) == ("10\n", 0), result.stderr
