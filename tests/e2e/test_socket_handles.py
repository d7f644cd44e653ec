"""What a socket tells about itself, before, in and after its life."""

from __future__ import annotations

import os
import socket
from typing import Any

from evsockets import (
    ClientSocket,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.wire import peer, read_to_end, talk


def test_kinds_and_reprs(executor: RequestExecutor) -> None:
    client, server = ClientSocket(), ServerSocket()
    assert client.is_client and not client.is_server
    assert server.is_server and not server.is_client
    assert repr(client) == "<ClientSocket closed>" and client.fileno() == -1 and not client.is_connected
    shown: list[str] = []
    with peer(read_to_end) as running:

        def look(event: Any) -> None:
            assert event.socket.is_connected and event.socket.fileno() >= 0
            shown.append(repr(event.socket))

        talk(executor, running.url(), WriteOperation(b"x"), socket=client, on={"WRITE": look})
        assert running.url() in shown[0]
    assert client.fileno() == -1 and not client.is_connected


def test_opening_makes_it_non_blocking(executor: RequestExecutor) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(True)
    client = ClientSocket.from_socket(ours)
    modes: list[bool] = []

    def blocking(event: Any) -> None:
        modes.append(os.get_blocking(event.socket.fileno()))

    with theirs:
        talk(executor, None, WriteOperation(b"x"), socket=client, on={"WRITE": blocking})
    assert modes == [False]
