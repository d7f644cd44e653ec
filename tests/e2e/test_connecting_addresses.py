"""Addresses of clients: given, malformed, missing, and seen from both ends."""

from __future__ import annotations

import socket

import pytest

from evsockets import (
    AddressError,
    ClientSocket,
    ConnectionFailedError,
    EventType,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.life import FAILED
from support.wire import peer, read_to_end, talk


def test_ipv4_addresses(executor: RequestExecutor) -> None:
    def on_connected(event):
        seen.append((event.metadata.local_address, event.metadata.remote_address))

    seen: list = []
    with peer(lambda sock: sock.getpeername()) as server:
        log = talk(executor, server.url(), ReadOperation(), on={"CONNECTED": on_connected})
    assert seen == [(server.results[0], ("127.0.0.1", server.port))]
    assert log.metadata.address == server.url()
    assert log.metadata.remote_address == ("127.0.0.1", server.port)  # still known after the end


def test_ipv6_addresses(executor: RequestExecutor) -> None:
    def on_connected(event):
        seen.append((event.metadata.local_address, event.metadata.remote_address))

    seen: list = []
    with peer(lambda sock: sock.getpeername(), family=socket.AF_INET6, bind=("::1", 0)) as server:
        talk(executor, server.url(host="[::1]"), ReadOperation(), on={"CONNECTED": on_connected})
    assert seen == [(server.results[0], ("::1", server.port, 0, 0))]


@pytest.mark.parametrize("by", ["name", "number"])
def test_ipv6_zones(executor: RequestExecutor, by: str) -> None:
    """A zone of the server's and of the client's address goes to the kernel, and stays in the URL."""
    host, interface = "::1", socket.if_indextoname(1)  # the loopback: no other address is talked to here
    zone = interface if by == "name" else "1"
    seen: dict = {}

    def started(event):
        seen["server"] = event.metadata.local_address
        port = event.metadata.local_address[1]
        executor.socket_bag.add_socket(
            ClientSocket(), WriteOperation(b"x"), address=f"tcp://[{host}%{zone}]:{port}",
            handler={EventType.CONNECTED: connected},
        )  # fmt: skip

    def connected(event):
        seen["client"], seen["asked"] = event.metadata.local_address, event.metadata.remote_address
        assert event.metadata.address == f"tcp://[{host}%{zone}]:{event.metadata.remote_address[1]}"

    def accept(event):
        seen["accepted"] = event.remote_address
        event.cancel_operation()

    executor.socket_bag.add_socket(
        ServerSocket(), ReadOperation(), address=f"tcp://[{host}%{zone}]:0",
        handler={EventType.CONNECTED: started, EventType.ACCEPT: accept},
    )  # fmt: skip
    executor.execute_request()
    assert seen["asked"][:2] == seen["server"][:2] and seen["accepted"][:2] == seen["client"][:2]
    assert {address[0] for address in seen.values()} == {host}


@pytest.mark.parametrize("abstract", [False, True])
def test_unix_addresses(executor: RequestExecutor, tmp_path, abstract: bool) -> None:
    path = str(tmp_path / "peer.sock")
    name = f"evsockets-test-{tmp_path.name}-{executor.engine.name}"
    bind, text = ("\0" + name, "@" + name) if abstract else (path, path)
    seen: list = []

    def on_connected(event):
        seen.append((event.metadata.local_address, event.metadata.remote_address))

    with peer(read_to_end, family=socket.AF_UNIX, bind=bind) as server:
        log = talk(executor, f"unix://{text}", WriteOperation(b"x"), on={"CONNECTED": on_connected})
    assert server.results == [b"x"] and seen == [(None, text)]
    assert log.metadata.address == f"unix://{text}"


def test_before_and_without_a_connection_there_is_no_address(executor: RequestExecutor) -> None:
    seen: list = []
    with peer(read_to_end) as server:
        talk(
            executor, server.url(), WriteOperation(b""),
            on={"INITIALIZE": lambda event: seen.append(event.metadata.local_address)},
        )  # fmt: skip
    assert seen == [None]


def test_a_malformed_address_is_told_where_it_is_set(executor: RequestExecutor) -> None:
    for address in (
        "127.0.0.1:80",
        "gopher://h:1",
        "tcp://h:99999",
        "tcp://h",
        "unix://" + "x" * 200,
        "fd://3",
    ):
        with pytest.raises(AddressError):
            executor.socket_bag.add_socket(ClientSocket(), ReadOperation(), address=address)
    assert len(executor.socket_bag) == 0
    metadata = executor.socket_bag.add_socket(ClientSocket(), ReadOperation())
    with pytest.raises(AddressError):
        metadata.address = "tcp://h:port"


def test_no_address(executor: RequestExecutor) -> None:
    log = talk(executor, None, ReadOperation())
    assert isinstance(log.error, ConnectionFailedError) and log.names == FAILED


def test_initialize_is_the_last_moment_to_set_it(executor: RequestExecutor) -> None:
    with peer(read_to_end) as server:
        log = talk(
            executor, "tcp://127.0.0.1:1", WriteOperation(b"x"),
            on={"INITIALIZE": lambda event: setattr(event.metadata, "address", server.url())},
        )  # fmt: skip
    assert server.results == [b"x"] and log.errors == []


def test_bind_to(executor: RequestExecutor) -> None:
    with peer(lambda sock: sock.getpeername()) as server:
        talk(executor, server.url(), ReadOperation(), stream_context={"bind_to": ("127.0.0.2", 0)})
    assert server.results[0][0] == "127.0.0.2"
