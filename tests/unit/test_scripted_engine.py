"""The scripted engine plays its list and moves its clock by what it was asked to wait."""

from __future__ import annotations

import socket

import pytest

from evsockets.engines import READ, WRITE
from evsockets.errors import EngineError
from evsockets.testing import ManualClock, ScriptedEngine


def test_plays_one_step_per_poll() -> None:
    engine = ScriptedEngine([[(3, READ)], [(3, READ | WRITE), (4, READ), (5, WRITE)]])
    engine.watch(3, READ, "three")
    engine.watch(4, READ | WRITE, "four")
    assert engine.poll(10) == [("three", READ)]
    assert engine.poll(None) == [("three", READ), ("four", READ)]
    assert engine.finished and engine.clock() == 1_000
    assert engine.polls == [10, None]
    assert engine.calls == [(3, READ), (4, READ | WRITE)]


def test_time_passes_only_by_waiting() -> None:
    engine = ScriptedEngine(clock=ManualClock(0))
    engine.watch(3, READ, "three")
    engine.play((3, READ), after=2.5)
    assert engine.poll(0) == []
    assert engine.poll(1) == [] and engine.clock() == 1
    assert engine.poll(None) == [("three", READ)] and engine.clock() == 2.5
    assert engine.poll(3_600) == [] and engine.clock() == 3_602.5
    with pytest.raises(EngineError, match="without a time-out"):
        engine.poll(None)


def test_a_step_may_do_something() -> None:
    engine = ScriptedEngine()
    done: list[str] = []
    engine.call(lambda: done.append("first"), after=1)
    engine.call(lambda: [(3, READ)])
    engine.watch(3, READ, "three")
    assert engine.poll(None) == [] and done == ["first"]
    assert engine.poll(None) == [("three", READ)]
    engine.watch(3, 0, None)
    assert engine.watched == {}


def test_real_readiness_comes_first_when_it_looks() -> None:
    left, right = socket.socketpair()
    with left, right:
        engine = ScriptedEngine(look=True, clock=ManualClock(0))
        engine.watch(left.fileno(), READ, "left")
        assert engine.poll(60) == [] and engine.clock() == 60
        right.send(b"x")
        assert engine.poll(60) == [("left", READ)] and engine.clock() == 60


def test_refuses_what_every_engine_refuses() -> None:
    engine = ScriptedEngine()
    with pytest.raises(OSError):
        engine.watch(-1, READ, None)
    with pytest.raises(ValueError):
        engine.play(after=-1)
    with pytest.raises(ValueError):
        ManualClock().advance(-1)
    engine.close()
    engine.close()
    with pytest.raises(RuntimeError):
        engine.poll(0)
