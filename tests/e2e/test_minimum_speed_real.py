"""Downloads and uploads that are too slow, on real clocks. Exactly, on the scripted engine: tests/core."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    RequestExecutor,
    SlowTransferError,
    WriteOperation,
)
from support.certificates import Authority
from support.clients import Get, begin
from support.life import END, USUAL
from support.servers import Nginx
from support.wire import peer, talk

WINDOW = 0.3
HUGE = 1 << 30
RECEIVE = {"min_receive_speed": 1 << 20, "min_receive_speed_duration": WINDOW}
SEND = {"min_send_speed": 1 << 20, "min_send_speed_duration": WINDOW}


def until_gone(*steps: Any) -> Any:
    """A peer that takes `steps` (callables given the socket) again and again until its client goes."""

    def script(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for step in itertools.cycle(steps):
                if step(sock) == b"":
                    return

    return script


def pause(seconds: float) -> Any:
    return lambda sock: threading.Event().wait(seconds)


def too_slow(log: Any, direction: str, *before: str) -> SlowTransferError:
    error = log.error
    assert isinstance(error, SlowTransferError), error
    assert error.direction == direction and error.duration == WINDOW
    assert 0 <= error.speed < 1 << 20
    assert log.names == [*USUAL, *before, "EXCEPTION", *END]
    return error


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_slow_download(executor: RequestExecutor, nginx: Nginx, ca: Authority, scheme: str) -> None:
    """A file at 8 KiB a second, headers by their marker first; the live speed is there to be shown."""
    speeds: list[float] = []
    get = Get("/slow", consume=lambda data: speeds.append(log.metadata.receive_speed))
    port = nginx.http if scheme == "tcp" else nginx.https
    one = ClientSocket()
    log = begin(
        executor, get, f"{scheme}://localhost:{port}", socket=one,
        stream_context={"ca_file": ca.ca_file} if scheme == "tls" else None, io_timeout=20, **RECEIVE,
    )  # fmt: skip
    began = time.monotonic()
    executor.execute_request()
    assert time.monotonic() - began >= WINDOW
    assert get.status == 200 and get.finished == 1
    error = get.failure
    assert isinstance(error, SlowTransferError) and error.direction == "receive" and error.socket is one
    assert error.speed < 1 << 20
    assert all(speed >= 0 for speed in speeds)


def test_slow_upload(executor: RequestExecutor) -> None:
    """With an absurd minimum for receiving, too, which does not matter while only sending."""
    slowly = until_gone(lambda sock: sock.recv(1000), pause(0.02))
    absurd = {"min_receive_speed": 1e15, "min_receive_speed_duration": 0.01}
    with peer(slowly, receive_buffer=8192) as server:
        log = talk(
            executor, server.url(), WriteOperation(itertools.repeat(bytes(4096))), **SEND, **absurd,
            stream_context={"send_buffer_size": 8192},
        )  # fmt: skip
    too_slow(log, "send", "WRITE")
