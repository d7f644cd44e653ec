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
    EndOfStreamFramePicker,
    NetworkSocketError,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    SendError,
    ShutdownWriteOperation,
    TlsHandshakeError,
    TlsHandshakeOperation,
    UnsupportedOperationError,
    WriteOperation,
)
from support.life import END, USUAL
from support.service import Peers, Serve, Service, count_polls
from support.wire import talk

UDP = "udp://127.0.0.1:0"


@pytest.mark.parametrize("abstract", [False, True])
def test_udg(server: Serve, tmp_path: Path, abstract: bool) -> None:
    """A udg client is bound automatically, so that it can be answered; the server's file is removed."""
    name = f"@evsockets-udg-{os.getpid()}" if abstract else str(tmp_path / "socket")
    service = server(f"udg://{name}", asks=[WriteOperation(b"hi", then=ReadOperation())]).execute()
    assert service.asked[0].frames == [b"hi"]
    assert service.accepted[0].remote_address.startswith("@")
    assert service.local == name and not os.path.exists(name)


def test_udg_sender_without_a_name(server: Serve, tmp_path: Path) -> None:
    """It is accepted all the same; only an answer fails, on its own socket."""

    def started(event: Any) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"anonymous", event.metadata.local_address)

    service = server(f"udg://{tmp_path}/socket", started=started).execute()
    assert service.accepted[0].remote_address is None
    assert service.talking.frames == [b"anonymous"]
    error = service.talking.error
    assert isinstance(error, SendError) and error.errno == errno.EDESTADDRREQ


def test_adopted_datagram_client(executor: RequestExecutor) -> None:
    with Peers() as peers:
        server, address = peers.datagram_server()
        plain = peers.datagram(None)
        plain.connect(server.getsockname())
        log = talk(executor, None, WriteOperation(b"hi"), socket=ClientSocket.from_socket(plain))
        assert server.recv(10) == b"hi" and log.metadata.address == address


@pytest.mark.parametrize(("operation", "error"), [
    (ShutdownWriteOperation(), UnsupportedOperationError),
    (WriteOperation(b"!", out_of_band=True), UnsupportedOperationError),
    (TlsHandshakeOperation(), TlsHandshakeError),
])  # fmt: skip
def test_what_datagrams_cannot(executor: RequestExecutor, operation: Any, error: type) -> None:
    with Peers() as peers:
        assert isinstance(talk(executor, peers.datagram_server()[1], operation).error, error)


def test_reading_and_writing_at_once(server: Serve) -> None:
    writes, reads = [WriteOperation(b"1"), WriteOperation(b"22")], [ReadOperation(), ReadOperation()]
    service = server(UDP, asks=[ReadWriteOperation(operations=[*writes, *reads])], clients=2).execute()
    assert service.asked[0].frames == [b"1", b"22"] and service.asked[0].names[-2:] == END


@pytest.mark.parametrize("read_first", [True, False])
def test_the_end_after_a_datagram_comes_when_all_that_was_queued_has_left(
    server: Serve, read_first: bool
) -> None:
    def both() -> ReadWriteOperation:
        reads = [ReadOperation(), ReadOperation(EndOfStreamFramePicker())]
        return ReadWriteOperation(read_first, [*reads, WriteOperation(b"1")])

    service = server(UDP, says=[b"hello"], first=both, handler={}).execute()
    first = ["READ", "WRITE"] if read_first else ["WRITE", "READ"]
    assert service.talking.names == [*USUAL, *first, "READ", *END]
    assert service.talking.frames == [b"hello", b""]
    assert service.peers[0].recv(10) == b"1"


def test_timeouts_of_a_datagram_client(executor: RequestExecutor) -> None:
    with Peers() as peers:
        log = talk(executor, peers.datagram_server()[1], ReadOperation(), io_timeout=0.05)
    assert log.timeouts == [("IO", "reading")]


GROUP = {"multicast_groups": ["224.0.0.251"], "multicast_interface": "127.0.0.1"}


def test_multicast(server: Serve) -> None:
    """A group by StreamContext, over loopback."""

    def started(event: Any) -> None:
        peer = service.peers.datagram(None)
        peer.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        peer.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        peer.sendto(b"all of you", ("224.0.0.251", service.port))

    service = server("udp://0.0.0.0:0", started=started, stream_context=GROUP)
    service.execute()
    assert service.peers[0].recv(100) == b"all of you"
    assert service.talking.frames == [b"all of you"]


def test_multicast_between_two_sockets_of_the_library(server: Serve) -> None:
    """Both servers in the group hear the client, and not the one beside it; each answers by itself."""
    heard: list[str] = []
    servers: list[Service] = []

    def listen(name: str, address: str, context: dict[str, Any]) -> None:
        def accept(event: Any) -> None:
            heard.append(f"{name} {event.remote_address[0]}")
            if len(heard) == 2:
                for one in servers:
                    one.server.close()

        servers.append(server(
            address, serves=False, started=started, server_handler={"ACCEPT": accept}, stream_context=context,
        ))  # fmt: skip

    def started(event: Any) -> None:
        first = servers[0]
        if len(servers) == 1:
            listen("second", first.url(), GROUP)
            listen("beside", first.url("127.0.0.1"), {})
        elif all(one.local for one in servers):
            context = {"multicast_interface": "127.0.0.1", "multicast_ttl": 0, "multicast_loop": True}
            first.ask(WriteOperation(b"all of you"), stream_context=context)

    listen("first", "udp://224.0.0.251:0", GROUP)
    servers[0].execute()
    assert sorted(heard) == ["first 127.0.0.1", "second 127.0.0.1"]


@pytest.mark.parametrize("broadcast", [False, True])
def test_broadcast_needs_the_option(executor: RequestExecutor, server: Serve, broadcast: bool) -> None:
    """Without it the system refuses (EACCES); with it whoever listens on the port hears it."""

    def started(event: Any) -> None:
        if not broadcast:
            executor.call_soon_threadsafe(executor.call_soon_threadsafe, event.socket.close)

    service = server(
        "udp://0.0.0.0:0", asks=[WriteOperation(b"x")], host="127.255.255.255", handler={}, started=started,
        asking={"stream_context": {"broadcast": broadcast}},
    ).execute()  # fmt: skip
    (asked,) = service.asked
    assert service.talking.frames == [b"x"] * broadcast
    if broadcast:
        assert asked.errors == []
    else:
        assert isinstance(asked.error, NetworkSocketError) and asked.error.errno == errno.EACCES
        assert service.accepted == []


def test_server_closed_before_an_answer(server: Serve) -> None:
    """The way back is gone: one error on the client, nothing else."""

    def read(event: Any) -> None:
        service.server.close()
        late = WriteOperation(b"late")
        event.next_is(DelayedOperation(late, lambda *_: bool(service.server.is_connected)))

    service = server(UDP, says=[b"?"], clients=5, handler={"READ": read})
    service.execute()
    assert service.talking.names == [*USUAL, "READ", "WRITE", "EXCEPTION", *END]


def test_a_udg_peer_that_does_not_read(
    executor: RequestExecutor, server: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queue is full: the answers wait without a spin, others are answered, io_timeout counts."""
    polls = count_polls(executor, monkeypatch)

    def started(event: Any) -> None:
        for data in (b"flood", b"other"):
            service.peers.datagram(service.local, data)

    def read(event: Any) -> None:
        flood = (b"%d" % number for number in range(5000))
        event.next_is_write(flood if event.frame.data == b"flood" else b"answer")

    service = server(
        f"udg://{tmp_path}/socket", clients=2, handler={"READ": read}, started=started,
        client_metadata={"io_timeout": 0.1},
    )  # fmt: skip
    service.execute()
    assert [peer.recv(100) for peer in service.peers] == [b"0", b"answer"]
    (late,) = service.talking.of("TIMEOUT")
    assert (late.when.name, late.phase) == ("IO", "writing")
    assert late.socket is service.accepted[0].client_socket
    assert len(polls) < 100


def test_a_udg_peer_that_reads_late(server: Serve, tmp_path: Path) -> None:
    """Every answer arrives, in order, once there is room."""
    got: list[bytes] = []

    def late(event: Any) -> None:
        if len(got) < 200:
            event.enable_one_more_attempt()
            service.peers[0].setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    got.append(service.peers[0].recv(100))

    service = server(
        f"udg://{tmp_path}/socket", says=[b"?"], clients=2, io_timeout=0.004,
        server_handler={"TIMEOUT": late},
        handler={"READ": lambda event: event.next_is_write(b"%d" % number for number in range(200))},
    )  # fmt: skip
    service.execute()
    assert got == [b"%d" % number for number in range(200)]
