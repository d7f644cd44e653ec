"""An executor in the child of a fork: it leaves what is its parent's alone, and its run ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..inherited import InheritedEngine, InheritedTransport
from ..weak import living
from .dispatch import DEAF
from .states import Phase

if TYPE_CHECKING:
    from .loop import Loop


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


def disown(loop: Loop) -> None:
    """In the child of a fork the run is over: close the copies."""
    for channel in loop.channels():
        if channel.transport is not None:
            channel.transport.abort()
        channel.socket._drop()
        channel.phase = Phase.COMPLETE
    loop.reset()
