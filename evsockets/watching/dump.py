"""A signal that prints the state of a program's executors, while the program goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from .. import inherited
from ..core.loop import Loop
from .explain import explain

# Calls of a thread's stack shown at most, the innermost.
_CALLS = 12


def dump_on_signal(signum: int | None = None) -> None:
    """On the signal `signum` print the text of `explain` for every executor of this process to stderr.

    None: SIGUSR1 (RuntimeError on a system without it). For an executor that is at work, rather than waiting,
    the stack of its thread is printed, too. The program goes on, also in the middle of a turn. An earlier
    handler of the signal is called afterwards; the default action (for SIGUSR1: end the process) is not
    taken. A second call does nothing.

    RuntimeError outside of the main thread. TypeError or ValueError for a wrong signal, or one that cannot be
    caught.
    """
    if signum is None:
        signum = getattr(signal, "SIGUSR1", None)
        if signum is None:
            raise RuntimeError("there is no SIGUSR1 on this system: name a signal")
    if not isinstance(signum, int) or isinstance(signum, bool):
        raise TypeError(f"signum must be a signal's number, such as signal.SIGUSR1, or None, got {signum!r}")
    if signum not in signal.valid_signals():
        raise ValueError(f"signum must be a signal's number, such as signal.SIGUSR1, got {signum!r}")
    former = signal.getsignal(signum)
    if isinstance(former, _Dump):
        return
    try:
        signal.signal(signum, _Dump(former if callable(former) else None))
    except ValueError:
        raise RuntimeError("dump_on_signal() must be called in the main thread") from None
    except OSError as error:
        name = signal.Signals(signum).name
        raise ValueError(f"signal {name} cannot be caught: {error.strerror}") from error


class _Dump:
    """The signal's handler."""

    def __init__(self, former: Callable[[int, FrameType | None], Any] | None) -> None:
        self._former = former

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        loops = [loop for loop in inherited.registered() if not loop.closed]
        _print("".join(_told(loop, frame) + "\n" for loop in loops) or "no executor in this process\n")
        if self._former is not None:
            self._former(signum, frame)


def _told(loop: Loop, frame: FrameType | None) -> str:
    """What is said of one executor. What another thread changes meanwhile may make that fail: that is told,
    too, for a look must not end what is looked at."""
    import traceback  # which `logging` has loaded, with the executor

    try:
        text = explain(loop.executor)
        if loop.executing and loop.current is not None:
            if loop.thread_id != loop.ident():
                frame = sys._current_frames().get(loop.thread_id or 0)
            if frame is not None:
                calls = "".join(traceback.format_stack(frame, _CALLS)).rstrip()
                text += f"\n  Its thread is here (the innermost call last):\n{calls}"
    except Exception:
        text = f"an executor that cannot be told of now: {traceback.format_exc()}"
    return text


def _print(text: str) -> None:
    """To the descriptor: the signal may have come within a call of `sys.stderr`, which cannot be entered
    again. Where there is none, or it takes nothing, nothing is printed: no error of a look is worth a run."""
    with contextlib.suppress(Exception):
        try:
            number = sys.stderr.fileno()
        except (AttributeError, OSError, ValueError):
            if sys.stderr is not None:
                sys.stderr.write(text)
            return
        data = text.encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(number, data) :]
