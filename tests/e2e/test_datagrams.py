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
    ClientSocket,
    DatagramClientSocket,
    DelayedOperation,
    DisconnectedError,
    EventType,
    FixedLengthFramePicker,
    FrameError,
    MarkerFramePicker,
    ReadOperation,
    ReceiveError,
    RequestExecutor,
    SendError,
    ServerSocket,
    WriteOperation,
)
from support.clients import Recorder
from support.service import Peers, Service, ask, echo

LIFE = ["INITIALIZE", "CONNECTED", "READ", "WRITE", "DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_udp_echo(executor: RequestExecutor, host: str) -> None:
    asked: list[Recorder] = []

    def started(event: Any) -> None:
        port = event.metadata.local_address[1]
        asked.append(ask(executor, f"udp://{host}:{port}", WriteOperation(b"question", then=ReadOperation())))

    service = Service(executor, f"udp://{host}:0", first=ReadOperation, started=started)
    executor.execute_request()
    assert asked[0].names() == ["INITIALIZE", "CONNECTED", "WRITE", "READ", "DISCONNECTED", "FINALIZE"]
    assert asked[0].of(EventType.READ)[0].frame.data == b"question"
    assert asked[0].of(EventType.READ)[0].frame.remote_address == service.local
    assert service.listening.names() == ["INITIALIZE", "CONNECTED", "ACCEPT", "DISCONNECTED", "FINALIZE"]
    assert service.talking.names() == LIFE
    (accept,) = service.accepted
    client = accept.client_socket
    assert isinstance(client, DatagramClientSocket) and client.is_client and not client.is_server
    assert client.fileno() == -1
    read = service.talking.of(EventType.READ)[0]
    assert read.frame.data == b"question"
    assert read.frame.remote_address == accept.remote_address == read.metadata.remote_address
    assert read.metadata.address == f"udp://{host}:{accept.remote_address[1]}"
    assert read.metadata.bytes_received == 8 and read.metadata.bytes_sent == 8
    assert client not in executor.socket_bag and service.server in executor.socket_bag


@pytest.mark.parametrize("size", [0, 1, 1472, 9000, 65_507])
@pytest.mark.parametrize("family", ["udp", "udg"])
def test_whole_sizes(executor: RequestExecutor, tmp_path: Path, family: str, size: int) -> None:
    """Whole up to 65 507 bytes, an empty one is an empty READ; and the answer travels back as it is."""
    data = os.urandom(size)
    asked: list[Recorder] = []
    address = "udp://127.0.0.1:0" if family == "udp" else f"udg://{tmp_path}/socket"

    def started(event: Any) -> None:
        local = event.metadata.local_address
        where = f"udp://127.0.0.1:{local[1]}" if family == "udp" else f"udg://{local}"
        asked.append(ask(executor, where, WriteOperation([data], then=ReadOperation())))

    service = Service(executor, address, first=ReadOperation, started=started)
    executor.execute_request()
    assert service.talking.of(EventType.READ)[0].frame.data == data
    assert asked[0].of(EventType.READ)[0].frame.data == data
    assert service.talking.names() == LIFE


def test_an_item_is_a_datagram(executor: RequestExecutor) -> None:
    """The items of an iterable are not joined; each is an ACCEPT of its own, in order."""
    Service(executor, "udp://127.0.0.1:0", clients=4, first=ReadOperation, handler=(got := Recorder()),
            started=lambda e: ask(
                executor, "udp://127.0.0.1:%d" % e.metadata.local_address[1],
                WriteOperation(iter([b"a", b"", bytearray(b"ccc"), memoryview(b"dd")])),
            ))  # fmt: skip
    executor.execute_request()
    assert [e.frame.data for e in got.of(EventType.READ)] == [b"a", b"", b"ccc", b"dd"]


def test_write_of_nothing_is_an_empty_datagram(executor: RequestExecutor) -> None:
    Service(executor, "udp://127.0.0.1:0", first=ReadOperation, handler=(got := Recorder()),
            started=lambda e: ask(
                executor, "udp://127.0.0.1:%d" % e.metadata.local_address[1], WriteOperation(b"")
            ))  # fmt: skip
    executor.execute_request()
    assert [e.frame.data for e in got.of(EventType.READ)] == [b""]


def test_client_reads_one_datagram_a_read(executor: RequestExecutor) -> None:
    frames = []
    with Peers() as peers:
        server, address = peers.datagram_server()

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                for data in (b"one", b"", b"three"):
                    server.sendto(data, event.metadata.local_address)
            elif event.type is EventType.READ:
                frames.append(event.frame.data)
                if len(frames) < 3:
                    event.next_is_read()

        ask(executor, address, ReadOperation(), handler)
        executor.execute_request()
    assert frames == [b"one", b"", b"three"]


def test_second_read_of_an_accepted_datagram_meets_the_end(executor: RequestExecutor) -> None:
    """A raw read just ends; a framed one is a DisconnectedError."""
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.READ:
                event.next_is_read(None if event.frame.data == b"raw" else FixedLengthFramePicker(3))

        service = Service(
            executor, "udp://127.0.0.1:0", clients=2, first=ReadOperation, handler=handler,
            started=lambda e: peers.datagram(e.metadata.local_address, b"raw", b"frame"),
        )  # fmt: skip
        executor.execute_request()
    raw, framed = [accept.client_socket for accept in service.accepted]
    assert service.talking.names(raw) == ["INITIALIZE", "CONNECTED", "READ", "DISCONNECTED", "FINALIZE"]
    assert service.talking.names(framed) == [
        "INITIALIZE", "CONNECTED", "READ", "EXCEPTION", "DISCONNECTED", "FINALIZE"
    ]  # fmt: skip
    assert isinstance(service.talking.exceptions()[0], DisconnectedError)


def test_a_frame_never_spans_datagrams(executor: RequestExecutor) -> None:
    """Bytes left over are dropped; an unfinished frame is a FrameError with what there is."""
    with Peers() as peers:
        service = Service(
            executor, "udp://127.0.0.1:0", clients=2, handler={},
            first=lambda: ReadOperation(MarkerFramePicker(None, b"\n")),
            started=lambda e: peers.datagram(e.metadata.local_address, b"line\nrest", b"unfinished"),
        )  # fmt: skip
        executor.execute_request()
    assert [e.frame.data for e in service.talking.of(EventType.READ)] == [b"line\n"]
    (error,) = service.talking.exceptions()
    assert isinstance(error, FrameError) and bytes(error.partial) == b"unfinished"
    assert service.listening.names().count("EXCEPTION") == 0


def test_client_drops_what_is_left_over(executor: RequestExecutor) -> None:
    frames = []
    with Peers() as peers:
        server, address = peers.datagram_server()
        line = MarkerFramePicker(None, b"\n")

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                for data in (b"one\nrest", b"two\n", b"unfinished"):
                    server.sendto(data, event.metadata.local_address)
            elif event.type is EventType.READ:
                frames.append(event.frame.data)
                event.next_is_read(line)

        events = ask(executor, address, ReadOperation(line), handler)
        executor.execute_request()
    assert frames == [b"one\n", b"two\n"]
    assert isinstance(events.exceptions()[0], FrameError)


def test_not_added_is_dropped(executor: RequestExecutor) -> None:
    events = Recorder()
    with Peers() as peers:

        def handler(event: Any) -> None:
            events(event)
            if event.type is EventType.CONNECTED:
                peers.datagram(event.metadata.local_address, b"1", b"2", b"3")
            elif event.type is EventType.ACCEPT and len(events.of(EventType.ACCEPT)) == 3:
                event.socket.close()

        executor.socket_bag.add_socket(
            ServerSocket(), ReadOperation(), address="udp://127.0.0.1:0", handler=handler
        )
        executor.execute_request()
    assert events.names() == ["INITIALIZE", "CONNECTED"] + ["ACCEPT"] * 3 + ["DISCONNECTED", "FINALIZE"]


def test_a_batch_is_taken_in_order_without_registrations(executor: RequestExecutor, monkeypatch: Any) -> None:
    """No descriptor and no engine registration per peer."""
    watched = set()
    watch = executor.engine.watch

    def watching(fd: int, interest: int, token: Any) -> None:
        watched.add(fd)
        watch(fd, interest, token)

    monkeypatch.setattr(executor.engine, "watch", watching)
    with Peers() as peers:
        sent = [b"%d" % number for number in range(150)]
        service = Service(
            executor, "udp://127.0.0.1:0", clients=150, first=ReadOperation,
            started=lambda e: peers.datagram(e.metadata.local_address, *sent),
        )  # fmt: skip
        executor.execute_request()
        assert [peers[0].recv(100) for _ in sent] == sent
    assert [e.frame.data for e in service.talking.of(EventType.READ)] == sent
    assert len(watched) == 1


def test_a_burst_is_taken_in_bounded_shares(executor: RequestExecutor) -> None:
    """Several datagrams a turn, and never all: another socket has its turn in between."""
    shares: list[int] = []
    busy, far = socket.socketpair()
    with Peers() as peers, far:

        def started(event: Any) -> None:
            peers.datagram(event.metadata.local_address, *[b"x"] * 200)
            far.send(b"!")

        def reading(event: Any) -> None:
            shares.append(len(service.accepted))
            if shares[-1] < 200:
                far.send(b"!")
                event.next_is_read()

        service = Service(executor, "udp://127.0.0.1:0", clients=200, first=ReadOperation, started=started)
        executor.socket_bag.add_socket(
            ClientSocket.from_socket(busy), ReadOperation(), handler={EventType.READ: reading}
        )
        executor.execute_request()
    steps = [later - sooner for sooner, later in itertools.pairwise(shares)]
    assert 1 < max(steps) < 100
    assert len(service.accepted) == 200


def test_truncation_is_flagged(executor: RequestExecutor, tmp_path: Path) -> None:
    """A unix datagram larger than any of UDP: EXCEPTION on the server, which goes on."""
    with Peers() as peers:

        def started(event: Any) -> None:
            peer = peers.datagram(None, family=socket.AF_UNIX)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 400_000)
            peer.sendto(bytes(100_000), event.metadata.local_address)
            peer.sendto(b"small", event.metadata.local_address)

        service = Service(executor, f"udg://{tmp_path}/socket", first=ReadOperation, started=started)
        executor.execute_request()
    (error,) = service.listening.exceptions()
    assert isinstance(error, ReceiveError) and error.errno == errno.EMSGSIZE
    assert [e.frame.data for e in service.talking.of(EventType.READ)] == [b"small"]


def test_too_large_to_send(executor: RequestExecutor) -> None:
    with Peers() as peers:
        _, address = peers.datagram_server()
        events = ask(executor, address, WriteOperation(bytes(65_508)))
        executor.execute_request()
    (error,) = events.exceptions()
    assert isinstance(error, SendError) and error.errno == errno.EMSGSIZE


def test_refused_client(executor: RequestExecutor) -> None:
    """The host says nobody is there: an EXCEPTION with the errno, never a DisconnectedError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        address = "udp://127.0.0.1:%d" % probe.getsockname()[1]
    events = ask(executor, address, WriteOperation(b"anybody?", then=ReadOperation()))
    executor.execute_request()
    (error,) = events.exceptions()
    assert isinstance(error, SendError | ReceiveError) and error.errno == errno.ECONNREFUSED
    assert events.names()[-3:] == ["EXCEPTION", "DISCONNECTED", "FINALIZE"]


def test_refused_answer_does_not_end_a_server(executor: RequestExecutor) -> None:
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.READ:
                if event.frame.data == b"gone":
                    peers[0].close()
                echo(event)
            elif event.type is EventType.FINALIZE and len(peers) == 1:
                peers.datagram(service.local, b"here")

        service = Service(
            executor, "udp://127.0.0.1:0", clients=2, first=ReadOperation, handler=handler,
            started=lambda e: peers.datagram(e.metadata.local_address, b"gone"),
        )  # fmt: skip
        executor.execute_request()
        assert peers[1].recv(100) == b"here"
    assert service.listening.names().count("ACCEPT") == 2


def test_answer_that_cannot_be_sent(executor: RequestExecutor) -> None:
    """Too large an answer: EXCEPTION on that client alone."""
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.READ:
                event.next_is_write(bytes(70_000) if event.frame.data == b"large" else b"fine")

        service = Service(
            executor, "udp://127.0.0.1:0", clients=2, first=ReadOperation, handler=handler,
            started=lambda e: peers.datagram(e.metadata.local_address, b"large", b"small"),
        )  # fmt: skip
        executor.execute_request()
        assert peers[0].recv(100) == b"fine"
    (error,) = service.talking.exceptions()
    assert isinstance(error, SendError)
    assert "EXCEPTION" not in service.listening.names()


def test_several_answers(executor: RequestExecutor) -> None:
    with Peers() as peers:
        Service(
            executor, "udp://127.0.0.1:0", first=ReadOperation,
            handler={EventType.READ: lambda e: e.next_is_write([b"1", b"", b"3"], then=WriteOperation(b"4"))},
            started=lambda e: peers.datagram(e.metadata.local_address, b"?"),
        )  # fmt: skip
        executor.execute_request()
        assert [peers[0].recv(10) for _ in range(4)] == [b"1", b"", b"3", b"4"]


def test_write_before_reading(executor: RequestExecutor) -> None:
    with Peers() as peers:
        service = Service(
            executor, "udp://127.0.0.1:0", handler={},
            first=lambda: WriteOperation(b"hi", then=ReadOperation()),
            started=lambda e: peers.datagram(e.metadata.local_address, b"?"),
        )  # fmt: skip
        executor.execute_request()
        assert peers[0].recv(10) == b"hi"
    assert service.talking.of(EventType.READ)[0].frame.data == b"?"


def test_delayed_answers_while_still_accepting(executor: RequestExecutor) -> None:
    """Each datagram is answered later; the server, with a time-out of its own, asks for more each time."""
    with Peers() as peers:

        def waiting(socket: Any, executor: Any) -> bool:
            return service.listening.names().count("TIMEOUT") < 2

        def read(event: Any) -> None:
            if event.type is EventType.READ:
                event.next_is(DelayedOperation(WriteOperation(event.frame.data), waiting, interval=0.02))

        def more(event: Any) -> None:
            if event.socket.is_server:
                event.enable_one_more_attempt()

        service = Service(
            executor, "udp://127.0.0.1:0", clients=3, first=ReadOperation, handler=read, io_timeout=0.03,
            started=lambda e: peers.datagram(e.metadata.local_address, b"1", b"2", b"3"),
        )  # fmt: skip
        executor.with_event_handler({EventType.TIMEOUT: more})
        executor.execute_request()
        assert sorted(peers[0].recv(10) for _ in range(3)) == [b"1", b"2", b"3"]
    assert service.listening.names().count("ACCEPT") == 3
    assert service.listening.names()[-2:] == ["DISCONNECTED", "FINALIZE"]
