"""A token's destructor may use the engine that lets the token go: close it, watch more or less, poll."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest

from evsockets.engines import READ, WRITE, Engine, available_engines, create_engine

_NAMES = [name for name, reason in available_engines().items() if reason is None]
_FAR = 512  # the numbers of remembered pairs repeat after that many


class _Token:
    """Acts once when it is freed."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def __del__(self) -> None:
        with suppress(RuntimeError, OSError):  # closed
            self.act()


class _Number(int):
    """A descriptor's number that is no plain int."""


class _Scene:
    """Ready sockets, of which the first has a token whose destructor acts."""

    def __init__(self, name: str, how: str) -> None:
        self.engine: Engine = create_engine(name)
        self.pairs = [socket.socketpair() for _ in range(8)]
        self.first, *self.others = [one.fileno() for one, _ in self.pairs]
        for _, other in self.pairs:
            other.send(b"x")
        act: Callable[[], object] = getattr(self, how)
        self.engine.watch(self.first, READ, _Token(act))

    def close(self) -> None:
        self.engine.close()

    def watch_more(self) -> None:
        number = os.dup2(self.first, 900)
        self.engine.watch(number, READ, "more")

    def forget_all(self) -> None:
        for one in (self.first, *self.others):
            self.engine.watch(one, 0, None)

    def poll(self) -> None:
        self.engine.poll(0)

    def replace(self) -> None:
        self.engine.watch(self.first, READ, "another")
        self.engine.poll(0)

    def change(self) -> None:
        self.engine.watch(self.first, READ | WRITE, "another")

    def forget(self) -> None:
        self.engine.watch(self.first, 0, None)

    def forget_later(self) -> None:
        """Another descriptor's pair takes the place of what a poll remembered."""
        assert len(self.engine.poll(1)) == 1
        self.engine.watch(_Number(self.first), 0, None)
        far = os.dup2(self.first, self.first + _FAR)
        for one in (far, *self.others):
            self.engine.watch(one, READ, "another")
        self.engine.poll(0)

    def vanish(self) -> None:
        """Closed without being forgotten."""
        for one in self.others:
            self.engine.watch(one, READ, "another")
        self.engine.poll(0)
        self.pairs[0][0].close()
        self.engine.poll(0)
        self.engine.poll(0.001)

    def vanish_and_come_back(self) -> None:
        self.engine.poll(0)
        self.pairs[0][0].close()
        one, _ = self.pairs[1]
        os.dup2(one.fileno(), self.first)
        self.engine.watch(self.first, READ, "another")
        self.engine.poll(0)


_HOW = ("close", "watch_more", "forget_all", "poll")
_WHEN = ("replace", "change", "forget", "forget_later", "vanish", "vanish_and_come_back")


#: libev itself ends the process where its poll(2) finds a closed descriptor.
_CASES = [(name, when) for name in _NAMES for when in _WHEN if (name, when) != ("libev:poll", "vanish")]


@pytest.mark.parametrize(("name", "when"), _CASES)
def test_a_destructor_may_use_the_engine(name: str, when: str) -> None:
    """In a process of its own, whose allocator looks for what was written where nothing is."""
    environment = {**os.environ, "PYTHONMALLOC": "debug"}
    command = [sys.executable, "-X", "faulthandler", "-W", "ignore", __file__, name, when]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, list(_HOW), "")


def main(name: str, when: str) -> None:
    for how in _HOW:
        scene = _Scene(name, how)
        with suppress(RuntimeError, OSError):
            getattr(scene, when)()
        scene.engine.close()
        for pair in scene.pairs:
            for one in pair:
                with suppress(OSError):
                    one.close()
        print(how, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
