"""Stream and datagram transports, listeners and socket options, on real sockets."""

from __future__ import annotations

import _socket
import errno
import os
import select
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from evsockets.address import parse_address, public_address, sockaddr_of
from evsockets.configuration import StreamContext
from evsockets.errors import UnsupportedOperationError
from evsockets.transports.datagram import DatagramReply, DatagramTransport, ServerDatagram
from evsockets.transports.listener import Listener, adopt, open_client_socket, open_server
from evsockets.transports.stream import RECEIVE_SIZE, StreamTransport
from evsockets.transports.unix_file import UnixSocketFile

LIMIT = 60_000
DEFAULT = StreamContext()
Open = Callable[[str, StreamContext], _socket.socket]


def wait(transport: Any, event: int = select.POLLIN) -> None:
    poll = select.poll()
    poll.register(transport.fileno(), event)
    assert poll.poll(LIMIT)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@pytest.fixture
def serve(stack: ExitStack) -> Open:
    def open_it(text: str, context: StreamContext = DEFAULT) -> _socket.socket:
        address = parse_address(text, server=True)
        if address.path is not None:
            sock = open_server(address, socket.AF_UNIX, sockaddr_of(address.path), context)
        else:
            assert address.host is not None
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            sock = open_server(address, family, (address.host, address.port), context)
        stack.callback(sock.close)
        return sock

    return open_it


@pytest.fixture
def connect(stack: ExitStack) -> Callable[..., _socket.socket]:
    def open_it(server: _socket.socket, context: StreamContext = DEFAULT) -> _socket.socket:
        sock = open_client_socket(server.family, server.type, context)
        stack.callback(sock.close)
        if sock.connect_ex(server.getsockname()) == errno.EINPROGRESS:
            wait(sock, select.POLLOUT)
        return sock

    return open_it


def pair(stack: ExitStack, kind: int = socket.SOCK_STREAM) -> tuple[_socket.socket, _socket.socket]:
    ends = socket.socketpair(socket.AF_UNIX, kind)
    taken = adopt(ends[0]), adopt(ends[1])
    for sock in taken:
        stack.callback(sock.close)
    return taken


# ---- streams


def test_stream_moves_bytes_and_ends(stack: ExitStack) -> None:
    ours, theirs = (StreamTransport(sock) for sock in pair(stack))
    assert ours.recv() is None
    assert theirs.send(b"hello") == 5
    assert ours.recv() == b"hello"
    assert theirs.send(memoryview(bytearray(b"more"))) == 4
    assert theirs.flush()
    assert theirs.shutdown_write()
    assert (ours.recv(), ours.recv(), ours.recv()) == (b"more", b"", b"")
    assert ours.send(b"still open") == 10
    assert theirs.recv() == b"still open"
    assert not ours.datagram
    assert (ours.wants, ours.pending, ours.unflushed, ours.shared) == (0, False, 0, False)


def test_stream_takes_what_the_kernel_takes(stack: ExitStack) -> None:
    near, far = pair(stack)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    ours, theirs = StreamTransport(near), StreamTransport(far)
    data = os.urandom(300_000)
    sent, received = 0, b""
    while len(received) < len(data):
        while sent < len(data) and (taken := ours.send(memoryview(data)[sent:])):
            sent += taken
        part = theirs.recv()
        assert part
        assert len(part) <= RECEIVE_SIZE
        received += part
    assert received == data


def test_stream_lets_errors_through(stack: ExitStack) -> None:
    near, far = pair(stack)
    ours = StreamTransport(near)
    far.close()
    with pytest.raises(BrokenPipeError):
        ours.send(b"x")
    ours.close()
    ours.close()
    assert ours.closed
    assert ours.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        ours.recv()


def test_a_reset_is_an_error(serve: Open, connect: Any) -> None:
    listener = serve("tcp://127.0.0.1:0", DEFAULT)
    ours = StreamTransport(connect(listener))
    accepted = Listener(listener).accept()
    assert accepted is not None
    accepted[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    accepted[0].close()
    wait(ours)
    with pytest.raises(ConnectionResetError):
        ours.recv()


def test_urgent_byte_is_found_in_its_place(serve: Open, connect: Any) -> None:
    listener = serve("tcp://127.0.0.1:0", DEFAULT)
    ours = StreamTransport(connect(listener))
    accepted = Listener(listener).accept()
    assert accepted is not None
    with closing(StreamTransport(accepted[0])) as theirs:
        assert theirs.supports_urgent
        theirs.sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        assert ours.send(b"before") == 6
        assert ours.send_oob(b"!") == 1
        assert ours.send(b"after") == 5
        seen: list[tuple[bool, bytes]] = []
        while len(b"".join(data for _, data in seen)) < 12:
            wait(theirs)
            mark = theirs.at_mark()
            data = theirs.sock.recv(1) if mark else theirs.recv()
            assert data
            seen.append((mark, data))
        assert [data for mark, data in seen if mark] == [b"!"]
        assert b"".join(data for mark, data in seen if not mark) == b"beforeafter"
        assert seen[0] == (False, b"before")
        for wrong in (b"", b"ab"):
            with pytest.raises(UnsupportedOperationError, match="one byte"):
                ours.send_oob(wrong)


def test_no_urgent_bytes_elsewhere(stack: ExitStack) -> None:
    for kind, make in ((socket.SOCK_STREAM, StreamTransport), (socket.SOCK_DGRAM, DatagramTransport)):
        transport = make(pair(stack, kind)[0])
        assert not transport.supports_urgent
        with pytest.raises(UnsupportedOperationError, match="tcp"):
            transport.send_oob(b"x")


# ---- clients' sockets and options


def test_client_socket_options() -> None:
    context = StreamContext(
        tcp_keepalive=(7, 8, 9), receive_buffer_size=20_000, send_buffer_size=30_000, reuse_address=True
    )
    sock = open_client_socket(socket.AF_INET, socket.SOCK_STREAM, context)
    with closing(sock):
        assert not sock.getblocking()
        assert not os.get_blocking(sock.fileno())
        assert not os.get_inheritable(sock.fileno())
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [7, 8, 9]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) in (20_000, 40_000)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) in (30_000, 60_000)


def test_client_socket_defaults() -> None:
    with closing(open_client_socket(socket.AF_INET, socket.SOCK_STREAM, DEFAULT)) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    slow = StreamContext(no_delay=False, tcp_keepalive=5)
    with closing(open_client_socket(socket.AF_INET6, socket.SOCK_STREAM, slow)) as sock:
        assert not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5


@pytest.mark.parametrize(
    ("bind_to", "host", "peer"),
    [
        ("127.0.0.2", "127.0.0.2", "tcp://127.0.0.1:0"),
        ("127.0.0.2:0", "127.0.0.2", "tcp://127.0.0.1:0"),
        (("127.0.0.2", 0), "127.0.0.2", "tcp://127.0.0.1:0"),
        ("localhost", "127.0.0.1", "tcp://127.0.0.1:0"),
        ("", "127.0.0.1", "tcp://127.0.0.1:0"),
        ("::1", "::1", "tcp://[::1]:0"),
        (("localhost", 0), "::1", "tcp://[::1]:0"),
    ],
)
def test_bind_to(bind_to: Any, host: str, peer: str, serve: Open, connect: Any) -> None:
    listener = serve(peer, DEFAULT)
    sock = connect(listener, StreamContext(bind_to=bind_to))
    assert sock.getsockname()[0] == host
    accepted = Listener(listener).accept()
    assert accepted is not None
    accepted[0].close()
    assert accepted[1] == sock.getsockname()


def test_bind_to_another_family() -> None:
    for family, bind_to in (
        (socket.AF_INET, "::1"),
        (socket.AF_INET6, "127.0.0.1"),
        (socket.AF_INET, "@name"),
        (socket.AF_UNIX, "127.0.0.1"),
    ):
        with pytest.raises(OSError, match="bind_to") as caught:
            open_client_socket(family, socket.SOCK_STREAM, StreamContext(bind_to=bind_to))
        assert caught.value.errno == errno.EAFNOSUPPORT


def test_unix_clients_names(serve: Open, connect: Any, tmp_path: Path) -> None:
    listener = serve("unix://" + str(tmp_path / "s"), DEFAULT)
    client = connect(listener, StreamContext(bind_to="@evsockets-test-client"))
    assert public_address(client.family, client.getsockname()) == "@evsockets-test-client"
    accepted = Listener(listener).accept()
    assert accepted is not None
    accepted[0].close()
    assert public_address(socket.AF_UNIX, accepted[1]) == "@evsockets-test-client"


# ---- listeners


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:0", "tcp://[::1]:0", "unix://@evsockets-test", "unix"])
def test_accept(text: str, serve: Open, connect: Any, tmp_path: Path) -> None:
    listener = serve("unix://" + str(tmp_path / "s") if text == "unix" else text, DEFAULT)
    assert not listener.getblocking()
    transport = Listener(listener)
    assert transport.accept() is None
    ours = StreamTransport(connect(listener))
    wait(transport)
    accepted = transport.accept()
    assert accepted is not None
    assert transport.accept() is None
    with closing(StreamTransport(accepted[0])) as theirs:
        assert not os.get_blocking(theirs.fileno())
        assert theirs.recv() is None
        assert ours.send(b"x") == 1
        wait(theirs)
        assert theirs.recv() == b"x"
        if listener.family != socket.AF_UNIX:
            assert theirs.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted[1] == ours.sock.getsockname()
    transport.close()
    transport.close()
    assert transport.closed


def test_a_port_can_be_used_again_at_once(serve: Open, connect: Any) -> None:
    listener = serve("tcp://127.0.0.1:0", DEFAULT)
    port = listener.getsockname()[1]
    client = connect(listener)
    accepted = Listener(listener).accept()
    assert accepted is not None
    accepted[0].close()  # the server's side goes to TIME_WAIT
    listener.close()
    client.close()
    again = serve(f"tcp://127.0.0.1:{port}", DEFAULT)
    with pytest.raises(OSError, match="in use"):
        serve(f"tcp://127.0.0.1:{port}", DEFAULT)
    again.close()


def test_reuse_port(serve: Open) -> None:
    shared = StreamContext(reuse_port=True)
    port = serve("tcp://127.0.0.1:0", shared).getsockname()[1]
    assert serve(f"tcp://127.0.0.1:{port}", shared).getsockname()[1] == port


def test_two_datagram_servers_do_not_share_a_port(serve: Open) -> None:
    port = serve("udp://127.0.0.1:0", DEFAULT).getsockname()[1]
    with pytest.raises(OSError, match="in use"):
        serve(f"udp://127.0.0.1:{port}", DEFAULT)


def test_dual_stack(serve: Open, stack: ExitStack) -> None:
    for ipv6_only in (False, True):
        listener = serve("tcp://[::]:0", StreamContext(ipv6_only=ipv6_only))
        client = open_client_socket(socket.AF_INET, socket.SOCK_STREAM, DEFAULT)
        stack.callback(client.close)
        code = client.connect_ex(("127.0.0.1", listener.getsockname()[1]))
        if code == errno.EINPROGRESS:
            wait(client, select.POLLOUT)
            code = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        assert code == (errno.ECONNREFUSED if ipv6_only else 0)


def test_adopting(stack: ExitStack) -> None:
    near, far = socket.socketpair()
    stack.callback(far.close)
    descriptor = near.fileno()
    with closing(adopt(near)) as taken:
        assert near.fileno() == -1
        assert taken.fileno() == descriptor
        assert (taken.family, taken.type) == (socket.AF_UNIX, socket.SOCK_STREAM)
        assert not taken.getblocking()
    with pytest.raises(OSError, match="closed"):
        adopt(near)
    read, write = os.pipe()
    try:
        with pytest.raises(OSError, match="non-socket"):
            adopt(read)
        os.fstat(read)  # still ours
    finally:
        os.close(read)
        os.close(write)


def test_descriptor_servers(serve: Open, stack: ExitStack) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    descriptor = listener.detach()
    address = parse_address(f"fd://{descriptor}", server=True)
    taken = open_server(address, 0, None, DEFAULT)
    stack.callback(taken.close)
    assert taken.getsockname() == ("127.0.0.1", port)
    assert not taken.getblocking()
    idle = stack.enter_context(socket.socket())
    with pytest.raises(OSError, match="no listening socket"):
        open_server(parse_address(f"fd://{idle.fileno()}", server=True), 0, None, DEFAULT)
    idle.getsockname()  # still open
    with pytest.raises(OSError, match="Bad file descriptor"):
        open_server(parse_address("fd://1000000", server=True), 0, None, DEFAULT)


# ---- unix servers' files


@pytest.mark.parametrize("scheme", ["unix", "udg"])
def test_socket_files_come_and_go(scheme: str, serve: Open, tmp_path: Path) -> None:
    path = tmp_path / "s"
    sock = serve(f"{scheme}://{path}", DEFAULT)
    assert stat.S_ISSOCK(path.stat().st_mode)
    sock.close()
    assert not path.exists()
    kept = StreamContext(unlink_socket=False)
    serve(f"{scheme}://{path}", kept).close()
    assert path.exists()
    # A stale file is in nobody's way.
    sock = serve(f"{scheme}://{path}", kept)
    assert sock.getsockname() == str(path)


@pytest.mark.parametrize("first", ["unix", "udg"])
@pytest.mark.parametrize("second", ["unix", "udg"])
def test_a_living_server_keeps_its_file(first: str, second: str, serve: Open, tmp_path: Path) -> None:
    path = tmp_path / "s"
    sock = serve(f"{first}://{path}", DEFAULT)
    before = path.stat().st_ino
    with pytest.raises(OSError, match=r"socket|server") as caught:
        serve(f"{second}://{path}", DEFAULT)
    assert caught.value.errno == errno.EADDRINUSE
    assert path.stat().st_ino == before
    if first == "unix" and second == "unix":
        assert Listener(sock).accept() is None  # it was not bothered


def test_a_bound_socket_that_does_not_listen_yet_is_alive(serve: Open, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        with pytest.raises(OSError, match="in the way"):
            serve(f"unix://{tmp_path}/s", DEFAULT)


def test_other_files_stay(serve: Open, tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(path)
    for found in (path, link, tmp_path):
        with pytest.raises(OSError, match="no socket") as caught:
            serve(f"unix://{found}", DEFAULT)
        assert caught.value.errno == errno.EADDRINUSE
    assert path.read_text() == "precious"
    with pytest.raises(FileNotFoundError):
        serve(f"unix://{tmp_path}/missing/s", DEFAULT)


def test_somebody_elses_file_stays(serve: Open, tmp_path: Path) -> None:
    path = tmp_path / "s"
    ours = serve(f"unix://{path}", DEFAULT)
    path.unlink()
    theirs = serve(f"unix://{path}", DEFAULT)
    ours.close()
    assert path.exists()
    theirs.close()
    assert not path.exists()


def test_a_relative_path_is_removed_from_anywhere(
    serve: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sock = serve("unix://s", DEFAULT)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    sock.close()
    assert not (tmp_path / "s").exists()


def test_removing_twice(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
    file = UnixSocketFile(str(tmp_path / "s"))
    assert file.remove()
    assert not file.remove()


# ---- datagrams


@pytest.mark.parametrize("text", ["udp://127.0.0.1:0", "udp://[::1]:0", "udg://@evsockets-test-d", "udg"])
def test_datagrams_there_and_back(text: str, serve: Open, connect: Any, tmp_path: Path) -> None:
    server = ServerDatagram(serve("udg://" + str(tmp_path / "s") if text == "udg" else text, DEFAULT))
    client = DatagramTransport(connect(server.sock))
    assert server.receive() is None
    assert client.recv() is None
    assert client.datagram
    assert server.datagram
    for data in (b"one", b"", b"0", os.urandom(65_507)):
        assert client.send(data) == len(data)
        wait(server)
        received = server.receive()
        assert received is not None
        assert received == (data, client.sock.getsockname())
        assert server.send_to(data, received[1]) == len(data)
        wait(client)
        assert client.recv() == data
    with pytest.raises(UnsupportedOperationError):
        client.shutdown_write()
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
        (far, ServerDatagram(near).receive),
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
    received = server.receive()
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
    received = server.receive()
    assert received is not None
    reply = DatagramReply(server, *received)
    assert reply.shared
    assert reply.fileno() == -1
    assert not reply.at_end
    assert reply.recv() == b""
    assert not reply.at_end
    assert reply.recv() == b""
    assert reply.at_end
    assert reply.send(b"answer") == 6
    assert reply.flush()
    wait(client)
    assert client.recv() == b"answer"
    for refused in (reply.shutdown_write, lambda: reply.send_oob(b"x")):
        with pytest.raises(UnsupportedOperationError):
            refused()
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
            received = server.receive()
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


def test_an_unknown_multicast_interface() -> None:
    for family in (socket.AF_INET, socket.AF_INET6):
        with pytest.raises(OSError, match="no interface"):
            open_client_socket(family, socket.SOCK_DGRAM, StreamContext(multicast_interface="nosuchif"))


def test_broadcast_is_asked_for() -> None:
    with closing(open_client_socket(socket.AF_INET, socket.SOCK_DGRAM, DEFAULT)) as sock:
        with pytest.raises(PermissionError):
            sock.connect(("255.255.255.255", 9))
    allowed = StreamContext(broadcast=True)
    with closing(open_client_socket(socket.AF_INET, socket.SOCK_DGRAM, allowed)) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
