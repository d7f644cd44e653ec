"""An engine holds a token as long as its watch: nothing of an ended socket stays behind between two polls."""

from __future__ import annotations

import socket
import weakref
from collections.abc import Iterator

import pytest

from evsockets import create_engine
from evsockets.engines import READ, WRITE, Engine


class Token:
    """Whatever it refers to lives as long: a channel, its errors, their tracebacks."""


@pytest.fixture
def made(engine: str) -> Iterator[Engine]:
    with create_engine(engine) as one:
        yield one


@pytest.mark.parametrize("interest", [READ, WRITE, READ | WRITE])
@pytest.mark.parametrize("end", ["forgotten", "replaced", "closed"])
def test_a_token_goes_with_its_watch(made: Engine, interest: int, end: str) -> None:
    """The poll that told of it was the last one."""
    left, right = socket.socketpair()
    with left, right:
        right.send(b"x")
        token = Token()
        gone = weakref.ref(token)
        made.watch(left.fileno(), interest, token)
        del token
        assert any(made.poll(1) for _ in range(20))
        if end == "forgotten":
            made.watch(left.fileno(), 0, None)
        elif end == "replaced":
            made.watch(left.fileno(), interest, Token())
        else:
            made.close()
        assert gone() is None
        if end == "replaced":
            made.watch(left.fileno(), 0, None)
