"""Listeners, and the files of unix servers."""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from evsockets.address import parse_address
from evsockets.configuration import StreamContext
from evsockets.transports.adopted import adopt, adopt_descriptor
from evsockets.transports.listener import Listener, open_client_socket, open_server
from evsockets.transports.stream import StreamTransport
from evsockets.transports.unix_file import UnixSocketFile
from support.transports import DEFAULT, Open, accepted, wait

# ---- listeners


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:0", "tcp://[::1]:0", "unix://@evsockets-test", "unix"])
def test_accept(text: str, serve: Open, connect: Any, tmp_path: Path) -> None:
    listener = serve("unix://" + str(tmp_path / "s") if text == "unix" else text, DEFAULT)
    assert not listener.getblocking()
    transport = Listener(listener)
    assert transport.accept() is None
    ours = StreamTransport(connect(listener))
    wait(transport)
    client = transport.accept()
    assert client is not None
    assert transport.accept() is None
    with closing(StreamTransport(client[0])) as theirs:
        assert not os.get_blocking(theirs.fileno())
        assert theirs.recv() is None
        assert ours.send(b"x") == 1
        wait(theirs)
        assert theirs.recv() == b"x"
        if listener.family != socket.AF_UNIX:
            assert theirs.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert client[1] == ours.sock.getsockname()
    transport.close()
    transport.close()
    assert transport.closed


def test_a_port_can_be_used_again_at_once(serve: Open, connect: Any) -> None:
    listener = serve("tcp://127.0.0.1:0", DEFAULT)
    port = listener.getsockname()[1]
    client = connect(listener)
    accepted(listener)[0].close()  # the server's side goes to TIME_WAIT
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
            adopt_descriptor(read)
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
    with pytest.raises(OSError, match="not listening"):
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
