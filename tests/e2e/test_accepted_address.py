"""An accepted socket's address is its peer's, in the listener's scheme; a listener's is the one it took."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from evsockets import EventType, RequestExecutor, ServerSocket
from support.queued import Queue
from support.service import Peers, Service


def accepted_address(
    executor: RequestExecutor, peers: Any, address: str | None, **more: Any
) -> tuple[str, Any]:
    """The address of the one client of a listener at `address`, and the client's raw one."""

    def come(event: Any) -> None:
        peers.come(event.metadata.local_address)

    service = Service(executor, address, started=come, **peers.metadata, **more)
    executor.execute_request()
    assert peers.answers() == peers.lines()
    (read,) = service.talking.of(EventType.READ)
    return read.metadata.address, read.metadata.remote_address


@pytest.mark.parametrize("scheme", ["tcp", "TCP", "tls", "ssl", "tlsv1.2", "tlsv1.3", "TLSv1.3", "udp"])
def test_it_keeps_the_scheme_as_written(executor: RequestExecutor, queue: Queue, scheme: str) -> None:
    """A pinned version, too; in lower case."""
    kind = scheme.lower() if scheme in ("tcp", "TCP", "udp") else "tls"
    address, remote = accepted_address(executor, queue(kind), f"{scheme}://127.0.0.1:0")
    assert address == f"{scheme.lower()}://{remote[0]}:{remote[1]}"


@pytest.mark.parametrize("kind", ["unix", "udg"])
def test_of_unix_sockets(executor: RequestExecutor, queue: Queue, kind: str) -> None:
    peers = queue(kind)
    address, remote = accepted_address(executor, peers, peers.address)
    assert address == f"{kind}://{remote or ''}"


@pytest.mark.parametrize("how", ["from_socket", "fd"])
@pytest.mark.parametrize("kind", ["tcp", "unix", "udp", "udg"])
def test_of_an_adopted_listener_it_is_what_the_descriptor_is(
    executor: RequestExecutor, queue: Queue, kind: str, how: str
) -> None:
    """A descriptor's number says nothing about the peer."""
    peers = queue(kind)
    ours = peers.listener()
    if how == "from_socket":
        more, address = {"server": ServerSocket.from_socket(ours)}, None
    else:
        more, address = {}, f"fd://{ours.detach()}"
    address, remote = accepted_address(executor, peers, address, **more)
    assert address.startswith(f"{kind}://") and address.endswith(
        f":{remote[1]}" if kind in ("tcp", "udp") else remote or "//"
    )


@pytest.mark.parametrize("scheme", ["tls", "ssl", "tlsv1.3"])
def test_of_an_adopted_listener_with_an_address_it_is_that_ones(
    executor: RequestExecutor, queue: Queue, scheme: str
) -> None:
    peers = queue("tls")
    server = ServerSocket.from_socket(peers.listener())
    address, _ = accepted_address(executor, peers, f"{scheme}://127.0.0.1:0", server=server)
    assert address.startswith(f"{scheme}://127.0.0.1:")


def test_a_listener_on_a_name_has_the_first_of_its_addresses(engine: str) -> None:
    """The first where it can listen; nobody answers at the others."""
    ours = [("127.0.0.2", 0), ("127.0.0.1", 0)]

    def resolver(*asked: Any) -> list[Any]:
        elsewhere = ("192.0.2.1", 0)  # nobody's: it cannot be bound
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in (elsewhere, *ours)]

    refused: list[int] = []

    def started(event: Any) -> None:
        local = event.metadata.local_address
        with socket.socket() as other:
            refused.append(other.connect_ex(("127.0.0.1", local[1])))

    with RequestExecutor(engine, resolver=resolver) as executor, Peers() as peers:
        service = Service(executor, "tcp://name.test:0", says=[b"x\n"], started=started, peers=peers)
        service.execute()
    assert service.local[0] == "127.0.0.2" and refused == [errno.ECONNREFUSED]
