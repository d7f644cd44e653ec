"""Counts forks, so that a child does not touch what it shares with its parent."""

from __future__ import annotations

import os

from .errors import EngineError

_forks = [0]


def count() -> int:
    """The number of forks between the first process and this one."""
    return _forks[0]


def refusal() -> EngineError:
    """The error of whatever a child cannot do with its parent's executor."""
    return EngineError(
        "this executor was made before a fork and belongs to the parent process: make a new one here"
    )


def _forked() -> None:
    _forks[0] += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
