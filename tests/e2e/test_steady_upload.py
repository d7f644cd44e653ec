"""A peer that reads slowly but steadily is no stall, though our kernel takes nothing for longer than that.

Exactly, on a clock that only the engine moves: tests/core/test_acknowledged.py.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import Operation, ReadOperation, ReadWriteOperation, RequestExecutor, WriteOperation
from support.certificates import Authority
from support.machine import until
from support.tls import contexts
from support.wire import Log, add, peer, quietly, talk, tls_script

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no other kernel is asked")

LIMIT = 0.6
STEADY = 2 * LIMIT  # how long the peer reads a little at a time, before it takes everything
SIZE = 8_000_000
SHARE = 131_072  # bytes after which the peer's kernel has told of more room, however little it keeps
KINDS: dict[str, Callable[[], Operation]] = {
    "large": lambda: WriteOperation(bytes(SIZE)),
    "iterable": lambda: WriteOperation(itertools.repeat(bytes(10_000), SIZE // 10_000)),
    "then read": lambda: WriteOperation(bytes(2_000_000), then=ReadOperation()),
    "duplex": lambda: ReadWriteOperation(False, [WriteOperation(bytes(SIZE)), ReadOperation()]),
}


class Reader:
    """Reads 20,000 bytes every fiftieth of a second, then everything, and says how steadily it did."""

    def __init__(self) -> None:
        self.longest = 0.0  # seconds for a share
        self.total = 0

    def __call__(self, sock: socket.socket) -> None:
        began = now = last = time.monotonic()
        mark = SHARE
        try:
            while data := sock.recv(20_000 if now < began + STEADY else 1_000_000):
                self.total += len(data)
                now = time.monotonic()
                if self.total >= mark:
                    mark = self.total + SHARE
                    self.longest = max(self.longest, now - last)
                    last = now
                if now < began + STEADY:
                    time.sleep(0.02)
                elif self.total in (2_000_000, SIZE):  # it may be a question, which is answered
                    sock.sendall(b"!")
        finally:
            self.longest = max(self.longest, time.monotonic() - last)


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_steady_reader_is_no_stall(executor: RequestExecutor, ca: Authority, scheme: str) -> None:
    """Each kind of upload to a reader of its own, all at the same time."""
    uploads: list[tuple[Reader, Log]] = []
    with contextlib.ExitStack() as stack:
        for make in KINDS.values():
            reader = Reader()
            script: Any = tls_script(contexts(ca)[1], reader) if scheme == "tls" else reader
            far = stack.enter_context(peer(quietly(script), receive_buffer=65_536))
            log = add(
                executor, far.url(scheme, "localhost"), make(), io_timeout=LIMIT,
                min_send_speed=200_000, min_send_speed_duration=LIMIT,
                stream_context={"ca_file": ca.ca_file} if scheme == "tls" else None,
            )  # fmt: skip
            uploads.append((reader, log))
        executor.execute_request()
    for kind, (reader, log) in zip(KINDS, uploads, strict=True):
        if reader.longest < 0.8 * LIMIT:  # else the peer was held up by other programs: perhaps a stall
            assert log.timeouts == [], kind
            assert not [error for error in log.errors if "speed" in str(error)], kind
            assert reader.total >= 2_000_000, kind


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_a_peer_that_reads_nothing_is_one(executor: RequestExecutor, ca: Authority, scheme: str) -> None:
    """Its kernel answers our kernel's window probes all the time."""
    released: list[Any] = []

    def script(sock: socket.socket) -> None:
        for _ in until(lambda: released):
            time.sleep(0.01)

    with peer(quietly(tls_script(contexts(ca)[1], script) if scheme == "tls" else script)) as far:
        moments: list[float] = []

        def late(event: Any) -> None:
            moments.append(time.monotonic() - began)
            released.append(event)

        began = time.monotonic()
        log = talk(
            executor, far.url(scheme, "localhost"), WriteOperation(bytes(SIZE)), io_timeout=LIMIT,
            on={"TIMEOUT": late, "EXCEPTION": released.append},
            stream_context={"ca_file": ca.ca_file} if scheme == "tls" else None,
        )  # fmt: skip
    assert log.timeouts == [("IO", "writing")]
    assert moments[0] >= LIMIT
