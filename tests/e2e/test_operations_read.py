"""Reading over real sockets, and what only they have: datagrams."""

from __future__ import annotations

import socket

import pytest

from core.test_operations_read import *  # noqa: F403
from core.test_operations_read import Own, refuse
from evsockets import ClientSocket, FrameError, ReadOperation, RequestExecutor
from support.wire import talk as hold


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
