"""What the PHP library promises and no other file shows: the factory, what events and sockets tell about
themselves, and its old faults, on every engine."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from typing import Any

import pytest

from evsockets import (
    AcceptedFrame,
    AcceptedSocket,
    AsyncSocketFactory,
    ClientSocket,
    Configuration,
    EventType,
    FixedLengthFramePicker,
    MarkerFramePicker,
    PersistentClientSocket,
    RawFramePicker,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    ServerSocket,
    SocketType,
    TlsHandshakeOperation,
    WriteOperation,
)
from support.certificates import Authority
from support.service import Peers, Service, ask, everything
from support.wire import add, pair, peer, read_exactly, read_to_end, talk, tls_script

LINE = MarkerFramePicker(None, b"\n")


def test_the_factory_makes_every_kind() -> None:
    factory = AsyncSocketFactory()
    assert type(factory.create_socket()) is ClientSocket
    assert type(factory.create_socket(SocketType.SERVER)) is ServerSocket
    persistent: Any = factory.create_socket(SocketType.CLIENT, persistent=True, key="mine")
    assert type(persistent) is PersistentClientSocket and persistent.key == "mine"
    for wrong in ("client", None, 1):
        with pytest.raises(ValueError, match=r"SocketType\.CLIENT"):
            factory.create_socket(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="persistent"):
        factory.create_socket(SocketType.SERVER, persistent=True)


def test_the_factory_hands_its_configuration_on(engine: str) -> None:
    factory = AsyncSocketFactory(Configuration(connection_timeout=7, io_timeout=8, idle_timeout=9))
    with factory.create_request_executor(engine) as executor:
        assert executor.engine.name == engine.partition(":")[0]
        metadata = executor.socket_bag.add_socket(factory.create_socket(), ReadOperation())
        timeouts = metadata.connection_timeout, metadata.io_timeout, metadata.idle_timeout
        assert timeouts == (7, 8, 9)
    with pytest.raises(TypeError, match="configuration"):
        AsyncSocketFactory({"io_timeout": 8})  # type: ignore[arg-type]


def test_operations_begin_with_their_defaults() -> None:
    assert isinstance(ReadOperation().picker, RawFramePicker)
    assert ReadOperation(LINE).picker is LINE
    write = WriteOperation()
    assert (write.data, write.out_of_band, write.then) == (None, False, None)
    then = ReadOperation()
    write = WriteOperation(b"!", out_of_band=True, then=then)
    assert (write.data, write.out_of_band, write.then) == (b"!", True, then)
    write.data = None
    assert write.data is None


def test_kinds_and_reprs(executor: RequestExecutor) -> None:
    client, server = ClientSocket(), ServerSocket()
    assert client.is_client and not client.is_server
    assert server.is_server and not server.is_client
    assert repr(client) == "<ClientSocket closed>" and client.fileno() == -1 and not client.is_connected
    shown: list[str] = []
    with peer(read_to_end) as running:

        def look(event: Any) -> None:
            assert event.socket.is_connected and event.socket.fileno() >= 0
            shown.append(repr(event.socket))

        talk(executor, running.url(), WriteOperation(b"x"), socket=client, on={"WRITE": look})
        assert running.url() in shown[0]
    assert client.fileno() == -1 and not client.is_connected


def test_opening_makes_it_non_blocking(executor: RequestExecutor) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(True)
    client = ClientSocket.from_socket(ours)
    modes: list[bool] = []

    def blocking(event: Any) -> None:
        modes.append(os.get_blocking(event.socket.fileno()))

    with theirs:
        talk(executor, None, WriteOperation(b"x"), socket=client, on={"WRITE": blocking})
    assert modes == [False]


def test_what_io_events_tell(executor: RequestExecutor) -> None:
    ours, theirs = pair()
    operation = WriteOperation(b"x")
    seen: list[str] = []

    def write(event: Any) -> None:
        assert event.operation is operation and event.next_operation is None and not event.is_cancelled
        event.next_is_read(LINE)
        assert isinstance(event.next_operation, ReadOperation) and event.next_operation.picker is LINE
        event.next_is_write(b"y")
        assert isinstance(event.next_operation, WriteOperation) and event.next_operation.data == b"y"
        event.next_operation_not_required()
        assert event.next_operation is None
        event.next_is_read(LINE)
        seen.append("write")

    def read(event: Any) -> None:
        assert event.operation.picker is LINE and event.socket is ours and event.executor is executor
        event.cancel_operation()
        assert event.is_cancelled
        seen.append("read")

    with theirs:
        theirs.sendall(b"line\n")
        log = talk(executor, None, operation, socket=ours, on={"WRITE": write, "READ": read})
    assert seen == ["write", "read"] and log.names[-2:] == ["DISCONNECTED", "FINALIZE"]


def test_what_an_accept_tells(executor: RequestExecutor) -> None:
    with Peers() as peers:
        service = Service(executor, started=lambda event: peers.stream(service.local, b"line\n"))
        executor.execute_request()
        event = service.accepted[0]
        name = peers[0].getsockname()
    assert event.socket is service.server and type(event.client_socket) is AcceptedSocket
    assert isinstance(event.frame, AcceptedFrame)
    assert event.frame.client_socket is event.client_socket
    assert event.remote_address == event.frame.remote_address == name


def test_urgent_byte_between_two_sockets_of_the_library(executor: RequestExecutor) -> None:
    got: list[tuple[str, bytes]] = []

    def note(event: Any) -> None:
        if event.type in (EventType.OOB, EventType.READ):
            got.append((event.type.name, event.frame.data))

    def started(event: Any) -> None:
        operation = WriteOperation(b"!", out_of_band=True, then=WriteOperation(b"line\n"))
        ask(executor, "tcp://127.0.0.1:%d" % event.metadata.local_address[1], operation)

    Service(executor, handler=note, started=started)
    executor.execute_request()
    assert got == [("OOB", b"!"), ("READ", b"line\n")]


def test_a_busy_socket_does_not_keep_a_silent_one_alive(executor: RequestExecutor) -> None:
    """A byte on one socket moves no other's clock."""
    busy, far = pair()
    silent, quiet = pair()
    ended: list[str] = []

    def bounce(event: Any) -> None:
        if not ended:
            far.sendall(b"x")
            event.next_is_read()

    with far, quiet:
        far.sendall(b"x")
        add(executor, None, ReadOperation(), socket=busy, on={"READ": bounce})
        on = {"TIMEOUT": lambda event: ended.append(event.phase)}
        log = add(executor, None, ReadOperation(), socket=silent, on=on, io_timeout=0.05)
        executor.execute_request()
    assert ended == ["reading"]
    assert log.names == ["INITIALIZE", "CONNECTED", "TIMEOUT", "DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize("read_first", [True, False])
def test_duplex_over_tcp(executor: RequestExecutor, read_first: bool) -> None:
    def script(sock: socket.socket) -> bytes:
        asked = read_exactly(sock, 4)
        sock.sendall(b"answer\n")
        return asked

    with peer(script) as server:
        operation = ReadWriteOperation(read_first, [WriteOperation(b"ask\n"), ReadOperation(LINE)])
        log = talk(executor, server.url(), operation)
    assert log.frames == [b"answer\n"] and not log.errors
    assert server.results == [b"ask\n"]


@pytest.mark.parametrize("how", ["address", "operation"])
def test_a_handshake_that_waits_does_not_spin(
    executor: RequestExecutor, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It waits for the peer's bytes, not for room to send that is always there."""
    polls: list[float | None] = []
    poll = executor.engine.poll

    def counting(timeout: float | None) -> Any:
        polls.append(timeout)
        return poll(timeout)

    monkeypatch.setattr(executor.engine, "poll", counting)
    with peer(read_to_end) as server:
        url = server.url("tls" if how == "address" else "tcp")
        operation = ReadOperation() if how == "address" else TlsHandshakeOperation()
        log = talk(
            executor, url, operation, stream_context={"verify": False},
            connection_timeout=0.2, io_timeout=0.2,
        )  # fmt: skip
    assert log.timeouts == [("CONNECTION" if how == "address" else "IO", "handshaking")]
    assert len(polls) < 30


def test_an_endless_source_is_not_read_further_than_a_frame_needs(executor: RequestExecutor) -> None:
    def script(sock: socket.socket) -> int:
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 1 << 30:
                sent += sock.send(bytes(4096))
        return sent

    with peer(script) as server:
        log = talk(executor, server.url(), ReadOperation(FixedLengthFramePicker(12)))
    assert log.frames == [bytes(12)]
    assert 12 <= log.metadata.bytes_received <= 2 * 65536
    assert server.results[0] < 1 << 30


def test_one_character_zero_goes_everywhere(executor: RequestExecutor) -> None:
    """It is data: alone, out of an iterable, as what a frame left over."""
    ours, theirs = pair()

    def answer(event: Any) -> None:
        if event.frame.data == b"1":
            event.next_is_read(FixedLengthFramePicker(1))
        else:
            event.next_is_write(iter([event.frame.data, b"0"]))

    with theirs:
        theirs.sendall(b"10")
        write = WriteOperation(b"0", then=ReadOperation(FixedLengthFramePicker(1)))
        log = talk(executor, None, write, socket=ours, on={"READ": answer})
        assert everything(theirs) == b"000"
    assert log.frames == [b"1", b"0"]


def test_a_large_upload_then_header_and_body_over_tls(executor: RequestExecutor, ca: Authority) -> None:
    chunks = [bytes([number]) * 8192 for number in range(10)]
    body = bytes(range(256)) * 200

    def script(sock: Any) -> bytes:
        sent = read_exactly(sock, 81920)
        sock.sendall(b"length: 51200\r\n\r\n" + body)
        return sent

    def read(event: Any) -> None:
        if event.frame.data.endswith(b"\r\n\r\n"):
            event.next_is_read(FixedLengthFramePicker(51200))

    head = ReadOperation(MarkerFramePicker(None, b"\r\n\r\n"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca.server.certificate, ca.server.private_key)
    with peer(tls_script(context, script)) as server:
        log = talk(
            executor, server.url("tls", "localhost"), WriteOperation(iter(chunks), then=head),
            on={"READ": read}, stream_context={"ca_file": ca.ca_file},
        )  # fmt: skip
    assert log.frames == [b"length: 51200\r\n\r\n", body]
    assert server.results == [b"".join(chunks)]
    assert log.metadata.bytes_sent == 81920


@pytest.mark.parametrize("stage", ["CONNECTION", "IO"])
def test_one_more_attempt_of_one_socket_is_not_the_next_ones(
    executor: RequestExecutor, stage: str
) -> None:
    """A socket made after another has gone, perhaps where it was in memory, begins with nothing of it."""
    seen: list[str] = []

    def again(event: Any) -> None:
        seen.append(event.when.name)
        if len(seen) == 1:
            event.enable_one_more_attempt()

    scheme = "tls" if stage == "CONNECTION" else "tcp"
    with peer(read_to_end, count=3 if stage == "CONNECTION" else 2) as server:
        first = add(
            executor, server.url(scheme), ReadOperation(), on={"TIMEOUT": again},
            connection_timeout=0.03, io_timeout=0.03, stream_context={"verify": False},
        )  # fmt: skip
        executor.execute_request()
        executor.socket_bag.remove_socket(first.events[0].socket)
        second = talk(
            executor, server.url(scheme), ReadOperation(), connection_timeout=0.03, io_timeout=0.03,
            stream_context={"verify": False},
        )  # fmt: skip
    assert seen == [stage, stage]
    assert [when for when, _ in second.timeouts] == [stage]


@pytest.mark.parametrize("kind", ["client", "server"])
def test_the_systems_number_is_on_the_error(executor: RequestExecutor, unused_port: int, kind: str) -> None:
    if kind == "client":
        log = talk(executor, f"tcp://127.0.0.1:{unused_port}", ReadOperation())
        wanted = errno.ECONNREFUSED
    else:
        log = talk(executor, f"tcp://127.0.0.1:{unused_port}", ReadOperation(), socket=ServerSocket())
        wanted = errno.EADDRINUSE
    assert log.error.errno == wanted and isinstance(log.error.__cause__, OSError)
    assert log.error.address == f"tcp://127.0.0.1:{unused_port}"
    assert log.names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]
