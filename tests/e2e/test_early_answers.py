"""Peers that answer and are gone, over real sockets: servers' clients, the pool, and urgent bytes too."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from core.test_early_answers import *  # noqa: F403
from core.test_early_answers import ADDRESSES, ANSWER, LOST, converse, lost, over, ping
from evsockets import PersistentClientSocket, ReadOperation, RequestExecutor, ServerSocket, WriteOperation
from support.conversation import READ_LINE, Talk, fixed, says_goodbye
from support.life import END, USUAL
from support.wire import Log, add, listening, reset
from support.wire import talk as hold


def test_an_urgent_byte(talk: Talk) -> None:
    one = converse(talk, "tcp", WriteOperation(b"!", out_of_band=True, then=READ_LINE), None)
    assert one.told.count(ANSWER) == 1


def test_a_peer_that_reads_no_more_and_sends_without_end(talk: Talk) -> None:
    """What it had sent when our send failed, and no more: the error is not put off for ever."""

    def shut(event: Any) -> None:
        one.peer.send(b"x" * 1000)
        one.peer.shutdown(socket.SHUT_RD)

    def on_read(event: Any) -> None:
        one.peer.send(b"x" * 1000)
        event.next_is(fixed(1000))

    one = talk.pair()
    on = {"CONNECTED": shut, "READ": on_read}
    one.live(ping(fixed(1000)), [], on, address=ADDRESSES["unix"])
    talk.run()
    assert one.told[3:-2] in ([b"x" * 1000, LOST], [b"x" * 1000] * 2 + [LOST]) and lost(one)


@over
def test_a_plain_socket_in_the_clients_place(talk: Talk, over: str) -> None:
    """The measure: what a blocking socket reads after its failed send."""
    one = talk.pair(over)
    sock: Any = one.client._adopted
    says_goodbye(one, ANSWER, over)
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        sock.send(b"PING\r\n")
    assert sock.recv(1000) == ANSWER


def test_a_server_hears_the_last_requests_of_a_client_that_is_gone(executor: RequestExecutor) -> None:
    log = Log()
    heard: list[bytes] = []

    def on_accept(event: Any) -> None:
        event.executor.socket_bag.add_socket(
            event.client_socket, WriteOperation(b"220 hello\r\n", then=READ_LINE),
            handler=log.handler({"READ": on_read, "FINALIZE": lambda event: event.executor.stop_request()}),
            io_timeout=20,
        )  # fmt: skip

    def on_read(event: Any) -> None:
        heard.append(event.frame.data)
        event.next_is_write(b"250 ok\r\n", then=READ_LINE)

    def listening(event: Any) -> None:
        client = socket.create_connection(event.metadata.local_address)
        client.sendall(b"HELO\nMAIL\nQUIT\n")
        reset(client)

    add(
        executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(),
        on={"CONNECTED": listening, "ACCEPT": on_accept}, io_timeout=None,
    )  # fmt: skip
    executor.execute_request()
    assert heard == [b"HELO\n", b"MAIL\n", b"QUIT\n"] and lost(log)


def test_a_pooled_connection_that_ended_that_way_is_not_handed_out(executor: RequestExecutor) -> None:
    with listening() as (listener, address):

        def refuse(event: Any) -> None:
            theirs, _ = listener.accept()
            theirs.sendall(ANSWER)
            reset(theirs)

        for _ in range(2):
            log = hold(
                executor, address, WriteOperation(b"PING\r\n", then=READ_LINE),
                socket=PersistentClientSocket(), on={"CONNECTED": refuse},
            )  # fmt: skip
            assert log.names == [*USUAL, "WRITE", "READ", "EXCEPTION", *END] and lost(log)
