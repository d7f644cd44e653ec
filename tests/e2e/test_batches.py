"""Reading in batches over real sockets, and by datagrams."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from core.test_batches import *  # noqa: F403
from core.test_batches import LINES
from evsockets import ClientSocket, FrameBatch, FrameError, RequestExecutor
from support.wire import talk as hold


@pytest.mark.parametrize(
    ("data", "frames"), [(b"a\nb\n", [b"a\n", b"b\n"]), (b"a\nb", [b"a\n"]), (b"", [b""]), (b"ab", None)]
)
def test_a_datagram_is_one_batch_at_most(executor: RequestExecutor, data: bytes, frames: Any) -> None:
    """What is left of it is dropped; an empty one is an empty frame."""
    ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM)
    with theirs:
        theirs.send(data)
        theirs.send(b"next\n")

        def read(event: Any) -> None:
            if event.frame.data != b"next\n":
                event.next_is(LINES)

        log = hold(executor, None, LINES, socket=ClientSocket.from_socket(ours), on={"READ": read})
    if frames is None:
        assert isinstance(log.error, FrameError)
    else:
        got = [event.frame for event in log.of("READ")]
        assert all(type(frame) is FrameBatch for frame in got)
        assert [[each.data for each in frame.frames] for frame in got] == [frames, [b"next\n"]]
