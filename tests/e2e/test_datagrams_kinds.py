"""Unix datagrams, adopted sockets, multicast, broadcast, and what datagrams cannot do."""

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
    DelayedOperation,
    EventType,
    NetworkSocketError,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    SendError,
    ServerSocket,
    ShutdownWriteOperation,
    UnsupportedOperationError,
    WriteOperation,
)
from support.clients import Recorder
from support.service import Peers, Service, ask, count_polls


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
        server, address = peers.datagram_server()
        plain = peers.datagram(None)
        plain.connect(server.getsockname())
        events = Recorder()
        metadata = executor.socket_bag.add_socket(
            ClientSocket.from_socket(plain), WriteOperation(b"hi"), handler=events
        )
        executor.execute_request()
        assert server.recv(10) == b"hi"
        assert metadata.address == address


def test_what_datagrams_cannot(executor: RequestExecutor) -> None:
    with Peers() as peers:
        _, address = peers.datagram_server()
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
        _, address = peers.datagram_server()
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


def test_multicast_between_two_sockets_of_the_library(executor: RequestExecutor) -> None:
    """Both servers in the group hear the client, and not the one beside it; each answers by itself."""
    group = {"multicast_groups": ["224.0.0.251"], "multicast_interface": "127.0.0.1"}
    heard: list[str] = []
    ports: list[int] = []
    servers: list[ServerSocket] = []

    def listen(name: str, address: str, context: dict[str, Any]) -> None:
        def accept(event: Any) -> None:
            heard.append(f"{name} {event.remote_address[0]}")
            if len(heard) == 2:
                for one in servers:
                    one.close()

        on = {EventType.CONNECTED: lambda e: started(e), EventType.ACCEPT: accept}
        servers.append(ServerSocket())
        executor.socket_bag.add_socket(
            servers[-1], ReadOperation(), address=address, handler=on, stream_context=context
        )

    def started(event: Any) -> None:
        ports.append(event.metadata.local_address[1])
        if len(ports) == 1:
            listen("second", f"udp://224.0.0.251:{ports[0]}", group)
            listen("beside", f"udp://127.0.0.1:{ports[0]}", {})
        elif len(ports) == 3:
            executor.socket_bag.add_socket(
                ClientSocket(), WriteOperation(b"all of you"), address=f"udp://224.0.0.251:{ports[0]}",
                stream_context={
                    "multicast_interface": "127.0.0.1", "multicast_ttl": 0, "multicast_loop": True
                },
            )  # fmt: skip

    listen("first", "udp://224.0.0.251:0", group)
    executor.execute_request()
    assert sorted(heard) == ["first 127.0.0.1", "second 127.0.0.1"]


@pytest.mark.parametrize("broadcast", [False, True])
def test_broadcast_needs_the_option(executor: RequestExecutor, broadcast: bool) -> None:
    """Without it the system refuses (EACCES); with it whoever listens on the port hears it."""
    asked: list[Recorder] = []

    def started(event: Any) -> None:
        where = f"udp://127.255.255.255:{event.metadata.local_address[1]}"
        context = {"broadcast": broadcast}
        asked.append(ask(executor, where, WriteOperation(b"x"), stream_context=context))
        if not broadcast:
            executor.call_soon_threadsafe(executor.call_soon_threadsafe, event.socket.close)

    service = Service(executor, "udp://0.0.0.0:0", first=ReadOperation, started=started, handler={})
    executor.execute_request()
    if broadcast:
        assert asked[0].exceptions() == []
        assert [event.frame.data for event in service.talking.of(EventType.READ)] == [b"x"]
    else:
        (error,) = asked[0].exceptions()
        assert isinstance(error, NetworkSocketError) and error.errno == errno.EACCES
        assert service.accepted == []


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


def test_a_udg_peer_that_does_not_read(executor: RequestExecutor, tmp_path: Path, monkeypatch: Any) -> None:
    """Its queue is full: the answers wait without a spin, others are answered, io_timeout counts."""
    polls = count_polls(executor, monkeypatch)
    with Peers() as peers:

        def flood(event: Any) -> None:
            if event.type is EventType.READ and event.frame.data == b"flood":
                event.next_is_write(b"%d" % number for number in range(5000))
            elif event.type is EventType.READ:
                event.next_is_write(b"answer")

        def started(event: Any) -> None:
            peers.datagram(event.metadata.local_address, b"flood", family=socket.AF_UNIX)
            peers.datagram(event.metadata.local_address, b"other", family=socket.AF_UNIX)

        service = Service(
            executor, f"udg://{tmp_path}/socket", clients=2, first=ReadOperation, handler=flood,
            started=started, client_metadata={"io_timeout": 0.1},
        )  # fmt: skip
        executor.execute_request()
        assert peers[1].recv(100) == b"answer"
        assert peers[0].recv(100) == b"0"
    (late,) = service.talking.of(EventType.TIMEOUT)
    assert (late.when.name, late.phase) == ("IO", "writing")
    assert late.socket is service.accepted[0].client_socket
    assert len(polls) < 100


def test_a_udg_peer_that_reads_late(executor: RequestExecutor, tmp_path: Path) -> None:
    """Every answer arrives, in order, once there is room."""
    got: list[bytes] = []
    with Peers() as peers:

        def flood(event: Any) -> None:
            if event.type is EventType.READ:
                event.next_is_write(b"%d" % number for number in range(200))

        def read_some(event: Any) -> None:
            if event.type is EventType.TIMEOUT and event.socket.is_server and len(got) < 200:
                event.enable_one_more_attempt()
                peers[0].setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        got.append(peers[0].recv(100))

        Service(
            executor, f"udg://{tmp_path}/socket", clients=2, first=ReadOperation, handler=flood,
            io_timeout=0.004,
            started=lambda e: peers.datagram(e.metadata.local_address, b"?", family=socket.AF_UNIX),
        )  # fmt: skip
        executor.with_event_handler(read_some)
        executor.execute_request()
    assert got == [b"%d" % number for number in range(200)]
