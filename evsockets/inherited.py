"""The executors in the child of a fork: they leave what is their parent's alone, and a run there ends.

Engine and transports are replaced, because the descriptors are copies of the same open files: a change of the
epoll, a byte, a close_notify or a shutdown in the child would damage the parent's connections. Closing a copy
is the only call without effect on the parent, so the replacements can only be closed.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any

from .core.dispatch import DEAF
from .engines.base import Engine
from .forks import refusal
from .transports.base import Transport
from .weak import living, remember

if TYPE_CHECKING:
    from .core.loop import Loop

_loops: set[weakref.ref[Loop]] = set()


class InheritedEngine(Engine):
    """Watches nothing, and keeps the parent's engine alive, since freeing it could change the epoll."""

    def __init__(self, parents: Engine) -> None:
        self.name = parents.name
        self._parents = parents

    def watch(self, fd: int, interest: int, token: Any) -> None:
        """Nothing."""

    def poll(self, timeout: float | None) -> list[tuple[Any, int]]:
        """Raises EngineError."""
        raise refusal()

    def close(self) -> None:
        """Nothing."""


class InheritedTransport(Transport):
    """Has a descriptor and can close it; any other call raises an EngineError."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        raise refusal()


def register(loop: Loop) -> None:
    """Have `loop` leave its parent's alone in the child of every later fork."""
    remember(_loops, loop)


def registered() -> list[Loop]:
    """The registered loops that still exist."""
    return living(_loops)


def leave(loop: Loop) -> None:
    """In the child of a fork: leave nothing that could touch what belongs to the parent. A run that is
    under way ends, as a stopped one does, when the handler that forked returns: by EngineError."""
    if isinstance(loop.engine, InheritedEngine):
        return  # it has been so since an earlier fork
    loop.engine = InheritedEngine(loop.engine)
    loop.waker.forked(loop.engine)
    for dispatch in living(loop.handlers._users):
        dispatch.silence()
    for channel in loop.channels():
        channel.dispatch = DEAF
        if channel.task is not None:
            channel.task.forked()
        if channel.transport is not None:
            channel.set_transport(InheritedTransport(channel.transport.sock))
    for socket in loop.kept_sockets.values():
        if socket._connection is not None:
            socket._connection.transport = InheritedTransport(socket._connection.transport.sock)
    loop.callbacks.clear()
    if loop.executing:
        loop.callbacks.append((loop.check_fork, ()))  # instead of what was posted
        loop.stopping = loop.interrupt = True
        loop.executing = loop.thread_id == loop.ident()  # else nobody is here to go on


def _forked() -> None:
    for loop in registered():
        leave(loop)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
