"""What a connection keeps in memory while it waits: the bytes that are left to be read or sent."""

from __future__ import annotations

import contextlib
import socket
import tracemalloc
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    Conversation,
    DelayedOperation,
    EventType,
    FixedLengthFramePicker,
    LengthPrefixedFramePicker,
    MarkerFramePicker,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    WriteOperation,
    fan_out,
)
from evsockets.engines.base import READ
from support.certificates import Authority, server_side
from support.greeter import LINE as GREETING_LINE
from support.greeter import greeter
from support.machine import MIB
from support.service import LINE
from support.wire import peer, tls_script

#: A frame nearly as large as one receive brings.
LARGE = 60_000
MANY = 30
TALKS = 200


class Takes(Operation):
    """An operation of a user's own: takes what came first, and waits for more."""

    interest = READ

    def step(self, channel: Any, mask: int) -> Operation | None:
        channel.recv()
        channel.inbox.take(LARGE)
        return None if channel.ended else self


FIXED = ReadOperation(FixedLengthFramePicker(LARGE))
MARKED = ReadOperation(MarkerFramePicker(None, b"!"))
PREFIXED = ReadOperation(LengthPrefixedFramePicker())
#: What is done first, and what a READ handler names.
WAYS: dict[str, tuple[Operation, Operation | None]] = {
    "fixed": (FIXED, FIXED),
    "marked": (MARKED, MARKED),
    "prefixed": (PREFIXED, PREFIXED),
    "then delayed": (FIXED, DelayedOperation(ReadOperation(), lambda *_: True)),
    "both directions": (ReadWriteOperation(operations=[FIXED, FIXED]), None),
    "an own operation": (Takes(), None),
    "forgotten": (FIXED, None),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_byte_left_over_of_a_large_chunk_keeps_only_itself(executor: RequestExecutor, way: str) -> None:
    first, named = WAYS[way]
    arrived = (LARGE - 4).to_bytes(4, "big") + bytes(LARGE - 5) + b"!" + b"y"

    def on_read(event: Any) -> None:
        event.next_operation = named
        if way == "forgotten":
            executor.socket_bag.forget_socket(event.socket)

    with contextlib.ExitStack() as stack:
        peers, clients = [], []
        for _ in range(MANY):
            ours, theirs = socket.socketpair()
            peers.append(stack.enter_context(theirs))
            clients.append(ClientSocket.from_socket(ours))
            executor.socket_bag.add_socket(
                clients[-1], first, keep_alive=way == "forgotten", handler={EventType.READ: on_read}
            )
        executor.start_request()
        executor.turn()
        tracemalloc.start()
        for theirs in peers:
            theirs.sendall(arrived)
        turns = 5
        while turns and executor.turn():
            turns -= 1
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        if executor.is_executing:
            executor.stop_request()
            executor.turn()
        for client in clients:
            client.close()
    assert kept < MANY * LARGE // 4


@pytest.mark.parametrize(
    "way", ["alone", "a view", "of an iterable", "both directions", "behind others", "over tls"]
)
def test_a_large_write_is_not_copied(executor: RequestExecutor, ca: Authority, way: str) -> None:
    size = 32 * MIB
    data = bytes(size)

    def script(sock: socket.socket) -> int:
        sock.sendall(b"one\ntwo\n" if way == "behind others" else b"")
        room = bytearray(1 << 18)
        received = 0
        while count := sock.recv_into(room):
            received += count
        return received

    def answer(event: Any) -> None:
        event.next_is_write(bytes(LARGE), ReadOperation(LINE))
        if event.frame.data == b"two\n":
            event.next_is_write(data)

    secure = way == "over tls"
    operation: Operation = WriteOperation(memoryview(data) if way == "a view" else data)
    more = 0
    if way == "of an iterable":
        operation = WriteOperation([b"x", data])
        more = 1
    elif way == "both directions":
        operation = ReadWriteOperation(operations=map(WriteOperation, [b"x" * LARGE, data, b"x"]))
        more = LARGE + 1
    elif way == "behind others":
        operation = ReadOperation(LINE)
        more = LARGE
    with peer(tls_script(server_side(ca), script) if secure else script, receive_buffer=8192) as server:
        executor.socket_bag.add_socket(
            ClientSocket(), operation, address=server.url("tls" if secure else "tcp"),
            stream_context={"ca_file": ca.ca_file} if secure else {"send_buffer_size": 8192},
            handler={EventType.READ: answer},
        )  # fmt: skip
        tracemalloc.start()
        executor.execute_request()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert server.results == [size + more]
    assert most < size // 4


def test_a_waiting_conversation_takes_little_more_than_a_waiting_read(engine: str) -> None:
    """Held by `fan_out`, at most 1.2 KiB more than a socket of handlers that waits for the same."""
    waiting: list[int] = []

    def waits(executor: RequestExecutor, many: int) -> None:
        waiting.append(tracemalloc.get_traced_memory()[0])
        if len(waiting) == many:
            executor.stop_request()

    async def wait(talk: Conversation, many: int) -> None:
        await talk.read(GREETING_LINE)
        waits(talk.executor, many)
        await talk.read(GREETING_LINE)

    def conversations(url: str, many: int) -> None:
        for _ in fan_out(wait, [url] * many, args=(many,), limit=many, engine=engine):
            pass

    def handlers(url: str, many: int) -> None:
        def on_read(event: Any) -> None:
            event.next_is_read(GREETING_LINE)
            waits(event.executor, many)

        with RequestExecutor(engine) as executor:
            for _ in range(many):
                executor.socket_bag.add_socket(
                    ClientSocket(), ReadOperation(GREETING_LINE), address=url, on_read=on_read
                )
            executor.execute_request()

    def taken(style: Any, url: str) -> int:
        """By as many again, so that what there is once does not count."""
        found = []
        for many in (2, TALKS, 2 * TALKS):
            waiting.clear()
            tracemalloc.start()
            style(url, many)
            tracemalloc.stop()
            found.append(waiting.pop())
        return found[2] - found[1]

    with greeter() as server:
        more = taken(conversations, server.url) - taken(handlers, server.url)
    assert more < 1.2 * 1024 * TALKS
