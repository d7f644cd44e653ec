"""What a socket tells about itself, before, in and after its life."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EventType,
    MarkerFramePicker,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.service import Peers, Service
from support.wire import peer, read_to_end, reset, talk


def test_kinds_and_reprs(executor: RequestExecutor) -> None:
    client, server = ClientSocket(), ServerSocket()
    assert client.is_client and not client.is_server
    assert server.is_server and not server.is_client
    assert repr(client) == "<ClientSocket closed>" and client.fileno() == -1 and not client.is_connected
    shown: list[str] = []
    with peer(read_to_end) as running:

        def look(event: Any) -> None:
            assert event.socket.is_connected and event.socket.fileno() >= 0
            shown.append(repr(event.socket))

        talk(executor, running.url(), WriteOperation(b"x"), socket=client, on={"WRITE": look})
        assert running.url() in shown[0]
    assert client.fileno() == -1 and not client.is_connected


def test_opening_makes_it_non_blocking(executor: RequestExecutor) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(True)
    client = ClientSocket.from_socket(ours)
    modes: list[bool] = []

    def blocking(event: Any) -> None:
        modes.append(os.get_blocking(event.socket.fileno()))

    with theirs:
        talk(executor, None, WriteOperation(b"x"), socket=client, on={"WRITE": blocking})
    assert modes == [False]


def gone(one: Any) -> bool:
    return one.fileno() == -1 and not one.is_connected


@pytest.mark.parametrize("how", ["refused", "reset", "no TLS", "half a frame"])
def test_after_an_error_nothing_is_open(executor: RequestExecutor, unused_port: int, how: str) -> None:
    """Gone when FINALIZE is told; what the metadata said of the connection stays."""
    client = ClientSocket()
    at: dict[str, tuple[Any, ...]] = {}

    def look(event: Any) -> None:
        m = event.metadata
        times = m.connection_start_time is not None, m.connection_finish_time is not None
        at[event.type.name] = (*times, m.request_complete, gone(client))

    def script(sock: socket.socket) -> None:
        if how == "reset":
            reset(sock)
        else:
            sock.sendall(b"no TLS, no line")
            sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                read_to_end(sock)

    with contextlib.ExitStack() as stack:
        url = f"tcp://127.0.0.1:{unused_port}"
        if how != "refused":
            url = stack.enter_context(peer(script)).url("tls" if how == "no TLS" else "tcp")
        log = talk(
            executor, url, ReadOperation(MarkerFramePicker(None, b"\n")), socket=client,
            on={"EXCEPTION": look, "FINALIZE": look}, stream_context={"verify": False},
        )  # fmt: skip
    assert log.error.socket is client and gone(client)
    connected = "CONNECTED" in log.names
    assert at["EXCEPTION"][:3] == (True, connected, False)
    assert at["FINALIZE"] == (True, connected, True, True)
    assert repr(client).startswith(f"<ClientSocket {url} complete")


def test_a_listener_is_connected_while_it_listens(executor: RequestExecutor) -> None:
    seen: list[tuple[str, bool]] = []
    with Peers() as peers:

        def started(event: Any) -> None:
            peers.stream(event.metadata.local_address, b"x\n")

        service = Service(executor, started=started)
        executor.with_event_handler(
            lambda event: seen.append((event.type.name, service.server.is_connected))
            if event.socket is service.server
            else None
        )
        assert gone(service.server)
        executor.execute_request()
    assert seen == [
        ("INITIALIZE", False), ("CONNECTED", True), ("ACCEPT", True), ("DISCONNECTED", False),
        ("FINALIZE", False),
    ]  # fmt: skip
    assert gone(service.server)


def test_a_datagram_client_shares_its_servers_descriptor(executor: RequestExecutor) -> None:
    """Connected in its life though nothing was opened for it; its end leaves the server open."""
    seen: list[tuple[bool, bool, bool]] = []
    with Peers() as peers:

        def talking(event: Any) -> None:
            one = event.socket
            if event.type is EventType.READ:
                seen.append((one.is_client, one.is_server, one.is_connected))
                event.next_is_write(event.frame.data)
            elif event.type is EventType.FINALIZE:
                assert gone(one) and service.server.is_connected

        service = Service(
            executor, "udp://127.0.0.1:0", clients=3, first=ReadOperation, handler=talking,
            started=lambda e: peers.datagram(e.metadata.local_address, b"1", b"2", b"3"),
        )  # fmt: skip
        executor.execute_request()
        assert [peers[0].recv(10) for _ in range(3)] == [b"1", b"2", b"3"]
    assert seen == [(True, False, True)] * 3


def test_a_life_on_an_open_connection_begins_connected(executor: RequestExecutor) -> None:
    """Start and finish are the same moment: nothing had to be opened."""
    client = ClientSocket()

    def forget(event: Any) -> None:
        executor.socket_bag.forget_socket(client)

    with peer(read_to_end) as server:
        first = talk(
            executor, server.url(), WriteOperation(b"1"), socket=client, keep_alive=True, on={"WRITE": forget}
        )
        descriptor = client.fileno()
        numbers: list[int] = []
        on = {"WRITE": lambda event: numbers.append(client.fileno())}
        second = talk(executor, server.url(), WriteOperation(b"2"), socket=client, on=on)
    assert server.results == [b"12"] and numbers == [descriptor]
    assert first.metadata.connection_finish_time >= first.metadata.connection_start_time
    times = second.metadata.connection_start_time, second.metadata.connection_finish_time
    assert times[0] == pytest.approx(times[1], abs=0.01)
