"""`fan_out` over processes of this host: deaths, the end, and what is sent. No engine is concerned."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import pytest

from evsockets import Target, WorkerLostError, fan_out, fan_out_async
from support.certificates import Authority
from support.errands import Tagged, Tagging, blocks, bug, how_often, lingers, makes_tls, pid_or_death, tagged
from support.greeter import Greeter, greeter, hello
from support.machine import comes_true, until

# Python's own, which lives as long as the process: no test has left it.
resource_tracker.ensure_running()

HANGS = 60


@pytest.fixture(scope="module")
def server() -> Iterator[Greeter]:
    with greeter() as made:
        yield made


def exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def begun(folder: Path) -> set[int]:
    """The processes in which a conversation has begun."""
    return {int(path.name.split("-")[1]) for path in folder.glob("begun-*")}


def test_a_death_costs_its_shard_only(server: Greeter) -> None:
    """And the next shard has another process."""
    given: list[Any] = [Target(server.url, (False,)) for _ in range(30)]
    given[12] = Target(server.url, (True,))
    processes, lost = set(), []
    for outcome in fan_out(pid_or_death, given, limit=1, processes=1, engine="selectors"):
        if outcome.ok:
            processes.add(outcome.value)
        else:
            assert type(outcome.error) is WorkerLostError and server.url in str(outcome.error)
            lost.append(outcome.target)
    assert [id(target) for target in lost] == [id(target) for target in given[10:20]]
    assert len(processes) == 2


def test_one_that_kills_each_process_loses_all(server: Greeter) -> None:
    given = [Target(server.url, (True,))] * 3
    outcomes = list(fan_out(pid_or_death, given, processes=2, engine="selectors"))
    assert [type(outcome.error) for outcome in outcomes] == [WorkerLostError] * 3


def test_pickers_and_frames_of_ones_own(server: Greeter) -> None:
    settings: Any = {"args": (Tagging("mine"),), "processes": 1, "engine": "selectors"}
    (frame,) = [outcome.value for outcome in fan_out(tagged, [server.url], **settings)]
    assert type(frame) is Tagged and (frame.data, frame.tag) == (b"hello", "mine")


def test_what_ends_everything_is_raised(server: Greeter) -> None:
    given = [server.url] * 40
    with pytest.raises(ZeroDivisionError, match="of a handler"):
        list(fan_out(hello, given, limit=2, processes=1, engine="selectors", on_read=bug))


def test_targets_are_pulled_a_shard_at_a_time(server: Greeter) -> None:
    pulled = []

    def targets() -> Iterator[str]:
        for _ in range(90):
            pulled.append(server.url)
            yield server.url
        raise LookupError("the end of the list")

    count = 0
    with pytest.raises(LookupError, match="end of the list"):
        for count, _ in enumerate(fan_out(hello, targets(), limit=2, processes=1, engine="selectors"), 1):
            assert len(pulled) <= count + 2 * 20
    assert count == 90


@pytest.mark.parametrize("function", [lingers, blocks])
def test_left_early_all_end_within_a_second(server: Greeter, tmp_path: Path, function: Any) -> None:
    """Conversations in order; a process that is held up is ended."""
    outcomes = fan_out(function, [server.url] * 4, args=(str(tmp_path),), processes=2, engine="selectors")
    with outcomes:
        futures = outcomes._source._awaited  # started without waiting for an outcome
        comes_true(lambda: len(futures()) == 2 and outcomes.running == 4, "the processes")
        processes = comes_true(lambda: len(found := begun(tmp_path)) == 2 and found, "conversations")
        left = time.monotonic()
    took = time.monotonic() - left
    assert not any(map(exists, processes))
    if function is lingers:
        assert len(list(tmp_path.glob("ended-*"))) == 4
    assert took < 10, "the bound is that of a busy machine"


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path}


SCRIPT = """
import os, sys
from evsockets import fan_out
from support.errands import lingers

if __name__ == "__main__":
    url, folder = sys.argv[1:]
    with fan_out(lingers, [url] * 4, args=(folder,), processes=2, engine="selectors") as outcomes:
        list(outcomes)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_its_parent(server: Greeter, tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), server.url, str(tmp_path)]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE) as parent:
        processes = comes_true(lambda: len(found := begun(tmp_path)) == 2 and found, "conversations")
        parent.send_signal(number)
        _, error = parent.communicate(timeout=HANGS)
    comes_true(lambda: not any(map(exists, processes)), "processes are left")
    assert len(list(tmp_path.glob("ended-*"))) == len(list(tmp_path.glob("begun-*")))
    if number == signal.SIGINT:
        assert error.rstrip().endswith(b"KeyboardInterrupt"), error


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace('if __name__ == "__main__":', "if True:"))
    command = [sys.executable, str(script), "tcp://127.0.0.1:1", str(tmp_path)]
    ran = subprocess.run(command, env=environment(), stderr=subprocess.PIPE, timeout=HANGS, check=False)
    assert ran.returncode == 1 and b"WorkerLostError" in ran.stderr and b"__main__" in ran.stderr


def test_tls_by_a_function_that_is_called_once_a_process(ca: Authority, monkeypatch: Any) -> None:
    monkeypatch.setenv("EVSOCKETS_TEST_CA", ca.ca_file)
    with greeter("tls://127.0.0.1:0", stream_context=ca.server.settings) as secure:
        settings: Any = {"stream_context": {"tls": makes_tls}, "limit": 1, "engine": "selectors"}
        outcomes = list(fan_out(how_often, [secure.url] * 24, processes=2, **settings))
    assert {outcome.value[1] for outcome in outcomes} == {1}
    assert len({outcome.value[0] for outcome in outcomes}) == 2
    assert outcomes[0].tls is not None and outcomes[0].tls.version == "TLSv1.3"


def test_inside_asyncio_it_is_left_early(server: Greeter, tmp_path: Path) -> None:
    """The loop is not held up by the end."""

    async def main() -> set[int]:
        settings: Any = {"args": (str(tmp_path),), "processes": 2, "engine": "selectors"}
        outcomes = fan_out_async(blocks, [server.url] * 4, **settings)
        waiting = asyncio.ensure_future(anext(outcomes))
        for _ in until(lambda: len(begun(tmp_path)) >= 2):
            await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
        outcomes.close()
        turns = 0
        closed = asyncio.ensure_future(outcomes.aclose())
        for _ in until(closed.done):
            turns += 1
            await asyncio.sleep(0.01)
        assert turns > 3
        return begun(tmp_path)

    processes = asyncio.run(main())
    assert not any(map(exists, processes))
