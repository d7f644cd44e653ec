"""A mailbox keeps all its room, wherever a signal handler raises."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from evsockets import Mailbox, MailboxFullError
from evsockets.conversations import mailbox as module


def interrupted(call: Callable[[], object], at: int) -> bool:
    """Call, and raise KeyboardInterrupt before the `at`th instruction of the module, counted from 1. Whether
    it came to that."""
    left = at

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename != module.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        assert left <= 0
        return True
    finally:
        sys.settrace(before)
    return False


def fill(mailbox: Mailbox[int]) -> None:
    """Put until it is full."""
    with pytest.raises(MailboxFullError):
        while True:
            mailbox.put(0)


@pytest.mark.parametrize("way", ["put", "put_threadsafe"])
@pytest.mark.parametrize("used", [0, 1], ids=["fresh", "used"])
def test_an_interrupted_put_has_put_or_has_not(way: str, used: int) -> None:
    at, outcomes = 0, set()
    while True:
        at += 1
        mailbox: Mailbox[int] = Mailbox(3)
        for _ in range(used):
            mailbox.put(1)
            mailbox._take()
        mailbox.put(1)
        if not interrupted(partial(getattr(mailbox, way), 2), at):
            break
        outcomes.add(len(mailbox))
        fill(mailbox)
        assert len(mailbox) == 3
    assert outcomes == {1, 2}


def test_an_interrupted_take_has_taken_or_has_not() -> None:
    at, outcomes = 0, set()
    while True:
        at += 1
        mailbox: Mailbox[int] = Mailbox(2)
        mailbox.put(1)
        mailbox.put(2)
        if not interrupted(mailbox._take, at):
            break
        outcomes.add(len(mailbox))
        fill(mailbox)
        assert len(mailbox) == 2
    assert outcomes == {1, 2}
