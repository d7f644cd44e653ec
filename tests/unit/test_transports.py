"""Stream transports and the options of clients' sockets, on real sockets."""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evsockets.address import public_address
from evsockets.configuration import StreamContext
from evsockets.errors import UnsupportedOperationError
from evsockets.transports.base import is_tls_error
from evsockets.transports.datagram import DatagramTransport
from evsockets.transports.listener import open_client_socket
from evsockets.transports.plain import MOST_RECEIVED, ReceiveBuffer, plain
from evsockets.transports.stream import RECEIVE_SIZE, StreamTransport
from support.transports import DEFAULT, Open, accepted, pair, wait
from support.wire import reset

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


def test_receiving_by_the_descriptor(stack: ExitStack) -> None:
    """Little and much in any order, of chunks that are kept."""
    near, far = pair(stack)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_000_000)
    direct = plain(far)
    kept = []
    for size in (1, 20_000, 65_536, 200_000, 400_000, 3, 65_537, 0):
        data = os.urandom(size)
        sent, received = 0, b""
        while len(received) < size:
            sent += near.send(data[sent:]) if sent < size else 0
            part = direct.recv(MOST_RECEIVED)
            assert 0 < len(part) <= MOST_RECEIVED
            kept.append((part, data[len(received) : len(received) + len(part)]))
            received += part
        with pytest.raises(BlockingIOError):
            direct.recv(MOST_RECEIVED)
    assert all(type(part) is bytes and part == data for part, data in kept)
    near.send(b"12345")
    assert [direct.recv(2), direct.recv(1), direct.recv(5)] == [b"12", b"3", b"45"]
    near.close()
    assert direct.recv(MOST_RECEIVED) == b""


def test_the_buffer_that_is_received_into(stack: ExitStack) -> None:
    near, far = pair(stack)
    buffer = ReceiveBuffer()
    assert buffer.receive(plain(far)) == -1
    near.send(b"hello, world")
    assert buffer.receive(plain(far)) == 12
    assert bytes(buffer.part(7, 12)) == b"world"
    assert buffer.head(5) == b"hello" and buffer.head(0) == b""
    memoryview(buffer.part(0, 4))[:] = b"HELL"
    assert buffer.head(12) == b"HELLo, world"
    near.sendall(bytes(70_000))
    assert buffer.receive(plain(far)) == 65_536
    near.close()
    assert buffer.receive(plain(far)) == 70_000 - 65_536
    assert buffer.receive(plain(far)) == 0
    far.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        buffer.receive(plain(far))


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
    reset(accepted(listener)[0])
    wait(ours)
    with pytest.raises(ConnectionResetError):
        ours.recv()


def test_urgent_byte_is_found_in_its_place(serve: Open, connect: Any) -> None:
    listener = serve("tcp://127.0.0.1:0", DEFAULT)
    ours = StreamTransport(connect(listener))
    with closing(StreamTransport(accepted(listener)[0])) as theirs:
        assert theirs.supports_out_of_band
        theirs.sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        assert ours.send(b"before") == 6
        assert ours.send_out_of_band(b"!") == 1
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
                ours.send_out_of_band(wrong)


def test_no_urgent_bytes_elsewhere(stack: ExitStack) -> None:
    for kind, make in ((socket.SOCK_STREAM, StreamTransport), (socket.SOCK_DGRAM, DatagramTransport)):
        transport = make(pair(stack, kind)[0])
        assert not transport.supports_out_of_band
        with pytest.raises(UnsupportedOperationError, match="tcp"):
            transport.send_out_of_band(b"x")


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
    client, name = accepted(listener)
    client.close()
    assert name == sock.getsockname()


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
    theirs, name = accepted(listener)
    theirs.close()
    assert public_address(socket.AF_UNIX, name) == "@evsockets-test-client"


def test_an_error_while_another_thread_imports_ssl(monkeypatch: pytest.MonkeyPatch) -> None:
    """There can be none of TLS yet."""
    monkeypatch.setitem(sys.modules, "ssl", ModuleType("ssl"))
    assert not is_tls_error(ConnectionResetError(), "SSLEOFError")
