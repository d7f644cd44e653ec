"""Inside a gevent application: other greenlets run, whatever ends the greenlet cleans up."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EventType,
    ReadOperation,
    RequestExecutor,
    WriteOperation,
)
from support.clients import Recorder
from support.command import HANGS, environment
from support.optional import library
from support.service import LINE, Peers, Service, everything

gevent = pytest.importorskip("gevent", exc_type=ImportError)

pytestmark = pytest.mark.usefixtures("gevent_is_tested")
CLIENT = ["INITIALIZE", "CONNECTED", "WRITE", "READ", "DISCONNECTED", "FINALIZE"]


@pytest.fixture
def executor() -> Any:
    gevent.get_hub()
    with RequestExecutor("gevent") as made:
        yield made


def conversation(executor: RequestExecutor) -> Recorder:
    events = Recorder()

    def started(event: Any) -> None:
        executor.socket_bag.add_socket(
            ClientSocket(), WriteOperation(b"hello\n", then=ReadOperation(LINE)), handler=events,
            address="tcp://127.0.0.1:%d" % event.metadata.local_address[1],
        )  # fmt: skip

    Service(executor, started=started)
    return events


def test_other_greenlets_run_while_it_waits(executor: RequestExecutor) -> None:
    service = Service(executor)
    ticks = []

    def others() -> None:
        for tick in range(5):
            ticks.append(tick)
            gevent.sleep(0.002)
        executor.stop_request()

    other = gevent.spawn(others)
    executor.execute_request()
    other.join()
    assert ticks == list(range(5))
    assert service.listening.names() == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


def test_a_busy_executor_does_not_starve_the_hub(executor: RequestExecutor) -> None:
    """Two sockets that always have something for each other, and a greenlet that wants its turns."""
    turns = 0
    ticks = 0
    busy = True

    def ping(event: Any) -> None:
        nonlocal turns
        if event.type is EventType.READ and busy:
            turns += 1
            event.next_is_write(event.frame.data, then=ReadOperation(LINE))

    def started(event: Any) -> None:
        executor.socket_bag.add_socket(
            ClientSocket(), WriteOperation(b"ping\n", then=ReadOperation(LINE)), handler=ping,
            address="tcp://127.0.0.1:%d" % event.metadata.local_address[1],
        )  # fmt: skip

    def others() -> None:
        nonlocal ticks, busy
        while ticks < 50:
            ticks += 1
            gevent.sleep(0)
        busy = False

    Service(executor, started=started, handler=ping)
    other = gevent.spawn(others)
    executor.execute_request()
    other.join()
    assert ticks == 50
    assert turns < 5000, "the other greenlet's 50 turns came long before"


def test_sleep_in_handlers(executor: RequestExecutor) -> None:
    """Handlers may block cooperatively; others run meanwhile, the conversation goes on after."""
    order: list[str] = []
    events = conversation(executor)

    def slow(event: Any) -> None:
        order.append(f"before {event.type.name}")
        gevent.sleep(0.005)
        order.append(f"after {event.type.name}")

    def others() -> None:
        while not finished:
            order.append("other")
            gevent.sleep(0.001)

    finished: list[bool] = []
    executor.with_event_handler({EventType.READ: slow, EventType.WRITE: slow, EventType.CONNECTED: slow})
    other = gevent.spawn(others)
    executor.execute_request()
    finished.append(True)
    other.join()
    assert events.names() == CLIENT
    first = order.index("before CONNECTED")
    assert "other" in order[first : order.index("after CONNECTED")]


def test_gevent_timeout_around_it(executor: RequestExecutor) -> None:
    with Peers() as peers:
        service = Service(executor, started=lambda e: peers.stream(e.metadata.local_address))
        timeout = gevent.Timeout(0.05)
        with pytest.raises(gevent.Timeout) as caught, timeout:
            executor.execute_request()
        assert caught.value is timeout
        assert everything(peers[0]) == b""
    assert service.listening.names()[-2:] == ["DISCONNECTED", "FINALIZE"]
    assert service.talking.names() == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
    assert service.metadata.request_complete and not executor.is_executing
    again = conversation(executor)
    executor.execute_request()
    assert again.names() == CLIENT


def test_gevent_timeout_that_is_silent(executor: RequestExecutor) -> None:
    service = Service(executor)
    with gevent.Timeout(0.02, False):
        executor.execute_request()
    assert not executor.is_executing
    assert service.listening.names()[-2:] == ["DISCONNECTED", "FINALIZE"]


def test_killed_greenlet(executor: RequestExecutor) -> None:
    service = Service(executor)
    greenlet = gevent.spawn(executor.execute_request)
    while "CONNECTED" not in service.listening.names():
        gevent.sleep(0)
    greenlet.kill()
    assert greenlet.successful() and isinstance(greenlet.value, gevent.GreenletExit)
    assert service.listening.names() == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
    assert not executor.is_executing
    again = conversation(executor)
    executor.execute_request()
    assert again.names() == CLIENT


def test_killed_with_an_exception_inside_a_handler(executor: RequestExecutor) -> None:
    class Bug(Exception):
        pass

    def slow(event: Any) -> None:
        asleep.append(True)
        gevent.sleep(60)

    asleep: list[bool] = []
    service = Service(executor, started=slow)
    greenlet = gevent.spawn(executor.execute_request)
    while not asleep:
        gevent.sleep(0)
    greenlet.kill(Bug, block=False)
    with pytest.raises(Bug):
        greenlet.get()
    assert service.listening.names() == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


def test_several_executors_in_several_greenlets() -> None:
    def one() -> list[str]:
        with RequestExecutor("gevent") as executor:
            events = conversation(executor)
            executor.execute_request()
            return events.names()

    greenlets = [gevent.spawn(one) for _ in range(20)]
    gevent.joinall(greenlets, raise_error=True)
    assert [greenlet.value for greenlet in greenlets] == [CLIENT] * 20


def test_an_executor_within_a_handler(executor: RequestExecutor) -> None:
    """A handler may run another executor: it blocks cooperatively."""
    inner: list[Recorder] = []

    def nested(event: Any) -> None:
        with RequestExecutor("gevent") as other:
            inner.append(conversation(other))
            other.execute_request()

    outer = conversation(executor)
    executor.with_event_handler({EventType.WRITE: nested})
    executor.execute_request()
    assert outer.names() == CLIENT
    assert [events.names() for events in inner] == [CLIENT] * 2


def test_changes_from_other_greenlets(executor: RequestExecutor) -> None:
    """Same thread, so they are allowed, and they wake the run: add, close, drain."""
    events = Recorder()
    service = Service(executor, clients=9)

    def others() -> None:
        while service.local is None:
            gevent.sleep(0)
        executor.socket_bag.add_socket(
            ClientSocket(), WriteOperation(b"hello\n", then=ReadOperation(LINE)), handler=events,
            address="tcp://127.0.0.1:%d" % service.local[1],
        )  # fmt: skip
        while "FINALIZE" not in events.names():
            gevent.sleep(0)
        service.server.close()

    other = gevent.spawn(others)
    executor.execute_request()
    other.get()
    assert events.names() == CLIENT
    assert service.listening.names()[-2:] == ["DISCONNECTED", "FINALIZE"]


def test_drain_from_another_greenlet(executor: RequestExecutor) -> None:
    reports: list[Any] = []
    service = Service(executor, clients=9)

    def others() -> None:
        while service.local is None:
            gevent.sleep(0)
        reports.append(executor.drain(1))

    other = gevent.spawn(others)
    executor.execute_request()
    other.get()
    assert reports[0].aborted == []


def test_names_are_resolved_by_gevent(executor: RequestExecutor) -> None:
    events = Recorder()

    def started(event: Any) -> None:
        executor.socket_bag.add_socket(
            ClientSocket(), WriteOperation(b"hello\n", then=ReadOperation(LINE)), handler=events,
            address="tcp://localhost:%d" % event.metadata.local_address[1],
        )  # fmt: skip

    Service(executor, started=started)
    executor.execute_request()
    assert events.names() == CLIENT


# ---- monkey-patched processes ------------------------------------------------------------------------

CONVERSATION = """
    import threading, time, socket
    from evsockets import *
    assert socket.socket.__module__ == "gevent._socket3", socket.socket.__module__
    def scenario(engine):
        done = []
        line = MarkerFramePicker(None, b"\\n")
        with RequestExecutor(engine) as executor:
            expected = engine or "gevent"
            assert executor.engine.name == expected, executor.engine
            server = ServerSocket()
            def accepted(event):
                executor.socket_bag.add_socket(event.client_socket, ReadOperation(line),
                    handler={EventType.READ: lambda e: e.next_is_write(e.frame.data)})
            def connected(event):
                port = event.metadata.local_address[1]
                for _ in range(5):
                    executor.socket_bag.add_socket(ClientSocket(),
                        WriteOperation(b"hello\\n", then=ReadOperation(line)),
                        address=f"tcp://localhost:{port}", handler={EventType.READ: read})
            def read(event):
                done.append(event.frame.data)
                if len(done) == 5:
                    threading.Thread(target=executor.stop_request).start()
            executor.socket_bag.add_socket(server, ReadOperation(), address="tcp://127.0.0.1:0",
                handler={EventType.ACCEPT: accepted, EventType.CONNECTED: connected})
            executor.execute_request()
        assert done == [b"hello\\n"] * 5, done
    scenario(None)
    scenario("gevent")
    scenario("selectors")
    print("ok")
"""


@pytest.mark.parametrize("patch", ["gevent.monkey.patch_all()", "gevent.monkey.patch_all(thread=False)"])
@pytest.mark.parametrize("first", [True, False])
def test_monkey_patched(patch: str, first: bool) -> None:
    """patch_all() before or after the import of the library; threads patched or not."""
    setup = ["import gevent.monkey", patch]
    setup = [*setup, "import evsockets"] if first else ["import evsockets", *setup]
    run("\n".join(setup) + textwrap.dedent(CONVERSATION))


def run(code: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert result.returncode == 0 and result.stdout.strip() == "ok", result.stdout + result.stderr


WSGI = """
    import gevent.monkey
    gevent.monkey.patch_all()
    import http.client, threading
    import gevent
    from gevent.pywsgi import WSGIServer
    from gevent.server import StreamServer
    from evsockets import *

    CALLS = 200
    line = MarkerFramePicker(None, b"\\n")
    waiting = []
    gate = gevent.event.Event()

    def backend(connection, address):
        data = connection.recv(100)
        waiting.append(data)
        gate.wait()          # nobody is answered before all 400 calls are here at once
        connection.sendall(b"answer " + data)
        connection.close()

    backends = StreamServer(("127.0.0.1", 0), backend, backlog=512)
    backends.start()

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/ping":
            return [b"pong"]
        answers = []
        with RequestExecutor() as executor:
            assert executor.engine.name == "gevent"
            for number in range(CALLS):
                executor.socket_bag.add_socket(
                    ClientSocket(), WriteOperation(b"%d\\n" % number, then=ReadOperation(line)),
                    address="tcp://127.0.0.1:%d" % backends.server_port,
                    handler={EventType.READ: lambda event: answers.append(event.frame.data)})
            executor.execute_request()
        return [b"%d" % len(set(answers))]

    WRAPPED
    server = WSGIServer(("127.0.0.1", 0), application, log=None)
    server.start()

    def get(path):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    big = [gevent.spawn(get, "/fan-out") for _ in range(2)]
    while len(waiting) < 2 * CALLS:
        gevent.sleep(0.001)
    # While both executors wait, other requests go on.
    assert [get("/ping") for _ in range(10)] == [b"pong"] * 10
    assert not any(greenlet.ready() for greenlet in big)
    gate.set()
    assert [greenlet.get() for greenlet in big] == [b"200", b"200"]
    server.stop()
    backends.stop()
    print("ok")
"""


def test_wsgi_application() -> None:
    """200 concurrent back-end calls in each of two requests, other requests going on."""
    run(textwrap.dedent(WSGI.replace("WRAPPED", "")))


def test_flask_application() -> None:
    library("flask")
    wrapped = """
    import flask
    plain = application
    application = flask.Flask("app")
    @application.get("/<path:path>")
    def view(path):
        return b"".join(plain({"PATH_INFO": "/" + path}, lambda status, headers: None)).decode()
    """
    run(textwrap.dedent(WSGI.replace("WRAPPED", wrapped.strip())))
