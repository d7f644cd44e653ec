"""Clients a server exposed to everybody meets."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    AcceptedSocket,
    ConnectionFailedError,
    DisconnectedError,
    ReadOperation,
    RequestExecutor,
    TlsHandshakeError,
    WriteOperation,
)
from support.certificates import Authority
from support.life import END, FAILED, USUAL
from support.machine import descriptors
from support.service import LINE, Serve, Service, echo
from support.wire import read_to_end, reset

ASK = WriteOperation(b"hello\n", then=ReadOperation(LINE))


# ---- TLS ---------------------------------------------------------------------------------------------


@pytest.fixture
def secret(server: Serve, ca: Authority) -> Callable[..., Service]:
    """A TLS server, and one client that asks it (by `own` settings) when the peers have come."""

    def make(own: Any = (), context: Any = (), **more: Any) -> Service:
        return server(
            "tls://127.0.0.1:0", asks=[ASK], asking={"stream_context": {"ca_file": ca.ca_file, **dict(own)}},
            stream_context={**ca.server.settings, **dict(context)}, **more,
        )  # fmt: skip

    return make


def test_silent_clients_delay_nobody(secret: Callable[..., Service]) -> None:
    """A handshake is the accepted socket's own affair, under its own connection time-out."""
    service = secret(says=[b""] * 20, client_metadata={"connection_timeout": 0.3}).execute()
    assert service.answers() == [b""] * 20
    assert service.asked[0].frames == [b"hello\n"]
    order = [name for name in service.talking.names if name in ("READ", "TIMEOUT")]
    assert order == ["READ"] + ["TIMEOUT"] * 20
    late = service.talking.of("TIMEOUT")[0]
    assert (late.when.name, late.phase) == ("CONNECTION", "handshaking")
    assert service.talking.names_of(late.socket) == ["INITIALIZE", "TIMEOUT", "FINALIZE"]
    assert late.metadata.address.startswith("tls://127.0.0.1:")


HALF = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


@pytest.mark.parametrize(("said", "end"), [
    (b"", "close"), (HALF, "close"), (b"", "reset"), (b"GET / HTTP/1.1\r\n\r\n", ""),
])  # fmt: skip
def test_gone_during_the_handshake(secret: Callable[..., Service], said: bytes, end: str) -> None:
    """One EXCEPTION on that client alone; no CONNECTED, no DISCONNECTED."""

    def started(event: Any) -> None:
        peer = service.come(said)
        if end:
            reset(peer) if end == "reset" else peer.close()

    service = secret(clients=2, started=started)
    service.execute()
    assert service.asked[0].frames == [b"hello\n"]
    error = service.talking.error
    assert isinstance(error, ConnectionFailedError | DisconnectedError)
    if not end:
        assert isinstance(error, TlsHandshakeError) and "handshaking" in str(error)
    assert service.talking.names_of(error.socket) == FAILED
    assert "EXCEPTION" not in service.listening.names


@pytest.mark.parametrize("verify", [True, "optional", False, None])
@pytest.mark.parametrize("shown", [True, False])
def test_certificates_and_when_connected_is_told(
    secret: Callable[..., Service], ca: Authority, verify: Any, shown: bool
) -> None:
    """CONNECTED comes after the handshake. `verify` None: as it is by default."""
    seen: list[Any] = []
    context = {} if verify is None else {"verify": verify, **({"ca_file": ca.ca_file} if verify else {})}
    handler = {"CONNECTED": lambda event: seen.append(event.metadata.tls), "READ": echo}
    service = secret(ca.client.settings if shown else {}, context, handler=handler).execute()
    (asked,) = service.asked
    if verify is True and not shown:
        assert isinstance(service.talking.errors[0], TlsHandshakeError)
        assert asked.frames == [] and seen == []
    else:
        assert asked.frames == [b"hello\n"] and seen[0].version == "TLSv1.3"
        assert bool(seen[0].peer_certificate) == (bool(verify) and shown)
        assert service.talking.names == [*USUAL, "READ", "WRITE", *END]


def test_alpn(secret: Callable[..., Service]) -> None:
    service = secret({"alpn_protocols": ["echo"]}, {"alpn_protocols": ["h2", "echo"]}).execute()
    (read,) = service.talking.of("READ")
    assert read.metadata.tls.alpn_protocol == service.asked[0].metadata.tls.alpn_protocol == "echo"


@pytest.mark.parametrize("context", [{}, {"certificate": "/nowhere/at/all.pem"}])
def test_a_tls_server_without_its_certificate(server: Serve, context: dict[str, Any]) -> None:
    """Told when it would listen, not to its first client."""
    service = server("tls://127.0.0.1:0", stream_context=context).execute()
    assert service.listening.names == FAILED
    assert isinstance(service.listening.error, ConnectionFailedError)


# ---- plain -------------------------------------------------------------------------------------------


def test_connect_and_say_nothing(executor: RequestExecutor, server: Serve) -> None:
    """1 000 silent clients: the working ones are served meanwhile, the silent ones time out."""

    ended: list[Any] = []

    def end(event: Any) -> None:
        ended.append(event.socket)
        if len(ended) == 20:  # the working ones: from now on it is too long for the silent ones
            for accept in service.accepted:
                if accept.client_socket not in ended:
                    executor.socket_bag.set_metadata(accept.client_socket, io_timeout=0.1)

    with descriptors(2500) as allowed:
        silent = 1000 if allowed >= 2500 else max(50, (allowed - 200) // 2)
        service = server(
            says=[b""] * silent, asks=[ASK] * 20, handler={"READ": echo, "FINALIZE": end},
            stream_context={"backlog": 4096},
        )  # fmt: skip
        service.execute()
    assert [asked.frames for asked in service.asked] == [[b"hello\n"]] * 20
    order = [name for name in service.talking.names if name in ("READ", "TIMEOUT")]
    assert order == ["READ"] * 20 + ["TIMEOUT"] * silent
    assert len(executor.socket_bag) == 21  # accepted ones have left
    assert not [one for one in executor.socket_bag if isinstance(one, AcceptedSocket)]
    assert service.talking.names.count("FINALIZE") == silent + 20


def test_a_deadline_for_the_first_frame_only(server: Serve) -> None:
    """One that trickles is cut off by it; one that was in time outlives it by far."""

    def read(event: Any) -> None:
        event.metadata.request_timeout = None
        if len(service.talking.frames) < 2:
            event.next_is_read(LINE)

    def late(event: Any) -> None:  # by now the other one's deadline would be over as well
        service.peers[0].sendall(b"still here\n")

    service = server(
        says=[b"in time\n", b"slow"], handler={"READ": read, "TIMEOUT": late},
        client_metadata={"request_timeout": 0.2},
    )  # fmt: skip
    service.execute()
    assert service.talking.frames == [b"in time\n", b"still here\n"]
    assert [service.talking.names_of(accept.client_socket) for accept in service.accepted] == [
        [*USUAL, "READ", "READ", *END], [*USUAL, "TIMEOUT", *END]
    ]  # fmt: skip
    assert [when for when, _ in service.talking.timeouts] == ["REQUEST"]


def test_reset_before_accept(server: Serve) -> None:
    """The listener goes on; the client's own read tells the reset."""
    service = server(clients=2, started=lambda e: (reset(service.come()), service.come(b"fine\n")))
    service.execute()
    assert read_to_end(service.peers[1]) == b"fine\n"
    error = service.talking.error
    assert isinstance(error, DisconnectedError) and error.errno == errno.ECONNRESET
    assert "EXCEPTION" not in service.listening.names
