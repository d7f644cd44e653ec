"""Happy Eyeballs as the core plays it: every interleaving of starts, successes and failures, one winner."""

from __future__ import annotations

import _socket
import errno
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from evsockets import WRITE, ConnectionFailedError, RequestExecutor, WriteOperation
from evsockets.opening import connect
from evsockets.testing.scripted import ScriptedEngine
from support.wire import Log, add

#: As they are tried: the resolver's own order is the first and the third, then the second.
ADDRESSES = [("::1", 80, 0, 0), ("127.0.0.1", 80), ("::2", 80, 0, 0)]
#: What connect() says to an attempt when it begins, and when its descriptor was reported.
SAYS = {"done": 0, "refused": errno.ECONNREFUSED, "later": errno.EINPROGRESS}
DEPTH = 4

Report = tuple[int, str]
Step = tuple[Report, ...]
"""What the engine reports in one poll, in this order; nothing: it waits for as long as it was asked to."""


class Puppet(_socket.socket):
    """A connected socket whose connect() says what the script wants."""

    says = "later"

    def connect_ex(self, address: Any, /) -> int:
        return SAYS[self.says]


class Model:
    """What must be: which attempts are on their way, which failed in what order, and which one has won."""

    def __init__(self, begins: tuple[str, ...]) -> None:
        self.begins = begins
        self.started = 0
        self.pending: list[int] = []
        self.failed: list[int] = []
        self.winner: int | None = None
        self.start()

    @property
    def decided(self) -> bool:
        return self.winner is not None or len(self.failed) == len(self.begins)

    def start(self) -> None:
        """The next attempt begins; where it fails at once, so does the one after it."""
        while self.started < len(self.begins) and self.winner is None:
            number, self.started = self.started, self.started + 1
            if self.begins[number] == "refused":
                self.failed.append(number)
                continue
            if self.begins[number] == "done":
                self.winner = number
            else:
                self.pending.append(number)
            return

    def play(self, step: Step) -> None:
        for number, says in step:
            if self.decided:
                return
            if says == "done":
                self.winner = number
            elif says == "refused":
                self.pending.remove(number)
                self.failed.append(number)
                self.start()
        if not step:
            self.start()

    def steps(self) -> Iterator[Step]:
        """Everything that can come next."""
        if self.started < len(self.begins):
            yield ()
        for number in self.pending:
            for says in SAYS:
                yield ((number, says),)
                for other in self.pending:
                    if other != number:
                        yield from (((number, says), (other, said)) for said in SAYS)


def scripts(begins: tuple[str, ...], *played: Step) -> Iterator[tuple[Step, ...]]:
    """Every script there is, up to DEPTH steps."""
    model = Model(begins)
    for step in played:
        model.play(step)
    if model.decided or len(played) == DEPTH:
        yield played
        return
    steps = list(model.steps())
    if not steps:
        yield played
    for step in steps:
        yield from scripts(begins, *played, step)


class Race:
    """A life whose name has the ADDRESSES, played by a script and compared with the model."""

    def __init__(self, begins: tuple[str, ...]) -> None:
        self.model = Model(begins)
        self.puppets: list[Puppet] = []
        self.numbers: list[int] = []
        self.peers: list[socket.socket] = []
        self.engine = ScriptedEngine()
        self.engine.run_blocking = lambda function, done: done(function())  # type: ignore[attr-defined]
        self.executor = RequestExecutor(self.engine, resolver=self._resolve)
        self.log: Log = add(self.executor, "tcp://name.test:80", WriteOperation(b"hello"))

    def _resolve(self, *_: Any) -> list[tuple[Any, ...]]:
        count = len(self.model.begins)
        where = sorted(ADDRESSES[:count], key=len, reverse=True)
        families = {2: socket.AF_INET, 4: socket.AF_INET6}
        return [(families[len(one)], socket.SOCK_STREAM, 6, "", one) for one in where]

    def new_socket(self, family: int, kind: int, context: Any) -> Puppet:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        puppet = Puppet(ours.family, ours.type, ours.proto, fileno=ours.detach())
        puppet.setblocking(False)
        puppet.says = self.model.begins[len(self.puppets)]
        self.puppets.append(puppet)
        self.numbers.append(puppet.fileno())
        self.peers.append(theirs)
        return puppet

    def play(self, script: tuple[Step, ...]) -> None:
        executor = self.executor
        executor.start_request()
        executor.turn(0)
        for step in script:
            self.check_under_way()
            for number, says in step:
                self.puppets[number].says = says
            if step:
                self.engine.play(*((self.numbers[number], WRITE) for number, _ in step))
            executor.turn(0 if step else None)
            self.model.play(step)
        while not self.model.decided and self.model.started < len(self.model.begins):
            self.check_under_way()
            executor.turn(None)
            self.model.play(())
        for _ in range(10):
            if not executor.is_executing:
                return
            executor.turn(None)
        raise AssertionError("it does not end")

    def check_under_way(self) -> None:
        model = self.model
        assert len(self.puppets) == model.started
        for number, puppet in enumerate(self.puppets):
            assert (puppet.fileno() >= 0) == (number in model.pending), "open is what is under way"
            if number in model.pending:
                assert self.engine.watched[self.numbers[number]][0] == WRITE

    def check_end(self) -> None:
        model, log = self.model, self.log
        assert len(self.puppets) == model.started
        assert not any(puppet.fileno() >= 0 for puppet in self.puppets)
        assert not set(self.numbers) & set(self.engine.watched)
        for number, theirs in enumerate(self.peers):
            assert theirs.recv(100) == (b"hello" if number == model.winner else b"")
        if model.winner is not None:
            assert log.names == ["INITIALIZE", "CONNECTED", "WRITE", "DISCONNECTED", "FINALIZE"]
            assert log.metadata.remote_address == ADDRESSES[model.winner]
        elif model.decided:
            assert log.names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]
            assert isinstance(log.error, ConnectionFailedError)
            assert [where for where, _ in log.error.attempts] == [ADDRESSES[one] for one in model.failed]
        else:
            assert log.names == ["INITIALIZE", "TIMEOUT", "FINALIZE"]
            assert log.timeouts == [("CONNECTION", "connecting")]

    def close(self) -> None:
        self.executor.close()
        for theirs in self.peers:
            theirs.close()


def beginnings(count: int) -> Iterator[tuple[str, ...]]:
    if count == 0:
        yield ()
        return
    for rest in beginnings(count - 1):
        yield from ((says, *rest) for says in SAYS)


@pytest.mark.parametrize("count", [2, 3])
def test_every_interleaving(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One winner, whoever is reported with it; losers are closed and forgotten; every failure is kept."""
    played = 0
    for begins in beginnings(count):
        for script in scripts(begins):
            race = Race(begins)
            monkeypatch.setattr(connect, "open_client_socket", race.new_socket)
            try:
                race.play(script)
                race.check_end()
            except BaseException as error:
                error.add_note(f"begins: {begins}, script: {script}")
                raise
            finally:
                race.close()
            played += 1
    assert played > 500


def test_when_the_next_attempt_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a second after the one before it, or as soon as one has failed."""
    race = Race(("later", "later", "later"))
    monkeypatch.setattr(connect, "open_client_socket", race.new_socket)
    executor, engine = race.executor, race.engine

    def turn(timeout: float | None) -> tuple[int, float]:
        executor.turn(timeout)
        return len(race.puppets), engine.clock() - began

    began = engine.clock()
    try:
        executor.start_request()
        assert turn(0) == (1, 0.0)
        assert turn(0.125) == (1, 0.125)
        assert turn(None) == (2, 0.25)
        race.puppets[0].says = "refused"
        engine.play((race.numbers[0], WRITE), after=0.125)
        assert turn(None) == (3, 0.375)
        assert race.puppets[0].fileno() < 0 < race.puppets[1].fileno()
        executor.stop_request()
        executor.turn(0)
        assert not engine.watched.keys() & set(race.numbers)
    finally:
        race.close()


def test_one_answer_serves_several_look_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tries every address, though they were told the same."""
    race = Race(("refused", "refused", "refused"))
    waiting: list[Any] = []
    race.engine.run_blocking = lambda *pair: waiting.append(pair)  # type: ignore[attr-defined]
    race.close()
    race.executor = RequestExecutor(race.engine, resolver=race._resolve)
    logs = [add(race.executor, "tcp://name.test:80", WriteOperation(b"hello")) for _ in range(2)]
    monkeypatch.setattr(connect, "open_client_socket", lambda *_: _refused())
    race.executor.start_request()
    race.executor.turn(0)
    [(function, done)] = waiting
    done(function())
    while race.executor.is_executing:
        race.executor.turn(None)
    race.close()
    for log in logs:
        assert isinstance(log.error, ConnectionFailedError)
        assert [where for where, _ in log.error.attempts] == ADDRESSES


def _refused() -> Puppet:
    puppet = Puppet(_socket.AF_INET, _socket.SOCK_STREAM)
    puppet.says = "refused"
    return puppet
