"""Nothing is left of sockets that have come and gone: no memory, no descriptors, no threads, no watches."""

from __future__ import annotations

import gc
import os
import socket
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EventType,
    FixedLengthFramePicker,
    ReadOperation,
    RemoveFinishedSocketsEventHandler,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.certificates import Authority
from support.command import HANGS
from support.machine import resident
from support.stage import unanswered

#: Sockets in a life at the same time.
WAVE = 200


class Levels:
    """How much there is of everything, when the garbage is gone."""

    def __init__(self) -> None:
        gc.collect()
        self.blocks = sys.getallocatedblocks()
        self.descriptors = len(os.listdir("/proc/self/fd"))
        self.threads = threading.active_count()
        self.resident = resident()

    @classmethod
    def settled(cls, before: Levels, sockets: int) -> Levels:
        """What there is when the last look-up's thread, which the run does not wait for, has gone, too."""
        until = time.monotonic() + HANGS
        while (levels := cls()).blocks - before.blocks >= sockets // 50 and time.monotonic() < until:
            time.sleep(0.01)
        return levels

    def same_as(self, before: Levels, sockets: int) -> None:
        """Not even one memory block for every fifty sockets."""
        assert self.descriptors == before.descriptors
        assert self.threads == before.threads
        assert self.blocks - before.blocks < sockets // 50
        assert self.resident - before.resident < 8 << 20


def waves(executor: RequestExecutor, total: int, wave: Callable[[], None]) -> None:
    """Levels after a tenth and after all of them are the same."""
    before: Levels | None = None
    for number in range(total // WAVE):
        if number == total // WAVE // 10:
            before = Levels()
        wave()
        executor.execute_request()
    assert before is not None
    assert len(executor.socket_bag) == 0
    Levels.settled(before, total).same_as(before, total)


def test_a_hundred_thousand_sockets(executor: RequestExecutor) -> None:
    """Each with a write and a read, added two hundred at a time. Fewer on other engines, which have no part
    in their lives."""
    total = 100_000 if executor.engine.name == "selectors" else 20_000
    operation = WriteOperation(b"?", then=ReadOperation(FixedLengthFramePicker(1)))
    ended = [0]
    peers: list[socket.socket] = []

    def read(event: Any) -> None:
        ended[0] += event.frame.data == b"!"

    executor.with_event_handler(RemoveFinishedSocketsEventHandler())
    handler = {EventType.READ: read}

    def wave() -> None:
        for theirs in peers:
            theirs.close()
        peers.clear()
        for _ in range(WAVE):
            ours, theirs = socket.socketpair()
            theirs.send(b"!")
            peers.append(theirs)
            executor.socket_bag.add_socket(ClientSocket.from_socket(ours), operation, handler=handler)

    try:
        waves(executor, total, wave)
    finally:
        for theirs in peers:
            theirs.close()
    assert ended == [total]


def test_connects_that_fail(engine: str) -> None:
    """Refused, all of a race refused, unknown, timed out, cancelled: neither the errors nor their tracebacks
    hold on to anything."""
    ended = Counter[str]()

    def resolve(host: str, port: int, *_: Any) -> list[tuple[Any, ...]]:
        if host == "nobody.test":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        both = ("127.0.0.1", "127.0.0.2")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in both]

    def cancel(event: Any) -> None:
        if event.user_context == "cancelled":
            event.cancel_operation()

    def end(event: Any) -> None:
        ended[event.user_context] += 1

    handler = {EventType.INITIALIZE: cancel, EventType.EXCEPTION: end, EventType.TIMEOUT: end}
    read = ReadOperation()
    # Bound and not listening: of thousands of connects to a free port one may get it as its own and reach
    # itself.
    with (
        socket.socket() as deaf, unanswered() as hole, RequestExecutor(engine, resolver=resolve) as executor,
    ):  # fmt: skip
        deaf.bind(("0.0.0.0", 0))
        port = deaf.getsockname()[1]
        refused = f"tcp://127.0.0.1:{port}"
        executor.with_event_handler(RemoveFinishedSocketsEventHandler())
        kinds = {
            "refused": refused, "race": f"tcp://two.test:{port}", "unknown": "tcp://nobody.test:80",
            "late": hole, "cancelled": refused,
        }  # fmt: skip

        def wave() -> None:
            for kind, address in list(kinds.items()) * (WAVE // len(kinds)):
                executor.socket_bag.add_socket(
                    ClientSocket(), read, address=address, user_context=kind, handler=handler,
                    connection_timeout=0.001 if kind == "late" else 60,
                )  # fmt: skip

        waves(executor, 10_000, wave)
    assert ended == dict.fromkeys(("refused", "race", "unknown", "late"), 2000)


@pytest.mark.parametrize("scheme", ["tcp", "tls", "udp"])
def test_connections_made_and_accepted(executor: RequestExecutor, ca: Authority, scheme: str) -> None:
    """Both ends in one executor: connected by a name, served, time-outs armed, handlers of their own."""
    total = {"tcp": 10_000, "tls": 1_000, "udp": 10_000}[scheme]
    if executor.engine.name != "selectors":
        total //= 2
    wave = min(WAVE, total // 20)
    served = [0]
    left = [total]
    before: list[Levels] = []

    def start(port: int) -> None:
        for _ in range(wave):
            executor.socket_bag.add_socket(
                ClientSocket(), WriteOperation(b"?", then=ReadOperation(FixedLengthFramePicker(1))),
                handler={EventType.READ: lambda event: None, EventType.FINALIZE: finished(port)},
                address=f"{scheme}://127.0.0.1:{port}", io_timeout=60, connection_timeout=60,
                stream_context={"ca_file": ca.ca_file} if scheme == "tls" else None,
            )  # fmt: skip

    def finished(port: int) -> Callable[[Any], None]:
        def on_finalize(event: Any) -> None:
            executor.socket_bag.remove_socket(event.socket)
            left[0] -= 1
            if left[0] == 0:
                server.close()
            elif left[0] % wave == 0:
                if left[0] in (total - max(1, total // 10 // wave) * wave, wave):
                    before.append(Levels())
                start(port)

        return on_finalize

    def accept(event: Any) -> None:
        executor.socket_bag.add_socket(
            event.client_socket, ReadOperation(FixedLengthFramePicker(1)),
            handler={EventType.READ: serve},
        )  # fmt: skip

    def serve(event: Any) -> None:
        served[0] += 1
        event.next_is_write(b"!")

    server = ServerSocket()
    context = ca.server.settings
    executor.socket_bag.add_socket(
        server, ReadOperation(), address=f"{scheme}://127.0.0.1:0",
        handler={
            EventType.CONNECTED: lambda event: start(event.metadata.local_address[1]),
            EventType.ACCEPT: accept,
        },
        stream_context=context if scheme == "tls" else None,
    )  # fmt: skip
    executor.execute_request()
    assert served == [total] and left == [0]
    early, late = before
    assert late.threads == early.threads
    assert abs(late.descriptors - early.descriptors) <= wave  # some of the wave before may be ending yet
    assert late.blocks - early.blocks < max(total // 50, 3_000)
    assert late.resident - early.resident < 16 << 20


def test_nothing_is_left_after_close(engine: str) -> None:
    """Names looked up in threads, idle and forgotten connections: all gone with the executor."""
    before = Levels()
    gone: list[weakref.ref[Any]] = []

    def lookup(host: str, port: int, *more: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    def forget(event: Any) -> None:
        event.executor.socket_bag.forget_socket(event.socket)

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        with RequestExecutor(engine, resolver=lookup) as executor:
            for number in range(20):
                one = ClientSocket()
                executor.socket_bag.add_socket(
                    one, WriteOperation(b"x"), keep_alive=number % 2 == 0, idle_timeout=0.05,
                    address=f"tcp://host{number}.test:{listener.getsockname()[1]}",
                    handler={EventType.WRITE: forget} if number % 4 == 0 else None,
                )  # fmt: skip
                gone.append(weakref.ref(one))
            executor.execute_request()
            assert sum(one.is_connected for one in executor.socket_bag) == 5  # the forgotten ones
        gone.append(weakref.ref(executor))
        del executor, one
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread():
            thread.join(20)
    after = Levels()
    assert [ref() for ref in gone if ref() is not None] == []
    assert after.descriptors == before.descriptors and after.threads == before.threads
