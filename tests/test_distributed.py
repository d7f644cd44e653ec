"""`evsockets.distributed` on a real cluster of two worker processes. No engine is concerned."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    AddressError,
    Configuration,
    ConnectionFailedError,
    Frame,
    LineFramePicker,
    Outcome,
    SocketTimeoutError,
    StreamContext,
    Target,
    WorkerLostError,
)
from evsockets.distributed import check_versions, fan_out, fan_out_async
from evsockets.engines.stdlib import SelectorsEngine
from support.certificates import Authority
from support.errands import (
    Sturdy,
    bug,
    fails,
    handlers,
    how_often,
    lingers,
    makes_tls,
    pid,
    pid_or_death,
    signals,
    slowly,
    trusts,
)
from support.greeter import Greeter, greeter, hello, wait
from support.machine import comes_true, until
from support.optional import library

HANGS = 60
SELECTORS: Any = {"engine": "selectors"}
ONE: Any = {"engine": "selectors", "limit": 1, "shard": 10}
"""One at a time, ten in a shard: what is the least that gives no warning."""

# Dask's own, in its threads; ours are errors.
pytestmark = pytest.mark.filterwarnings("default", "error::UserWarning")


@pytest.fixture(autouse=True)
def no_descriptor_leak() -> None:
    """Not here: Dask opens and closes connections when it likes."""


@pytest.fixture(scope="module")
def server() -> Iterator[Greeter]:
    with greeter() as made:
        yield made


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = library("distributed")
    settings = {"distributed.worker.daemon": True, "distributed.admin.large-graph-warning-threshold": "100MB"}
    with (
        library("dask").config.set(settings),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0
        ) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def client(cluster: Any) -> Iterator[Any]:
    with library("distributed").Client(cluster) as made:
        yield made


@contextlib.contextmanager
def failures(cluster: Any, allowed: int) -> Iterator[None]:
    """So many workers may die of a task before Dask gives it up; then there are two again."""
    before = cluster.scheduler.allowed_failures
    cluster.scheduler.allowed_failures = allowed
    try:
        yield
    finally:
        cluster.scheduler.allowed_failures = before
        comes_true(lambda: len(cluster.scheduler.workers) >= 2, "the workers")


def test_each_target_has_one_outcome(client: Any, server: Greeter, unused_port: int) -> None:
    """Equal ones and the same one too; errors are as they are locally, and progress adds up."""
    same, told = Target(server.url, ("fine",), "mine"), []
    refused = f"tcp://127.0.0.1:{unused_port}"
    given = [same, server.url, "nonsense", same, server.url, Target(server.url, ("bug",)), refused] * 4
    settings: Any = {**ONE, "args": ("all",), "progress": lambda *numbers: told.append(numbers)}
    outcomes = list(fan_out(client, fails, given, **settings))
    assert Counter(outcome.address for outcome in outcomes) == Counter(
        getattr(target, "address", target) for target in given
    )
    assert sum(outcome.target is same for outcome in outcomes) == 8
    assert {outcome.value for outcome in outcomes if outcome.ok} == {"fine", "all"}
    errors = {type(outcome.error): outcome.error for outcome in outcomes if not outcome.ok}
    assert set(errors) == {AddressError, Sturdy, ConnectionFailedError}
    assert repr(errors[Sturdy].__cause__) == "ZeroDivisionError('why')"
    error: Any = errors[ConnectionFailedError]
    assert (error.socket, error.address, len(error.attempts)) == (None, refused, 1)
    assert error.errno == error.__cause__.errno is not None
    assert len(told) == 3
    assert told[-1] == (28, 12, 0, 0)


def test_both_workers_do_it_and_their_signals_stay(client: Any, server: Greeter) -> None:
    outcomes = list(fan_out(client, pid, [server.url] * 80, **ONE))
    assert {outcome.value for outcome in outcomes} == set(client.run(os.getpid).values())
    in_main_thread, found = next(fan_out(client, signals, [server.url], **SELECTORS)).value
    assert not in_main_thread and found in client.run(handlers).values()


def test_functions_and_results_travel_by_value(client: Any, server: Greeter) -> None:
    """What cloudpickle takes: classes and functions that nobody can import."""
    heard: list[str] = []

    class Found(Frame):
        text: bytes

    class Finder(LineFramePicker):
        __slots__ = ("before",)

    async def look(talk: Any, finder: Finder) -> Found:
        found = Found((await talk.read(finder)).data)
        found.text = finder.before + found.data
        return found

    finder = Finder()
    finder.before = b"they say "
    settings: Any = {"args": (finder,), "on_read": lambda event: heard.append(""), **SELECTORS}
    outcome = next(fan_out(client, look, [server.url], **settings))
    assert type(outcome.value) is Found
    assert (outcome.value.data, outcome.value.text) == (b"hello", b"they say hello")
    assert heard == []


@pytest.mark.parametrize("how", ["exit", "opaque"])
def test_what_spoils_its_own_outcome(client: Any, server: Greeter, how: str) -> None:
    given = [Target(server.url, (one,)) for one in ("fine", how, "good")]
    outcomes = list(fan_out(client, fails, given, **SELECTORS))
    results = {outcome.target.args: outcome.result for outcome in outcomes}  # type: ignore[attr-defined]
    assert results == {("fine",): "fine", (how,): None, ("good",): "good"}
    error = next(outcome.error for outcome in outcomes if outcome.error is not None)
    assert type(error) is (RuntimeError if how == "exit" else TypeError)


def test_time_outs_hold_in_each_shard(client: Any, server: Greeter) -> None:
    (outcome,) = fan_out(client, wait, [server.url], io_timeout=0.05, **SELECTORS)
    assert isinstance(outcome.error, SocketTimeoutError) and outcome.error.phase == "reading"


def test_what_ends_everything_is_raised(client: Any, server: Greeter) -> None:
    with pytest.raises(ZeroDivisionError, match="of a handler"):
        list(fan_out(client, hello, [server.url] * 50, on_read=bug, **ONE))
    with pytest.raises(KeyboardInterrupt):
        list(fan_out(client, fails, [server.url], args=("interrupt",), **SELECTORS))


def test_targets_are_pulled_when_they_are_sent(client: Any, server: Greeter) -> None:
    pulled: list[str] = []
    out: list[int] = []

    def targets() -> Iterator[str]:
        for _ in range(95):
            pulled.append(server.url)
            yield server.url
        raise LookupError("the end of the list")

    settings: Any = {**ONE, "in_flight": 3, "progress": lambda *numbers: out.append(numbers[3])}
    count = 0
    with fan_out(client, hello, targets(), **settings) as outcomes:
        assert (pulled, outcomes.running) == ([], 0)
        with pytest.raises(LookupError, match="end of the list"):
            for count, _ in enumerate(outcomes, 1):
                assert len(pulled) <= count + 40  # what is out, and what has come
    assert count == 95 and max(out) <= 3


def begun(folder: Path, what: str = "begun") -> int:
    return len(list(folder.glob(f"{what}-*")))


@pytest.mark.parametrize("way", ["break", "interrupt"])
def test_left_early_all_end(client: Any, server: Greeter, tmp_path: Path, way: str) -> None:
    """What runs ends, what waits never begins, and the scheduler has forgotten it all."""
    settings: Any = {**ONE, "args": (str(tmp_path),), "limit": 1}
    outcomes = fan_out(client, lingers, [server.url] * 100, **settings)
    if way == "break":
        comes_true(lambda: outcomes._source._awaited() and begun(tmp_path) == 2, "conversations")
        outcomes.close()
    else:

        def interrupt() -> None:
            comes_true(lambda: begun(tmp_path) == 2, "conversations")
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            next(outcomes)
        thread.join()
    comes_true(lambda: begun(tmp_path, "ended") == 2, "the end of what runs")
    comes_true(lambda: not client.cluster.scheduler.tasks, "tasks are left")
    assert begun(tmp_path) == 2
    assert list(outcomes) == []


def test_leaving_early_does_not_disturb_the_client(client: Any, server: Greeter) -> None:
    """One request of the client gathers the results of several tasks, also of those of others."""
    gather, asked, go_on = client._gather_remote, threading.Event(), threading.Event()

    async def held_up(*args: Any) -> Any:
        asked.set()
        while not go_on.is_set():
            await asyncio.sleep(0.001)
        return await gather(*args)

    client._gather_remote = held_up
    try:
        outcomes = fan_out(client, hello, [server.url], **SELECTORS)
        comes_true(lambda: outcomes._source._awaited() and asked.is_set(), "the request")
        another = client.submit(pow, 3, 2)
        value = asyncio.run_coroutine_threadsafe(another._result(), client.loop.asyncio_loop)
        outcomes.close()
    finally:
        go_on.set()
        del client._gather_remote
    assert value.result(HANGS) == client.submit(pow, 3, 2, pure=False).result(HANGS) == 9


def test_a_worker_that_is_killed_costs_nothing(cluster: Any, client: Any, server: Greeter) -> None:
    """Its tasks run again on the other."""
    processes = client.run(os.getpid)
    with failures(cluster, 3):
        outcomes = fan_out(client, slowly, [server.url] * 120, **ONE)
        found = [next(outcomes)]
        os.kill(next(iter(processes.values())), signal.SIGKILL)
        found += outcomes
    assert len(found) == 120 and all(outcome.ok for outcome in found)


def test_a_target_that_kills_workers_loses_its_shard(cluster: Any, client: Any, server: Greeter) -> None:
    given: list[Any] = [Target(server.url, (number == 12,)) for number in range(40)]
    told: list[Any] = []
    with failures(cluster, 0):
        settings: Any = {**ONE, "in_flight": 1, "progress": lambda *numbers: told.append(numbers)}
        outcomes = list(fan_out(client, pid_or_death, given, **settings))
    lost = [outcome for outcome in outcomes if isinstance(outcome.error, WorkerLostError)]
    assert {id(outcome.target) for outcome in lost} == set(map(id, given[10:20]))
    assert all(server.url in str(outcome.error) for outcome in lost)
    assert len(outcomes) == 40 and sum(outcome.ok for outcome in outcomes) == 30
    assert told[-1][:3] == (40, 10, 10)


def test_tls_by_a_function(client: Any, ca: Authority) -> None:
    client.run(trusts, str(ca.ca_file))
    with greeter("tls://127.0.0.1:0", stream_context=ca.server.settings) as secure:
        settings: Any = {**ONE, "stream_context": {"tls": makes_tls}}
        outcomes = list(fan_out(client, how_often, [secure.url] * 40, **settings))
        assert {outcome.value[1] for outcome in outcomes} == {1}
        trust = StreamContext(ca_data=Path(ca.ca_file).read_text())
        (outcome,) = fan_out(client, hello, [secure.url], stream_context=trust, **SELECTORS)
        assert outcome.tls is not None and outcome.tls.version == "TLSv1.3"


def test_an_asynchronous_client(cluster: Any, server: Greeter, tmp_path: Path) -> None:
    async def main() -> list[Outcome[int]]:
        async with library("distributed").Client(cluster.scheduler_address, asynchronous=True) as client:
            with pytest.raises(TypeError, match="fan_out_async"):
                fan_out(client, hello, [server.url])
            async with fan_out_async(client, pid, [server.url] * 30, **ONE) as outcomes:
                found = [outcome async for outcome in outcomes]
            left = fan_out_async(client, lingers, [server.url] * 30, args=(str(tmp_path),), **ONE)
            waiting = asyncio.ensure_future(anext(left))
            for _ in until(lambda: begun(tmp_path) >= 2):
                await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.wait([waiting])
            await left.aclose()
            for _ in until(lambda: begun(tmp_path, "ended") >= 2):
                await asyncio.sleep(0.01)
            return found

    found = asyncio.run(main())
    assert len(found) == 30 and len({outcome.value for outcome in found}) == 2


def test_a_lost_scheduler_is_an_error(tmp_path: Path, server: Greeter) -> None:
    distributed, file = library("distributed"), tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    command += ["--host", "127.0.0.1", "--scheduler-file", str(file)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as scheduler:
        try:
            comes_true(file.exists, "the scheduler")
            with distributed.Client(scheduler_file=str(file), timeout=HANGS) as client:
                client._timeout = 0.1  # of its attempts to find the scheduler again
                outcomes = fan_out(client, hello, [server.url], **SELECTORS)
                # There is no worker: the task waits for one.
                comes_true(lambda: outcomes._source._awaited() and outcomes.running, "the task")
                scheduler.kill()
                with pytest.raises(ConnectionError, match="scheduler"):
                    next(outcomes)
                comes_true(lambda: client.status == "closed", "the client's end")
                with pytest.raises(ConnectionError, match="closed"):
                    next(fan_out(client, hello, [server.url], **SELECTORS))
        finally:
            scheduler.kill()


def test_pythons_are_compared() -> None:
    workers = {"tcp://a:1": {"host": {"python": "3.13.1.final.0"}}}
    check_versions(workers, (3, 13))
    workers["tcp://b:1"] = {"host": {"python": "3.11.2.final.0"}}
    with pytest.raises(RuntimeError, match=r"tcp://b:1 has Python 3.11.2.*3.13"):
        check_versions(workers, (3, 13))


def test_what_it_cannot_be_called_with(client: Any, server: Greeter) -> None:
    context, engine = ssl.create_default_context(), SelectorsEngine()
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"stream_context": {"tls": context}}, TypeError, "ca_data=PEM.* tls= a function"),
        ({"configuration": Configuration(stream_context={"tls": context})}, TypeError, "ca_data=PEM"),
        ({"args": (context,)}, TypeError, "ca_data=PEM"),
        ({"engine": engine}, TypeError, "name it"),
        ({"processes": 2}, TypeError, "processes"),
        ({"shard": 0}, ValueError, "shard"),
        ({"in_flight": 0}, ValueError, "in_flight"),
        ({"progress": 3}, TypeError, "progress"),
        ({"io_timeuot": 3}, TypeError, "io_timeout"),
        ({"address": "tcp://a:1"}, TypeError, "address"),
        ({"limit": 0}, ValueError, "limit"),
    ]
    try:
        for settings, error, words in wrong:
            with pytest.raises(error, match=words):
                fan_out(client, hello, [], **settings)
    finally:
        engine.close()
    with pytest.raises(TypeError, match="client must be"):
        fan_out("tcp://127.0.0.1:8786", hello, [])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="targets"):
        fan_out(client, hello, server.url)
    with pytest.warns(UserWarning, match="slowest") as caught:
        fan_out(client, hello, [], shard=999)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fan_out(client, hello, [], shard=1000)


def test_a_cluster_that_changes(cluster: Any, client: Any, server: Greeter) -> None:
    """An adaptive one grows, and more tasks are out; then a worker is retired: no target is lost."""
    out: list[int] = []
    settings: Any = {**ONE, "progress": lambda *numbers: out.append(numbers[3])}
    adaptive = cluster.adapt(minimum=2, maximum=3, interval="50ms", target_duration="1ms", wait_count=10_000)
    with fan_out(client, slowly, iter([server.url] * 1_000_000), **settings) as outcomes:
        try:
            while max(out, default=0) < 6:
                assert next(outcomes).ok
        finally:
            adaptive.stop()
        client.retire_workers([next(iter(cluster.scheduler.workers))], close_workers=True)
        comes_true(lambda: next(outcomes).ok and len(cluster.scheduler.workers) == 2, "the end of one")
        for _ in range(100):
            assert next(outcomes).ok
