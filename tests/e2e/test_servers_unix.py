"""Servers on unix sockets, and those adopted from a descriptor."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    ConnectionFailedError,
    EventType,
    FixedLengthFramePicker,
    RequestExecutor,
    ServerSocket,
)
from support.service import Peers, Service
from support.wire import read_to_end

LIFE = ["INITIALIZE", "CONNECTED", "ACCEPT", "DISCONNECTED", "FINALIZE"]


# ---- unix sockets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True])
def test_unix(executor: RequestExecutor, tmp_path: Path, abstract: bool) -> None:
    name = f"@evsockets-{os.getpid()}-{executor.engine.name}" if abstract else str(tmp_path / "socket")
    with Peers() as peers:
        raw = "\0" + name[1:] if abstract else name
        service = Service(
            executor, f"unix://{name}", started=lambda e: peers.stream(raw, b"hi\n", socket.AF_UNIX)
        )
        executor.execute_request()
        assert read_to_end(peers[0]) == b"hi\n"
    assert service.local == name
    assert service.accepted[0].remote_address is None
    assert service.listening.names() == LIFE
    assert not os.path.exists(name), "our file is removed on close"


def test_stale_socket_file_is_replaced(executor: RequestExecutor, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
        stale.listen()
    assert os.path.exists(path)
    with Peers() as peers:
        Service(executor, f"unix://{path}", started=lambda e: peers.stream(path, b"hi\n", socket.AF_UNIX))
        executor.execute_request()
        assert read_to_end(peers[0]) == b"hi\n"
    assert not os.path.exists(path)


def test_living_server_is_not_replaced(executor: RequestExecutor, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(path)
        living.listen()
        service = Service(executor, f"unix://{path}")
        executor.execute_request()
        assert service.listening.exceptions()[0].errno == errno.EADDRINUSE  # type: ignore[attr-defined]
        assert os.path.exists(path)
        living.setblocking(False)
        with pytest.raises(BlockingIOError):
            living.accept()  # nothing was left in its queue


@pytest.mark.parametrize("kind", ["file", "folder", "symlink"])
def test_another_kind_of_file_is_not_replaced(executor: RequestExecutor, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "precious"
    if kind == "folder":
        path.mkdir()
    elif kind == "symlink":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.write_text("data")
    service = Service(executor, f"unix://{path}")
    executor.execute_request()
    assert service.listening.names() == ["INITIALIZE", "EXCEPTION", "FINALIZE"]
    assert os.path.lexists(path)


def test_file_is_removed_only_if_still_ours(executor: RequestExecutor, tmp_path: Path) -> None:
    path = tmp_path / "socket"

    def started(event: Any) -> None:
        path.unlink()
        path.write_text("somebody else's")
        event.cancel_operation()

    Service(executor, f"unix://{path}", started=started)
    executor.execute_request()
    assert path.read_text() == "somebody else's"


def test_unlink_socket_off_leaves_the_file(executor: RequestExecutor, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    Service(
        executor, f"unix://{path}", started=lambda e: e.cancel_operation(),
        stream_context={"unlink_socket": False},
    )  # fmt: skip
    executor.execute_request()
    assert path.is_socket()


# ---- adopted -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fd", "from_socket"])
def test_adopted_listener(executor: RequestExecutor, how: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    with Peers() as peers:
        peers.stream(("127.0.0.1", port), b"hello\n")
        if how == "fd":
            service = Service(executor, f"fd://{listener.detach()}")
        else:
            server = ServerSocket.from_socket(listener)
            assert listener.fileno() == -1 and server.fileno() >= 0
            service = Service(executor, None, server=server)
        executor.execute_request()
        assert read_to_end(peers[0]) == b"hello\n"
        assert service.local == ("127.0.0.1", port)
        assert service.listening.names() == LIFE
        read = service.talking.of(EventType.READ)[0]
        assert read.metadata.address == f"tcp://127.0.0.1:{peers[0].getsockname()[1]}"


def test_adopting_what_does_not_listen(executor: RequestExecutor) -> None:
    with socket.socket() as plain:
        with pytest.raises(ValueError, match="listen"):
            ServerSocket.from_socket(plain)
        assert plain.fileno() >= 0
        service = Service(executor, f"fd://{plain.fileno()}")
        executor.execute_request()
        assert isinstance(service.listening.exceptions()[0], ConnectionFailedError)
        plain.getsockname()  # still ours
    with socket.create_server(("127.0.0.1", 0)) as listening, pytest.raises(ValueError, match="listen"):
        ClientSocket.from_socket(listening)


def test_a_bad_descriptor(executor: RequestExecutor) -> None:
    descriptor = os.open("/dev/null", os.O_RDONLY)
    try:
        service = Service(executor, f"fd://{descriptor}")
        executor.execute_request()
        assert isinstance(service.listening.exceptions()[0], ConnectionFailedError)
        os.fstat(descriptor)
    finally:
        os.close(descriptor)


def test_the_bytes_beyond_a_frame_are_offered_to_the_next_one(executor: RequestExecutor) -> None:
    frames = []

    def read(event: Any) -> None:
        frames.append(event.frame.data)
        if len(frames) == 1:
            event.next_is_read(FixedLengthFramePicker(3))

    with Peers() as peers:
        Service(
            executor, started=lambda e: peers.stream(e.metadata.local_address, b"line\nxyz"),
            handler={EventType.READ: read},
        )  # fmt: skip
        executor.execute_request()
    assert frames == [b"line\n", b"xyz"]
