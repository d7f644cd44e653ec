"""Datagram transports, on real sockets."""

from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from evsockets.address import public_address
from evsockets.configuration import StreamContext
from evsockets.transports.datagram import DatagramTransport, ServerDatagram
from evsockets.transports.listener import open_client_socket
from evsockets.transports.packet_info import Datagram, asked_of, reply_to
from support.transports import DEFAULT, Open, pair, wait


def received_by(server: ServerDatagram) -> tuple[bytes, Any] | None:
    """The next datagram with its sender, None if there is none."""
    for one in server.receive_many(1):
        if isinstance(one, OSError):
            raise one
        return one.data, one.remote
    return None


@pytest.mark.parametrize("text", ["udp://127.0.0.1:0", "udp://[::1]:0", "udg://@evsockets-test-d", "udg"])
def test_datagrams_there_and_back(text: str, serve: Open, connect: Any, tmp_path: Path) -> None:
    server = ServerDatagram(serve("udg://" + str(tmp_path / "s") if text == "udg" else text, DEFAULT))
    client = DatagramTransport(connect(server.sock))
    assert received_by(server) is None
    assert client.recv() is None
    assert client.datagram
    assert server.datagram
    for data in (b"one", b"", b"0", os.urandom(65_507)):
        assert client.send(data) == len(data)
        wait(server)
        received = received_by(server)
        assert received is not None
        assert received == (data, client.sock.getsockname())
        assert server.send_to(data, received[1]) == len(data)
        wait(client)
        assert client.recv() == data
    server.close()
    assert server.closed


def test_too_large_a_datagram(serve: Open, connect: Any) -> None:
    server = serve("udp://127.0.0.1:0", DEFAULT)
    client = DatagramTransport(connect(server))
    with pytest.raises(OSError, match="too long"):
        client.send(bytes(65_508))


def test_a_truncated_datagram_is_an_error(stack: ExitStack) -> None:
    near, far = pair(stack, socket.SOCK_DGRAM)
    for sender, receive in (
        (near, DatagramTransport(far).recv),
        (far, partial(received_by, ServerDatagram(near))),
    ):
        sender.send(bytes(65_537))
        sender.send(b"next")
        with pytest.raises(OSError, match="truncated") as caught:
            receive()
        assert caught.value.errno == errno.EMSGSIZE
        received = receive()
        assert (received[0] if isinstance(received, tuple) else received) == b"next"


def test_a_full_queue_is_not_now(stack: ExitStack) -> None:
    near, far = pair(stack, socket.SOCK_DGRAM)
    ours = DatagramTransport(near)
    for _ in range(100_000):
        if ours.send(b"") < 0:
            break
    assert ours.send(b"x") == -1
    far.recv(10)
    assert ours.send(b"") == 0


def test_refused_datagrams(serve: Open, connect: Any) -> None:
    server = serve("udp://127.0.0.1:0", DEFAULT)
    client = DatagramTransport(connect(server))
    server.close()
    client.send(b"x")
    wait(client)
    with pytest.raises(ConnectionRefusedError):
        client.recv()
    assert client.recv() is None


def test_the_nameless_cannot_be_answered(serve: Open, tmp_path: Path) -> None:
    server = ServerDatagram(serve(f"udg://{tmp_path}/s", DEFAULT))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", str(tmp_path / "s"))
    received = received_by(server)
    assert received is not None
    assert received[0] == b"x"
    assert public_address(socket.AF_UNIX, received[1]) is None
    with pytest.raises(OSError, match="address required"):
        server.send_to(b"y", received[1])


def test_a_reply_is_one_datagram_and_the_way_back(serve: Open, connect: Any) -> None:
    server = ServerDatagram(serve("udp://127.0.0.1:0", DEFAULT))
    client = DatagramTransport(connect(server.sock))
    client.send(b"")
    wait(server)
    received = received_by(server)
    assert received is not None
    reply = reply_to(server, Datagram(*received))
    assert reply.shared
    assert reply.fileno() == -1
    assert not reply.at_end
    assert reply.recv() == b""
    assert not reply.at_end
    assert reply.recv() == b""
    assert reply.at_end
    assert reply.send(b"answer") == 6
    wait(client)
    assert client.recv() == b"answer"
    reply.close()
    assert not server.closed


def test_multicast_v4(serve: Open, connect: Any) -> None:
    group = StreamContext(multicast_groups=["239.255.77.1"], multicast_interface="127.0.0.1")  # type: ignore[arg-type]
    server = ServerDatagram(serve("udp://0.0.0.0:0", group))
    assert server.sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    port = server.sock.getsockname()[1]
    name = next(name for index, name in socket.if_nameindex() if name.startswith("lo"))
    for interface in ("127.0.0.1", name, socket.if_nametoindex(name)):
        context = StreamContext(multicast_interface=interface, multicast_ttl=0, multicast_loop=True)
        with closing(open_client_socket(socket.AF_INET, socket.SOCK_DGRAM, context)) as client:
            assert client.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 0
            client.connect(("239.255.77.1", port))
            client.send(b"x")
            wait(server)
            received = received_by(server)
            assert received is not None
            assert received[0] == b"x"


def test_multicast_v6(serve: Open) -> None:
    name = next(name for index, name in socket.if_nameindex() if name.startswith("lo"))
    context = StreamContext(
        multicast_groups=(f"ff01::77%{name}", "239.255.77.1"), multicast_loop=True, multicast_ttl=1
    )
    server = ServerDatagram(serve("udp://[::]:0", context))
    assert server.sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS) == 1
    assert server.sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP) == 1
    joined = [line.split() for line in Path("/proc/net/igmp6").read_text().splitlines()]
    assert any(line[1:3] == [name, "ff010000000000000000000000000077"] for line in joined)
    sending = StreamContext(multicast_interface=name)
    with closing(open_client_socket(socket.AF_INET6, socket.SOCK_DGRAM, sending)) as client:
        assert client.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF) == socket.if_nametoindex(name)


@pytest.mark.parametrize(
    ("asked", "sockaddr", "index"),
    [
        ("2001:db8::1", ("2001:db8::1", 53, 0, 0), 0),
        ("fe80::1", ("fe80::1", 53, 0, 7), 7),  # means nothing without its interface
        ("ff02::fb", None, 0),  # no address to answer from
    ],
)
def test_where_an_ipv6_answer_comes_from(asked: str, sockaddr: tuple[Any, ...] | None, index: int) -> None:
    packed = socket.inet_pton(socket.AF_INET6, asked)
    kind = socket.IPPROTO_IPV6, socket.IPV6_PKTINFO
    found = asked_of(*kind, packed + struct.pack("I", 7), True)
    if sockaddr is None:
        assert found is None
    else:
        assert found is not None and found.sockaddr(53) == sockaddr
        assert found.control == [(*kind, packed + struct.pack("I", index))]


def test_an_unknown_multicast_interface() -> None:
    for family in (socket.AF_INET, socket.AF_INET6):
        with pytest.raises(OSError, match="no interface|No such device"):
            open_client_socket(family, socket.SOCK_DGRAM, StreamContext(multicast_interface="nosuchif"))


def test_broadcast_is_asked_for() -> None:
    with closing(open_client_socket(socket.AF_INET, socket.SOCK_DGRAM, DEFAULT)) as sock:
        with pytest.raises(PermissionError):
            sock.connect(("255.255.255.255", 9))
    allowed = StreamContext(broadcast=True)
    with closing(open_client_socket(socket.AF_INET, socket.SOCK_DGRAM, allowed)) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
