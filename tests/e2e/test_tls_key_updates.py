"""A TLS 1.3 peer may ask for new keys as often as it likes; what it does not read is answered no further."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

import evsockets.transports.tls_records as tls
from evsockets import (
    Operation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ServerSocket,
    StreamContext,
    WriteOperation,
)
from support.certificates import Authority
from support.key_updates import KeyUpdater
from support.machine import until
from support.service import LINE
from support.wire import PATIENCE, Log, add, turns_to_the_end, turns_until

LIMIT = BUFFER = 20_000
# What one receive brings is answered in any case, each request with as many bytes.
BOUND = LIMIT + 2 * 65_536


def operations(kind: str) -> Operation:
    if kind == "reading":
        return ReadOperation(LINE)
    return ReadWriteOperation(kind == "both, read first", [ReadOperation(LINE), WriteOperation(b"hello")])


@pytest.mark.parametrize("kind", ["reading", "both, read first", "both, write first"])
def test_answers_to_key_updates_are_bounded(
    executor: RequestExecutor, ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(tls, "_ANSWERS", LIMIT)
    peer = KeyUpdater(tmp_path, ca.ca_file)
    log = Log()

    def on_accept(event: Any) -> None:
        log.metadata = event.executor.socket_bag.add_socket(
            event.client_socket, operations(kind), handler=log.handler(), io_timeout=PATIENCE
        )

    listener = ServerSocket()
    context = StreamContext(
        certificate=ca.server.certificate, private_key=ca.server.private_key,
        receive_buffer_size=BUFFER, send_buffer_size=BUFFER,
    )  # fmt: skip
    server = add(
        executor, "tls://127.0.0.1:0", ReadOperation(), socket=listener, stream_context=context,
        on={"ACCEPT": on_accept}, io_timeout=None,
    )  # fmt: skip
    executor.start_request()
    turns_until(executor, lambda: server.metadata.local_address)
    with socket.socket() as sock:
        for direction in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, direction, BUFFER)
        sock.connect(server.metadata.local_address)
        sock.setblocking(False)
        for _ in until():
            done, data = peer.handshake()
            if data:
                sock.sendall(data)
            executor.turn(0.01)
            if done:
                break
            peer.received(receive(sock))
        turns_until(executor, lambda: "CONNECTED" in log.names)
        transport = log.events[0].socket._channel.transport
        unsent = b""
        stuck = 0
        for _ in until(what="the peer's requests are taken no more"):
            unsent = unsent or peer.updates(1000)
            try:
                unsent = unsent[sock.send(unsent) :]
                stuck = 0
            except BlockingIOError:
                stuck += 1
            executor.turn(0)
            assert transport.unflushed < BOUND
            if stuck == 20:
                break
        assert executor.engine.poll(0) == []  # and nothing is asked for nothing meanwhile
        # The peer reads: everything goes on where it was.
        unsent += peer.data(b"a line\n")
        for _ in until(lambda: "READ" in log.names):
            if unsent:
                try:
                    unsent = unsent[sock.send(unsent) :]
                except BlockingIOError:
                    pass
            executor.turn(0)
            peer.received(receive(sock))
            peer.read()
        assert log.frames == [b"a line\n"] and not log.errors
        executor.stop_request()
        if executor.is_executing:
            turns_to_the_end(executor, 0)


def receive(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except BlockingIOError:
        return b""
