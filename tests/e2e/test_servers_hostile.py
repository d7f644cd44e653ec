"""Clients a server exposed to everybody meets."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    AcceptedSocket,
    ClientSocket,
    ConnectionFailedError,
    DisconnectedError,
    EventType,
    FrameError,
    MarkerFramePicker,
    NetworkSocketError,
    ReadOperation,
    RequestExecutor,
    TlsHandshakeError,
    WriteOperation,
)
from support.certificates import Authority
from support.clients import Recorder
from support.machine import descriptors
from support.service import LINE, Peers, Service
from support.wire import read_to_end, reset

ENDS = {"DISCONNECTED", "FINALIZE"}


def tls(ca: Authority, **more: Any) -> dict[str, Any]:
    return {"certificate": ca.server.certificate, "private_key": ca.server.private_key, **more}


def ask(executor: RequestExecutor, port: int, ca: Authority | None = None, **context: Any) -> Recorder:
    """A well-behaved client of the same executor: one line there and back."""
    events = Recorder()
    scheme = "tcp" if ca is None else "tls"
    if ca is not None:
        context["ca_file"] = ca.ca_file
    executor.socket_bag.add_socket(
        ClientSocket(), WriteOperation(b"hello\n", then=ReadOperation(LINE)), handler=events,
        address=f"{scheme}://localhost:{port}", stream_context=context or None,
    )  # fmt: skip
    return events


def answers(events: Recorder) -> list[bytes]:
    return [event.frame.data for event in events.of(EventType.READ)]


def answering(order: list[str]) -> Callable[[Any], None]:
    """A handler that answers with what came, and notes in `order` who was read and who was late."""

    def handler(event: Any) -> None:
        if event.type in (EventType.READ, EventType.TIMEOUT):
            order.append(event.type.name)
        if event.type is EventType.READ:
            event.next_is_write(event.frame.data)

    return handler


# ---- TLS ---------------------------------------------------------------------------------------------


def test_silent_clients_delay_nobody(executor: RequestExecutor, ca: Authority) -> None:
    """A handshake is the accepted socket's own affair, under its own connection time-out."""
    asked: list[Recorder] = []
    order: list[str] = []
    with Peers() as peers:

        def started(event: Any) -> None:
            for _ in range(20):
                peers.stream(event.metadata.local_address)
            asked.append(ask(executor, event.metadata.local_address[1], ca))

        service = Service(
            executor, "tls://127.0.0.1:0", clients=21, started=started, stream_context=tls(ca),
            handler=answering(order), client_metadata={"connection_timeout": 0.3},
        )  # fmt: skip
        executor.execute_request()
        assert [read_to_end(peer) for peer in peers] == [b""] * 20
    assert answers(asked[0]) == [b"hello\n"]
    assert order == ["READ"] + ["TIMEOUT"] * 20
    late = service.talking.of(EventType.TIMEOUT)[0]
    assert (late.when.name, late.phase) == ("CONNECTION", "handshaking")
    assert service.talking.names(late.socket) == ["INITIALIZE", "TIMEOUT", "FINALIZE"]
    assert late.metadata.address.startswith("tls://127.0.0.1:")


@pytest.mark.parametrize("how", ["close", "half", "reset", "garbage"])
def test_gone_during_the_handshake(executor: RequestExecutor, ca: Authority, how: str) -> None:
    """One EXCEPTION on that client alone; no CONNECTED, no DISCONNECTED."""
    asked: list[Recorder] = []
    with Peers() as peers:

        def started(event: Any) -> None:
            peer = peers.stream(event.metadata.local_address)
            if how == "garbage":
                peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
            elif how == "half":
                peer.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                peer.close()
            elif how == "reset":
                reset(peer)
            else:
                peer.close()
            asked.append(ask(executor, event.metadata.local_address[1], ca))

        service = Service(executor, "tls://127.0.0.1:0", clients=2, started=started, stream_context=tls(ca))
        executor.execute_request()
    assert answers(asked[0]) == [b"hello\n"]
    (error,) = service.talking.exceptions()
    assert isinstance(error, ConnectionFailedError | DisconnectedError)
    if how == "garbage":
        assert isinstance(error, TlsHandshakeError) and "handshaking" in str(error)
    assert service.talking.names(error.socket) == ["INITIALIZE", "EXCEPTION", "FINALIZE"]
    assert "EXCEPTION" not in service.listening.names()


def test_connected_comes_after_the_handshake(executor: RequestExecutor, ca: Authority) -> None:
    asked: list[Recorder] = []
    seen = []

    def handler(event: Any) -> None:
        if event.type is EventType.CONNECTED:
            seen.append((event.metadata.tls.version, event.metadata.tls.peer_certificate))
        elif event.type is EventType.READ:
            event.next_is_write(event.frame.data)

    service = Service(
        executor, "tls://127.0.0.1:0", handler=handler, stream_context=tls(ca),
        started=lambda e: asked.append(ask(executor, e.metadata.local_address[1], ca)),
    )  # fmt: skip
    executor.execute_request()
    assert seen == [("TLSv1.3", None)] or seen == [("TLSv1.3", {})]
    assert answers(asked[0]) == [b"hello\n"]
    assert service.talking.names() == ["INITIALIZE", "CONNECTED", "READ", "WRITE", "DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize("verify", [True, "optional", False])
@pytest.mark.parametrize("shown", [True, False])
def test_client_certificates(executor: RequestExecutor, ca: Authority, verify: Any, shown: bool) -> None:
    asked: list[Recorder] = []
    certificates = []
    own = {"certificate": ca.client.certificate, "private_key": ca.client.private_key} if shown else {}

    def handler(event: Any) -> None:
        if event.type is EventType.CONNECTED:
            certificates.append(event.metadata.tls.peer_certificate)
        elif event.type is EventType.READ:
            event.next_is_write(event.frame.data)

    context = tls(ca, verify=verify)
    if verify:
        context["ca_file"] = ca.ca_file
    service = Service(
        executor, "tls://127.0.0.1:0", handler=handler, stream_context=context,
        started=lambda e: asked.append(ask(executor, e.metadata.local_address[1], ca, **own)),
    )  # fmt: skip
    executor.execute_request()
    if verify is True and not shown:
        assert isinstance(service.talking.exceptions()[0], TlsHandshakeError)
        assert answers(asked[0]) == []
    else:
        assert answers(asked[0]) == [b"hello\n"]
        assert bool(certificates[0]) == (bool(verify) and shown)


def test_alpn(executor: RequestExecutor, ca: Authority) -> None:
    asked: list[Recorder] = []
    service = Service(
        executor, "tls://127.0.0.1:0", stream_context=tls(ca, alpn_protocols=["h2", "echo"]),
        started=lambda e: asked.append(
            ask(executor, e.metadata.local_address[1], ca, alpn_protocols=["echo"])
        ),
    )  # fmt: skip
    executor.execute_request()
    read = service.talking.of(EventType.READ)[0]
    assert read.metadata.tls.alpn_protocol == asked[0].events[-1].metadata.tls.alpn_protocol == "echo"


@pytest.mark.parametrize("context", [{}, {"certificate": "/nowhere/at/all.pem"}])
def test_a_tls_server_without_its_certificate(executor: RequestExecutor, context: dict[str, Any]) -> None:
    """Told when it would listen, not to its first client."""
    service = Service(executor, "tls://127.0.0.1:0", stream_context=context)
    executor.execute_request()
    assert service.listening.names() == ["INITIALIZE", "EXCEPTION", "FINALIZE"]
    assert isinstance(service.listening.exceptions()[0], ConnectionFailedError)


# ---- plain -------------------------------------------------------------------------------------------


def test_a_frame_over_its_limit(executor: RequestExecutor) -> None:
    with Peers() as peers:
        service = Service(
            executor, first=lambda: ReadOperation(MarkerFramePicker(None, b"\n", max_length=1000)),
            started=lambda e: peers.stream(e.metadata.local_address, b"x" * 5000),
        )  # fmt: skip
        executor.execute_request()
    (error,) = service.talking.exceptions()
    assert isinstance(error, FrameError)
    assert service.talking.names()[-3:] == ["EXCEPTION", "DISCONNECTED", "FINALIZE"]


def test_connect_and_say_nothing(executor: RequestExecutor) -> None:
    """1 000 silent clients: the working ones are served meanwhile, the silent ones time out."""
    asked: list[Recorder] = []
    order: list[str] = []
    with descriptors(2500) as allowed, Peers() as peers:
        silent = 1000 if allowed >= 2500 else max(50, (allowed - 200) // 2)

        def started(event: Any) -> None:
            for _ in range(silent):
                peers.stream(event.metadata.local_address)
            asked.extend(ask(executor, event.metadata.local_address[1]) for _ in range(20))

        service = Service(
            executor, clients=silent + 20, started=started, handler=answering(order),
            client_metadata={"io_timeout": 0.5}, stream_context={"backlog": 4096},
        )  # fmt: skip
        executor.execute_request()
    assert [answers(events) for events in asked] == [[b"hello\n"]] * 20
    assert order == ["READ"] * 20 + ["TIMEOUT"] * silent
    assert len(executor.socket_bag) == 21  # accepted ones have left
    assert not [one for one in executor.socket_bag if isinstance(one, AcceptedSocket)]
    assert service.talking.names().count("FINALIZE") == silent + 20


def test_a_receiver_that_never_reads(executor: RequestExecutor) -> None:
    """What it does not take is not pulled from the iterator; its io_timeout ends it while "writing"."""
    pulled = 0

    def endless() -> Any:
        nonlocal pulled
        while True:
            pulled += 1
            yield bytes(65536)

    with Peers() as peers:
        service = Service(
            executor, first=lambda: WriteOperation(endless()), handler={},
            started=lambda e: peers.stream(e.metadata.local_address), client_metadata={"io_timeout": 0.1},
        )  # fmt: skip
        executor.execute_request()
    (late,) = service.talking.of(EventType.TIMEOUT)
    assert (late.when.name, late.phase) == ("IO", "writing")
    assert pulled * 65536 <= late.metadata.bytes_sent + 2 * 65536


def test_one_byte_at_a_time(executor: RequestExecutor) -> None:
    """A sender that trickles keeps io_timeout at bay, but not request_timeout: the first-frame deadline."""
    with Peers() as peers:
        turns = []

        def trickle() -> None:
            turns.append(1)
            if len(turns) < 100_000 and executor.is_executing and not ended:
                if len(turns) % 50 == 0:
                    peers[0].send(b"x")
                executor.call_soon_threadsafe(trickle)

        def handler(event: Any) -> None:
            if event.type is EventType.CONNECTED:
                trickle()
            elif event.type is EventType.TIMEOUT:
                ended.append(event.when.name)

        ended: list[str] = []
        service = Service(
            executor, handler=handler, started=lambda e: peers.stream(e.metadata.local_address),
            client_metadata={"io_timeout": 5, "request_timeout": 0.1},
        )  # fmt: skip
        executor.execute_request()
    assert ended == ["REQUEST"]
    assert service.talking.names() == ["INITIALIZE", "CONNECTED", "TIMEOUT", "DISCONNECTED", "FINALIZE"]


def test_a_deadline_for_the_first_frame_only(executor: RequestExecutor) -> None:
    """One that trickles is cut off by it; one that was in time outlives it by far."""
    ended: dict[str, str] = {}
    frames: list[bytes] = []
    with Peers() as peers:

        def started(event: Any) -> None:
            peers.stream(event.metadata.local_address, b"in time\n")
            peers.stream(event.metadata.local_address, b"slow")

        def handler(event: Any) -> None:
            peer = peers[0] if event.metadata.remote_address == peers[0].getsockname() else peers[1]
            if event.type is EventType.READ:
                event.metadata.request_timeout = None
                frames.append(event.frame.data)
                if len(frames) < 2:
                    event.next_is_read(LINE)
            elif event.type is EventType.TIMEOUT:
                assert peer is peers[1] and event.when.name == "REQUEST"
                # By now the other one's deadline would be over as well.
                peers[0].sendall(b"still here\n")
            elif event.type is EventType.FINALIZE:
                ended["fast" if peer is peers[0] else "slow"] = service.talking.names(event.socket)[-3]

        service = Service(
            executor, clients=2, started=started, handler=handler, client_metadata={"request_timeout": 0.2}
        )
        executor.execute_request()
    assert frames == [b"in time\n", b"still here\n"]
    assert ended == {"slow": "TIMEOUT", "fast": "READ"}


def test_reset_before_accept(executor: RequestExecutor) -> None:
    """The listener goes on; the client's own read tells the reset."""
    with Peers() as peers:

        def started(event: Any) -> None:
            reset(peers.stream(event.metadata.local_address))
            peers.stream(event.metadata.local_address, b"fine\n")

        service = Service(executor, clients=2, started=started)
        executor.execute_request()
        assert read_to_end(peers[1]) == b"fine\n"
    (error,) = service.talking.exceptions()
    assert isinstance(error, DisconnectedError) and error.errno == errno.ECONNRESET
    assert "EXCEPTION" not in service.listening.names()


def test_library_error_in_one_clients_handler(executor: RequestExecutor) -> None:
    """It ends that client; the server and the others go on."""
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.READ:
                if event.frame.data == b"bad\n":
                    raise NetworkSocketError("I do not like that")
                event.next_is_write(event.frame.data)

        def started(event: Any) -> None:
            peers.stream(event.metadata.local_address, b"bad\n")
            peers.stream(event.metadata.local_address, b"good\n")

        service = Service(executor, clients=2, started=started, handler=handler)
        executor.execute_request()
        assert [read_to_end(peer) for peer in peers] == [b"", b"good\n"]
    assert len(service.talking.exceptions()) == 1
