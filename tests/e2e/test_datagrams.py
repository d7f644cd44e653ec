"""Datagram servers and clients: one item is one datagram, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
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
    NetworkSocketError,
    ReadOperation,
    ReadWriteOperation,
    ReceiveError,
    RequestExecutor,
    SendError,
    ServerSocket,
    ShutdownWriteOperation,
    UnsupportedOperationError,
    WriteOperation,
)
from support.clients import Recorder
from support.service import Peers, Service, echo

LIFE = ["INITIALIZE", "CONNECTED", "READ", "WRITE", "DISCONNECTED", "FINALIZE"]


def ask(executor: RequestExecutor, address: str, operation: Any, handler: Any = None, **metadata: Any) -> Recorder:
    """A client of the library; what it saw."""
    events = Recorder()

    def tell(event: Any) -> None:
        events(event)
        if handler is not None:
            handler(event)

    executor.socket_bag.add_socket(ClientSocket(), operation, handler=tell, address=address, **metadata)
    return events


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_udp_echo(executor: RequestExecutor, host: str) -> None:
    asked: list[Recorder] = []

    def started(event: Any) -> None:
        port = event.metadata.local_address[1]
        asked.append(
            ask(executor, f"udp://{host}:{port}", WriteOperation(b"question", then=ReadOperation()))
        )

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
        server = peers.datagram(None)
        server.bind(("127.0.0.1", 0))

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                for data in (b"one", b"", b"three"):
                    server.sendto(data, event.metadata.local_address)
            elif event.type is EventType.READ:
                frames.append(event.frame.data)
                if len(frames) < 3:
                    event.next_is_read()

        ask(executor, "udp://127.0.0.1:%d" % server.getsockname()[1], ReadOperation(), handler)
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
        server = peers.datagram(None)
        server.bind(("127.0.0.1", 0))
        line = MarkerFramePicker(None, b"\n")

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                for data in (b"one\nrest", b"two\n", b"unfinished"):
                    server.sendto(data, event.metadata.local_address)
            elif event.type is EventType.READ:
                frames.append(event.frame.data)
                event.next_is_read(line)

        events = ask(executor, "udp://127.0.0.1:%d" % server.getsockname()[1], ReadOperation(line), handler)
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
        server = peers.datagram(None)
        server.bind(("127.0.0.1", 0))
        address = "udp://127.0.0.1:%d" % server.getsockname()[1]
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
            executor, "udp://127.0.0.1:0", first=lambda: WriteOperation(b"hi", then=ReadOperation()), handler={},
            started=lambda e: peers.datagram(e.metadata.local_address, b"?"),
        )  # fmt: skip
        executor.execute_request()
        assert peers[0].recv(10) == b"hi"
    assert service.talking.of(EventType.READ)[0].frame.data == b"?"


def test_delayed_answers_while_still_accepting(executor: RequestExecutor) -> None:
    """Each datagram is answered later; the server, with a time-out of its own, asks for more each time."""
    with Peers() as peers:
        start = executor.clock()

        def waiting(socket: Any, executor: Any) -> bool:
            return bool(executor.clock() - start < 0.12)

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
    assert service.listening.names().count("TIMEOUT") >= 2
    assert service.listening.names()[-2:] == ["DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize("abstract", [False, True])
def test_udg(executor: RequestExecutor, tmp_path: Path, abstract: bool) -> None:
    """A udg client is bound automatically, so that it can be answered; the server's file is removed."""
    name = f"@evsockets-udg-{os.getpid()}" if abstract else str(tmp_path / "socket")
    asked: list[Recorder] = []
    service = Service(
        executor, f"udg://{name}", first=ReadOperation,
        started=lambda e: asked.append(
            ask(executor, f"udg://{name}", WriteOperation(b"hi", then=ReadOperation()))
        ),
    )  # fmt: skip
    executor.execute_request()
    assert asked[0].of(EventType.READ)[0].frame.data == b"hi"
    assert service.accepted[0].remote_address.startswith("@")
    assert service.local == name and not os.path.exists(name)


def test_udg_sender_without_a_name(executor: RequestExecutor, tmp_path: Path) -> None:
    """It is accepted all the same; only an answer fails, on its own socket."""

    def started(event: Any) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"anonymous", event.metadata.local_address)

    service = Service(executor, f"udg://{tmp_path}/socket", first=ReadOperation, started=started)
    executor.execute_request()
    assert service.accepted[0].remote_address is None
    assert service.talking.of(EventType.READ)[0].frame.data == b"anonymous"
    (error,) = service.talking.exceptions()
    assert isinstance(error, SendError) and error.errno == errno.EDESTADDRREQ


def test_udg_stale_file_is_replaced(executor: RequestExecutor, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
        stale.bind(path)
    service = Service(executor, f"udg://{path}", started=lambda e: e.cancel_operation())
    executor.execute_request()
    assert service.listening.names() == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize("how", ["fd", "from_socket"])
def test_adopted_datagram_server(executor: RequestExecutor, how: str) -> None:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 0))
    where = bound.getsockname()
    with Peers() as peers:
        peers.datagram(where, b"hello")
        if how == "fd":
            service = Service(executor, f"fd://{bound.detach()}", first=ReadOperation)
        else:
            service = Service(executor, None, server=ServerSocket.from_socket(bound), first=ReadOperation)
        executor.execute_request()
        assert peers[0].recv(10) == b"hello"
    assert service.talking.of(EventType.READ)[0].metadata.address.startswith("udp://127.0.0.1:")


def test_adopted_datagram_client(executor: RequestExecutor) -> None:
    with Peers() as peers:
        server = peers.datagram(None)
        server.bind(("127.0.0.1", 0))
        plain = peers.datagram(None)
        plain.connect(server.getsockname())
        events = Recorder()
        metadata = executor.socket_bag.add_socket(
            ClientSocket.from_socket(plain), WriteOperation(b"hi"), handler=events
        )
        executor.execute_request()
        assert server.recv(10) == b"hi"
        assert metadata.address == "udp://127.0.0.1:%d" % server.getsockname()[1]


def test_what_datagrams_cannot(executor: RequestExecutor) -> None:
    with Peers() as peers:
        server = peers.datagram(None)
        server.bind(("127.0.0.1", 0))
        address = "udp://127.0.0.1:%d" % server.getsockname()[1]
        kinds = [ShutdownWriteOperation(), WriteOperation(b"!", out_of_band=True)]
        asked = [ask(executor, address, operation) for operation in kinds]
        executor.execute_request()
    for events in asked:
        (error,) = events.exceptions()
        assert isinstance(error, UnsupportedOperationError)


def test_reading_and_writing_at_once(executor: RequestExecutor) -> None:
    frames = []
    asked: list[Recorder] = []

    def started(event: Any) -> None:
        both = ReadWriteOperation(operations=[
            WriteOperation(b"1"), WriteOperation(b"22"), ReadOperation(), ReadOperation(),
        ])  # fmt: skip
        asked.append(
            ask(executor, "udp://127.0.0.1:%d" % event.metadata.local_address[1], both,
                lambda e: frames.append(e.frame.data) if e.type is EventType.READ else None)
        )  # fmt: skip

    Service(executor, "udp://127.0.0.1:0", clients=2, first=ReadOperation, started=started)
    executor.execute_request()
    assert frames == [b"1", b"22"]
    assert asked[0].names()[-2:] == ["DISCONNECTED", "FINALIZE"]


def test_cancel_and_timeouts_of_a_datagram_client(executor: RequestExecutor) -> None:
    """A reading client nobody answers times out, phase "reading"."""
    with Peers() as peers:
        server = peers.datagram(None)
        server.bind(("127.0.0.1", 0))
        address = "udp://127.0.0.1:%d" % server.getsockname()[1]
        events = ask(executor, address, ReadOperation(), io_timeout=0.05)
        executor.execute_request()
    (late,) = events.of(EventType.TIMEOUT)
    assert (late.when.name, late.phase) == ("IO", "reading")


def test_multicast(executor: RequestExecutor) -> None:
    """A group by StreamContext, over loopback."""
    with Peers() as peers:

        def started(event: Any) -> None:
            peer = peers.datagram(None)
            peer.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            peer.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            peer.sendto(b"all of you", ("224.0.0.251", event.metadata.local_address[1]))

        service = Service(
            executor, "udp://0.0.0.0:0", first=ReadOperation, started=started,
            stream_context={"multicast_groups": ["224.0.0.251"], "multicast_interface": "127.0.0.1"},
        )  # fmt: skip
        executor.execute_request()
        assert peers[0].recv(100) == b"all of you"
    assert service.talking.of(EventType.READ)[0].frame.data == b"all of you"


@pytest.mark.parametrize("broadcast", [False, True])
def test_broadcast_needs_the_option(executor: RequestExecutor, broadcast: bool) -> None:
    """Without it the system refuses (EACCES); with it it does not."""
    context = {"broadcast": broadcast}
    events = ask(executor, "udp://127.255.255.255:9", WriteOperation(b"x"), stream_context=context)
    executor.execute_request()
    if broadcast:
        assert events.exceptions() == []
    else:
        (error,) = events.exceptions()
        assert isinstance(error, NetworkSocketError) and error.errno == errno.EACCES


def test_server_closed_before_an_answer(executor: RequestExecutor) -> None:
    """The way back is gone: one error on the client, nothing else."""
    with Peers() as peers, contextlib.suppress(ConnectionRefusedError):

        def handler(event: Any) -> None:
            if event.type is EventType.READ:
                service.server.close()
                event.next_is(DelayedOperation(WriteOperation(b"late"), gone))

        def gone(socket: Any, executor: Any) -> bool:
            return bool(service.server.is_connected)

        service = Service(
            executor, "udp://127.0.0.1:0", clients=5, first=ReadOperation, handler=handler,
            started=lambda e: peers.datagram(e.metadata.local_address, b"?"),
        )  # fmt: skip
        executor.execute_request()
    assert service.talking.names() == [
        "INITIALIZE", "CONNECTED", "READ", "WRITE", "EXCEPTION", "DISCONNECTED", "FINALIZE"
    ]  # fmt: skip
