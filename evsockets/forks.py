"""Counts forks, so that a child does not touch what it shares with its parent."""

from __future__ import annotations

import os

_forks = [0]


def count() -> int:
    """How many forks lie between the first process and this one."""
    return _forks[0]


def _forked() -> None:
    _forks[0] += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
