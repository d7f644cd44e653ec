"""The end of a run: nothing is held on to, and what a look-up brings then is too late."""

from __future__ import annotations

import gc
import socket
import threading
import time
import weakref
from typing import Any

import pytest

from core.test_run_end import *  # noqa: F403
from evsockets import (
    ClientSocket,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.wire import add, peer, read_to_end


def test_a_closed_executor_is_let_go(engine: str) -> None:
    with peer(read_to_end) as server:
        executor = RequestExecutor(engine)
        executor.socket_bag.add_socket(ClientSocket(), WriteOperation(b"x"), address=server.url())
        executor.execute_request()
        executor.close()
    known = weakref.ref(executor)
    del executor
    gc.collect()
    assert known() is None


@pytest.mark.parametrize("how", ["close", "stop"])
@pytest.mark.parametrize("kind", [ClientSocket, ServerSocket])
def test_a_name_found_when_the_end_was_asked_for_already(
    engine: str, unused_port: int, kind: Any, how: str
) -> None:
    """In one turn: a callback ends the socket or the run, and the next one brings the address."""
    asked, looked_up = threading.Event(), threading.Event()

    def resolver(host: str, port: int, *_: Any) -> list[Any]:
        assert asked.wait(20)
        executor.call_soon_threadsafe(sock.close if how == "close" else executor.stop_request)
        looked_up.set()
        where = "192.0.2.1" if kind is ServerSocket else "127.0.0.1"  # nobody's own: cannot be listened on
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (where, unused_port))]

    def busy() -> None:
        """Not until both are posted does the turn's next callback run."""
        asked.set()
        assert looked_up.wait(20)
        time.sleep(0.05)  # from there to the answer's own call there is nothing to wait for

    with RequestExecutor(engine, resolver=resolver) as executor:
        sock = kind()
        log = add(
            executor, f"tcp://name.test:{unused_port}", ReadOperation(), socket=sock,
            on={"INITIALIZE": lambda event: executor.call_soon_threadsafe(busy)},
        )  # fmt: skip
        executor.execute_request()
    assert log.names == ["INITIALIZE", "FINALIZE"]
