"""Whatever has a bounded share of a turn goes on where it stopped, with nothing new to wake it: cases end at
their bound, just before and just behind it, and at twice that."""

from __future__ import annotations

import array
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    NullOperation,
    Operation,
    PersistentClientSocket,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ServerSocket,
    StreamContext,
    TlsHandshakeOperation,
    WriteOperation,
)
from evsockets.transports.adopted import adopt
from evsockets.transports.tls import TlsTransport
from support.certificates import Authority
from support.life import FAILED, USUAL
from support.machine import until
from support.service import LINE
from support.tls import Far, contexts
from support.wire import PATIENCE, Log, add, pair, read_exactly, talk, turns_to_the_end, turns_until

AROUND_16 = [15, 16, 17, 32, 48]
AROUND_64 = [63, 64, 65, 128, 192]


def send_in_pieces(sock: socket.socket, data: bytes, pieces: int) -> None:
    """So that each takes a receive of its own: what carries a descriptor ends one, unix(7)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)  # each counts for more than its bytes
    for number in range(pieces):
        part = data[number * len(data) // pieces : (number + 1) * len(data) // pieces]
        sock.sendmsg([part], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))])


@pytest.mark.parametrize("pieces", AROUND_16)
def test_a_handshakes_first_flight_in_pieces(executor: RequestExecutor, ca: Authority, pieces: int) -> None:
    ours, theirs = socket.socketpair()
    made = contexts(ca)
    theirs.settimeout(PATIENCE)
    with theirs:
        far = Far(theirs, made[1], server_side=True)
        client = ClientSocket.from_socket(ours)
        operation = TlsHandshakeOperation(WriteOperation(b"x"), context=made[0], server_hostname="localhost")
        log = add(executor, None, operation, socket=client)
        executor.start_request()
        executor.turn(0)
        far.listen()
        send_in_pieces(theirs, far.flight(), pieces)
        turns_until(executor, lambda: "WRITE" in log.names or log.timeouts)
        assert log.names == [*USUAL, "WRITE"]
        far.listen()
        executor.stop_request()
        turns_to_the_end(executor, 0)


@pytest.mark.parametrize("pieces", AROUND_16)
def test_a_client_hello_in_pieces(
    executor: RequestExecutor, ca: Authority, pieces: int, tmp_path: Path
) -> None:
    path = str(tmp_path / "socket")
    made = contexts(ca)
    log = Log()

    def on_accept(event: Any) -> None:
        event.executor.socket_bag.add_socket(
            event.client_socket, TlsHandshakeOperation(ReadOperation(), context=made[1]),
            handler=log.handler(), io_timeout=PATIENCE,
        )  # fmt: skip

    add(executor, f"unix://{path}", ReadOperation(), socket=ServerSocket(), on={"ACCEPT": on_accept})
    executor.start_request()
    executor.turn(0)
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.settimeout(PATIENCE)
        theirs.connect(path)
        far = Far(theirs, made[0], server_side=False)
        send_in_pieces(theirs, far.flight(), pieces)
        theirs.setblocking(False)
        for _ in until():
            executor.turn(0.01)
            with contextlib.suppress(BlockingIOError):
                assert theirs.recv(65536)
                break
    executor.stop_request()
    turns_to_the_end(executor, 0)


@pytest.mark.parametrize("pieces", [*AROUND_16, 3, 4, 5, 6, 8, 9, 10])
def test_records_in_pieces(executor: RequestExecutor, ca: Authority, pieces: int) -> None:
    """Data within TLS, each record in so many pieces, behind session tickets in as many."""
    ours, theirs = socket.socketpair()
    made = contexts(ca, "TLSv1.3")
    theirs.settimeout(PATIENCE)
    with theirs:
        far = Far(theirs, made[1], server_side=True)
        operation = TlsHandshakeOperation(ReadOperation(LINE), context=made[0], server_hostname="localhost")
        log = add(executor, None, operation, socket=ClientSocket.from_socket(ours))
        executor.start_request()
        executor.turn(0)
        far.listen()
        theirs.sendall(far.flight())
        executor.turn(0)
        executor.turn(0)
        far.listen()
        tickets = far.flight()
        far.tls.write(b"x" * 1000 + b"\n")
        send_in_pieces(theirs, tickets, pieces)
        send_in_pieces(theirs, far.outgoing.read(), pieces)
        turns_to_the_end(executor)
    assert log.frames == [b"x" * 1000 + b"\n"] and not log.errors


@pytest.mark.parametrize("clients", AROUND_64)
def test_clients_that_wait_to_be_accepted(executor: RequestExecutor, clients: int) -> None:
    accepted: list[Any] = []

    def on_accept(event: Any) -> None:
        accepted.append(event.remote_address)
        if len(accepted) == clients:
            event.executor.stop_request()

    with ExitStack() as stack:

        def listening(event: Any) -> None:
            for _ in range(clients):
                stack.enter_context(socket.create_connection(event.metadata.local_address))

        log = talk(
            executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(),
            stream_context=StreamContext(backlog=1000), on={"CONNECTED": listening, "ACCEPT": on_accept},
        )  # fmt: skip
    assert len(accepted) == clients and not log.timeouts


@pytest.mark.parametrize("datagrams", AROUND_64)
def test_datagrams_that_wait(executor: RequestExecutor, datagrams: int) -> None:
    received: list[Any] = []

    def on_accept(event: Any) -> None:
        received.append(event.remote_address)
        if len(received) == datagrams:
            event.executor.stop_request()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

        def listening(event: Any) -> None:
            for number in range(datagrams):
                sender.sendto(b"%d" % number, event.metadata.local_address)

        log = talk(
            executor, "udp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(),
            on={"CONNECTED": listening, "ACCEPT": on_accept},
        )  # fmt: skip
    assert len(received) == datagrams and not log.timeouts


@pytest.mark.parametrize("frames", AROUND_64)
@pytest.mark.parametrize("how", ["one after the other", "answered", "both directions"])
def test_frames_of_one_chunk(executor: RequestExecutor, frames: int, how: str) -> None:
    client, theirs = pair()
    count = [0]

    def on_read(event: Any) -> None:
        count[0] += 1
        if how == "answered":
            event.next_is_write(b"ok\n", then=ReadOperation(LINE) if count[0] < frames else None)
        elif count[0] < frames and how != "both directions":
            event.next_is_read(LINE)

    first: Operation = ReadOperation(LINE)
    if how == "both directions":
        first = ReadWriteOperation(True, [ReadOperation(LINE) for _ in range(frames)])
    with theirs:
        theirs.sendall(b"x\n" * frames)
        log = talk(executor, None, first, socket=client, on={"READ": on_read})
        if how == "answered":
            assert read_exactly(theirs, 3 * frames) == b"ok\n" * frames
    assert log.frames == [b"x\n"] * frames and not log.timeouts


@pytest.mark.parametrize("writes", AROUND_64)
@pytest.mark.parametrize("how", ["one after the other", "both directions"])
def test_writes_in_a_row(executor: RequestExecutor, writes: int, how: str) -> None:
    client, theirs = pair()
    first: Operation | None = None
    if how == "both directions":
        first = ReadWriteOperation(True, [WriteOperation(b"x") for _ in range(writes)])
    else:
        for _ in range(writes):
            first = WriteOperation(b"x", then=first)
    assert first is not None
    with theirs:
        log = talk(executor, None, first, socket=client)
        assert read_exactly(theirs, writes) == b"x" * writes
    assert log.names.count("WRITE") == writes and not log.timeouts


def chunks(count: int, size: int) -> Iterator[bytes]:
    for number in range(count):
        yield bytes(size) if number % 2 else b""


@pytest.mark.parametrize("count", [255, 256, 257, 512, 1024])
@pytest.mark.parametrize("size", [0, 1, 1024, 65_536])
def test_chunks_of_an_iterable(executor: RequestExecutor, count: int, size: int) -> None:
    """The bounds are 256 chunks and 64 KiB a send, 256 KiB a turn; chunks may be empty."""
    ours, theirs = socket.socketpair()
    received = [0]

    def drink() -> None:
        while part := theirs.recv(1 << 20):
            received[0] += len(part)

    with theirs:
        reader = threading.Thread(target=drink)
        reader.start()
        log = talk(executor, None, WriteOperation(chunks(count, size)), socket=ClientSocket.from_socket(ours))
        reader.join(PATIENCE)
    assert received[0] == count // 2 * size and not log.timeouts


@pytest.mark.parametrize("calls", [1, 255, 256, 257])
def test_calls_from_another_thread(executor: RequestExecutor, calls: int) -> None:
    """They are woken for by bytes, which are taken 256 at a time."""
    done: list[int] = []

    def call(number: int) -> None:
        done.append(number)
        if len(done) == calls:
            executor.stop_request()

    def post() -> None:
        for number in range(calls):
            executor.call_soon_threadsafe(call, number)
            with contextlib.suppress(BlockingIOError):
                executor._loop.waker._writer.send(b"\0")

    client, theirs = pair()
    with theirs:
        log = add(executor, None, ReadOperation(), socket=client)
        thread = threading.Thread(target=post)
        executor.start_request()
        thread.start()
        thread.join()
        turns_to_the_end(executor)
    assert done == list(range(calls)) and not log.timeouts


@pytest.mark.parametrize("names", [1, 4, 5, 64, 65])
def test_names_to_look_up(engine: str, names: int) -> None:
    def lookup(host: str, port: int, family: int, kind: int) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    with RequestExecutor(engine, resolver=lookup) as executor:
        logs = [add(executor, f"tcp://n{number}.test:1", NullOperation()) for number in range(names)]
        executor.execute_request()
    assert all(log.names == FAILED for log in logs)


@pytest.mark.parametrize("pieces", [1, 4, 5, 6, 10, 20])
@pytest.mark.parametrize("alive", [True, False])
def test_a_pooled_connection_with_tickets(
    executor: RequestExecutor, ca: Authority, pieces: int, alive: bool
) -> None:
    """However many receives the session tickets take: what follows says whether the connection is good."""
    ours, theirs = socket.socketpair()
    made = contexts(ca, "TLSv1.3")
    theirs.settimeout(PATIENCE)
    with theirs:
        far = Far(theirs, made[1], server_side=True)
        client = PersistentClientSocket.from_socket(ours)
        log = add(
            executor, "tls://localhost:1", WriteOperation(b"x"), socket=client,
            stream_context=StreamContext(ca_file=ca.ca_file),
            on={"WRITE": lambda event: event.executor.socket_bag.forget_socket(event.socket)},
        )  # fmt: skip
        executor.start_request()
        executor.turn(0)
        far.listen()
        theirs.sendall(far.flight())
        turns_to_the_end(executor)
        assert log.names == ["INITIALIZE", "CONNECTED", "WRITE", "FINALIZE"]
        connection = client._connection
        assert connection is not None and connection.is_fresh()
        far.listen()
        send_in_pieces(theirs, far.flight(), pieces)
        if not alive:
            theirs.close()
        assert connection.is_fresh() == alive
        connection.close()


@pytest.mark.parametrize("pieces", [1, 2, 3, 16])
def test_unread_tickets_make_no_reset_of_a_close(ca: Authority, pieces: int) -> None:
    ours, theirs = socket.socketpair()
    made = contexts(ca, "TLSv1.3")
    theirs.settimeout(PATIENCE)
    with theirs:
        far = Far(theirs, made[1], server_side=True)
        near = TlsTransport(adopt(ours), made[0], server_side=False, server_hostname="localhost")
        assert not near.handshake()
        far.listen()
        theirs.sendall(far.flight())
        assert near.handshake() and near.send(b"x") == 1
        far.listen()
        send_in_pieces(theirs, far.flight(), pieces)
        near.close()
        far.listen()  # the close_notify
        assert theirs.recv(1) == b""
