"""StreamContext(options=...): set before bind, connect or listen, and named when refused."""

from __future__ import annotations

import errno
import os
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    Configuration,
    ConnectionFailedError,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.service import Peers, Serve
from support.wire import pair, peer, talk

TCP, SOL = socket.IPPROTO_TCP, socket.SOL_SOCKET
UNKNOWN = (TCP, 9999, 1)
LINGER = struct.pack("ii", 1, 5)


class Seen:
    """A CONNECTED handler that asks for socket options."""

    def __init__(self, *wanted: tuple[int, int]) -> None:
        self.wanted = wanted
        self.values: list[int] = []

    def __call__(self, event: Any) -> None:
        with socket.socket(fileno=os.dup(event.socket.fileno())) as sock:
            self.values = [sock.getsockopt(*option) for option in self.wanted]


def test_before_connect(executor: RequestExecutor) -> None:
    """The peer's kernel is told of the largest segment when the connection is made."""
    with peer(lambda sock: sock.getsockopt(TCP, socket.TCP_MAXSEG)) as theirs:
        context = {"options": [(TCP, socket.TCP_MAXSEG, 700)]}
        assert talk(executor, theirs.url(), WriteOperation(b"x"), stream_context=context).errors == []
        assert theirs.wait()[0] <= 700


def test_after_those_of_other_names(executor: RequestExecutor) -> None:
    """They have the last word; a number may be bytes, and a flag True."""
    seen = Seen((TCP, socket.TCP_NODELAY), (SOL, socket.SO_LINGER), (SOL, socket.SO_KEEPALIVE))
    options = [
        [TCP, socket.TCP_NODELAY, struct.pack("i", 0)],
        (SOL, socket.SO_LINGER, bytearray(LINGER)),
        (SOL, socket.SO_KEEPALIVE, True),
    ]
    with peer(lambda sock: sock.recv(10)) as theirs:
        talk(
            executor, theirs.url(), WriteOperation(b"x"), on={"CONNECTED": seen},
            stream_context={"no_delay": True, "options": options},
        )  # fmt: skip
    assert seen.values == [0, 1, 1]


@pytest.mark.parametrize("scheme", ["tcp", "udp"])
def test_before_bind(server: Serve, scheme: str) -> None:
    """Whoever holds the port has to share it already."""
    with socket.socket(type=socket.SOCK_STREAM if scheme == "tcp" else socket.SOCK_DGRAM) as other:
        other.setsockopt(SOL, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        service = server(
            f"{scheme}://127.0.0.1:{other.getsockname()[1]}", started=lambda event: event.socket.close(),
            stream_context={"options": [(SOL, socket.SO_REUSEPORT, 1)]},
        ).execute()  # fmt: skip
        assert service.listening.errors == [] and service.local == other.getsockname()


def test_before_listen(server: Serve) -> None:
    """A client begins with its listener's: the largest segment goes into the answer to its SYN."""
    service = server(says=[b"x\n"], stream_context={"options": [(TCP, socket.TCP_MAXSEG, 700)]}).execute()
    assert service.peers[0].getsockopt(TCP, socket.TCP_MAXSEG) <= 700


def test_of_an_accepted_client_alone(server: Serve) -> None:
    seen = Seen((SOL, socket.SO_KEEPALIVE))
    own = {"stream_context": {"options": [(SOL, socket.SO_KEEPALIVE, 1)]}}
    server(says=[b"x\n"], client_metadata=own, handler={"CONNECTED": seen}).execute()
    assert seen.values == [1]


def test_of_an_adopted_connection(executor: RequestExecutor) -> None:
    client, theirs = pair()
    seen = Seen((SOL, socket.SO_PASSCRED))
    with theirs:
        talk(
            executor, None, WriteOperation(b"x"), socket=client, on={"CONNECTED": seen},
            stream_context={"options": [(SOL, socket.SO_PASSCRED, 1)]},
        )  # fmt: skip
    assert seen.values == [1]


def test_on_unix_sockets(server: Serve, tmp_path: Path) -> None:
    seen = Seen((SOL, socket.SO_PASSCRED))
    context = {"options": [(SOL, socket.SO_PASSCRED, 1)]}
    server(
        f"unix://{tmp_path}/s", asks=[WriteOperation(b"x\n")], asking={"stream_context": context},
        stream_context=context, server_handler={"CONNECTED": seen},
    ).execute()  # fmt: skip
    assert seen.values == [1]


def test_of_every_socket(engine: str) -> None:
    configuration = Configuration(stream_context={"options": [(SOL, socket.SO_KEEPALIVE, 1)]})  # type: ignore[arg-type]
    seen = Seen((SOL, socket.SO_KEEPALIVE))
    with RequestExecutor(engine, configuration=configuration) as executor, peer(lambda sock: None) as theirs:
        talk(executor, theirs.url(), WriteOperation(b"x"), on={"CONNECTED": seen})
    assert seen.values == [1]


REFUSED = {"stream_context": {"options": [(SOL, socket.SO_KEEPALIVE, 1), UNKNOWN]}}


def named(error: Any) -> bool:
    return (
        isinstance(error, ConnectionFailedError)
        and error.errno == errno.ENOPROTOOPT
        and str(UNKNOWN) in str(error)
    )


@pytest.mark.parametrize("how", ["tcp", "udp", "from_socket"])
def test_a_refused_one_is_named(executor: RequestExecutor, how: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Peers() as peers:
        client, address = ClientSocket(), None
        if how == "udp":
            address = peers.datagram_server()[1]
        elif how == "tcp":
            address = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
        else:
            client = ClientSocket.from_socket(socket.create_connection(listener.getsockname()))
        assert named(talk(executor, address, WriteOperation(b"x"), socket=client, **REFUSED).error)


@pytest.mark.parametrize("whose", ["listening", "talking"])
def test_a_refused_one_of_a_server_or_of_its_client(server: Serve, whose: str) -> None:
    given: Any = REFUSED if whose == "listening" else {"client_metadata": REFUSED}
    assert named(getattr(server(says=[b"x\n"], **given).execute(), whose).error)


def test_a_refused_one_of_an_adopted_listener(executor: RequestExecutor, server: Serve) -> None:
    listener = ServerSocket.from_socket(socket.create_server(("127.0.0.1", 0)))
    assert named(server(None, server=listener, **REFUSED).execute().listening.error)
