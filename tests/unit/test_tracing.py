"""The tracing engine tells what another engine is asked and what it answers."""

from __future__ import annotations

import socket

import pytest

from evsockets.engines import READ, WRITE, SelectorsEngine, TracingEngine


def test_tells_every_call() -> None:
    lines: list[str] = []
    left, right = socket.socketpair()
    with left, right, TracingEngine(SelectorsEngine(), write=lines.append) as engine:
        number = left.fileno()
        engine.watch(number, READ | WRITE, "token")
        assert engine.poll(1.5) == [("token", WRITE)]
        engine.watch(number, READ, "token")
        assert engine.poll(0) == []
        right.send(b"x")
        assert engine.poll(None) == [("token", READ)]
        engine.watch(number, 0, None)
    assert lines == [
        f"watch {number} for read+write",
        "poll 1.5 s: 'token' write",
        f"watch {number} for read",
        "poll 0 s: nothing",
        "poll without end: 'token' read",
        f"watch {number} for nothing",
        "close",
    ]


def test_tells_errors_and_lets_them_through() -> None:
    lines: list[str] = []
    engine = TracingEngine(SelectorsEngine(), write=lines.append)
    with pytest.raises(OSError):
        engine.watch(-1, READ, "token")
    engine.close()
    with pytest.raises(RuntimeError):
        engine.poll(0)
    assert "OSError" in lines[0] and "RuntimeError" in lines[-1]


def test_shows_what_it_wraps(capsys: pytest.CaptureFixture[str]) -> None:
    inner = SelectorsEngine("epoll")
    with TracingEngine(inner) as engine:
        assert engine.name == "selectors"
        assert engine.binding == "epoll"
        assert engine.fileno() == inner.fileno()
        assert getattr(engine, "run_blocking", None) is None
        engine.poll(0)
    assert capsys.readouterr().err == "poll 0 s: nothing\nclose\n"
