"""Connections that somebody else opened."""

from __future__ import annotations

import socket

import pytest

from evsockets import (
    ClientSocket,
    ConnectionFailedError,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.wire import pair, peer, read_to_end, talk

USUAL = ["INITIALIZE", "CONNECTED"]
END = ["DISCONNECTED", "FINALIZE"]
FAILED = ["INITIALIZE", "EXCEPTION", "FINALIZE"]


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


def test_adopting_the_wrong_kind() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        with pytest.raises(ValueError):
            ServerSocket.from_socket(listener)
        listener.listen()
        with pytest.raises(ValueError):
            ClientSocket.from_socket(listener)
        assert listener.fileno() >= 0
    with pytest.raises(OSError):
        ClientSocket.from_socket(listener)


def test_an_adopted_socket_that_is_not_connected(executor: RequestExecutor) -> None:
    log = talk(executor, None, ReadOperation(), socket=ClientSocket.from_socket(socket.socket()))
    assert isinstance(log.error, ConnectionFailedError) and log.names == FAILED


def test_an_adopted_socket_closed_before_its_start() -> None:
    client, theirs = pair()
    with theirs:
        client.close()
        assert client.fileno() == -1 and theirs.recv(1) == b""
