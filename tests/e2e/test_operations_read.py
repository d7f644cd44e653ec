"""Reading over real sockets, and what only they have: datagrams."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import pytest

from core.test_operations_read import *  # noqa: F403
from core.test_operations_read import Own, refuse
from evsockets import ClientSocket, FrameError, ReadOperation, RequestExecutor
from evsockets.transports.plain import MOST_RECEIVED
from support.wire import add
from support.wire import talk as hold


def test_much_from_a_fast_peer_and_little_from_another(executor: RequestExecutor) -> None:
    """However large the chunks become, their bytes are right, kept ones too, and others have their turns."""
    data = os.urandom(1_000_000) * 16
    fast, source = socket.socketpair()
    slow, drops = socket.socketpair()
    source.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_000_000)
    kept: list[bytes] = []
    pings = 0

    def receive(event: Any) -> None:
        kept.append(event.frame.data)
        if sum(map(len, kept)) < len(data):
            event.next_is(event.operation)

    def answer(event: Any) -> None:
        nonlocal pings
        pings += 1
        event.next_is_write(event.frame.data, event.operation)

    def ping() -> None:
        while True:
            drops.sendall(b"x")
            if drops.recv(1) != b"x":
                break
            if done.is_set():
                drops.shutdown(socket.SHUT_WR)
                break

    done = threading.Event()
    with source, drops:
        sender = threading.Thread(target=source.sendall, args=(data,), daemon=True)
        pinger = threading.Thread(target=ping, daemon=True)
        add(
            executor, None, ReadOperation(), socket=ClientSocket.from_socket(fast),
            on={"READ": receive, "FINALIZE": lambda event: done.set()},
        )  # fmt: skip
        add(executor, None, ReadOperation(), socket=ClientSocket.from_socket(slow), on={"READ": answer})
        sender.start()
        pinger.start()
        executor.execute_request()
        sender.join()
        pinger.join()
    assert b"".join(kept) == data
    assert max(map(len, kept)) <= MOST_RECEIVED
    assert pings > 0


def test_a_pickers_errors_about_a_datagram(executor: RequestExecutor) -> None:
    for then in (lambda inbox: inbox.take(4), refuse):
        ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM)
        client, picker = ClientSocket.from_socket(ours), Own(then)
        with theirs:
            theirs.sendall(b"word")
            if then is refuse:
                log = hold(executor, None, ReadOperation(picker), socket=client)
                assert isinstance(log.error, FrameError) and log.error.partial is not None
                assert log.error.partial.data == b"word" and log.error.picker is picker
                assert log.error.socket is client
            else:
                with pytest.raises(TypeError, match="must return a Frame or None, got b'word'"):
                    hold(executor, None, ReadOperation(picker), socket=client)
