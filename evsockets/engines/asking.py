"""Calls of an engine: any failure inside one reaches the user as an EngineError, with its cause."""

from __future__ import annotations

import sys
from typing import Any

from ..errors import EngineError
from .base import Engine


def watch(engine: Engine, fd: int, interest: int, token: Any) -> None:
    """`engine.watch`. OSError if the descriptor cannot be watched; EngineError for any other exception."""
    try:
        engine.watch(fd, interest, token)
    except Exception as error:
        if interest and isinstance(error, OSError):
            raise
        raise failure(engine, "watch", error)


def failure(engine: Engine, verb: str, error: Exception) -> Exception:
    """The exception to raise for `error` from a method of `engine`: an EngineError with it as cause.

    It is `error` itself if that is an EngineError already, or not the engine's: raised by a signal handler,
    or by other code that runs inside the engine (see `Engine.runs_others`).
    """
    if isinstance(error, EngineError) or getattr(engine, "runs_others", False) or _by_signal_handler(error):
        return error
    made = EngineError(f"the engine {engine.name!r} failed in {verb}: {error!r}")
    made.__cause__ = error
    return made


def _by_signal_handler(error: Exception) -> bool:
    """Whether a signal handler raised it: a function that was given the very frame it interrupted."""
    trace, frame = error.__traceback__, sys._getframe()
    above: list[Any] = []  # who is interrupted: compiled code has no frame, its caller has
    while frame is not None:
        above.append(frame)
        frame = frame.f_back  # type: ignore[assignment]
    while trace is not None:
        for value in trace.tb_frame.f_locals.values():
            given = value if type(value) is tuple else (value,)
            if any(each is other for each in given for other in above):
                return True
        above.append(trace.tb_frame)
        trace = trace.tb_next
    return False
