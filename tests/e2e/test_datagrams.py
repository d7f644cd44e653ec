"""Datagram servers and clients: one item is one datagram, whole or not at all."""

from __future__ import annotations

import errno
import itertools
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    DatagramClientSocket,
    DelayedOperation,
    DisconnectedError,
    EmptyFramePicker,
    EndOfStreamFramePicker,
    FixedLengthFramePicker,
    FrameError,
    FramePicker,
    RawFramePicker,
    ReadOperation,
    ReceiveError,
    RequestExecutor,
    SendError,
    TlsDataFlushEventHandler,
    WriteOperation,
)
from support.life import END, USUAL
from support.service import CLIENT, LINE, Peers, Serve, echo
from support.wire import Log, add, pair, talk

UDP = "udp://127.0.0.1:0"
LIFE = [*USUAL, "READ", "WRITE", *END]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_udp_echo(executor: RequestExecutor, server: Serve, host: str) -> None:
    service = server(f"udp://{host}:0", asks=[WriteOperation(b"question", then=ReadOperation())]).execute()
    (asked,) = service.asked
    assert asked.names == CLIENT and asked.frames == [b"question"]
    assert asked.of("READ")[0].frame.remote_address == service.local
    assert service.listening.names == [*USUAL, "ACCEPT", *END] and service.talking.names == LIFE
    (accept,) = service.accepted
    client = accept.client_socket
    assert isinstance(client, DatagramClientSocket) and client.is_client and not client.is_server
    assert client.fileno() == -1
    (read,) = service.talking.of("READ")
    assert read.frame.data == b"question"
    assert read.frame.remote_address == accept.remote_address == read.metadata.remote_address
    assert read.metadata.address == f"udp://{host}:{accept.remote_address[1]}"
    assert read.metadata.bytes_received == 8 and read.metadata.bytes_sent == 8
    assert client not in executor.socket_bag and service.server in executor.socket_bag


@pytest.mark.parametrize("size", [0, 1, 1472, 9000, 65_507])
@pytest.mark.parametrize("address", [UDP, "udg://{}/socket"])
def test_whole_sizes(server: Serve, tmp_path: Path, address: str, size: int) -> None:
    """Whole up to 65 507 bytes, an empty one is an empty READ; and the answer travels back as it is."""
    data = os.urandom(size)
    service = server(address.format(tmp_path), asks=[WriteOperation([data], then=ReadOperation())]).execute()
    assert service.talking.frames == service.asked[0].frames == [data]
    assert service.talking.names == LIFE


ITEMS = [b"a", b"", bytearray(b"ccc"), memoryview(b"dd")]


@pytest.mark.parametrize(("data", "told"), [(ITEMS, [b"a", b"", b"ccc", b"dd"]), (b"", [b""])])
def test_an_item_is_a_datagram(server: Serve, data: Any, told: list[bytes]) -> None:
    """The items of an iterable are not joined; each is an ACCEPT of its own, in order."""
    operation = WriteOperation(iter(data) if data else data)
    service = server(UDP, asks=[operation], clients=len(told), handler={}).execute()
    assert service.talking.frames == told


def test_client_reads_one_datagram_a_read(executor: RequestExecutor) -> None:
    with Peers() as peers:
        server, address = peers.datagram_server()

        def connected(event: Any) -> None:
            for data in (b"one", b"", b"three"):
                server.sendto(data, event.metadata.local_address)

        def read(event: Any) -> None:
            if event.frame.data != b"three":
                event.next_is_read()

        log = talk(executor, address, ReadOperation(), on={"CONNECTED": connected, "READ": read})
    assert log.frames == [b"one", b"", b"three"]


@pytest.mark.parametrize(
    ("picker", "frames", "errors"),
    [
        (RawFramePicker(), [b"hello"], []),
        (EndOfStreamFramePicker(), [b"hello", b""], []),
        (EmptyFramePicker(), [b"hello", b""], []),
        (FixedLengthFramePicker(0), [b"hello", b""], []),
        (FixedLengthFramePicker(1), [b"hello"], [DisconnectedError]),
    ],
    ids=repr,
)
def test_a_second_read_meets_the_end(
    server: Serve, picker: FramePicker, frames: list[bytes], errors: list[type]
) -> None:
    """The end of a datagram is what the end of a stream is to the picker."""

    def read(event: Any) -> None:
        if len(service.talking.frames) == 1:
            event.next_is_read(picker)

    service = server(UDP, says=[b"hello"], handler={"READ": read})
    service.execute()
    assert service.talking.frames == frames
    assert [type(error) for error in service.talking.errors] == errors
    reads = ["READ"] * len(frames)
    assert service.talking.names == [*USUAL, *reads, *["EXCEPTION"] * len(errors), *END]


def test_an_empty_frame_takes_no_datagram(server: Serve) -> None:
    def read(event: Any) -> None:
        if not event.frame.data:
            event.next_is_read()

    first = ReadOperation(EmptyFramePicker())
    service = server(UDP, says=[b"hello"], first=lambda: first, handler={"READ": read}).execute()
    assert service.talking.frames == [b"", b"hello"]


def test_a_frame_never_spans_datagrams(server: Serve) -> None:
    """Bytes left over are dropped; an unfinished frame is a FrameError with what there is."""
    says = [b"line\nrest", b"unfinished"]
    service = server(UDP, says=says, first=lambda: ReadOperation(LINE), handler={}).execute()
    assert service.talking.frames == [b"line\n"]
    error = service.talking.error
    assert isinstance(error, FrameError) and bytes(error.partial) == b"unfinished"
    assert "EXCEPTION" not in service.listening.names


def test_client_drops_what_is_left_over(executor: RequestExecutor) -> None:
    """The unfinished frame is told with the address."""
    with Peers() as peers:
        server, address = peers.datagram_server()

        def connected(event: Any) -> None:
            for data in (b"one\nrest", b"two\n", b"unfinished"):
                server.sendto(data, event.metadata.local_address)

        on = {"CONNECTED": connected, "READ": lambda event: event.next_is_read(LINE)}
        log = talk(executor, address, ReadOperation(LINE), on=on)
    assert log.frames == [b"one\n", b"two\n"]
    assert isinstance(log.error, FrameError) and log.error.partial.data == b"unfinished"
    assert address in str(log.error) and "reading" in str(log.error)


def test_an_idle_client_keeps_what_the_flush_handler_saw(executor: RequestExecutor) -> None:
    """The handler answers the first alert with an empty read: the datagram stays for the second."""
    log = Log()
    with Peers() as peers:
        server, address = peers.datagram_server()

        def answer() -> None:
            server.sendto(b"pushed", server.recvfrom(10)[1])

        def on_read(event: Any) -> None:
            event.metadata.keep_alive = False

        on = {"DATA_ALERT": lambda event: event.next_is_read(), "READ": on_read}
        add(
            executor, address, WriteOperation(b"hello"), keep_alive=True, idle_timeout=5,
            on=TlsDataFlushEventHandler(log.handler(on)),
        )  # fmt: skip
        executor.call_soon_threadsafe(executor.call_soon_threadsafe, answer)
        executor.execute_request()
    assert log.frames == [b"pushed"] and log.timeouts == []


def test_not_added_is_dropped(server: Serve) -> None:
    def accepted(event: Any) -> None:
        if len(service.accepted) == 3:
            event.socket.close()

    service = server(UDP, says=[b"1", b"2", b"3"], serves=False, server_handler={"ACCEPT": accepted})
    service.execute()
    assert service.listening.names == [*USUAL, *["ACCEPT"] * 3, *END]


def test_a_batch_is_taken_in_order_without_registrations(
    executor: RequestExecutor, server: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor and no engine registration per peer."""
    watched = set()
    watch = executor.engine.watch

    def watching(fd: int, interest: int, token: Any) -> None:
        watched.add(fd)
        watch(fd, interest, token)

    monkeypatch.setattr(executor.engine, "watch", watching)
    sent = [b"%d" % number for number in range(150)]
    service = server(UDP, says=sent).execute()
    assert [service.peers[0].recv(100) for _ in sent] == sent == service.talking.frames
    assert len(watched) == 1


def test_a_burst_is_taken_in_bounded_shares(executor: RequestExecutor, server: Serve) -> None:
    """Several datagrams a turn, and never all: another socket has its turn in between."""
    shares: list[int] = []
    busy, far = pair()

    def reading(event: Any) -> None:
        shares.append(len(service.accepted))
        if shares[-1] < 200:
            far.send(b"!")
            event.next_is_read()

    with far:
        service = server(UDP, says=[b"x"] * 200, started=lambda event: far.send(b"!"))
        add(executor, None, ReadOperation(), socket=busy, on={"READ": reading})
        service.execute()
    assert 1 < max(later - sooner for sooner, later in itertools.pairwise(shares)) < 100
    assert len(service.accepted) == 200


def test_truncation_is_flagged(server: Serve, tmp_path: Path) -> None:
    """A unix datagram larger than any of UDP: EXCEPTION on the server, which goes on."""

    def started(event: Any) -> None:
        peer = service.peers.datagram("")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 400_000)
        peer.sendto(bytes(100_000), service.local)
        peer.sendto(b"small", service.local)

    service = server(f"udg://{tmp_path}/socket", started=started)
    service.execute()
    error = service.listening.error
    assert isinstance(error, ReceiveError) and error.errno == errno.EMSGSIZE
    assert service.talking.frames == [b"small"]


def test_too_large_to_send(executor: RequestExecutor) -> None:
    with Peers() as peers:
        log = talk(executor, peers.datagram_server()[1], WriteOperation(bytes(65_508)))
    assert isinstance(log.error, SendError) and log.error.errno == errno.EMSGSIZE


def test_refused_client(executor: RequestExecutor) -> None:
    """The host says nobody is there: an EXCEPTION with the errno, never a DisconnectedError."""
    with Peers() as peers:
        _, address = peers.datagram_server()
    log = talk(executor, address, WriteOperation(b"anybody?", then=ReadOperation()))
    assert isinstance(log.error, SendError | ReceiveError) and log.error.errno == errno.ECONNREFUSED
    assert log.names[-3:] == ["EXCEPTION", *END]


def test_refused_answer_does_not_end_a_server(server: Serve) -> None:
    def read(event: Any) -> None:
        if event.frame.data == b"gone":
            service.peers[0].close()
        echo(event)

    def ended(event: Any) -> None:
        if len(service.peers) == 1:
            service.peers.datagram(service.local, b"here")

    service = server(UDP, says=[b"gone"], clients=2, handler={"READ": read, "FINALIZE": ended})
    service.execute()
    assert service.peers[1].recv(100) == b"here" and len(service.accepted) == 2


def test_answer_that_cannot_be_sent(server: Serve) -> None:
    """Too large an answer: EXCEPTION on that client alone."""

    def read(event: Any) -> None:
        event.next_is_write(bytes(70_000) if event.frame.data == b"large" else b"fine")

    service = server(UDP, says=[b"large", b"small"], handler={"READ": read}).execute()
    assert service.peers[0].recv(100) == b"fine"
    assert isinstance(service.talking.error, SendError)
    assert "EXCEPTION" not in service.listening.names


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_several_answers(server: Serve, host: str) -> None:
    def read(event: Any) -> None:
        event.next_is_write([b"1", b"", b"3"], then=WriteOperation(b"4"))

    service = server(f"udp://{host}:0", says=[b"?"], handler={"READ": read}).execute()
    assert [service.peers[0].recv(10) for _ in range(4)] == [b"1", b"", b"3", b"4"]


def test_write_before_reading(server: Serve) -> None:
    first = WriteOperation(b"hi", then=ReadOperation())
    service = server(UDP, says=[b"?"], first=lambda: first, handler={}).execute()
    assert service.peers[0].recv(10) == b"hi" and service.talking.frames == [b"?"]


def test_delayed_answers_while_still_accepting(server: Serve) -> None:
    """Each datagram is answered later; the server, with a time-out of its own, asks for more each time."""

    def read(event: Any) -> None:
        event.next_is(DelayedOperation(WriteOperation(event.frame.data), waiting, interval=0.02))

    def waiting(*_: Any) -> bool:
        return len(service.listening.timeouts) < 2

    service = server(
        UDP, says=[b"1", b"2", b"3"], handler={"READ": read}, io_timeout=0.03,
        server_handler={"TIMEOUT": lambda event: event.enable_one_more_attempt()},
    )  # fmt: skip
    service.execute()
    assert sorted(service.peers[0].recv(10) for _ in range(3)) == [b"1", b"2", b"3"]
    assert service.listening.names.count("ACCEPT") == 3 and service.listening.names[-2:] == END
