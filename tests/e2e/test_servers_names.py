"""One TLS server, a certificate for each name it is asked by (SNI)."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EventType,
    ReadOperation,
    RequestExecutor,
    TlsHandshakeError,
    WriteOperation,
)
from support.certificates import Authority, server_side
from support.clients import Recorder
from support.command import HANGS
from support.servers import need
from support.service import LINE, Service

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def by_name(ca: Authority, asked: list[str | None]) -> ssl.SSLContext:
    """A context that knows two names, refuses others, and shows the default to whoever names nobody."""
    known = {name: server_side(ca, ca.issue(name)) for name in ("one.test", "two.test")}

    def choose(connection: Any, name: str | None, default: ssl.SSLContext) -> int | None:
        asked.append(name)
        if name is None:
            return None
        if name not in known:
            return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
        connection.context = known[name]
        return None

    front = server_side(ca, ca.issue("default.test"))
    front.sni_callback = choose
    return front


def ask(executor: RequestExecutor, port: int, settings: dict[str, Any], scheme: str = "tls") -> Recorder:
    events = Recorder()
    executor.socket_bag.add_socket(
        ClientSocket(), WriteOperation(b"hello\n", then=ReadOperation(LINE)), handler=events,
        address=f"{scheme}://127.0.0.1:{port}", stream_context=settings,
    )  # fmt: skip
    return events


def serve(executor: RequestExecutor, clients: int, context: Any, started: Callable[[int], object]) -> Service:
    return Service(
        executor, "tls://127.0.0.1:0", clients=clients, stream_context=context,
        started=lambda event: started(event.metadata.local_address[1]),
    )  # fmt: skip


def subject_of(events: Recorder) -> str:
    certificate = events.of(EventType.READ)[0].metadata.tls.peer_certificate
    ((kind, name),) = certificate["subjectAltName"]
    assert kind == "DNS"
    return str(name)


@pytest.mark.parametrize("scheme", ["tlsv1.2", "tlsv1.3"])
def test_each_name_gets_its_certificate(executor: RequestExecutor, ca: Authority, scheme: str) -> None:
    """Verified by the client: another certificate would not do."""
    asked: list[str | None] = []
    clients: dict[str, Recorder] = {}

    def started(port: int) -> None:
        for name in ("one.test", "two.test", "three.test"):
            settings = {"ca_file": ca.ca_file, "server_hostname": name}
            clients[name] = ask(executor, port, settings, scheme)

    service = serve(executor, 3, {"tls": by_name(ca, asked)}, started)
    executor.execute_request()
    assert sorted(filter(None, asked)) == ["one.test", "three.test", "two.test"]
    assert [subject_of(clients[name]) for name in ("one.test", "two.test")] == ["one.test", "two.test"]
    (refused,) = clients["three.test"].exceptions()
    assert isinstance(refused, TlsHandshakeError)
    # The server's side of it concerns that client alone.
    assert [type(error) for error in service.talking.exceptions()] == [TlsHandshakeError]
    assert "EXCEPTION" not in service.listening.names()


def test_whoever_names_nobody_sees_the_default(executor: RequestExecutor, ca: Authority) -> None:
    """A client that goes by the numeric address sends no name."""
    asked: list[str | None] = []
    clients: list[Recorder] = []

    def started(port: int) -> None:
        context = ssl.create_default_context(cafile=ca.ca_file)
        context.check_hostname = False
        clients.append(ask(executor, port, {"tls": context}))

    serve(executor, 1, {"tls": by_name(ca, asked)}, started)
    executor.execute_request()
    assert asked == [None]
    assert subject_of(clients[0]) == "default.test"


def test_a_bug_in_the_choice_ends_one_client(executor: RequestExecutor, ca: Authority) -> None:
    """The ssl module reports it and fails the handshake; the next client is served."""
    front = server_side(ca, ca.issue("default.test"))
    front.sni_callback = lambda connection, name, default: {}["nobody"] if name == "one.test" else None
    clients: list[Recorder] = []
    reported: list[Any] = []

    def started(port: int) -> None:
        for name in ("one.test", "default.test"):
            settings = {"ca_file": ca.ca_file, "server_hostname": name}
            clients.append(ask(executor, port, settings))

    serve(executor, 2, {"tls": front}, started)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.unraisablehook", lambda args: reported.append(args.exc_type))
        executor.execute_request()
    assert [type(error) for error in clients[0].exceptions()] == [TlsHandshakeError]
    assert subject_of(clients[1]) == "default.test"
    assert reported == [KeyError]


def test_names_asked_by_openssl(executor: RequestExecutor, ca: Authority) -> None:
    asked: list[str | None] = []
    said: list[str] = []
    programs: list[subprocess.Popen[str]] = []

    def started(port: int) -> None:
        for name in ("one.test", "two.test"):
            command = [need("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name]
            command += ["-CAfile", ca.ca_file, "-verify_hostname", name, "-verify_return_error", "-brief"]
            programs.append(
                subprocess.Popen(
                    [*command, "-ign_eof"],
                    text=True,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            )
            stdin = programs[-1].stdin
            assert stdin is not None
            stdin.write("hello\n")
            stdin.close()

    serve(executor, 2, {"tls": by_name(ca, asked)}, started)
    executor.execute_request()
    for one in programs:
        with one:
            assert one.stdout is not None
            said.append(one.stdout.read())
            one.wait(HANGS)
    assert sorted(filter(None, asked)) == ["one.test", "two.test"]
    for name, text in zip(("one.test", "two.test"), said, strict=True):
        assert f"Verified peername: {name}" in text and "hello" in text


@pytest.mark.parametrize("mode", [ssl.CERT_REQUIRED, ssl.CERT_OPTIONAL])
@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("version", VERSIONS)
def test_client_certificates_by_ones_own_context(
    executor: RequestExecutor, ca: Authority, mode: ssl.VerifyMode, shown: bool, version: ssl.TLSVersion
) -> None:
    """What the context of the chosen name demands counts, not that of the default."""
    chosen = server_side(ca, ca.issue("one.test"))
    chosen.verify_mode = mode
    chosen.load_verify_locations(ca.ca_file)
    front = server_side(ca, ca.issue("default.test"))
    front.verify_mode = mode
    front.maximum_version = version
    front.load_verify_locations(ca.ca_file)

    def choose(connection: Any, name: str | None, default: ssl.SSLContext) -> None:
        connection.context = chosen

    front.sni_callback = choose
    clients: list[Recorder] = []
    own = {"certificate": ca.client.certificate, "private_key": ca.client.private_key} if shown else {}

    def started(port: int) -> None:
        settings = {"ca_file": ca.ca_file, "server_hostname": "one.test", **own}
        clients.append(ask(executor, port, settings))

    service = serve(executor, 1, {"tls": front}, started)
    executor.execute_request()
    if mode is ssl.CERT_REQUIRED and not shown:
        assert isinstance(service.talking.exceptions()[0], TlsHandshakeError)
        assert clients[0].exceptions() and not clients[0].of(EventType.READ)
    else:
        assert subject_of(clients[0]) == "one.test"
        (read,) = service.talking.of(EventType.READ)
        assert read.metadata.tls.version == ("TLSv1.2" if version is VERSIONS[0] else "TLSv1.3")
        assert bool(read.metadata.tls.peer_certificate) == shown
