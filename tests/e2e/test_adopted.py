"""Connections that somebody else opened."""

from __future__ import annotations

import socket

import pytest

from evsockets import (
    ClientSocket,
    MarkerFramePicker,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.life import END, USUAL
from support.service import Peers, Service
from support.wire import add, pair, peer, read_to_end, talk


def test_an_adopted_connection(executor: RequestExecutor) -> None:
    with peer(read_to_end) as server:
        sock = socket.create_connection(("127.0.0.1", server.port))
        client = ClientSocket.from_socket(sock)
        assert sock.fileno() == -1 and client.fileno() >= 0
        log = talk(executor, None, WriteOperation(b"x"), socket=client)
    assert server.results == [b"x"]
    assert log.metadata.address == server.url()
    assert log.names == [*USUAL, "WRITE", *END]
    assert client.fileno() == -1


def test_an_adopted_pair_has_no_names(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        log = talk(executor, None, WriteOperation(b"x"), socket=client)
    assert log.metadata.remote_address is None and log.errors == []


def test_an_adopted_socket_closed_before_its_start() -> None:
    client, theirs = pair()
    with theirs:
        client.close()
        assert client.fileno() == -1 and theirs.recv(1) == b""


@pytest.mark.parametrize("how", ["listener", "connection"])
def test_a_descriptor_passed_over_a_unix_socket(executor: RequestExecutor, how: str) -> None:
    """What another process hands over serves like one's own."""
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as listener, Peers() as peers:
        where = listener.getsockname()
        peers.stream(where, b"line\n")
        accepted, _ = listener.accept() if how == "connection" else (None, None)
        passed = listener if accepted is None else accepted
        socket.send_fds(theirs, [b"!"], [passed.fileno()])
        passed.close()
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        adopted = socket.socket(fileno=descriptors[0])
        if how == "listener":
            Service(executor, None, server=ServerSocket.from_socket(adopted))
        else:
            on = {"READ": lambda event: event.next_is_write(event.frame.data)}
            picker = MarkerFramePicker(None, b"\n")
            add(executor, None, ReadOperation(picker), socket=ClientSocket.from_socket(adopted), on=on)
        executor.execute_request()
        assert read_to_end(peers[0]) == b"line\n"
