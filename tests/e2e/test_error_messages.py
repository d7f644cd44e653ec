"""An error of a socket names the address, the phase and the system's number, and knows its socket."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    EndOfStreamFramePicker,
    FixedLengthFramePicker,
    FrameError,
    FramePicker,
    LengthPrefixedFramePicker,
    MarkerFramePicker,
    NullOperation,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ServerSocket,
    StreamContext,
    TlsHandshakeOperation,
    WriteOperation,
)
from support.certificates import Authority, server_side
from support.wire import Log, add, answer, peer, quietly, read_to_end, reset, talk, tls_script

Script = Callable[[socket.socket], object]


def check(log: Log, phase: str, errno: int | None = None) -> None:
    error = log.error
    address = log.metadata.address
    assert error.socket is log.events[0].socket
    assert error.address == address
    assert address in str(error) and phase in str(error)
    assert error.errno == errno
    assert errno is None or f"errno {errno}" in str(error)


def test_connecting(executor: RequestExecutor, unused_port: int, tmp_path: Path) -> None:
    check(talk(executor, f"tcp://127.0.0.1:{unused_port}", ReadOperation()), "connecting", 111)
    check(talk(executor, f"unix://{tmp_path}/nobody", ReadOperation()), "connecting", 2)


def test_listening(executor: RequestExecutor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = "tcp://127.0.0.1:%d" % taken.getsockname()[1]
        check(talk(executor, url, ReadOperation(), socket=ServerSocket()), "listening", 98)


def test_resolving(engine: str) -> None:
    def lookup(*_: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "nobody has that name")

    with RequestExecutor(engine, resolver=lookup) as executor:
        check(talk(executor, "tcp://nowhere.test:80", ReadOperation()), "resolving", socket.EAI_NONAME)


def lose(sock: socket.socket) -> None:
    sock.recv(1)
    reset(sock)


class Refusing(FramePicker):
    def pick(self, inbox: Any, ended: bool) -> Any:
        raise FrameError("not mine")


LONG = answer(b"x" * 100)


@pytest.mark.parametrize(
    ("script", "operation", "phase", "errno"),
    [
        (answer(b""), ReadOperation(FixedLengthFramePicker(2)), "reading", None),
        (answer(b"x"), ReadOperation(FixedLengthFramePicker(2)), "reading", None),
        (LONG, ReadOperation(MarkerFramePicker(None, b"\n", max_length=10)), "reading", None),
        (LONG, ReadOperation(LengthPrefixedFramePicker(max_length=10)), "reading", None),
        (LONG, ReadOperation(EndOfStreamFramePicker(max_length=10)), "reading", None),
        (
            LONG,
            ReadWriteOperation(True, [ReadOperation(MarkerFramePicker(None, b"\n", max_length=10))]),
            "reading",
            None,
        ),
        (lose, WriteOperation(b"x", then=ReadOperation()), "reading", 104),
        (LONG, TlsHandshakeOperation(ReadOperation()), "handshaking", None),
        (read_to_end, WriteOperation(b"two", out_of_band=True), "writing", None),
    ],
    ids=["end", "in a frame", "marker", "prefix", "to the end", "duplex", "reset", "tls", "urgent"],
)
def test_connected(
    executor: RequestExecutor, script: Script, operation: Operation, phase: str, errno: int | None
) -> None:
    with peer(script) as server:
        check(talk(executor, server.url(), operation), phase, errno)


def test_idle(executor: RequestExecutor) -> None:
    with peer(lambda sock: (sock.sendall(b"x"), read_to_end(sock))) as server:
        check(talk(executor, server.url(), NullOperation(), keep_alive=True), "idle")


def test_too_slow(executor: RequestExecutor) -> None:
    with peer(read_to_end) as server:
        slow = {"min_receive_speed": 10, "min_receive_speed_duration": 0.1}
        check(talk(executor, server.url(), ReadOperation(), **slow), "reading")


def test_what_users_raise_keeps_its_words(executor: RequestExecutor) -> None:
    with peer(answer(b"x")) as server:
        log = talk(executor, server.url(), ReadOperation(Refusing()))
    assert str(log.error) == "not mine"
    assert (log.error.address, log.error.socket) == (log.metadata.address, log.events[0].socket)


def test_the_address_of_an_accepted_client_is_filled_in(executor: RequestExecutor) -> None:
    logs: list[Log] = []
    peers: list[socket.socket] = []

    def fail(event: Any) -> None:
        raise FrameError("not mine")

    def accept(event: Any) -> None:
        on = {"READ": fail, "FINALIZE": lambda event: executor.stop_request()}
        logs.append(add(executor, None, ReadOperation(), socket=event.client_socket, on=on))

    def knock(event: Any) -> None:
        peers.append(socket.create_connection(event.metadata.local_address))
        peers[0].sendall(b"x")

    on = {"CONNECTED": knock, "ACCEPT": accept}
    talk(executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), on=on)
    with peers[0]:
        (log,) = logs
        assert log.error.address == "tcp://127.0.0.1:%d" % peers[0].getsockname()[1]
        assert log.error.socket is log.events[0].socket


def test_what_to_do_comes_after_the_phase(executor: RequestExecutor, ca: Authority) -> None:
    def told(address: str | None, **more: Any) -> str:
        return str(talk(executor, address, ReadOperation(), **more).error)

    server = told("tls://127.0.0.1:0", socket=ServerSocket())
    assert "needs a certificate while listening; set certificate= (and private_key=), or tls=" in server
    assert "no address while connecting; give add_socket() one, or set it in INITIALIZE" in told(None)
    with peer(quietly(tls_script(server_side(ca), read_to_end))) as secure:
        context = StreamContext(ca_file=ca.ca_file, server_hostname="other.test")
        refused = told(secure.url("tls"), stream_context=context)
    assert refused.endswith("not valid for 'other.test' while handshaking")
    with peer(answer(b"injected")) as plain:
        operation = ReadOperation(FixedLengthFramePicker(1))
        upgrade = {"READ": lambda event: event.next_is(TlsHandshakeOperation())}
        log = talk(executor, plain.url(), operation, on=upgrade)
    assert str(log.error).endswith("(command injection?) while handshaking; allow_leftover=True keeps them")
