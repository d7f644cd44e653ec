"""Counts forks, so that a child does not touch what it shares with its parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

from .weak import living, remember


class ForkAware(Protocol):
    """An object with a method to be called in the child of a fork."""

    def forked(self) -> None:
        """Called in the child of a fork, before `os.fork` returns there."""


_forks = [0]
_members: set[weakref.ref[ForkAware]] = set()


def count() -> int:
    """The number of forks between the first process and this one."""
    return _forks[0]


def register(member: ForkAware) -> None:
    """Call `member.forked()` in the child of every later fork, as long as `member` exists."""
    remember(_members, member)


def members() -> list[ForkAware]:
    """The registered objects that still exist."""
    return living(_members)


def _forked() -> None:
    _forks[0] += 1
    for member in members():
        member.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
