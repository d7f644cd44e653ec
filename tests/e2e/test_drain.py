"""drain(): the orderly end of a running server."""

from __future__ import annotations

import signal
import socket
import threading
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    DrainReport,
    EventType,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    WriteOperation,
)
from support.clients import Recorder
from support.life import END
from support.service import LINE, Peers, Service
from support.wire import add, pair, read_to_end


class House:
    """A server with one idle client, one in mid-conversation and one that says nothing."""

    def __init__(self, executor: RequestExecutor, peers: Peers, ready: Any) -> None:
        self.executor = executor
        self.peers = peers
        self.reports: list[DrainReport] = []
        self._ready = ready
        self._idle = 0
        self.service = Service(
            executor, clients=100, started=self._started, handler=self._on_client,
            client_metadata={"keep_alive": True},
        )  # fmt: skip

    def _started(self, event: Any) -> None:
        self.peers.stream(event.metadata.local_address, b"idle\n")
        self.peers.stream(event.metadata.local_address, b"work\n")
        self.peers.stream(event.metadata.local_address)

    def _on_client(self, event: Any) -> None:
        if event.type is EventType.READ:
            if event.frame.data == b"work\n":
                # In mid-conversation: a second line is waited for.
                event.next_is_read(LINE)
            elif event.frame.data == b"idle\n":
                event.next_is_write(b"bye\n")
            else:
                event.next_is_write(b"done\n")
        if event.type in (EventType.CONNECTED, EventType.READ):
            self._idle += 1
            if self._idle == 5:  # three connected, two read
                self.executor.call_soon_threadsafe(self.executor.call_soon_threadsafe, self._ready, self)

    def socket(self, number: int) -> Any:
        port = self.peers[number].getsockname()[1]
        (one,) = [e.client_socket for e in self.service.accepted if e.remote_address[1] == port]
        return one


def check(house: House, report: DrainReport) -> None:
    """One finished by itself, one idle closed, the silent one aborted with the reason."""
    assert report.finished == 1
    assert report.closed_idle == 1
    ((aborted, why),) = report.aborted
    assert aborted is house.socket(2) and "reading" in why
    assert read_to_end(house.peers[0]) == b"bye\n"
    assert read_to_end(house.peers[1]) == b"done\n"
    names = house.service.listening.names()
    assert names[-2:] == END and names.count("ACCEPT") == 3
    for number in range(3):
        assert house.service.talking.names(house.socket(number))[-2:] == END
    assert "EXCEPTION" not in house.service.talking.names()
    assert not house.executor.is_executing


def start_drain(house: House) -> None:
    house.reports.append(house.executor.drain(0.1))
    house.peers[1].sendall(b"second\n")


def test_from_a_callback(executor: RequestExecutor) -> None:
    with Peers() as peers:
        house = House(executor, peers, start_drain)
        executor.execute_request()
        check(house, house.reports[0])


def test_from_a_thread(executor: RequestExecutor) -> None:
    threads: list[threading.Thread] = []

    def ready(house: House) -> None:
        threads.append(threading.Thread(target=start_drain, args=(house,)))
        threads[0].start()

    with Peers() as peers:
        house = House(executor, peers, ready)
        executor.execute_request()
        threads[0].join()
        check(house, house.reports[0])


def test_from_a_signal_handler(executor: RequestExecutor) -> None:
    with Peers() as peers:
        house = House(executor, peers, lambda house: signal.raise_signal(signal.SIGUSR1))
        before = signal.signal(signal.SIGUSR1, lambda number, frame: start_drain(house))
        try:
            executor.execute_request()
        finally:
            signal.signal(signal.SIGUSR1, before)
        check(house, house.reports[0])


def test_from_a_handler(executor: RequestExecutor) -> None:
    """It only starts it: the handler's own next operation still counts."""
    reports = []
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.READ:
                reports.append(executor.drain(5))
                event.next_is_write(b"last words")

        Service(executor, clients=9, started=lambda e: peers.stream(e.metadata.local_address, b"x\n"),
                handler=handler)  # fmt: skip
        executor.execute_request()
        assert read_to_end(peers[0]) == b"last words"
    assert reports == [DrainReport(finished=1, closed_idle=0, aborted=[])]


def test_what_idled_before_the_handler_asked_is_closed_as_idle(executor: RequestExecutor) -> None:
    """Though it began to idle in the same turn."""
    reports: list[DrainReport] = []
    idle, one = pair()
    asking, two = pair()
    with one, two:
        kept = add(executor, None, NullOperation(), socket=idle, keep_alive=True)
        on = {"CONNECTED": lambda event: reports.append(executor.drain(0.05))}
        add(executor, None, ReadOperation(), socket=asking, on=on)
        executor.execute_request()
    assert [(r.finished, r.closed_idle, [s for s, _ in r.aborted]) for r in reports] == [(0, 1, [asking])]
    assert kept.names == ["INITIALIZE", "CONNECTED", *END]


def test_between_hosted_turns(executor: RequestExecutor) -> None:
    """It takes the turns itself and returns the report."""
    with Peers() as peers:
        ready: list[House] = []
        house = House(executor, peers, ready.append)
        executor.start_request()
        while not ready:
            assert executor.turn(1)
        peers[1].sendall(b"second\n")
        check(house, executor.drain(0.1))
        with pytest.raises(RuntimeError):
            executor.turn(0)


def test_not_executing(executor: RequestExecutor) -> None:
    with pytest.raises(RuntimeError):
        executor.drain(1)


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_bad_timeout(executor: RequestExecutor, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        executor.drain(timeout)


def test_nothing_left_to_drain(executor: RequestExecutor) -> None:
    """Only a listener: ended at once, whatever the time-out."""
    reports = []
    service = Service(executor, started=lambda e: reports.append(executor.drain(600)))
    executor.execute_request()
    assert service.listening.names() == ["INITIALIZE", "CONNECTED", *END]
    assert reports == [DrainReport()]


def test_zero_aborts_at_once(executor: RequestExecutor) -> None:
    reports = []
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                reports.append(executor.drain(0))

        service = Service(
            executor, started=lambda e: peers.stream(e.metadata.local_address), handler=handler, clients=9
        )
        executor.execute_request()
        assert read_to_end(peers[0]) == b""
    assert len(reports[0].aborted) == 1
    assert service.talking.names() == ["INITIALIZE", "CONNECTED", *END]


def test_without_a_deadline_it_waits(executor: RequestExecutor) -> None:
    """timeout None: what takes long is waited for (here until its own time-out)."""
    reports = []
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                reports.append(executor.drain(None))

        service = Service(
            executor, started=lambda e: peers.stream(e.metadata.local_address), handler=handler, clients=9,
            client_metadata={"io_timeout": 0.05},
        )  # fmt: skip
        executor.execute_request()
    assert "TIMEOUT" in service.talking.names()
    assert reports[0].aborted == [] and reports[0].finished == 1


def test_new_connections_are_refused_while_draining(executor: RequestExecutor) -> None:
    outcome = []
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.READ and event.frame.data == b"1\n":
                executor.drain(5)
                event.next_is_read(LINE)
                executor.call_soon_threadsafe(executor.call_soon_threadsafe, late)

        def late() -> None:
            with socket.socket() as peer:
                outcome.append(peer.connect_ex(service.local))
            peers[0].sendall(b"2\n")

        service = Service(
            executor, started=lambda e: peers.stream(e.metadata.local_address, b"1\n"), handler=handler,
            clients=9,
        )  # fmt: skip
        executor.execute_request()
    assert outcome[0] != 0
    assert len(service.talking.of(EventType.READ)) == 2


def test_a_socket_that_turns_idle_while_draining_is_closed(executor: RequestExecutor) -> None:
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.READ:
                executor.drain(600)
                event.next_is_write(b"ok")

        Service(
            executor, started=lambda e: peers.stream(e.metadata.local_address, b"1\n"), handler=handler,
            clients=9, client_metadata={"keep_alive": True},
        )  # fmt: skip
        executor.execute_request()
        assert read_to_end(peers[0]) == b"ok"


def test_sockets_that_never_started_stay_for_the_next_run(executor: RequestExecutor) -> None:
    """As with stop_request(): no events, not complete; the next run starts them."""
    late = Recorder()
    sockets = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def started(event: Any) -> None:
            executor.drain(600)
            sockets.append(ClientSocket())
            executor.socket_bag.add_socket(
                sockets[0], WriteOperation(b"x"), handler=late,
                address="tcp://127.0.0.1:%d" % server.getsockname()[1],
            )  # fmt: skip

        Service(executor, started=started)
        executor.execute_request()
        assert late.names() == [] and not executor.socket_bag.get_metadata(sockets[0]).request_complete
        executor.execute_request()
        assert late.names() == ["INITIALIZE", "CONNECTED", "WRITE", *END]


def test_twice(executor: RequestExecutor) -> None:
    """The second call changes nothing: it gets the same report."""
    with Peers() as peers:
        reports = []

        def handler(event: Any) -> None:
            if event.type is EventType.READ:
                reports.extend([executor.drain(5), executor.drain(0)])
                event.next_is_write(b"ok")

        Service(executor, started=lambda e: peers.stream(e.metadata.local_address, b"1\n"), handler=handler,
                clients=9)  # fmt: skip
        executor.execute_request()
        assert read_to_end(peers[0]) == b"ok"
    assert reports[0] is reports[1] and reports[0].finished == 1


def test_a_run_after_a_drain(executor: RequestExecutor) -> None:
    for _ in range(2):
        with Peers() as peers:
            service = Service(
                executor, clients=9, started=lambda e: peers.stream(e.metadata.local_address, b"1\n")
            )
            executor.with_event_handler({EventType.READ: lambda e: executor.drain(5)})
            executor.execute_request()
            assert read_to_end(peers[0]) == b"1\n"
        assert service.listening.names()[-2:] == END


def test_stop_ends_a_drain(executor: RequestExecutor) -> None:
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                executor.drain(600)
                executor.call_soon_threadsafe(executor.stop_request)

        service = Service(
            executor, started=lambda e: peers.stream(e.metadata.local_address), handler=handler, clients=9
        )
        executor.execute_request()
    assert service.talking.names() == ["INITIALIZE", "CONNECTED", *END]


def test_from_a_signal_at_any_moment(executor: RequestExecutor) -> None:
    """Between two turns of execute_request(), too, it only starts the drain."""
    turn = executor._take_turn
    reports = []

    def turn_then_signal(timeout: float | None) -> bool:
        more = turn(timeout)
        if more and not reports:
            signal.raise_signal(signal.SIGUSR1)
        return more

    executor._take_turn = turn_then_signal  # type: ignore[method-assign]
    before = signal.signal(signal.SIGUSR1, lambda number, frame: reports.append(executor.drain(5)))
    try:
        with Peers() as peers:
            service = Service(executor, started=lambda e: peers.stream(e.metadata.local_address), clients=9)
            executor.execute_request()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert service.listening.names()[-2:] == END
    assert len(reports) == 1


def test_idle_reading_is_work(executor: RequestExecutor) -> None:
    """A pending read is a current operation: it may end until the deadline, then it is aborted."""
    reports = []
    with Peers() as peers:
        executor.with_event_handler({EventType.CONNECTED: lambda e: reports.append(executor.drain(0.05))
                                     if e.socket.is_client else None})  # fmt: skip
        service = Service(
            executor, started=lambda e: peers.stream(e.metadata.local_address), first=ReadOperation, clients=9
        )
        executor.execute_request()
        assert read_to_end(peers[0]) == b""
    assert [socket for socket, _ in reports[0].aborted] == [service.accepted[0].client_socket]
