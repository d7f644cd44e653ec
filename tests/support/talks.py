"""Conversations on sockets of their own."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from evsockets import ConversationOperation, RequestExecutor
from support.wire import Log, add, pair


class Talks:
    """Conversations of one executor, each with a peer that says only what it `says` at first."""

    def __init__(self, executor: RequestExecutor, stack: ExitStack) -> None:
        self.executor = executor
        self._stack = stack
        self.peers: list[socket.socket] = []

    def add(self, function: Callable[..., Any], *args: Any, says: bytes = b"", **more: Any) -> Log:
        """Add a socket that runs `function(talk, *args)`; `more` as of `wire.add`."""
        ours, theirs = pair()
        self.peers.append(self._stack.enter_context(theirs))
        theirs.sendall(says)
        return add(self.executor, None, ConversationOperation(function, *args), socket=ours, **more)

    def result(self, function: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """What one returns, in a run of its own or with those that have been added."""
        log = self.add(function, *args, **more)
        self.executor.execute_request()
        assert "EXCEPTION" not in log.names, log.errors
        return log.metadata.result

    def results(self, *functions: Callable[..., Any]) -> list[Any]:
        """What each returns, in one run."""
        logs = [self.add(function) for function in functions[:-1]]
        last = self.result(functions[-1])
        assert [log.errors for log in logs] == [[]] * len(logs)
        return [*(log.metadata.result for log in logs), last]


@contextmanager
def talks(executor: RequestExecutor) -> Iterator[Talks]:
    """`Talks` whose peers are closed at the end."""
    with ExitStack() as stack:
        yield Talks(executor, stack)
