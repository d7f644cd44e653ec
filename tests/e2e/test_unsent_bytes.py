"""What happens while the kernel does not take what was written."""

from __future__ import annotations

import socket
import threading

import pytest

from evsockets import (
    ClientSocket,
    DisconnectedError,
    FixedLengthFramePicker,
    ReadOperation,
    RequestExecutor,
    StreamContext,
    WriteOperation,
)
from support.life import END, USUAL
from support.service import LINE
from support.wire import add, pair, peer, read_exactly, read_to_end, reset, talk

BIG = 2_000_000


def drain(executor: RequestExecutor, theirs: socket.socket, size: int) -> bytes:
    """Take `size` bytes from the peer's end, turn by turn."""
    theirs.setblocking(False)
    data = b""
    while len(data) < size:
        try:
            data += theirs.recv(65536)
        except BlockingIOError:
            executor.turn(0)
    theirs.settimeout(10)
    return data


def finish(executor: RequestExecutor) -> None:
    while executor.is_executing and executor.turn(None):
        pass


def test_nothing_advances_until_the_last_byte_is_taken(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        theirs.sendall(b"early\n")
        log = add(executor, None, WriteOperation(bytes(BIG), then=ReadOperation(LINE)), socket=client)
        executor.start_request()
        for _ in range(5):
            executor.turn(0)
        assert log.names == [*USUAL, "WRITE"]
        assert log.metadata.bytes_received == 0  # nothing is read meanwhile
        assert 0 < log.metadata.bytes_sent < BIG
        drain(executor, theirs, BIG)
        finish(executor)
    assert log.frames == [b"early\n"] and log.metadata.bytes_sent == BIG


def test_it_is_writing_that_times_out(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        log = talk(
            executor,
            None,
            WriteOperation(bytes(BIG), then=ReadOperation(LINE)),
            socket=client,
            io_timeout=0.05,
        )
    assert log.timeouts == [("IO", "writing")]
    assert log.names == [*USUAL, "WRITE", "TIMEOUT", *END]


def test_one_more_attempt_goes_on_where_it_was(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:

        def on_timeout(event):
            event.enable_one_more_attempt()
            event.metadata.io_timeout = None

        log = add(
            executor, None, WriteOperation(bytes(BIG)), socket=client, io_timeout=0.05,
            on={"TIMEOUT": on_timeout},
        )  # fmt: skip
        executor.start_request()
        while not log.timeouts:
            executor.turn(None)
        assert drain(executor, theirs, BIG) == bytes(BIG)
        finish(executor)
    assert log.names == [*USUAL, "WRITE", "TIMEOUT", *END]


def test_the_end_waits_for_the_last_byte_and_cancelling_does_not(executor: RequestExecutor) -> None:
    def script(sock):
        return len(read_to_end(sock))

    with peer(script, receive_buffer=8192) as server:
        log = talk(executor, server.url(), WriteOperation(bytes(BIG)))
        assert server.wait() == [BIG]
    assert log.names == [*USUAL, "WRITE", *END]
    client, theirs = pair()
    with theirs:
        log = add(executor, None, WriteOperation(bytes(BIG)), socket=client)
        executor.start_request()
        executor.turn(0)
        client.close()
        finish(executor)
        assert len(read_to_end(theirs)) < BIG
    assert log.names == [*USUAL, "WRITE", *END]


def test_two_writes_do_not_mix(executor: RequestExecutor) -> None:
    operation = WriteOperation(
        b"a" * BIG, then=WriteOperation([b"b"] * 1000, then=WriteOperation(b"c" * BIG))
    )
    with peer(read_to_end, receive_buffer=8192) as server:
        log = talk(executor, server.url(), operation)
    assert server.results == [b"a" * BIG + b"b" * 1000 + b"c" * BIG]
    assert log.names.count("WRITE") == 3


def packets(theirs: socket.socket) -> list[bytes]:
    """What was sent, one item for each send()."""
    theirs.settimeout(10)
    return list(iter(lambda: theirs.recv(1 << 20), b""))


def test_answers_gather_while_a_chunk_is_worked_through(executor: RequestExecutor) -> None:
    """Bounded: at most 64 KiB gather, however many frames came at once."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    answer = bytes(1000)

    def on_read(event):
        if event.frame.data != b"end\n":
            event.next_is_write(answer, then=ReadOperation(LINE))

    with theirs:
        theirs.send(b"x\n" * 200 + b"end\n")
        log = talk(
            executor, None, ReadOperation(LINE), socket=ClientSocket.from_socket(ours), on={"READ": on_read}
        )
        sent = packets(theirs)
    assert len(log.frames) == 201
    assert b"".join(sent) == answer * 200
    assert len(sent) == 4 and max(map(len, sent)) < 64 * 1024 + len(answer)


def test_a_chunk_that_ends_inside_a_frame(executor: RequestExecutor) -> None:
    """The answers leave before the rest of it is waited for."""
    client, theirs = pair()

    def on_read(event):
        if event.frame.data != b"end\n":
            event.next_is_write(event.frame.data.upper(), then=ReadOperation(LINE))

    with theirs:
        theirs.sendall(b"a\nb\nen")
        log = add(executor, None, ReadOperation(LINE), socket=client, on={"READ": on_read})
        executor.start_request()
        executor.turn(0)
        executor.turn(0)
        theirs.setblocking(False)
        assert theirs.recv(100) == b"A\nB\n"
        theirs.sendall(b"d\n")
        finish(executor)
    assert log.frames == [b"a\n", b"b\n", b"end\n"]


def test_a_pipelining_peer_that_does_not_read(executor: RequestExecutor) -> None:
    """Memory is bounded: with answers unsent no more requests are read."""
    client, theirs = pair()
    answer = bytes(20_000)
    with theirs:
        theirs.setblocking(False)
        log = add(
            executor, None, ReadOperation(LINE), socket=client,
            on={"READ": lambda event: event.next_is_write(answer, then=ReadOperation(LINE))},
        )  # fmt: skip
        executor.start_request()
        sent = 0
        for _ in range(200):
            try:
                sent += theirs.send(b"x\n" * 10_000)
            except BlockingIOError:
                pass
            executor.turn(0)
        assert len(log.frames) < 100
        assert log.metadata.bytes_received < sent
        executor.stop_request()
        finish(executor)
    assert log.names[-2:] == END


def test_reset_while_bytes_are_unsent(executor: RequestExecutor) -> None:
    def script(sock):
        read_exactly(sock, 1000)
        reset(sock)

    with peer(script, receive_buffer=4096) as server:
        log = talk(
            executor, server.url(), WriteOperation(bytes(BIG), then=ReadOperation(LINE)),
            stream_context=StreamContext(send_buffer_size=4096),
        )  # fmt: skip
    assert isinstance(log.error, DisconnectedError) and log.error.errno in (104, 32)
    assert log.names == [*USUAL, "WRITE", "EXCEPTION", *END]


def test_one_busy_socket_leaves_the_others_their_turns(executor: RequestExecutor) -> None:
    """A sender that always has data, and a writer whose peer always reads, starve nobody."""
    greedy, greedy_peer = pair()
    modest, modest_peer = pair()
    order = []

    def on_greedy(event):
        order.append("greedy")
        greedy_peer.sendall(bytes(60_000))
        if "modest" not in order and len(order) < 5000:
            event.next_is_read(FixedLengthFramePicker(60_000))

    with greedy_peer, modest_peer:
        greedy_peer.sendall(bytes(60_000))
        modest_peer.sendall(b"x")
        add(
            executor, None, ReadOperation(FixedLengthFramePicker(60_000)), socket=greedy,
            on={"READ": on_greedy},
        )  # fmt: skip
        add(executor, None, ReadOperation(), socket=modest, on={"READ": lambda event: order.append("modest")})
        executor.execute_request()
    assert order.index("modest") <= 3


def test_replacing_a_read_keeps_what_was_received(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        theirs.sendall(b"half a line")
        log = add(executor, None, ReadOperation(LINE), socket=client)
        executor.start_request()
        while not log.metadata.bytes_received:
            executor.turn(None)
        executor.socket_bag.set_operation(client, ReadOperation(FixedLengthFramePicker(4)))
        finish(executor)
    assert log.frames == [b"half"]


def test_a_large_write_is_sent_in_many_turns(executor: RequestExecutor) -> None:
    """However fast the peer reads, one write never has a whole turn for itself: one send a turn."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    data = bytes(16 * 1024 * 1024)
    received = [0]

    def drink() -> None:
        with theirs:
            while part := theirs.recv(1024 * 1024):
                received[0] += len(part)

    reader = threading.Thread(target=drink)
    reader.start()
    executor.socket_bag.add_socket(ClientSocket.from_socket(ours), WriteOperation(data))
    executor.start_request()
    turns = 1
    while executor.turn(None):
        turns += 1
    reader.join()
    assert received[0] == len(data)
    assert turns >= len(data) // (1024 * 1024)


@pytest.mark.parametrize("kind", ["bytes", "iterable", "one huge chunk"])
def test_a_writers_share_of_a_turn_is_bounded(executor: RequestExecutor, kind: str) -> None:
    """However much the kernel would take at once."""
    huge = bytes(64 << 20)
    data = {"bytes": huge, "iterable": (huge[:65536] for _ in range(1024)), "one huge chunk": iter([huge])}
    shares: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as probe:
        probe.setblocking(False)
        probe.connect_ex(listener.getsockname())
        address = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
        log = add(executor, address, WriteOperation(data[kind]))
        executor.start_request()
        for _ in range(100):
            before = log.metadata.bytes_sent
            executor.turn(0.01)
            shares.append(log.metadata.bytes_sent - before)
            if before and not shares[-1]:
                break
        executor.stop_request()
        finish(executor)
        room = probe.send(huge)
    assert room > 1 << 20, "this system's buffers are too small for the test to tell"
    assert log.metadata.bytes_sent > 1 << 20
    # The turn it begins in may hold its start and a step.
    assert shares[0] <= 2 << 20 and max(shares[1:]) <= 1 << 20
