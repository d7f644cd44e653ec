"""How a fan-out ends before its targets do: left, closed, interrupted; and what is left of it."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from typing import Any

import pytest

from evsockets import Conversation, EventType, Target
from evsockets.core.channel import Channel
from evsockets.targets.attempts import TargetSocket
from evsockets.targets.gathering import Gathering
from support.greeter import GREETING, Fan, Greeter, ask, hello, wait
from support.interrupts import interrupted, lines_of, some
from support.machine import comes_true, refused_in_a_thread, resident, until
from support.optional import library


class Watch:
    """Talks that wait; who of them has begun and ended."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.events: list[str] = []

    async def talk(self, talk: Any, line: bytes) -> bytes:
        self.begun.append("talk")
        try:
            return await ask(talk, line)
        finally:
            self.ended.append("talk")

    def handler(self, event: Any) -> None:
        self.events.append(event.type.name)

    def is_over(self) -> bool:
        """An interruption in the handler before this one has it miss an event, but none of an end."""
        count = self.events.count
        return len(self.begun) == len(self.ended) and (
            count("INITIALIZE") <= count("FINALIZE") and count("CONNECTED") <= count("DISCONNECTED")
        )


def lines(fan: Fan) -> Iterator[Target]:
    """One that is answered, and then no other."""
    yield Target(fan.url, (b"quick\n",))
    yield from repeat(Target(fan.url, (b"wait\n",)))


def leave(outcomes: Callable[[], Any]) -> None:
    for _ in outcomes():
        break


def leave_by_an_exception(outcomes: Callable[[], Any]) -> None:
    with contextlib.suppress(ZeroDivisionError):
        for _ in outcomes():
            1 / 0  # noqa: B018


def leave_by_return(outcomes: Callable[[], Any]) -> None:
    def first() -> Any:
        for outcome in outcomes():
            return outcome

    first()


def leave_the_block(outcomes: Callable[[], Any]) -> None:
    with outcomes() as made:
        for _ in made:
            break


def leave_the_block_by_an_exception(outcomes: Callable[[], Any]) -> None:
    with contextlib.suppress(ZeroDivisionError), outcomes() as made:
        next(made)
        1 / 0  # noqa: B018


def close(outcomes: Callable[[], Any]) -> None:
    made = outcomes()
    next(made)
    made.close()
    made.close()
    assert made.running == 0
    assert list(made) == []


def drop(outcomes: Callable[[], Any]) -> None:
    made = outcomes()
    next(made)
    del made


WAYS = [
    leave, leave_by_return, leave_by_an_exception, leave_the_block, leave_the_block_by_an_exception,
    close, drop,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_leaving_ends_what_runs(fan: Fan, way: Any) -> None:
    """At once, by reference counting, every life told to its end."""
    watch = Watch()
    closed: list[Any] = []

    def outcomes() -> Any:
        made = fan(watch.talk, lines(fan), limit=5, handler=watch.handler)
        closed.append(made.executor)
        return made

    gc.disable()
    try:
        way(outcomes)
        assert watch.is_over()
        assert len(watch.begun) >= 1
        assert closed[0].is_executing is False
        with pytest.raises(RuntimeError, match="closed"):
            closed[0].execute_request()
    finally:
        gc.enable()
    comes_true(lambda: fan.server.now == 0, "connections are left open")


def test_leaving_with_an_error_in_hand(fan: Fan) -> None:
    """A bug's traceback refers to the frames of its time; what runs ends all the same."""
    watch = Watch()

    async def bug(talk: Any, line: bytes) -> None:
        if line == b"quick\n":
            raise ValueError
        await watch.talk(talk, line)

    kept = None
    for outcome in fan(bug, lines(fan), limit=5, handler=watch.handler):
        kept = outcome.error
        break
    assert type(kept) is ValueError
    assert watch.is_over()


def test_one_that_was_never_begun_closes_too(fan: Fan) -> None:
    made = fan(hello, ["tcp://127.0.0.1:1"])
    executor = made.executor
    del made
    with pytest.raises(RuntimeError, match="closed"):
        executor.execute_request()


def test_closing_from_inside(fan: Fan) -> None:
    """It ends when the handler has returned, and gives no more."""
    watch = Watch()

    def close(event: Any) -> None:
        watch.handler(event)
        if event.type is EventType.READ:
            made.close()

    made = fan(watch.talk, lines(fan), limit=3, handler=close)
    assert list(made) == []
    assert watch.is_over()
    assert made.running == 0


def test_asking_from_inside_is_an_error(fan: Fan) -> None:
    async def nested(talk: Any) -> None:
        next(made)

    made = fan(nested)
    outcome = next(made)
    assert type(outcome.error) is RuntimeError
    assert list(made) == []


def test_another_thread_is_refused(fan: Fan) -> None:
    with fan(ask, 3, limit=1) as made:
        next(made)
        refused_in_a_thread(lambda: next(made), made.close)
        assert [outcome.ok for outcome in made] == [True, True]


def test_ctrl_c_gets_out(fan: Fan) -> None:
    """Of the wait for an outcome, soon, with everything ended."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    try:
        assert _how_soon_ctrl_c_gets_out(fan) < 0.1
    finally:
        signal.signal(signal.SIGINT, before)


def _how_soon_ctrl_c_gets_out(fan: Fan) -> float:
    best = 1.0
    moment: list[float] = []

    def press() -> None:
        time.sleep(0.05)
        moment.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    for _ in range(5):
        watch = Watch()
        made = fan(watch.talk, lines(fan), limit=5, handler=watch.handler)
        next(made)
        thread = threading.Thread(target=press)
        with pytest.raises(KeyboardInterrupt):
            thread.start()
            next(made)
        best = min(best, time.monotonic() - moment.pop())
        thread.join()
        assert watch.is_over() and made.running == 0
        assert signal.set_wakeup_fd(-1) == -1
    return best


def test_interrupted_at_any_line(fan: Fan) -> None:
    """Every life that began is told to its end, and no descriptor is left (the fixture looks)."""
    watch = Watch()

    def go() -> None:
        watch.__init__()  # type: ignore[misc]
        targets = [Target(fan.url, (b"a\n",)), "nonsense", Target(fan.url, (b"b\n",))]
        with fan(watch.talk, targets, limit=2, handler=watch.handler) as outcomes:
            for outcome in outcomes:
                if outcome.result == b"B\n":
                    break

    names = ("handles", "fan_out", "plans", "gathering", "attempts", "turns", "outcomes")
    modules = [*(f"evsockets.targets.{name}" for name in names), "evsockets.core.closing"]
    where = [importlib.import_module(name).__file__ or "" for name in modules]
    for line in some(lines_of(go, where), 40):
        interrupted(line, go, where)
        assert not watch.events or watch.is_over(), line
        assert signal.set_wakeup_fd(-1) == -1, line


def test_two_at_once(fan: Fan) -> None:
    first, second = (fan(ask, 20, limit=3) for _ in range(2))
    assert all(one.ok and other.ok for one, other in zip(first, second, strict=True))


def test_one_inside_another(fan: Fan) -> None:
    """A conversation that blocks holds up its own executor, and nothing else."""

    async def both(talk: Any) -> list[bytes]:
        await talk.read()
        return [outcome.value for outcome in fan(hello, 2)]

    outcomes = list(fan(both, 3))
    assert [outcome.value for outcome in outcomes] == [[GREETING] * 2] * 3


def left() -> int:
    """How much there is of fan-outs and their lives."""
    kinds = (Gathering, TargetSocket, Channel, Conversation)
    found = [thing for thing in gc.get_objects() if type(thing) in kinds]
    return sum(type(getattr(thing, "socket", None)) in (type(None), TargetSocket) for thing in found)


def test_nothing_is_left(fan: Fan) -> None:
    """Not even what only the collector would free, of lives that ended well, badly and by leaving."""

    async def bug(talk: Any) -> None:
        await talk.read()
        raise ValueError

    def go(function: Any) -> None:
        # The outcomes in no variable: a bug's traceback refers to the frames of its time, and this is one.
        settings: Any = {"limit": 4, "io_timeout": 0.05 if function is wait else 20}
        kept.extend(islice(fan(function, 10, **settings), 9))
        kept.extend(fan(function, 5, **settings))

    kept: list[Any] = []
    go(ask)
    gc.collect()
    gc.disable()
    kept.clear()
    before = left()
    try:
        for function in (ask, hello, bug, wait):
            go(function)
        assert sum(type(outcome.error) is ValueError for outcome in kept) == 14
        kept.clear()
        assert left() == before
    finally:
        gc.enable()


def test_the_memory_of_limit(fan: Fan) -> None:
    """However many targets there are."""
    many = 8_000

    def run(count: int) -> int:
        for outcome in fan(hello, (fan.url for _ in range(count)), limit=50, io_timeout=30):
            assert outcome.value == GREETING
        gc.collect()
        return resident()

    before = run(1000)
    assert run(many) - before < 4 << 20
    tracemalloc.start()
    try:
        run(500)
        few = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        run(2000)
        assert tracemalloc.get_traced_memory()[1] < few + 300_000
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("gevent_is_tested")
def test_inside_gevent(greets: Greeter) -> None:
    """Other greenlets run while it waits, and one that is killed leaves nothing behind."""
    gevent = library("gevent")
    fan = Fan("gevent", greets)
    ticks = []

    def tick() -> None:
        while True:
            ticks.append(1)
            gevent.sleep(0.001)

    async def naps(talk: Any) -> int:
        await talk.read()
        await talk.sleep(0.05)
        return 3

    other = gevent.spawn(tick)
    with fan(naps, 3) as outcomes:
        assert [outcome.value for outcome in outcomes] == [3] * 3
    assert len(ticks) > 10
    watch = Watch()

    def go() -> None:
        for _ in fan(watch.talk, lines(fan), limit=3, handler=watch.handler):
            pass

    one = gevent.spawn(go)
    for _ in until(lambda: len(watch.begun) >= 3):
        gevent.sleep(0.001)
    one.kill()
    other.kill()
    assert watch.is_over()


def test_inside_asyncio_and_trio(fan: Fan) -> None:
    """It blocks their loops while it waits, and needs none."""
    import asyncio

    async def inside() -> list[bytes]:
        return [outcome.value for outcome in fan(hello, 3)]

    assert asyncio.run(inside()) == [GREETING] * 3
    if fan.engine in ("selectors", "libev"):  # the other engines' environments hold no other loops
        trio = library("trio")
        assert trio.run(inside) == [GREETING] * 3
