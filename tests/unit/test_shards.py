"""Shards of targets: how many they hold, and what can be sent to another process."""

from __future__ import annotations

import pickle
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from evsockets import Configuration, StreamContext, Target
from evsockets.engines.stdlib import SelectorsEngine
from evsockets.pickles import sendable
from evsockets.targets.plans import plan
from evsockets.targets.shards import job_of, load, packed, shards_of
from evsockets.transports.tls_info import TlsInfo
from support.errands import Fragile, Opaque, Sturdy
from support.greeter import hello

ADDRESS = "tcp://127.0.0.1:1"
CONTEXT = ssl.create_default_context()


@pytest.mark.parametrize(
    ("count", "size", "at_once", "sizes"),
    [
        (0, 10, 1, []),
        (25, 10, 1, [10, 10, 5]),
        (20, 10, 1, [10, 10]),
        (7, 10, 2, [4, 3]),
        (1, 10, 4, [1]),
        (20, 10, 2, [10, 10]),
        (27, 10, 2, [10, 10, 4, 3]),
    ],
)
def test_targets_are_shared_out(count: int, size: int, at_once: int, sizes: list[int]) -> None:
    shards = list(shards_of(iter(range(count)), size, at_once))
    assert [len(shard) for shard in shards] == sizes
    assert [target for shard in shards for target in shard] == list(range(count))


def test_they_are_pulled_when_they_are_needed() -> None:
    pulled = []

    def targets() -> Iterator[int]:
        for number in range(1000):
            pulled.append(number)
            yield number

    shards = shards_of(targets(), 10, 2)
    assert pulled == []
    next(shards)
    next(shards)
    assert len(pulled) == 20


def test_what_the_targets_raise_comes_after_those_before_it() -> None:
    def targets() -> Iterator[int]:
        yield from range(13)
        raise ZeroDivisionError

    shards = shards_of(targets(), 10)
    assert [len(next(shards)), len(next(shards))] == [10, 3]
    with pytest.raises(ZeroDivisionError):
        next(shards)


def test_a_target_that_cannot_be_sent_is_its_own_outcome() -> None:
    good = [ADDRESS, Target(ADDRESS, (1,))]
    bad = [Target(ADDRESS, user_context=Opaque()), Target(ADDRESS, stream_context={"tls": CONTEXT})]
    data, sent, outcomes = packed([good[0], bad[0], good[1], bad[1]], pickle.dumps)
    assert pickle.loads(data) == sent == good
    assert [outcome.target for outcome in outcomes] == bad
    assert [type(outcome.error) for outcome in outcomes] == [TypeError] * 2
    assert "opaque" in str(outcomes[0].error) and "ca_data=PEM" in str(outcomes[1].error)
    assert all(outcome.attempts == 0 for outcome in outcomes)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"handler": lambda event: None}, "importable"),
        ({"args": (Opaque(),)}, "opaque"),
        ({"stream_context": {"tls": CONTEXT}}, "tls= a function"),
        ({"configuration": Configuration(stream_context=StreamContext(tls=CONTEXT))}, "ca_data=PEM"),
    ],
)
def test_what_cannot_be_sent(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        job_of(plan(hello, **settings))


def test_an_engine_is_named() -> None:
    engine = SelectorsEngine()
    try:
        with pytest.raises(TypeError, match="engine='selectors'"):
            job_of(plan(hello, engine=engine))
    finally:
        engine.close()


def test_a_job_is_loaded_once() -> None:
    job = job_of(plan(hello, args=(1,), io_timeout=3, stream_context={"ca_data": None}))
    assert load(job) is load(bytes(bytearray(job)))
    assert load(job).metadata["io_timeout"] == 3


def test_what_outcomes_tell_of_tls_can_be_sent() -> None:
    info = TlsInfo("TLSv1.3", "x", None, {"version": 3}, b"der")
    again = pickle.loads(pickle.dumps(info))
    assert repr(again) == repr(info) and again.version == "TLSv1.3"


def test_an_exception_that_cannot_be_sent_says_what_it_was() -> None:
    good, missing = Sturdy("a"), OSError(2, "none")
    assert sendable(good) is good and sendable(missing) is missing and sendable(None) is None
    for bad in (Fragile(1, 2), Sturdy(Opaque())):
        sent = sendable(bad)
        assert type(sent) is RuntimeError and type(bad).__name__ in str(sent)
