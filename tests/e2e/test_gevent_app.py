"""Inside a gevent application: other greenlets run, whatever ends the greenlet cleans up."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EventType,
    ReadOperation,
    RequestExecutor,
    WriteOperation,
)
from support.machine import until
from support.service import CLIENT, LINE, Peers, Service, conversation
from support.wire import Log, add, pair, read_to_end

gevent = pytest.importorskip("gevent", exc_type=ImportError)

pytestmark = pytest.mark.usefixtures("gevent_is_tested")


@pytest.fixture
def executor() -> Any:
    gevent.get_hub()
    with RequestExecutor("gevent") as made:
        yield made


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
    assert service.listening.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


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
    _, events = conversation(executor)

    def slow(event: Any) -> None:
        order.append(f"before {event.type.name}")
        gevent.sleep(0.005)
        order.append(f"after {event.type.name}")

    def others() -> None:
        for _ in until(lambda: finished):
            order.append("other")
            gevent.sleep(0.001)

    finished: list[bool] = []
    executor.with_event_handler({EventType.READ: slow, EventType.WRITE: slow, EventType.CONNECTED: slow})
    other = gevent.spawn(others)
    executor.execute_request()
    finished.append(True)
    other.join()
    assert events.names == CLIENT
    first = order.index("before CONNECTED")
    assert "other" in order[first : order.index("after CONNECTED")]


def test_gevent_timeout_around_it(executor: RequestExecutor) -> None:
    with Peers() as peers:
        service = Service(executor, started=lambda e: peers.stream(e.metadata.local_address))
        timeout = gevent.Timeout(0.05)
        with pytest.raises(gevent.Timeout) as caught, timeout:
            executor.execute_request()
        assert caught.value is timeout
        assert read_to_end(peers[0]) == b""
    assert service.listening.names[-2:] == ["DISCONNECTED", "FINALIZE"]
    assert service.talking.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
    assert service.metadata.request_complete and not executor.is_executing
    _, again = conversation(executor)
    executor.execute_request()
    assert again.names == CLIENT


def test_gevent_timeout_that_is_silent(executor: RequestExecutor) -> None:
    service = Service(executor)
    with gevent.Timeout(0.02, False):
        executor.execute_request()
    assert not executor.is_executing
    assert service.listening.names[-2:] == ["DISCONNECTED", "FINALIZE"]


def test_killed_greenlet(executor: RequestExecutor) -> None:
    service = Service(executor)
    greenlet = gevent.spawn(executor.execute_request)
    for _ in until(lambda: "CONNECTED" in service.listening.names):
        gevent.sleep(0)
    greenlet.kill()
    assert greenlet.successful() and isinstance(greenlet.value, gevent.GreenletExit)
    assert service.listening.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
    assert not executor.is_executing
    _, again = conversation(executor)
    executor.execute_request()
    assert again.names == CLIENT


def test_killed_with_an_exception_inside_a_handler(executor: RequestExecutor) -> None:
    class Bug(Exception):
        pass

    def slow(event: Any) -> None:
        asleep.append(True)
        gevent.sleep(60)

    asleep: list[bool] = []
    service = Service(executor, started=slow)
    greenlet = gevent.spawn(executor.execute_request)
    for _ in until(lambda: asleep):
        gevent.sleep(0)
    greenlet.kill(Bug, block=False)
    with pytest.raises(Bug):
        greenlet.get()
    assert service.listening.names == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


def test_several_executors_in_several_greenlets() -> None:
    def one() -> list[str]:
        with RequestExecutor("gevent") as executor:
            _, events = conversation(executor)
            executor.execute_request()
            return events.names

    greenlets = [gevent.spawn(one) for _ in range(20)]
    gevent.joinall(greenlets, raise_error=True)
    assert [greenlet.value for greenlet in greenlets] == [CLIENT] * 20


def test_an_executor_within_a_handler(executor: RequestExecutor) -> None:
    """A handler may run another executor: it blocks cooperatively."""
    inner: list[Log] = []

    def nested(event: Any) -> None:
        with RequestExecutor("gevent") as other:
            inner.append(conversation(other)[1])
            other.execute_request()

    _, outer = conversation(executor)
    executor.with_event_handler({EventType.WRITE: nested})
    executor.execute_request()
    assert outer.names == CLIENT
    assert [events.names for events in inner] == [CLIENT] * 2


def test_changes_from_other_greenlets(executor: RequestExecutor) -> None:
    """Same thread, so they are allowed, and they wake the run: add, close, drain."""
    events = Log()
    service = Service(executor, clients=9)

    def others() -> None:
        for _ in until(lambda: service.local):
            gevent.sleep(0)
        executor.socket_bag.add_socket(
            ClientSocket(), WriteOperation(b"hello\n", then=ReadOperation(LINE)), handler=events,
            address="tcp://127.0.0.1:%d" % service.local[1],
        )  # fmt: skip
        for _ in until(lambda: "FINALIZE" in events.names):
            gevent.sleep(0)
        service.server.close()

    other = gevent.spawn(others)
    executor.execute_request()
    other.get()
    assert events.names == CLIENT
    assert service.listening.names[-2:] == ["DISCONNECTED", "FINALIZE"]


def test_drain_from_another_greenlet(executor: RequestExecutor) -> None:
    reports: list[Any] = []
    service = Service(executor, clients=9)

    def others() -> None:
        for _ in until(lambda: service.local):
            gevent.sleep(0)
        reports.append(executor.drain(1))

    other = gevent.spawn(others)
    executor.execute_request()
    other.get()
    assert reports[0].aborted == []


def test_names_are_resolved_by_gevent(executor: RequestExecutor) -> None:
    _, events = conversation(executor, "localhost")
    executor.execute_request()
    assert events.names == CLIENT


def test_closed_by_another_greenlet_nothing_more_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of what the engine tells of before the wake-up: an engine owes no order."""
    with RequestExecutor("gevent") as executor, contextlib.ExitStack() as stack:
        poll = executor.engine.poll
        monkeypatch.setattr(
            executor.engine, "poll",
            lambda timeout: sorted(poll(timeout), key=lambda ready: ready[0].channel is None),
        )  # fmt: skip
        pairs = [pair() for _ in range(3)]
        logs = [add(executor, None, ReadOperation(), socket=ours) for ours, theirs in pairs]

        def close_all() -> None:
            for ours, theirs in pairs:
                stack.enter_context(theirs).send(b"x")
                ours.close()

        other = gevent.spawn_later(0.01, close_all)
        executor.execute_request()
        other.join()
    assert [log.names for log in logs] == [["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]] * 3
