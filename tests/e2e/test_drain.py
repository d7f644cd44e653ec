"""drain(): the orderly end of a running server."""

from __future__ import annotations

import functools
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    DrainReport,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    WriteOperation,
)
from evsockets.core import run
from support.life import END, USUAL
from support.service import LINE, Serve, echo
from support.sources import sources_only
from support.wire import add, pair, turns_until


class House:
    """A server with one idle client, one in mid-conversation, one silent; then `ready(self)`."""

    def __init__(self, server: Serve, ready: Any) -> None:
        self.reports: list[DrainReport] = []
        self._ready = ready
        self._steps = 0
        self.service = server(
            says=[b"idle\n", b"work\n", b""], clients=100, client_metadata={"keep_alive": True},
            handler={"CONNECTED": self._step, "READ": self._read},
        )  # fmt: skip

    def _read(self, event: Any) -> None:
        answers = {b"idle\n": b"bye\n", b"second\n": b"done\n"}
        if event.frame.data in answers:
            event.next_is_write(answers[event.frame.data])
        else:  # in mid-conversation: a second line is waited for
            event.next_is_read(LINE)
        self._step()

    def _step(self, *_: Any) -> None:
        self._steps += 1
        if self._steps == 5:  # three connected, two read
            later = self.service.executor.call_soon_threadsafe
            later(later, self._ready, self)

    def drain(self, *_: Any) -> None:
        self.reports.append(self.service.executor.drain(0.1))
        self.service.peers[1].sendall(b"second\n")

    def check(self, report: DrainReport) -> None:
        """One finished by itself, one idle closed, the silent one aborted with the reason."""
        service = self.service
        assert (report.finished, report.closed_idle) == (1, 1)
        ((aborted, why),) = report.aborted
        port = service.peers[2].getsockname()[1]
        assert [aborted] == [e.client_socket for e in service.accepted if e.remote_address[1] == port]
        assert "reading" in why
        assert service.answers() == [b"bye\n", b"done\n", b""]
        assert service.listening.names[-2:] == END and len(service.accepted) == 3
        for event in service.accepted:
            assert service.talking.names_of(event.client_socket)[-2:] == END
        assert "EXCEPTION" not in service.talking.names
        assert not service.executor.is_executing


@pytest.fixture
def on_signal() -> Iterator[Any]:
    """`on_signal(act)`: SIGUSR1 calls `act` until the test is over."""
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda act: signal.signal(signal.SIGUSR1, lambda *_: act())
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("place", ["callback", "thread", "signal", "between turns"])
def test_from(executor: RequestExecutor, server: Serve, on_signal: Any, place: str) -> None:
    threads: list[threading.Thread] = []
    ready: list[House] = []

    def in_a_thread(house: House) -> None:
        threads.append(threading.Thread(target=house.drain))
        threads[0].start()

    begin = {
        "callback": House.drain, "thread": in_a_thread,
        "signal": lambda house: signal.raise_signal(signal.SIGUSR1), "between turns": ready.append,
    }  # fmt: skip
    house = House(server, begin[place])
    on_signal(house.drain)
    if place != "between turns":
        executor.execute_request()
    else:  # it takes the turns itself and returns the report
        executor.start_request()
        turns_until(executor, lambda: ready, 1)
        house.service.peers[1].sendall(b"second\n")
        house.reports.append(executor.drain(0.1))
        with pytest.raises(RuntimeError):
            executor.turn(0)
    for thread in threads:
        thread.join()
    house.check(house.reports[0])


@pytest.fixture
def drains(executor: RequestExecutor) -> Any:
    """`drains(timeout)` is a handler that drains; `drains.reports` are what it got."""
    reports: list[DrainReport] = []

    def make(timeout: float | None, then: Any = lambda event: None) -> Any:
        def drain(event: Any) -> None:
            reports.append(executor.drain(timeout))
            then(event)

        return drain

    make.reports = reports  # type: ignore[attr-defined]
    return make


@pytest.mark.parametrize("kept", [False, True])
def test_from_a_handler(server: Serve, drains: Any, kept: bool) -> None:
    """It only starts it: the handler's own next operation still counts; what turns idle then is closed."""
    read = drains(600, lambda event: event.next_is_write(b"last words"))
    service = server(says=[b"x\n"], handler={"READ": read}, clients=9, client_metadata={"keep_alive": kept})
    assert service.execute().answers() == [b"last words"]
    assert drains.reports == [DrainReport(finished=1)]


def test_what_idled_before_the_handler_asked_is_closed_as_idle(
    executor: RequestExecutor, drains: Any
) -> None:
    """Though it began to idle in the same turn."""
    idle, one = pair()
    asking, two = pair()
    with one, two:
        kept = add(executor, None, NullOperation(), socket=idle, keep_alive=True)
        add(executor, None, ReadOperation(), socket=asking, on={"CONNECTED": drains(0.05)})
        executor.execute_request()
    ((socket, _),) = drains.reports[0].aborted
    assert (drains.reports[0].finished, drains.reports[0].closed_idle, socket) == (0, 1, asking)
    assert kept.names == [*USUAL, *END]


def test_nothing_left_to_drain(server: Serve, drains: Any) -> None:
    """Only a listener: ended at once, whatever the time-out."""
    service = server(started=drains(600)).execute()
    assert service.listening.names == [*USUAL, *END] and drains.reports == [DrainReport()]


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_a_pending_read_is_work(server: Serve, drains: Any, timeout: float) -> None:
    """It may end until the deadline (at once: zero), then it is aborted."""
    service = server(says=[b""], handler={"CONNECTED": drains(timeout)}, clients=9)
    assert service.execute().answers() == [b""]
    assert [socket for socket, _ in drains.reports[0].aborted] == [service.accepted[0].client_socket]
    assert service.talking.names == [*USUAL, *END]


def test_without_a_deadline_it_waits(server: Serve, drains: Any) -> None:
    """What takes long is waited for (here until its own time-out)."""
    handler = {"CONNECTED": drains(None)}
    service = server(says=[b""], handler=handler, clients=9, client_metadata={"io_timeout": 0.05}).execute()
    assert "TIMEOUT" in service.talking.names
    assert drains.reports == [DrainReport(finished=1)]


def test_new_connections_are_refused_while_draining(executor: RequestExecutor, server: Serve) -> None:
    outcome = []

    def read(event: Any) -> None:
        if event.frame.data == b"1\n":
            executor.drain(5)
            event.next_is_read(LINE)
            executor.call_soon_threadsafe(executor.call_soon_threadsafe, late)

    def late() -> None:
        with socket.socket() as peer:
            outcome.append(peer.connect_ex(service.local))
        service.peers[0].sendall(b"2\n")

    service = server(says=[b"1\n"], handler={"READ": read}, clients=9)
    service.execute()
    assert outcome[0] != 0 and service.talking.frames == [b"1\n", b"2\n"]


def test_sockets_that_never_started_stay_for_the_next_run(executor: RequestExecutor, server: Serve) -> None:
    """As with stop_request(): no events, not complete; the next run starts them."""
    logs = []
    with socket.create_server(("127.0.0.1", 0)) as other:

        def started(event: Any) -> None:
            executor.drain(600)
            ours = socket.create_connection(other.getsockname())
            logs.append(add(executor, None, WriteOperation(b"x"), socket=ClientSocket.from_socket(ours)))

        server(started=started).execute()
        assert logs[0].names == [] and not logs[0].metadata.request_complete
        executor.execute_request()
    assert logs[0].names == [*USUAL, "WRITE", *END]


def test_twice(executor: RequestExecutor, server: Serve) -> None:
    """The second call changes nothing: it gets the same report."""
    reports = []

    def read(event: Any) -> None:
        reports.extend([executor.drain(5), executor.drain(0)])
        event.next_is_write(b"ok")

    assert server(says=[b"1\n"], handler={"READ": read}, clients=9).execute().answers() == [b"ok"]
    assert reports[0] is reports[1] and reports[0].finished == 1


def test_a_run_after_a_drain(server: Serve, drains: Any) -> None:
    for _ in range(2):
        service = server(says=[b"1\n"], handler={"READ": drains(5, echo)}, clients=9).execute()
        assert service.listening.names[-2:] == END
    assert service.answers() == [b"1\n"] * 2


def test_stop_ends_a_drain(executor: RequestExecutor, server: Serve, drains: Any) -> None:
    stop = functools.partial(executor.call_soon_threadsafe, executor.stop_request)
    connected = drains(600, lambda event: stop())
    service = server(says=[b""], handler={"CONNECTED": connected}, clients=9).execute()
    assert service.talking.names == [*USUAL, *END]


@sources_only
def test_from_a_signal_at_any_moment(
    executor: RequestExecutor, server: Serve, on_signal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two turns of execute_request(), too, it only starts the drain."""
    take_turn, reports = run.take_turn, []

    def turn_then_signal(loop: Any, timeout: float | None) -> bool:
        more = take_turn(loop, timeout)
        if more and not reports:
            signal.raise_signal(signal.SIGUSR1)
        return more

    monkeypatch.setattr(run, "take_turn", turn_then_signal)
    on_signal(lambda: reports.append(executor.drain(5)))
    service = server(says=[b""], clients=9)
    service.execute()
    assert service.listening.names[-2:] == END and len(reports) == 1
