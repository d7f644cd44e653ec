"""What a StreamContext asks for, on sockets that somebody else opened, accepted or left behind."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    ConnectionFailedError,
    EventType,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.certificates import Authority
from support.service import Peers, Service
from support.wire import add, pair, talk


class Options:
    """A CONNECTED handler that notes socket options."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    def __call__(self, event: Any) -> None:
        if event.type is not EventType.CONNECTED:
            return
        with socket.socket(fileno=os.dup(event.socket.fileno())) as sock:
            self.seen = {
                "no_delay": sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                "keepalive": sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                "receive": sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2,
            }


@pytest.mark.parametrize("no_delay", [True, False])
def test_an_accepted_socket_of_its_own_mind(executor: RequestExecutor, no_delay: bool) -> None:
    """Its own settings, where it is given some, else the listener's."""
    own = {"no_delay": no_delay, "tcp_keepalive": no_delay, "receive_buffer_size": 20_000}
    options = Options()
    with Peers() as peers:
        Service(
            executor, handler=options, client_metadata={"stream_context": own},
            started=lambda event: peers.stream(event.metadata.local_address, b"hello\n"),
        )  # fmt: skip
        executor.execute_request()
    assert options.seen == {"no_delay": no_delay, "keepalive": no_delay, "receive": 20_000}


@pytest.mark.parametrize("no_delay", [True, False])
def test_an_adopted_connection(executor: RequestExecutor, no_delay: bool) -> None:
    options = Options()
    with socket.create_server(("127.0.0.1", 0)) as listener, Peers() as peers:
        client = ClientSocket.from_socket(socket.create_connection(listener.getsockname()))
        peers.append(listener.accept()[0])
        talk(
            executor, None, WriteOperation(b"x"), socket=client, on={"CONNECTED": options},
            stream_context={"no_delay": no_delay, "tcp_keepalive": no_delay},
        )  # fmt: skip
    assert (options.seen["no_delay"], options.seen["keepalive"]) == (no_delay, no_delay)


def test_what_an_adopted_pair_cannot_have_is_left_alone(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        context = {"no_delay": True, "tcp_keepalive": True, "send_buffer_size": 20_000}
        log = talk(executor, None, WriteOperation(b"x"), socket=client, stream_context=context)
        assert log.errors == [] and theirs.recv(10) == b"x"


@pytest.mark.parametrize("how", ["fd", "from_socket"])
def test_the_clients_of_an_adopted_listener(executor: RequestExecutor, how: str) -> None:
    """no_delay is on by default, whoever opened the listener."""
    options = Options()
    listener = socket.create_server(("127.0.0.1", 0))
    with Peers() as peers:
        address, server = None, None
        if how == "fd":
            address = f"fd://{listener.detach()}"
        else:
            server = ServerSocket.from_socket(listener)
        Service(
            executor, address, server=server, handler=options,
            started=lambda event: peers.stream(event.metadata.local_address, b"hello\n"),
        )  # fmt: skip
        executor.execute_request()
    assert options.seen["no_delay"] and not options.seen["keepalive"]


def test_an_accepted_socket_keeps_the_listeners_certificate(executor: RequestExecutor, ca: Authority) -> None:
    """Settings of its own that name no certificate do not take the listener's away."""
    asked: list[Any] = []
    Service(
        executor, "tls://127.0.0.1:0", client_metadata={"stream_context": {"require_close_notify": False}},
        stream_context=ca.server.settings,
        started=lambda event: asked.append(
            add(
                executor, f"tls://localhost:{event.metadata.local_address[1]}",
                WriteOperation(b"hello\n", then=ReadOperation()), stream_context={"ca_file": ca.ca_file},
            )
        ),
    )  # fmt: skip
    executor.execute_request()
    assert [event.frame.data for event in asked[0].of(EventType.READ)] == [b"hello\n"]


@pytest.mark.parametrize("scheme", ["unix", "udg"])
@pytest.mark.parametrize("unlink", [True, False])
def test_a_unix_client_bound_to_a_path(
    executor: RequestExecutor, tmp_path: Path, scheme: str, unlink: bool
) -> None:
    """Its file goes with it, so that the next one can be bound; a stale one is no obstacle either."""
    kind = socket.SOCK_STREAM if scheme == "unix" else socket.SOCK_DGRAM
    theirs, ours = str(tmp_path / "theirs"), str(tmp_path / "ours")
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(theirs)
        if scheme == "unix":
            server.listen()
        for _ in range(2):
            log = talk(
                executor, f"{scheme}://{theirs}", WriteOperation(b"x"),
                stream_context={"bind_to": ours, "unlink_socket": unlink},
            )  # fmt: skip
            assert log.errors == [] and log.metadata.local_address == ours
            assert os.path.exists(ours) is not unlink


def test_a_client_takes_nobodys_path(executor: RequestExecutor, tmp_path: Path) -> None:
    taken = str(tmp_path / "taken")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(taken)
        log = talk(executor, f"udg://{taken}", WriteOperation(b"x"), stream_context={"bind_to": taken})
        assert isinstance(log.error, ConnectionFailedError) and os.path.exists(taken)
