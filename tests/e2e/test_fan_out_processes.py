"""`fan_out` over processes of this host, on each engine; `tests/test_processes.py` has what concerns none."""

from __future__ import annotations

import asyncio
from multiprocessing import resource_tracker
from typing import Any

import pytest

from evsockets import AddressError, Outcome, Target, create_engine, fan_out, fan_out_async
from support.errands import Sturdy, fails, locals_of, pid
from support.greeter import greeter, hello

# Python's own, which lives as long as the process: no test has left it.
resource_tracker.ensure_running()


def test_targets_are_shared_out_evenly(engine: str) -> None:
    """Each has one outcome, and errors come as they are."""
    with greeter() as server:
        given: list[Any] = [Target(server.url, (how,)) for how in ("fine", "bug", "opaque")] * 2
        given += ["nonsense"]
        with fan_out(fails, given, args=("exit",), processes=2, engine=engine) as outcomes:
            assert outcomes.running == 0
            found = list(outcomes)
            with pytest.raises(RuntimeError, match="of its own"):
                outcomes.executor  # noqa: B018
    assert sorted(map(id, (outcome.target for outcome in found if outcome.address != "nonsense"))) == sorted(
        map(id, given[:-1])
    )
    kinds = sorted(type(outcome.error).__name__ for outcome in found)
    assert kinds == sorted(["NoneType", Sturdy.__name__, TypeError.__name__] * 2 + [AddressError.__name__])


def test_what_loads_in_its_own_process_only_is_one_failed_outcome(engine: str) -> None:
    """The other outcomes, of the same shard too, come as they are."""
    with greeter() as server:
        given = [Target(server.url, (how,)) for how in ("result", "fine", "error", "good")] * 2
        with fan_out(locals_of, given, processes=2, engine=engine) as outcomes:
            found = list(outcomes)
    by_target = {id(outcome.target): outcome for outcome in found}
    assert [by_target[id(target)].result for target in given] == [None, "fine", None, "good"] * 2
    for outcome in found:
        if not outcome.ok:
            assert type(outcome.error) is TypeError and "in this process: LookupError" in str(outcome.error)
            assert outcome.attempts == 1 and outcome.bytes_received > 0


def test_inside_asyncio(engine: str) -> None:
    """On any engine: its descriptor is not asked for."""

    async def main(url: str) -> list[Outcome[int]]:
        async with fan_out_async(pid, [url] * 6, processes=1, engine=engine) as outcomes:
            return [outcome async for outcome in outcomes]

    with greeter() as server:
        found = asyncio.run(main(server.url))
    assert len(found) == 6 and len({outcome.value for outcome in found}) == 1


def test_what_it_cannot_be_called_with(engine: str) -> None:
    made = create_engine(engine)
    try:
        with pytest.raises(TypeError, match="name it"):
            fan_out(hello, [], processes=2, engine=made)
    finally:
        made.close()
    for settings, error, words in (
        ({"processes": 1.5}, TypeError, "processes"),
        ({"processes": 2, "handler": lambda event: None}, TypeError, "importable"),
        ({"processes": 2, "io_timeuot": 1}, TypeError, "io_timeout"),
        ({"processes": 2, "retry_if": lambda outcome: True}, TypeError, "importable"),
    ):
        with pytest.raises(error, match=words):
            fan_out(hello, [], engine=engine, **settings)  # type: ignore[call-overload]
