"""Delayed operations: whose events ask them, and what belongs to them."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    DelayedOperation,
    NullOperation,
    ReadOperation,
    RequestExecutor,
    WriteOperation,
)
from support.life import USUAL
from support.wire import Log, add, pair, peer, read_to_end


@pytest.mark.parametrize("what", ["connected", "ended", "failed"])
def test_events_nobody_listens_to_count(executor: RequestExecutor, unused_port: int, what: str) -> None:
    """The other socket has no handler at all, and its metadata is what the delay waits for."""
    waiting, theirs = pair()
    with peer(read_to_end) as server, theirs:
        port = unused_port if what == "failed" else server.port
        other = executor.socket_bag.add_socket(
            ClientSocket(), ReadOperation(), address=f"tcp://localhost:{port}", io_timeout=0.05
        )

        def pending(*args: Any) -> bool:
            return other.connection_finish_time is None if what == "connected" else not other.request_complete

        delayed = DelayedOperation(WriteOperation(b"x"), pending)
        log = add(executor, None, delayed, socket=waiting, request_timeout=10)
        executor.execute_request()
        assert log.timeouts == [] and theirs.recv(10) == b"x"
        if what == "failed":  # the server's only client did not come
            socket.create_connection(server.name).close()


@pytest.mark.parametrize("how", ["forget_socket", "set_operation"])
def test_what_is_held_back_is_part_of_it(executor: RequestExecutor, how: str) -> None:
    """Forgotten or given another operation while delayed, the socket still does what was held back."""
    ours, theirs = pair()
    opened: list[bool] = []
    log = Log()

    def on_connected(event: Any) -> None:
        executor.call_soon_threadsafe(meanwhile)

    def meanwhile() -> None:
        if how == "forget_socket":
            executor.socket_bag.forget_socket(ours)
        else:
            executor.socket_bag.set_operation(ours, WriteOperation(b"next", then=NullOperation()))
            log.metadata.keep_alive = False
        executor.call_soon_threadsafe(opened.append, True)

    with theirs:
        held = WriteOperation(b"held,", then=WriteOperation(b"then"))
        delayed = DelayedOperation(held, lambda *args: not opened)
        log.metadata = executor.socket_bag.add_socket(
            ours, delayed, keep_alive=True, handler=log.handler({"CONNECTED": on_connected})
        )
        executor.execute_request()
        if how == "forget_socket":
            assert log.names == [*USUAL, "WRITE", "FINALIZE"]
            assert theirs.recv(20) == b"held,"
            ours.close()
        else:
            assert log.names == [*USUAL, "WRITE", "WRITE", "DISCONNECTED", "FINALIZE"]
            assert read_to_end(theirs) == b"held,next"
