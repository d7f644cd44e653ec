"""TLS handshakes: what they wait for, and the certificate a server shows for a name."""

from __future__ import annotations

import ssl
import sys
from typing import Any

import pytest

from evsockets import (
    ConnectionFailedError,
    EventType,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    TlsHandshakeError,
    TlsHandshakeOperation,
    WriteOperation,
)
from support.certificates import Authority, server_side
from support.service import Service, count_polls
from support.wire import add, peer, quietly, read_to_end, talk, tls_script


@pytest.mark.parametrize("how", ["address", "operation"])
def test_a_handshake_that_waits_does_not_spin(
    executor: RequestExecutor, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It waits for the peer's bytes, not for room to send that is always there."""
    polls = count_polls(executor, monkeypatch)
    with peer(read_to_end) as server:
        url = server.url("tls" if how == "address" else "tcp")
        operation = ReadOperation() if how == "address" else TlsHandshakeOperation()
        log = talk(
            executor, url, operation, stream_context={"verify": False},
            connection_timeout=0.2, io_timeout=0.2,
        )  # fmt: skip
    assert log.timeouts == [("CONNECTION" if how == "address" else "IO", "handshaking")]
    assert len(polls) < 30


def test_a_server_chooses_its_certificate_by_the_name(executor: RequestExecutor, ca: Authority) -> None:
    """By its context's SNI callback; a client that verifies another name is refused nothing but its own."""
    contexts = {name: server_side(ca, ca.issue(name)) for name in ("one.test", "two.test")}
    asked: list[Any] = []

    def choose(connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        asked.append(name)
        if name in contexts:
            connection.context = contexts[name]

    default = server_side(ca, sni_callback=choose)
    logs: dict[str, Any] = {}

    def started(event: Any) -> None:
        for name in ("one.test", "two.test", "three.test"):
            logs[name] = add(
                executor, "tls://127.0.0.1:%d" % event.metadata.local_address[1], WriteOperation(b"x\n"),
                stream_context={"ca_file": ca.ca_file, "server_hostname": name},
            )  # fmt: skip

    Service(executor, "tls://127.0.0.1:0", clients=3, started=started, stream_context={"tls": default})
    executor.execute_request()
    assert sorted(asked) == ["one.test", "three.test", "two.test"]
    for name in ("one.test", "two.test"):
        assert logs[name].errors == []
        assert (("DNS", name),) == logs[name].metadata.tls.peer_certificate["subjectAltName"]
    assert isinstance(logs["three.test"].error, TlsHandshakeError)
    assert logs["three.test"].names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]


def test_the_local_address_is_the_last_attempts(executor: RequestExecutor, ca: Authority) -> None:
    """A handshake that nobody answers is tried again over another connection."""
    context = server_side(ca)
    clients: list[Any] = []

    def script(sock: Any) -> None:
        clients.append(sock.getpeername())
        if len(clients) == 1:
            read_to_end(sock)
        else:
            with context.wrap_socket(sock, server_side=True) as wrapped:
                read_to_end(wrapped)

    def again(event: Any) -> None:
        event.metadata.connection_timeout = 20
        event.enable_one_more_attempt()

    ours: list[Any] = []
    with peer(script, count=2) as server:
        log = talk(
            executor, server.url("tls"), WriteOperation(b"x"), connection_timeout=0.1,
            stream_context={"ca_file": ca.ca_file},
            on={"TIMEOUT": again, "CONNECTED": lambda event: ours.append(event.metadata.local_address)},
        )  # fmt: skip
    assert log.timeouts == [("CONNECTION", "handshaking")]
    assert ours == clients[1:] and ours != clients[:1]


@pytest.mark.parametrize("how", ["address", "operation", "pinned"])
def test_a_name_in_the_common_name_only_is_none(executor: RequestExecutor, ca: Authority, how: str) -> None:
    """RFC 9525, 6.3: the subject's common name is not looked at."""
    context = server_side(ca, ca.common_name_only)
    with peer(quietly(tls_script(context, read_to_end))) as server:
        scheme = {"address": "tls", "operation": "tcp", "pinned": "tlsv1.3"}[how]
        first: Any = WriteOperation(b"secret")
        if how == "operation":
            first = TlsHandshakeOperation(first)
        log = talk(executor, server.url(scheme, "localhost"), first, stream_context={"ca_file": ca.ca_file})
    assert isinstance(log.error, TlsHandshakeError) and "localhost" in str(log.error)
    assert b"secret" not in server.results


def test_a_context_of_ones_own_says_itself_what_it_verifies(executor: RequestExecutor, ca: Authority) -> None:
    own = ssl.create_default_context(cafile=ca.ca_file)
    own.verify_flags &= ~ssl.VERIFY_X509_STRICT
    with peer(tls_script(server_side(ca, ca.common_name_only), read_to_end)) as server:
        url = server.url("tls", "localhost")
        log = talk(executor, url, WriteOperation(b"x"), stream_context={"tls": own})
    assert log.errors == [] and server.results == [b"x"]
    assert own.hostname_checks_common_name  # as it was given
    own.hostname_checks_common_name = False
    with peer(quietly(tls_script(server_side(ca, ca.common_name_only), read_to_end))) as server:
        url = server.url("tls", "localhost")
        log = talk(executor, url, WriteOperation(b"x"), stream_context={"tls": own})
    assert isinstance(log.error, TlsHandshakeError)


@pytest.mark.parametrize("missing", ["tls", "tls_context"])
def test_tls_that_cannot_be_imported_is_the_sockets_own_failure(
    executor: RequestExecutor, ca: Authority, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """It is imported by the first handshake, which may find no descriptor left to be read with."""
    with peer(read_to_end) as server:
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, f"evsockets.transports.{missing}", None)
            log = talk(executor, server.url("tls"), ReadOperation(), stream_context={"verify": False})
            listening = talk(executor, "tls://127.0.0.1:0", ReadOperation(), socket=ServerSocket(),
                             on={EventType.CONNECTED: lambda event: event.cancel_operation()},
                             stream_context={"tls": server_side(ca)})  # fmt: skip
        assert type(log.errors[0]) is TlsHandshakeError and missing in str(log.errors[0])
        assert [type(error) for error in listening.errors] == [ConnectionFailedError] * (missing != "tls")
    with peer(tls_script(server_side(ca), read_to_end)) as server:
        log = talk(executor, server.url("tls"), WriteOperation(b"again"), stream_context={"verify": False})
    assert not log.errors and log.metadata.bytes_sent == 5
