"""Counts forks, so that a child does not touch what it shares with its parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

from .weak import living, remember


class ForkAware(Protocol):
    """What has something to do in the child of a fork."""

    def forked(self) -> None:
        """Called in the child of a fork, before `os.fork` returns there."""


_forks = [0]
_members: set[weakref.ref[ForkAware]] = set()


def count() -> int:
    """How many forks lie between the first process and this one."""
    return _forks[0]


def register(member: ForkAware) -> None:
    """Have `member.forked()` called in every child made from now on, for as long as `member` lives."""
    remember(_members, member)


def members() -> list[ForkAware]:
    """Those of them that are alive."""
    return living(_members)


def _forked() -> None:
    _forks[0] += 1
    for member in members():
        member.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
