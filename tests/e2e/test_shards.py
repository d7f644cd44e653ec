"""A shard of targets, talked to: bytes in, bytes out, and one outcome for each target, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    AddressError,
    ConnectionFailedError,
    ConversationEndedError,
    Outcome,
    SocketTimeoutError,
    Target,
)
from evsockets.targets.plans import plan
from evsockets.targets.shards import job_of, run_shard, unpacked
from evsockets.targets.sharing import HostedShared
from support.errands import LocalError, Sturdy, bug, fails, lingers, local_bug, locals_of
from support.greeter import Greeter, ask, hello, wait


def talked(
    function: Any, targets: Sequence[Any], **settings: Any
) -> tuple[list[Outcome[Any]], BaseException | None]:
    """The outcomes in the order of the targets, and what ended it all."""
    given = list(targets)
    outcomes, failure = unpacked(run_shard(job_of(plan(function, **settings)), pickle.dumps(given)), given)
    order = {id(target): number for number, target in enumerate(given)}
    return sorted(outcomes, key=lambda outcome: order.get(id(outcome.target), -1)), failure


def one(function: Any, *targets: Any, **settings: Any) -> Outcome[Any]:
    (outcome,), failure = talked(function, targets, **settings)
    assert failure is None
    return outcome


def test_each_target_has_one_outcome(engine: str, greets: Greeter, unused_port: int) -> None:
    """Equal ones, the same one twice, and what is no address."""
    target = Target(greets.url, (b"mine\n",), "my own")
    given = [target, greets.url, target, greets.url, Target(greets.url), "nonsense", 42]
    given.append(f"tcp://127.0.0.1:{unused_port}")
    outcomes, failure = talked(ask, given, args=(b"all\n",), limit=3, engine=engine)
    assert failure is None
    results = sorted(outcome.result or b"" for outcome in outcomes)
    assert results == [b""] * 3 + [b"ALL\n"] * 3 + [b"MINE\n"] * 2
    assert [outcome.result for outcome in outcomes if outcome.target is target] == [b"MINE\n"] * 2
    errors = {outcome.address: outcome.error for outcome in outcomes if not outcome.ok}
    refused = errors[given[-1]]
    assert isinstance(errors["nonsense"], AddressError) and isinstance(errors[42], TypeError)  # type: ignore[index]
    assert isinstance(refused, ConnectionFailedError)
    assert (refused.socket, refused.address, len(refused.attempts)) == (None, given[-1], 1)
    assert refused.errno == refused.__cause__.errno is not None  # type: ignore[union-attr]
    good = next(outcome for outcome in outcomes if outcome.target is target)
    assert (good.attempts, good.remote_address, good.bytes_sent) == (1, ("127.0.0.1", greets.port), 5)
    assert good.times.talking > 0


def test_a_time_out_keeps_its_stage(engine: str, greets: Greeter) -> None:
    error = one(wait, greets.url, io_timeout=0.05, engine=engine).error
    assert isinstance(error, SocketTimeoutError)
    assert (error.when.value, error.phase, error.socket) == ("io", "reading", None)  # type: ignore[union-attr]


def test_a_bug_comes_as_it_is(engine: str, greets: Greeter) -> None:
    """With its cause, and where it was raised as a note."""
    error = one(fails, greets.url, args=("bug",), engine=engine).error
    assert type(error) is Sturdy and error.args == ("broken",)
    assert repr(error.__cause__) == "ZeroDivisionError('why')"
    assert "errands.py" in error.__notes__[0]
    error = one(fails, greets.url, args=("opaque cause",), engine=engine).error
    assert type(error) is Sturdy
    assert type(error.__cause__) is RuntimeError and "Sturdy" in str(error.__cause__)


def test_an_exit_is_a_bug(engine: str, greets: Greeter) -> None:
    error = one(fails, greets.url, args=("exit",), engine=engine).error
    assert type(error) is RuntimeError and "SystemExit(3)" in str(error)
    assert type(error.__cause__) is SystemExit


def test_what_cannot_be_sent_back_spoils_its_own_outcome(engine: str, greets: Greeter) -> None:
    given = [Target(greets.url, (how,)) for how in ("fine", "opaque", "fragile", "good")]
    outcomes, failure = talked(fails, given, engine=engine)
    assert failure is None
    assert [outcome.result for outcome in outcomes] == ["fine", None, None, "good"]
    for outcome, name in zip(outcomes[1:3], ("Opaque", "Fragile"), strict=True):
        assert type(outcome.error) is TypeError and f"support.errands.{name}" in str(outcome.error)
        assert (outcome.attempts, outcome.remote_address) == (1, ("127.0.0.1", greets.port))


def test_what_cannot_be_loaded_here_spoils_its_own_outcome(
    engine: str, greets: Greeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It loads in the worker, whose environment stands for all that a process may have of its own."""
    monkeypatch.setenv("EVSOCKETS_TEST_HOME", "here")
    given = [Target(greets.url, (how, "EVSOCKETS_TEST_HOME")) for how in ("fine", "result", "error", "good")]
    data = run_shard(job_of(plan(locals_of, limit=1, engine=engine)), pickle.dumps(given))
    outcomes, failure = unpacked(data, given)
    assert failure is None and [type(outcome.error).__name__ for outcome in outcomes[:3:2]] == [
        "NoneType",
        "LocalError",
    ]
    monkeypatch.delenv("EVSOCKETS_TEST_HOME")
    outcomes, failure = unpacked(data, given)
    assert failure is None
    assert [outcome.target for outcome in outcomes] == given
    assert [outcome.result for outcome in outcomes] == ["fine", None, None, "good"]
    for outcome in outcomes[1:3]:
        assert type(outcome.error) is TypeError and "cannot be loaded in this process" in str(outcome.error)
        assert "not at home in EVSOCKETS_TEST_HOME" in str(outcome.error)
        assert type(outcome.error.__cause__) is LookupError
        assert (outcome.attempts, outcome.remote_address) == (1, ("127.0.0.1", greets.port))


def test_an_end_that_cannot_be_loaded_here_is_told(
    engine: str, greets: Greeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVSOCKETS_TEST_HOME", "here")
    given = [Target(greets.url, ("error", "EVSOCKETS_TEST_HOME"))]
    data = run_shard(job_of(plan(locals_of, on_exception=local_bug, engine=engine)), pickle.dumps(given))
    outcomes, failure = unpacked(data, given)
    assert outcomes == [] and type(failure) is LocalError
    monkeypatch.delenv("EVSOCKETS_TEST_HOME")
    outcomes, failure = unpacked(data, given)
    assert outcomes == [] and type(failure) is RuntimeError
    assert "cannot be loaded in this process" in str(failure)


def test_what_ends_everything_is_told(engine: str, greets: Greeter) -> None:
    """After the outcomes of those that ended before."""
    given = [Target(greets.url, ("fine",)), Target(greets.url, ("interrupt",))]
    outcomes, failure = talked(fails, given, limit=1, engine=engine)
    assert [outcome.result for outcome in outcomes] == ["fine"] and type(failure) is KeyboardInterrupt
    outcomes, failure = talked(ask, [greets.url], on_read=bug, engine=engine)
    assert outcomes == [] and type(failure) is ZeroDivisionError


def test_a_stop_is_an_outcome_of_each(engine: str, greets: Greeter) -> None:
    given = [Target(greets.url, (how,)) for how in ("stop", "late")]
    outcomes, failure = talked(fails, given, limit=1, engine=engine)
    assert failure is None
    assert [type(outcome.error) for outcome in outcomes] == [type(None), ConversationEndedError]


def test_it_heeds_a_stop(engine: str, greets: Greeter, tmp_path: Path) -> None:
    """What runs is ended in order; nothing keeps it waiting."""
    job = job_of(plan(lingers, args=(str(tmp_path),), engine=engine))
    told = threading.Event()
    shard = pickle.dumps([greets.url] * 3)
    thread = threading.Thread(target=run_shard, args=(job, shard, told.is_set))
    thread.start()
    while len(list(tmp_path.glob("begun-*"))) < 3:
        assert thread.is_alive()
        time.sleep(0.01)
    told.set()
    thread.join(20)
    assert not thread.is_alive()
    assert len(list(tmp_path.glob("ended-*"))) == 3


def test_a_stop_before_the_beginning(engine: str, greets: Greeter) -> None:
    data = run_shard(job_of(plan(ask, engine=engine)), pickle.dumps([greets.url]), lambda: True)
    (outcome,), failure = unpacked(data, [greets.url])
    assert type(outcome.error) is ConversationEndedError and failure is None


class TwoAtOnce:
    """A pool whose two shards are back at the same moment."""

    where = "two at once"
    shard = at_once = 1
    dumps = staticmethod(pickle.dumps)

    def __init__(self) -> None:
        self.out: list[tuple[bytes, Future[bytes]]] = []

    def begin(self) -> list[Future[Any]]:
        return []

    def capacity(self) -> int:
        return 2

    def submit(self, shard: bytes) -> Future[bytes]:
        self.out.append((shard, Future()))
        if len(self.out) == 2:
            asyncio.get_running_loop().call_soon(self.come_back)
        return self.out[-1][1]

    def come_back(self) -> None:
        for shard, future in self.out:
            future.set_result(run_shard(job_of(plan(hello)), shard))

    def stop(self) -> None:
        """Nothing runs."""

    join = stop


def test_shards_that_come_back_at_once(greets: Greeter) -> None:
    """Each is taken, though asyncio hears of one change only."""

    async def main() -> list[Outcome[Any]]:
        shards: HostedShared[Any] = HostedShared(TwoAtOnce(), iter([Target(greets.url), Target(greets.url)]))
        found = []
        with contextlib.suppress(StopAsyncIteration):
            while True:
                found.append(await asyncio.wait_for(shards.next(), 20))
        return found

    assert [outcome.error for outcome in asyncio.run(main())] == [None, None]
