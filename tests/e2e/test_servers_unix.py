"""Servers on unix sockets, and those adopted from a descriptor."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from evsockets import ConnectionFailedError, ServerSocket
from support.life import END, FAILED, USUAL
from support.service import Peers, Serve

KINDS = {"unix": socket.SOCK_STREAM, "udg": socket.SOCK_DGRAM}


def cancel(event: Any) -> None:
    event.cancel_operation()


# ---- unix sockets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True])
def test_unix(server: Serve, tmp_path: Path, abstract: bool) -> None:
    name = f"@evsockets-{os.getpid()}-{id(server)}" if abstract else str(tmp_path / "socket")
    service = server(f"unix://{name}", says=[b"hi\n"]).execute()
    assert service.answers() == [b"hi\n"] and service.local == name
    assert service.accepted[0].remote_address is None
    assert service.listening.names == [*USUAL, "ACCEPT", *END]
    assert not os.path.exists(name), "our file is removed on close"


@pytest.mark.parametrize("scheme", ["unix", "udg"])
def test_stale_socket_file_is_replaced(server: Serve, tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, KINDS[scheme]) as stale:
        stale.bind(str(path))
        if scheme == "unix":
            stale.listen()
    assert path.exists()
    service = server(f"{scheme}://{path}", started=cancel).execute()
    assert service.listening.names == [*USUAL, *END] and not path.exists()


def test_living_server_is_not_replaced(server: Serve, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(path)
        living.listen()
        service = server(f"unix://{path}").execute()
        assert service.listening.error.errno == errno.EADDRINUSE
        assert os.path.exists(path)
        living.setblocking(False)
        with pytest.raises(BlockingIOError):
            living.accept()  # nothing was left in its queue


@pytest.mark.parametrize("kind", ["file", "folder", "symlink"])
def test_another_kind_of_file_is_not_replaced(server: Serve, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "precious"
    {"folder": path.mkdir, "symlink": lambda: path.symlink_to("nowhere"), "file": path.touch}[kind]()
    assert server(f"unix://{path}").execute().listening.names == FAILED
    assert os.path.lexists(path)


def test_file_is_removed_only_if_still_ours(server: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"

    def started(event: Any) -> None:
        path.unlink()
        path.write_text("somebody else's")
        cancel(event)

    server(f"unix://{path}", started=started).execute()
    assert path.read_text() == "somebody else's"


def test_unlink_socket_off_leaves_the_file(server: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server(f"unix://{path}", started=cancel, stream_context={"unlink_socket": False}).execute()
    assert path.is_socket()


# ---- adopted -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fd", "from_socket"])
@pytest.mark.parametrize("scheme", ["tcp", "udp"])
def test_adopted(server: Serve, scheme: str, how: str) -> None:
    ours = socket.socket(socket.AF_INET, socket.SOCK_STREAM if scheme == "tcp" else socket.SOCK_DGRAM)
    ours.bind(("127.0.0.1", 0))
    if scheme == "tcp":
        ours.listen()
    with Peers() as peers:
        come = peers.stream if scheme == "tcp" else peers.datagram
        peer = come(where := ours.getsockname(), b"hello\n")
        if how == "fd":
            service = server(f"fd://{ours.detach()}")
        else:
            adopted = ServerSocket.from_socket(ours)
            assert ours.fileno() == -1 and adopted.fileno() >= 0
            service = server(None, server=adopted)
        service.execute()
        assert peer.recv(100) == b"hello\n" and service.local == where
        (read,) = service.talking.of("READ")
        assert read.metadata.address == f"{scheme}://127.0.0.1:{peer.getsockname()[1]}"
    assert service.listening.names == [*USUAL, "ACCEPT", *END]


def test_a_bad_descriptor(server: Serve) -> None:
    descriptor = os.open("/dev/null", os.O_RDONLY)
    try:
        service = server(f"fd://{descriptor}").execute()
        assert isinstance(service.listening.error, ConnectionFailedError)
        os.fstat(descriptor)
    finally:
        os.close(descriptor)
