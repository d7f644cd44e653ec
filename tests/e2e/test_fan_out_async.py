"""Talking to many inside a running asyncio loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from evsockets import (
    ConnectionFailedError,
    ConversationEndedError,
    EventType,
    RequestExecutor,
    Target,
    UnsupportedOperationError,
    fan_out_async,
)
from support.greeter import GREETING, Greeter, ask, hello, wait
from support.machine import comes_true, until
from support.service import needs_descriptor


@pytest.fixture
def hosted(engine: str) -> str:
    """An engine that asyncio can host."""
    with RequestExecutor(engine) as executor:
        needs_descriptor(executor)
    return engine


def test_each_target_has_one_outcome(hosted: str, greets: Greeter) -> None:
    running = 0

    def count(event: Any) -> None:
        nonlocal running
        running += 1 if event.type is EventType.INITIALIZE else -1
        assert 0 <= running <= 3

    async def main() -> list[Any]:
        targets = ["nonsense", *[greets.url] * 10]
        return [
            outcome
            async for outcome in fan_out_async(
                ask, targets, limit=3, engine=hosted, on_initialize=count, on_finalize=count
            )
        ]

    outcomes = asyncio.run(main())
    assert sorted(outcome.result or b"" for outcome in outcomes) == [b"", *[b"ASK\n"] * 10]


def test_they_go_on_while_the_body_waits(hosted: str, greets: Greeter) -> None:
    """Attempts that are due included; places and outcomes are as in a plain one."""
    pulled = []

    def targets() -> Iterator[Target]:
        for seconds in (0.0, 0.02, 0.02, 0.0):
            pulled.append(seconds)
            yield Target(greets.url, (seconds,))

    async def nap(talk: Any, seconds: float) -> float:
        await talk.sleep(seconds)
        done.append(seconds)
        return seconds

    done: list[float] = []

    async def main() -> None:
        async with fan_out_async(nap, targets(), limit=3, engine=hosted) as outcomes:
            assert outcomes.running == 0
            assert (await anext(outcomes)).value == 0.0
            for _ in until(lambda: len(done) >= 3):
                await asyncio.sleep(0.001)
            assert [outcome.value async for outcome in outcomes]

    asyncio.run(main())
    assert len(done) == 4


def test_attempts_go_on_while_the_body_waits(hosted: str, greets: Greeter, unused_port: int) -> None:
    began = []
    handler = {EventType.INITIALIZE: lambda event: began.append(event.metadata.address)}

    async def main() -> None:
        targets = [greets.url, f"tcp://127.0.0.1:{unused_port}"]
        outcomes = fan_out_async(hello, targets, retries=3, backoff=0.01, engine=hosted, handler=handler)
        assert (await anext(outcomes)).value == GREETING
        for _ in until(lambda: len(began) >= 5):
            await asyncio.sleep(0.001)
        last = await anext(outcomes)
        assert isinstance(last.error, ConnectionFailedError)
        assert last.attempts == 4
        with pytest.raises(StopAsyncIteration):
            await anext(outcomes)

    asyncio.run(main())


def test_two_at_once_and_other_tasks(hosted: str, greets: Greeter) -> None:
    async def gather() -> int:
        count = 0
        async for outcome in fan_out_async(ask, [greets.url] * 10, limit=2, engine=hosted):
            count += outcome.ok
        return count

    async def main() -> list[int]:
        return await asyncio.gather(gather(), gather(), gather())

    assert asyncio.run(main()) == [10, 10, 10]


def test_several_that_ask_the_same_one(hosted: str, greets: Greeter) -> None:
    async def main() -> int:
        outcomes = fan_out_async(ask, [greets.url] * 10, limit=4, engine=hosted)

        async def some() -> int:
            return len([outcome async for outcome in outcomes])

        return sum(await asyncio.gather(some(), some(), some()))

    assert asyncio.run(main()) == 10


def test_waiting_for_an_outcome_can_be_given_up(hosted: str, greets: Greeter) -> None:
    """Nothing ends by it, and nothing is lost."""
    given_up: list[bool] = []

    async def nap(talk: Any) -> int:
        for _ in until(lambda: given_up):
            await talk.sleep(0.001)
        return 3

    async def main() -> None:
        async with fan_out_async(nap, [greets.url], engine=hosted) as outcomes:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(outcomes), 0.01)
            given_up.append(True)
            assert (await anext(outcomes)).value == 3

    asyncio.run(main())


Way = Callable[[Callable[[], Any]], Coroutine[Any, Any, None]]


async def leave(outcomes: Callable[[], Any]) -> None:
    async for _ in outcomes():
        break


async def leave_the_block(outcomes: Callable[[], Any]) -> None:
    async with outcomes() as made:
        await anext(made)


async def leave_by_an_exception(outcomes: Callable[[], Any]) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async for _ in outcomes():
            1 / 0  # noqa: B018


async def close(outcomes: Callable[[], Any]) -> None:
    made = outcomes()
    await anext(made)
    made.close()
    assert made.running == 0
    with pytest.raises(StopAsyncIteration):
        await anext(made)
    await made.aclose()


async def cancelled(outcomes: Callable[[], Any]) -> None:
    async def body() -> None:
        async for _ in outcomes():
            begun.set()
            await asyncio.sleep(30)

    begun = asyncio.Event()
    task = asyncio.create_task(body())
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    del task


async def never_begun(outcomes: Callable[[], Any]) -> None:
    outcomes()


WAYS = [leave, leave_the_block, leave_by_an_exception, close, cancelled, never_begun]


@pytest.mark.parametrize("way", WAYS)
def test_leaving_ends_what_runs(hosted: str, greets: Greeter, way: Way) -> None:
    events: list[str] = []
    made: list[Any] = []

    def outcomes() -> Any:
        targets = [Target(greets.url, (b"quick\n",)), *[Target(greets.url, (b"wait\n",))] * 5]
        outcomes = fan_out_async(
            ask, targets, limit=4, engine=hosted, handler=lambda event: events.append(event.type.name)
        )
        made.append(outcomes.executor)
        return outcomes

    async def main() -> None:
        await way(outcomes)
        assert events.count("INITIALIZE") == events.count("FINALIZE")  # at once
        await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="closed"):
            made[0].execute_request()

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()
    assert events.count("CONNECTED") == events.count("DISCONNECTED")
    comes_true(lambda: greets.now == 0, "connections are left open")


def test_left_to_the_end_of_asyncio(hosted: str, greets: Greeter) -> None:
    """Asyncio's loop ends while it is under way."""
    events: list[str] = []
    settings: Any = {"engine": hosted, "handler": lambda event: events.append(event.type.name)}
    kept = []

    async def main() -> None:
        kept.append(fan_out_async(wait, [greets.url] * 3, **settings))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(anext(kept[0]), 0.05)

    asyncio.run(main())
    assert events.count("INITIALIZE") == events.count("FINALIZE") == 3
    kept.clear()


def test_left_to_a_loop_that_is_closed_with_it_under_way(hosted: str, greets: Greeter) -> None:
    async def begin(outcomes: Any) -> None:
        assert (await anext(outcomes)).ok

    loop = asyncio.new_event_loop()
    outcomes = fan_out_async(ask, [greets.url] * 9, limit=1, engine=hosted)
    executor = outcomes.executor
    loop.run_until_complete(begin(outcomes))
    asyncio.all_tasks(loop).pop()._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    outcomes.close()
    with pytest.raises(RuntimeError, match="closed"):
        executor.execute_request()


@pytest.mark.parametrize("kind", [KeyError, SystemExit])
def test_what_the_targets_raise(hosted: str, greets: Greeter, kind: type[BaseException]) -> None:
    def targets() -> Iterator[str]:
        yield greets.url
        raise kind("no more")

    async def main() -> list[Any]:
        given = []
        with pytest.raises(kind, match="no more"):
            async for outcome in fan_out_async(ask, targets(), limit=1, engine=hosted):
                given.append(outcome.value)
        return given

    assert asyncio.run(main()) == [b"ASK\n"]


def test_a_base_exception_in_a_conversation(hosted: str, greets: Greeter) -> None:
    class Mine(BaseException):
        pass

    async def fail(talk: Any) -> None:
        await talk.read()
        raise Mine

    async def main() -> None:
        outcomes = fan_out_async(fail, [greets.url] * 3, engine=hosted)
        with pytest.raises(Mine):
            await anext(outcomes)
        with pytest.raises(StopAsyncIteration):
            await anext(outcomes)
        assert outcomes.running == 0

    asyncio.run(main())


def test_a_stop_and_a_drain(hosted: str, greets: Greeter) -> None:
    async def main() -> None:
        outcomes = fan_out_async(wait, [greets.url] * 9, limit=3, engine=hosted)
        outcomes.executor.call_later(0.05, outcomes.executor.stop_request)
        errors = [type(outcome.error) async for outcome in outcomes]
        assert errors == [ConversationEndedError] * 3
        outcomes = fan_out_async(hello, [greets.url] * 9, limit=1, engine=hosted)
        outcomes.executor.call_later(0, outcomes.executor.drain, 5)
        assert len([outcome async for outcome in outcomes]) < 9

    asyncio.run(main())


def test_an_engine_that_cannot_be_hosted_is_an_error_at_the_call(engine: str) -> None:
    with RequestExecutor(engine) as executor:
        try:
            executor.fileno()
        except UnsupportedOperationError:
            with pytest.raises(UnsupportedOperationError):
                fan_out_async(hello, [], engine=engine)


def test_wrong_calls(hosted: str) -> None:
    for settings in ({"io_timeuot": 1}, {"keep_alive": True}, {"address": "tcp://127.0.0.1:1"}):
        with pytest.raises(TypeError):
            fan_out_async(hello, [], engine=hosted, **settings)  # type: ignore[arg-type]


def test_a_body_that_blocks(hosted: str, greets: Greeter) -> None:
    async def main() -> int:
        count = 0
        async for outcome in fan_out_async(ask, [greets.url] * 8, limit=4, engine=hosted, io_timeout=1):
            time.sleep(0.02)
            count += outcome.ok
        return count

    assert asyncio.run(main()) == 8
