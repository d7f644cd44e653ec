"""The shipped pickers of protocols over real sockets, and on datagrams."""

from __future__ import annotations

import socket
from typing import Any

from core.test_shipped_pickers import *  # noqa: F403
from core.test_shipped_pickers import Row, each
from evsockets import (
    BatchFramePicker,
    ClientSocket,
    DatagramOperation,
    FrameError,
    LineFramePicker,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
)
from support.wire import Log
from support.wire import talk as hold


@each
def test_a_frame_never_spans_datagrams(executor: RequestExecutor, row: Row) -> None:
    """What is left of a datagram is dropped; one without a whole frame is an error."""
    for batched in (False, True):
        read = ReadOperation(BatchFramePicker(row.picker) if batched else row.picker)
        ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM)
        with theirs:
            for data in (row.sent[0] + row.begun, b"".join(row.sent), row.begun):
                theirs.send(data)

            def next_one(event: Any, read: ReadOperation = read) -> None:
                event.next_is(read)

            log = hold(executor, None, read, socket=ClientSocket.from_socket(ours), on={"READ": next_one})
        assert log.frames == [row.told[0], b"".join(row.told) if batched else row.told[0]]
        assert isinstance(log.error, FrameError) and log.error.partial is not None
        assert log.error.partial.data == row.begun


@each
def test_a_datagram_that_is_none(executor: RequestExecutor, row: Row) -> None:
    ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM)
    with theirs:
        theirs.send(row.bad)
        log = hold(executor, None, ReadOperation(row.picker), socket=ClientSocket.from_socket(ours))
    assert isinstance(log.error, FrameError) and log.error.picker is row.picker


def test_a_datagram_server_looks_at_each_alone(executor: RequestExecutor) -> None:
    log = Log()

    def connected(event: Any) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            for data in (b"one\r\ntwo", b"thr", b"ee\n"):
                peer.sendto(data, event.metadata.local_address)

    def read(event: Any) -> None:
        if event.frame.data == b"ee":
            event.cancel_operation()

    executor.socket_bag.add_socket(
        ServerSocket(), DatagramOperation(LineFramePicker()), address="udp://127.0.0.1:0",
        handler=log.handler({"CONNECTED": connected, "READ": read}),
    )  # fmt: skip
    executor.execute_request()
    assert log.frames == [b"one", b"ee"] and isinstance(log.error, FrameError)
