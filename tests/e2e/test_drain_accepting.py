"""drain() and who stands between the kernel's queue and INITIALIZE when it comes."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Any

import pytest

from evsockets import (
    AcceptError,
    ClientSocket,
    ConstantLimitationSolver,
    DelayedOperation,
    DrainReport,
    FixedLengthFramePicker,
    LimitationDecision,
    LimitationSolver,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from evsockets.transports.listener import Listener
from support.life import END, USUAL
from support.queued import DATAGRAMS, PLACES, STREAMS, Queue, Queued, begin_drain
from support.service import Serve, Service, echo
from support.wire import Log, add

#: A deadline that no test waits for.
LONG = 600.0


class Draining:
    """A service for peers in its listener's queue, and the drain of its executor."""

    def __init__(self, executor: RequestExecutor, server: Serve, queue: Queue) -> None:
        self.executor = executor
        self._server = server
        self._queue = queue
        self.reports: list[DrainReport] = []
        self.queued: Queued
        self.service: Service

    def serve(self, kind: str = "tcp", *, adopted: bool = False, come: int = 0, **more: Any) -> Service:
        """`come` peers are in the queue as soon as it listens."""
        self.queued = self._queue(kind)
        then = more.pop("started", None)

        def started(event: Any) -> None:
            if come:
                self.come(come)
            if then is not None:
                then(event)

        if adopted:
            more["server"] = ServerSocket.from_socket(self.queued.listener())
        address = None if adopted and kind != "tls" else self.queued.address
        settings = {"clients": 999, **self.queued.metadata, **more}
        self.service = self._server(address, started=started, **settings)
        return self.service

    def come(self, count: int = 1) -> None:
        self.queued.come(self.service.local, count)

    def drain(self, place: str = "handler", timeout: float = LONG) -> None:
        self.reports.append(begin_drain(self.executor, place, timeout))

    def once(self, place: str = "handler", timeout: float = LONG) -> None:
        if not self.reports:
            self.drain(place, timeout)

    def soon(self, act: Any) -> None:
        self.executor.call_soon_threadsafe(self.executor.call_soon_threadsafe, act)

    def are_answered(self, finished: int, most: int | None = None) -> None:
        """Every peer (the first `most`) has its answer, and so many sockets finished by themselves."""
        assert self.queued.answers(most) == self.queued.lines()[:most]
        assert self.reports == [DrainReport(finished=finished)]


@pytest.fixture
def draining(executor: RequestExecutor, server: Serve, queue: Queue) -> Draining:
    return Draining(executor, server, queue)


class Doorkeeper(LimitationSolver):
    """Refuses the sockets that `refuses` says, with `decision`."""

    def __init__(self, refuses: Any, decision: LimitationDecision = LimitationDecision.SKIP_CURRENT) -> None:
        self.refuses = refuses
        self.decision = decision

    def decide(self, executor: Any, socket: Any, context: Any, total: int) -> LimitationDecision:
        return self.decision if self.refuses(socket) else LimitationDecision.OK


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", [*STREAMS, *DATAGRAMS])
def test_a_listener_of_its_own_empties_its_queue(draining: Draining, kind: str, place: str) -> None:
    """More of them than are accepted in one turn."""
    count = 70 if kind != "udg" else 8  # whose queue holds ten
    service = draining.serve(kind, come=count, started=lambda event: draining.drain(place)).execute()
    draining.are_answered(count)
    assert service.listening.names == [*USUAL, *["ACCEPT"] * count, *END]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", [*STREAMS, *DATAGRAMS])
def test_an_adopted_queue_is_left_to_the_successor(
    draining: Draining, engine: str, kind: str, place: str
) -> None:
    def later() -> None:
        draining.come(5)
        draining.drain(place)

    started = {"started": lambda event: draining.executor.call_soon_threadsafe(later)}
    service = draining.serve(kind, adopted=True, **started).execute()
    assert draining.reports == [DrainReport()] and service.listening.names == [*USUAL, *END]
    address = draining.queued.address if kind == "tls" else None
    with draining.queued.kept as kept, RequestExecutor(engine) as executor:
        server = ServerSocket.from_socket(kept)
        Service(executor, address, server=server, clients=5, **draining.queued.metadata).execute()
    assert draining.queued.answers() == draining.queued.lines()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("adopted", [False, True])
@pytest.mark.parametrize("kind", [*STREAMS, *DATAGRAMS])
def test_who_is_accepted_in_the_same_turn_is_served(
    draining: Draining, kind: str, adopted: bool, place: str
) -> None:
    """The drain is asked for while the first of them is accepted, and begins when all of them are."""
    handler = {"ACCEPT": lambda event: draining.once(place)}
    service = draining.serve(kind, adopted=adopted, come=6, server_handler=handler).execute()
    draining.are_answered(6)
    assert len(service.accepted) == 6


@pytest.mark.parametrize("decision", [LimitationDecision.SKIP_CURRENT, LimitationDecision.PROCESS_SCHEDULED])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["tcp", "unix", "udp"])
def test_who_is_refused_until_the_deadline_is_aborted(
    draining: Draining, kind: str, place: str, decision: LimitationDecision
) -> None:
    """Accepted before the drain or by it: never started, so without events, and told to the caller."""
    draining.executor.with_limitation_solver(Doorkeeper(lambda socket: True, decision))

    def accepted(event: Any) -> None:
        if not draining.reports:
            draining.come(2)
            draining.drain(place, 0.15)

    service = draining.serve(kind, come=3, server_handler={"ACCEPT": accepted}).execute()
    (report,) = draining.reports
    assert (report.finished, report.closed_idle) == (0, 0)
    assert [socket for socket, _ in report.aborted] == [event.client_socket for event in service.accepted]
    assert len(report.aborted) == 5 and all("waiting" in why for _, why in report.aborted)
    assert service.talking.names == [] and len(draining.executor.socket_bag) == 1  # the server
    if draining.queued.is_stream:
        assert not set(draining.queued.answers()) & set(draining.queued.lines())


@pytest.mark.parametrize("place", PLACES)
def test_who_waits_for_a_place_gets_it(draining: Draining, place: str) -> None:
    draining.executor.with_limitation_solver(ConstantLimitationSolver(1))
    draining.serve(come=9, started=lambda event: draining.drain(place)).execute()
    draining.are_answered(9)


def test_a_listener_that_pauses_for_one_who_waits_empties_its_queue(draining: Draining) -> None:
    """Pausing, it has not accepted for a while; now it does."""
    solver = Doorkeeper(lambda socket: True)
    draining.executor.with_limitation_solver(solver)

    def later() -> None:
        draining.come(4)
        draining.drain()
        draining.executor.call_soon_threadsafe(setattr, solver, "refuses", lambda socket: False)

    def accepted(event: Any) -> None:
        if len(draining.service.accepted) == 1:
            draining.soon(later)

    draining.serve(come=1, server_handler={"ACCEPT": accepted}).execute()
    draining.are_answered(5)


@pytest.mark.parametrize("kind", ["tcp", "unix", "udp"])
def test_a_queue_that_fills_up_for_ever_is_left_at_the_backlog(draining: Draining, kind: str) -> None:
    files = []

    def later() -> None:
        draining.come()
        draining.drain()

    def accepted(event: Any) -> None:
        files.append(os.path.exists(draining.queued.address.partition("://")[2]))
        if kind != "unix":  # whose file is gone
            draining.come()

    draining.serve(
        kind, stream_context={"backlog": 7}, server_handler={"ACCEPT": accepted},
        started=lambda event: draining.executor.call_soon_threadsafe(later),
    ).execute()  # fmt: skip
    served = 1 if kind == "unix" else 7
    draining.are_answered(served, served)
    assert files == [False] * served


@pytest.mark.parametrize("adopted", [False, True])
@pytest.mark.parametrize("kind", DATAGRAMS)
def test_a_datagram_that_waits_for_its_answer_gets_it(draining: Draining, kind: str, adopted: bool) -> None:
    """The server's socket is its way back. What comes meanwhile is answered, too, but for an adopted one's,
    which the successor has."""
    held = [True]

    def late() -> None:
        if len(draining.queued.lines()) == 2 and (kind == "udp" or adopted):
            draining.come()
        held[0] = False

    def accepted(event: Any) -> None:
        if len(draining.service.accepted) == 2 and not draining.reports:
            draining.drain()
            draining.soon(late)

    service = draining.serve(
        kind, adopted=adopted, come=2, server_handler={"ACCEPT": accepted},
        first=lambda: DelayedOperation(ReadOperation(), lambda *_: held[0]),
    ).execute()  # fmt: skip
    served = 3 if kind == "udp" and not adopted else 2
    assert service.listening.names == [*USUAL, *["ACCEPT"] * served, *END]
    if adopted:
        assert draining.queued.kept.recv(100) == draining.queued.lines()[2]
    draining.are_answered(served, served)


def test_out_of_descriptors_the_queue_waits(draining: Draining, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last accepting pauses as any other, and goes on."""
    accept, failures = Listener.accept, [2]

    def failing(self: Listener) -> Any:
        if draining.reports and failures[0]:
            failures[0] -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accept(self)

    monkeypatch.setattr(Listener, "accept", failing)
    service = draining.serve(come=3, started=lambda event: draining.drain()).execute()
    draining.are_answered(3)
    error = service.listening.error
    assert isinstance(error, AcceptError) and error.errno == errno.EMFILE


@pytest.mark.parametrize("adopted", [False, True])
def test_a_listener_that_a_handler_ends_meanwhile(draining: Draining, adopted: bool) -> None:
    def started(event: Any) -> None:
        draining.drain()
        event.cancel_operation()

    service = draining.serve(adopted=adopted, come=3, started=started).execute()
    assert service.listening.names == [*USUAL, *END] and draining.reports == [DrainReport()]


def test_a_client_in_its_handshake_is_aborted_at_the_deadline(draining: Draining) -> None:
    """It started and got no further."""
    later = {"started": lambda event: draining.soon(lambda: draining.drain(timeout=0.05))}
    service = draining.serve("tls", says=[b""], **later).execute()
    ((socket, why),) = draining.reports[0].aborted
    assert socket is service.accepted[0].client_socket and "handshaking" in why
    assert service.talking.names == ["INITIALIZE", "FINALIZE"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
def test_kept_alive_clients_that_have_asked_are_not_idle(draining: Draining, kind: str, place: str) -> None:
    """Their requests lie in the kernel, in their sockets or in the queue; after the answer they are closed
    as idle ones are, long before the deadline."""

    def connected(event: Any) -> None:
        if not draining.reports:
            draining.come(3)
            draining.drain(place)

    handler = {"DATA_ALERT": lambda event: event.next_is_read(), "READ": echo, "CONNECTED": connected}
    kept = {"keep_alive": True}
    draining.serve(kind, come=3, first=NullOperation, handler=handler, client_metadata=kept).execute()
    (report,) = draining.reports
    if kind != "tls":  # whose requests come after the handshake: idle is then what has not sent it yet
        assert draining.queued.answers() == draining.queued.lines()
    assert report.aborted == [] and report.finished + report.closed_idle == 6


@pytest.mark.parametrize("place", PLACES)
def test_what_the_served_ones_have_added_starts(draining: Draining, place: str) -> None:
    """A proxy's client is no better off than the connection that its answer comes by."""
    asking: list[Log] = []

    def read(event: Any) -> None:
        answer = WriteOperation(event.frame.data)
        event.next_is(DelayedOperation(answer, lambda *_: asking[0].names[-1:] != END[-1:]))
        asking.append(add(draining.executor, address, WriteOperation(b"?")))
        draining.drain(place)

    service = draining.serve(come=1, handler={"READ": read})
    behind, address = service.peers.datagram_server()
    service.execute()
    assert behind.recv(10) == b"?"
    draining.are_answered(2)


def test_others_that_the_solver_refuses_and_new_servers_wait_for_the_next_run(draining: Draining) -> None:
    """Refused when the drain begins, they do not take the places that become free."""
    executor, logs = draining.executor, []
    solver = Doorkeeper(lambda socket: isinstance(socket, ClientSocket))
    executor.with_limitation_solver(solver)

    def accepted(event: Any) -> None:
        logs.append(add(executor, address, WriteOperation(b"x")))
        draining.drain()

    def read(event: Any) -> None:
        solver.refuses = lambda socket: False
        on = {"CONNECTED": lambda event: event.cancel_operation()}
        logs.append(add(executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), on=on))
        echo(event)

    service = draining.serve(come=1, handler={"READ": read}, server_handler={"ACCEPT": accepted})
    _, address = service.peers.datagram_server()
    service.execute()
    draining.are_answered(1)
    assert [log.names for log in logs] == [[], []]
    service.server.close()
    executor.socket_bag.remove_socket(service.server)
    executor.execute_request()
    assert [log.names for log in logs] == [[*USUAL, "WRITE", *END], [*USUAL, *END]]


@pytest.mark.parametrize("posted", [False, True])
def test_what_is_added_at_the_deadline_waits_for_the_next_run(draining: Draining, posted: bool) -> None:
    """Or a drain would have no end where somebody always tries again."""
    executor, lives = draining.executor, []

    def again(*_: Any) -> None:
        on = {"CONNECTED": lambda event: draining.once(timeout=0.05), "FINALIZE": ended}
        lives.append(add(executor, "udp://127.0.0.1:9", ReadOperation(), on=on))

    def ended(event: Any) -> None:
        if len(lives) < 5:
            executor.call_soon_threadsafe(again) if posted else again()

    again()
    executor.execute_request()
    assert len(draining.reports[0].aborted) == 1 and draining.reports[0].finished == 0
    assert [life.names for life in lives] == [[*USUAL, *END], []]
    assert len(executor.socket_bag) == 2


@pytest.mark.parametrize("how", ["stop", "exception"])
@pytest.mark.parametrize("begun", [False, True])
def test_a_drain_that_is_cut_short_counts_everybody(draining: Draining, how: str, begun: bool) -> None:
    """Those running and those accepted and waiting are aborted, and the reason is told."""
    executor = draining.executor
    refuses = lambda socket: socket is not draining.service.accepted[0].client_socket  # noqa: E731
    executor.with_limitation_solver(Doorkeeper(refuses))

    def cut() -> None:
        if how == "exception":
            raise ZeroDivisionError
        executor.stop_request()

    def connected(event: Any) -> None:
        draining.drain()
        executor.call_soon_threadsafe(cut) if begun else cut()

    picker = FixedLengthFramePicker(99)
    service = draining.serve(come=3, handler={"CONNECTED": connected}, first=lambda: ReadOperation(picker))
    with pytest.raises(ZeroDivisionError) if how == "exception" else contextlib.nullcontext():
        service.execute()
    (report,) = draining.reports
    assert [socket for socket, _ in report.aborted] == [event.client_socket for event in service.accepted]
    assert (report.finished, report.closed_idle, len(report.aborted)) == (0, 0, 3)
    word = "stopped" if how == "stop" else "ZeroDivisionError"
    assert all(word in why for _, why in report.aborted)
    executor.close()


def test_a_kept_alive_client_that_says_nothing_holds_nothing_up(draining: Draining) -> None:
    """Accepted by the drain, it idles from the beginning."""

    def later() -> None:
        draining.service.come()
        draining.drain()

    kept = {"first": NullOperation, "client_metadata": {"keep_alive": True}}
    started = {"started": lambda event: draining.executor.call_soon_threadsafe(later)}
    assert draining.serve(**kept, **started).execute().answers() == [b""]
    (report,) = draining.reports
    assert report.finished + report.closed_idle == 1 and report.aborted == []
