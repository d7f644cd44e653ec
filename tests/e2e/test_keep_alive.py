"""Connections that outlive a request over real sockets; their next life, in another executor too."""

from __future__ import annotations

import socket

import pytest

from core.test_keep_alive import *  # noqa: F403
from core.test_keep_alive import forget
from evsockets import (
    ClientSocket,
    NullOperation,
    PersistentClientSocket,
    ReadOperation,
    RequestExecutor,
    WriteOperation,
)
from support.life import END, USUAL
from support.service import LINE
from support.wire import pair, peer, read_to_end
from support.wire import talk as hold


def test_the_next_life_may_want_urgent_bytes(executor: RequestExecutor) -> None:
    def script(sock):
        sock.recv(1)
        sock.send(b"!", socket.MSG_OOB)
        sock.sendall(b"line\n")
        return read_to_end(sock)

    client = ClientSocket()
    with peer(script) as server:
        hold(
            executor, server.url(), NullOperation(), socket=client, keep_alive=True, on={"CONNECTED": forget}
        )
        write = WriteOperation(b"x", then=ReadOperation(LINE))
        log = hold(executor, server.url(), write, socket=client, oob=True)
    assert log.names == ["INITIALIZE", "WRITE", "OOB", "READ", *END] and log.frames == [b"line\n"]


def test_another_address_closes_the_connection(executor: RequestExecutor) -> None:
    client = ClientSocket()
    with peer(read_to_end) as one, peer(read_to_end) as two:
        hold(executor, one.url(), WriteOperation(b"1"), socket=client, keep_alive=True, on={"WRITE": forget})
        assert client.is_connected
        log = hold(executor, two.url(), WriteOperation(b"2"), socket=client)
    assert log.names == [*USUAL, "WRITE", *END]
    assert (one.results, two.results) == ([b"1"], [b"2"])


@pytest.mark.parametrize("kind", [ClientSocket, PersistentClientSocket])
def test_an_end_met_by_the_read_in_hand_ends_a_forgotten_socket(
    executor: RequestExecutor, kind: type
) -> None:
    """There is no connection left to let go of, and the next life has a new one."""
    lives = []

    def script(sock):
        if lives:
            sock.sendall(b"fresh")

    client = kind()
    with peer(script, count=2) as server:
        log = hold(
            executor, server.url(), ReadOperation(), socket=client, keep_alive=True,
            on={"CONNECTED": lambda event: executor.socket_bag.forget_socket(client)},
        )  # fmt: skip
        assert log.names == [*USUAL, *END] and not client.is_connected
        lives.append(log)
        log = hold(executor, server.url(), ReadOperation(), socket=client, keep_alive=True)
    assert log.names == [*USUAL, "READ", *END] and log.frames == [b"fresh"]


def test_closing_the_executor_that_forgot_it_leaves_its_next_life_alone(engine: str) -> None:
    client, theirs = pair()
    with theirs, RequestExecutor(engine) as one, RequestExecutor(engine) as two:
        log = hold(
            one, None, WriteOperation(b"1"), socket=client, keep_alive=True,
            on={"CONNECTED": lambda event: one.socket_bag.forget_socket(client)},
        )  # fmt: skip
        assert log.names == [*USUAL, "WRITE", "FINALIZE"]

        def on_write(event):
            one.close()
            event.next_is_read()
            theirs.sendall(b"!")

        log = hold(two, None, WriteOperation(b"2"), socket=client, on={"WRITE": on_write})
        assert log.names == ["INITIALIZE", "WRITE", "READ", *END] and log.frames == [b"!"]
        assert read_to_end(theirs) == b"12"
