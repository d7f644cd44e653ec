"""An error of a socket names the address, the phase and the system's number, and knows its socket."""

from __future__ import annotations

import socket
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
from support.conversation import Talk, closes, ends, fixed, gets, resets, sends
from support.wire import Log, add, listening, peer, quietly, read_to_end, tls_script
from support.wire import talk as hold


def check(life: Any, phase: str, errno: int | None = None) -> None:
    error, address = life.error, life.metadata.address
    assert error.socket is life.events[0].socket
    assert error.address == address
    assert address in str(error) and phase in str(error)
    assert error.errno == errno
    assert errno is None or f"errno {errno}" in str(error)


def test_connecting(executor: RequestExecutor, unused_port: int, tmp_path: Path) -> None:
    check(hold(executor, f"tcp://127.0.0.1:{unused_port}", ReadOperation()), "connecting", 111)
    check(hold(executor, f"unix://{tmp_path}/nobody", ReadOperation()), "connecting", 2)


def test_listening(executor: RequestExecutor) -> None:
    with listening() as (_, url):
        check(hold(executor, url, ReadOperation(), socket=ServerSocket()), "listening", 98)


def test_resolving() -> None:
    def lookup(*_: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "nobody has that name")

    with RequestExecutor(resolver=lookup) as executor:
        check(hold(executor, "tcp://nowhere.test:80", ReadOperation()), "resolving", socket.EAI_NONAME)


LONG = [sends(b"x" * 100), ends]
SHORT_LINE = ReadOperation(MarkerFramePicker(None, b"\n", max_length=10))
SLOW = {"min_receive_speed": 10, "min_receive_speed_duration": 5}


@pytest.mark.parametrize(
    ("steps", "operation", "settings", "phase", "errno"),
    [
        ([closes], fixed(2), {}, "reading", None),
        ([sends(b"x"), closes], fixed(2), {}, "reading", None),
        (LONG, SHORT_LINE, {}, "reading", None),
        (LONG, ReadOperation(LengthPrefixedFramePicker(max_length=10)), {}, "reading", None),
        (LONG, ReadOperation(EndOfStreamFramePicker(max_length=10)), {}, "reading", None),
        (LONG, ReadWriteOperation(True, [SHORT_LINE]), {}, "reading", None),
        ([gets(b"x"), resets], WriteOperation(b"x", then=ReadOperation()), {}, "reading", 104),
        (LONG, TlsHandshakeOperation(ReadOperation()), {}, "handshaking", None),
        ([], WriteOperation(b"two", out_of_band=True), {}, "writing", None),
        ([sends(b"x")], NullOperation(), {"keep_alive": True}, "idle", None),
        ([], ReadOperation(), SLOW, "reading", None),
    ],
)
def test_connected(
    talk: Talk, steps: list[Any], operation: Operation, settings: Any, phase: str, errno: int | None
) -> None:
    one = talk.begin(operation, *steps, **settings)
    talk.run()
    check(one, phase, errno)


class Refusing(FramePicker):
    def pick(self, inbox: Any, ended: bool) -> Any:
        raise FrameError("not mine")


def test_what_users_raise_keeps_its_words(talk: Talk) -> None:
    one = talk(ReadOperation(Refusing()), sends(b"x"), told=[FrameError])
    assert str(one.error) == "not mine"
    assert (one.error.address, one.error.socket) == (one.metadata.address, one.client)


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
    hold(executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), on=on)
    with peers[0]:
        (log,) = logs
        assert log.error.address == "tcp://127.0.0.1:%d" % peers[0].getsockname()[1]
        assert log.error.socket is log.events[0].socket


def test_what_to_do_comes_after_the_phase(executor: RequestExecutor) -> None:
    server = hold(executor, "tls://127.0.0.1:0", ReadOperation(), socket=ServerSocket()).error
    assert "needs a certificate while listening; set stream_context={'certificate'" in str(server)
    client = hold(executor, None, ReadOperation()).error
    assert "no address while connecting; give add_socket() one, or set it in INITIALIZE" in str(client)


def test_what_to_do_about_an_upgrade(talk: Talk) -> None:
    upgrade = [TlsHandshakeOperation()]
    one = talk.begin(ReadOperation(FixedLengthFramePicker(1)), sends(b"injected"), on={"READ": upgrade})
    talk.run()
    assert str(one.error).endswith("(command injection?) while handshaking; allow_leftover=True keeps them")


def test_the_name_that_a_certificate_is_not_for(ca: Authority) -> None:
    context = StreamContext(ca_file=ca.ca_file, server_hostname="other.test")
    with RequestExecutor() as executor, peer(quietly(tls_script(server_side(ca), read_to_end))) as secure:
        log = hold(executor, secure.url("tls"), ReadOperation(), stream_context=context)
    assert str(log.error).endswith("not valid for 'other.test' while handshaking")
