"""A datagram server on all addresses answers from the one that was asked."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from evsockets import ReadOperation, ServerSocket, WriteOperation
from support.service import Peers, Serve, Service

IPV4 = ["127.0.0.1", "127.0.0.2", "127.200.3.4"]
#: From <linux/in.h>.
IP_PKTINFO = 8


def ipv6_addresses() -> list[str]:
    """Those of this machine that need no scope."""
    lines = [line.split() for line in Path("/proc/net/if_inet6").read_text().splitlines()]
    packed = [bytes.fromhex(fields[0]) for fields in lines if fields[3] != "20"]
    return [socket.inet_ntop(socket.AF_INET6, each) for each in packed]


def bound_to(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    return sock


def are_answered(server: Serve, hosts: list[str], listens: dict[str, Any], **context: Any) -> None:
    """A client for each of `hosts`: it takes an answer of the address that it asked only."""

    def started(event: Any) -> None:
        for host in hosts:
            address = f"udp://[{host}]:{service.port}" if ":" in host else f"udp://{host}:{service.port}"
            operation = WriteOperation(host.encode(), then=ReadOperation())
            service.ask(operation, address=address, stream_context=context)

    service: Service = server(**listens, clients=len(hosts), started=started)
    service.execute()
    for host, asked in zip(hosts, service.asked, strict=True):
        assert asked.frames == [host.encode()]
        assert asked.of("READ")[0].frame.remote_address[0] == host
    told = {event.frame.data.decode(): event.metadata.local_address for event in service.talking.of("READ")}
    six = ":" in service.local[0]  # an IPv4 address is a mapped one there
    names = {host: f"::ffff:{host}" if six and ":" not in host else host for host in hosts}
    assert told == {
        host: (name, service.port, 0, 0) if ":" in name else (name, service.port)
        for host, name in names.items()
    }


@pytest.mark.parametrize("how", ["address", "fd", "from_socket"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::ffff:0.0.0.0"])
def test_each_is_answered_from_the_address_it_asked(server: Serve, host: str, how: str) -> None:
    if how == "address":
        listens: dict[str, Any] = {"address": f"udp://[{host}]:0" if ":" in host else f"udp://{host}:0"}
    elif how == "fd":
        listens = {"address": f"fd://{bound_to(host).detach()}"}
    else:
        listens = {"address": None, "server": ServerSocket.from_socket(bound_to(host))}
    are_answered(server, [*IPV4, *(["::1"] if host == "::" else [])], listens)


def test_every_ipv6_address(server: Serve) -> None:
    """Asked from ::1, which the system answers from ::1 if nobody says otherwise."""
    are_answered(server, ipv6_addresses(), {"address": "udp://[::]:0"}, bind_to=("::1", 0))


@pytest.mark.parametrize("size", [0, 1, 65_507])
def test_whole_sizes(server: Serve, size: int) -> None:
    data = os.urandom(size)
    asks = [WriteOperation([data], then=ReadOperation())]
    service = server("udp://0.0.0.0:0", asks=asks, host="127.0.0.2").execute()
    assert service.talking.frames == service.asked[0].frames == [data]


def test_several_answers_to_one_datagram(server: Serve) -> None:
    def read(event: Any) -> None:
        if event.frame.data != b"three":
            event.next_is_read()

    service = server(
        "udp://0.0.0.0:0", asks=[WriteOperation(b"x", then=ReadOperation())], host="127.0.0.2",
        asking={"on": {"READ": read}},
        handler={"READ": lambda event: event.next_is_write(iter([b"one", b"", b"three"]))},
    ).execute()  # fmt: skip
    assert service.asked[0].frames == [b"one", b"", b"three"]


def test_what_lay_in_the_queue_of_an_adopted_one(server: Serve) -> None:
    """As after a socket activation: it came before anybody asked the system for addresses."""
    bound = bound_to("0.0.0.0")
    with Peers() as peers:
        where = "127.0.0.2", bound.getsockname()[1]
        peer = peers.datagram(None)
        peer.connect(where)
        peer.send(b"early")
        server(None, server=ServerSocket.from_socket(bound)).execute()
        assert peer.recvfrom(10) == (b"early", where)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
@pytest.mark.parametrize("group", ["224.0.0.251", "127.255.255.255"])
def test_a_group_is_answered_from_one_of_ones_own(server: Serve, host: str, group: str) -> None:
    """A multicast or broadcast address cannot be where an answer comes from."""
    bound = bound_to(host)
    request = socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1")
    bound.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    port = bound.getsockname()[1]
    with Peers() as peers:
        peer = peers.datagram(None)
        peer.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        service = server(
            None, server=ServerSocket.from_socket(bound),
            started=lambda event: peer.sendto(b"all of you", (group, port)),
        ).execute()  # fmt: skip
        assert peer.recvfrom(100) == (b"all of you", ("127.0.0.1", port))
    assert service.talking.errors == []


@pytest.mark.parametrize(("address", "asks"), [("127.0.0.1", 0), ("0.0.0.0", 1)])
def test_only_they_pay_for_it(server: Serve, address: str, asks: int) -> None:
    found: list[int] = []

    def started(event: Any) -> None:
        with socket.socket(fileno=os.dup(event.socket.fileno())) as sock:
            found.append(sock.getsockopt(socket.IPPROTO_IP, IP_PKTINFO))
        event.cancel_operation()

    server(f"udp://{address}:0", started=started).execute()
    assert found == [asks]
