"""Random fan-outs: whatever the targets do, each that was pulled has one outcome, and every life its end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from evsockets import EventType, Outcome, RequestExecutor, Target, fan_out, fan_out_async
from support.greeter import Greeter
from support.machine import comes_true
from support.service import needs_descriptor

SEEDS = range(12)


class Chance:
    """Targets and settings by chance, and what has to be so whatever they are."""

    def __init__(self, seed: int, greets: Greeter, refused: int) -> None:
        self.random = random.Random(seed)
        self.limit = self.random.choice([1, 2, 5, 20])
        self.retries = self.random.choice([0, 0, 1, 3])
        self.pulled: list[Target] = []
        self.outcomes: list[Outcome[int]] = []
        self.events: Counter[EventType] = Counter()
        self.lives = self.most = 0
        self._server = greets
        self._refused = f"tcp://127.0.0.1:{refused}"

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "limit": self.limit,
            "retries": self.retries,
            "backoff": self.random.choice([0, 0.001, 0.01]),
            "retry_if": self.random.choice([None, lambda outcome: outcome.target.user_context == "bug"]),
            "handler": self.hear,
        }

    def targets(self) -> Iterator[Target]:
        for number in range(self.random.randrange(60)):
            kind = self.random.choice(["good"] * 3 + ["refused", "silent", "bug", "reset", "garbage"])
            address = {"refused": self._refused, "garbage": "nonsense"}.get(kind, self._server.url)
            patience = 0.02 if kind == "silent" else 20
            target = Target(address, (number, kind), user_context=kind, io_timeout=patience)
            self.pulled.append(target)
            yield target

    async def talk(self, talk: Any, number: int, kind: str) -> int:
        await talk.read()
        if kind == "bug":
            raise ValueError
        if kind in ("silent", "reset"):
            await talk.write(b"wait\n" if kind == "silent" else b"reset\n")
            await talk.read()
        if self.random.random() < 0.3:
            await talk.sleep(self.random.random() * 0.01)
        return number

    def hear(self, event: Any) -> None:
        self.events[event.type] += 1
        if event.type in (EventType.INITIALIZE, EventType.FINALIZE):
            self.lives += 1 if event.type is EventType.INITIALIZE else -1
            self.most = max(self.most, self.lives)

    def holds(self, whole: bool) -> None:
        """`whole`: it has gone to its end."""
        assert self.lives == 0
        assert self.most <= self.limit
        assert self.events[EventType.CONNECTED] == self.events[EventType.DISCONNECTED]
        seen = Counter(id(outcome.target) for outcome in self.outcomes)
        assert set(seen) <= set(map(id, self.pulled)) and set(seen.values()) <= {1}
        for outcome in self.outcomes:
            assert outcome.target.args is not None
            number, kind = outcome.target.args
            assert outcome.ok == (kind == "good"), outcome
            assert outcome.attempts <= 1 + self.retries
            assert outcome.result == (number if outcome.ok else None)
            assert kind != "refused" or outcome.attempts == 1 + self.retries
        comes_true(lambda: self._server.now == 0, "connections are left open")
        if whole:
            assert len(self.outcomes) == len(self.pulled)
            assert sum(outcome.attempts for outcome in self.outcomes) == self.events[EventType.INITIALIZE]


@pytest.mark.parametrize("seed", SEEDS)
def test_plain(engine: str, greets: Greeter, unused_port: int, seed: int) -> None:
    chance = Chance(seed, greets, unused_port)
    leaves = chance.random.choice([None, 0, 5])
    for outcome in fan_out(chance.talk, chance.targets(), engine=engine, **chance.settings):
        chance.outcomes.append(outcome)
        if len(chance.outcomes) == leaves:
            break
    chance.holds(whole=leaves is None or len(chance.outcomes) < leaves)


@pytest.mark.parametrize("seed", SEEDS)
def test_inside_asyncio(engine: str, greets: Greeter, unused_port: int, seed: int) -> None:
    chance = Chance(seed, greets, unused_port)
    leaves = chance.random.choice([None, 0, 5])

    async def main() -> None:
        async for outcome in fan_out_async(chance.talk, chance.targets(), engine=engine, **chance.settings):
            chance.outcomes.append(outcome)
            if len(chance.outcomes) == leaves:
                break
            if chance.random.random() < 0.1:
                await asyncio.sleep(0.005)

    with RequestExecutor(engine) as executor:
        needs_descriptor(executor)
    asyncio.run(main())
    chance.holds(whole=leaves is None or len(chance.outcomes) < leaves)
