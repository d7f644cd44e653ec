"""One TLS server, a certificate for each name it is asked by (SNI)."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import ReadOperation, TlsHandshakeError, WriteOperation
from support.certificates import Authority, server_side
from support.command import HANGS
from support.life import FAILED
from support.servers import need
from support.service import LINE, Serve, Service
from support.wire import Log

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
ASK = WriteOperation(b"hello\n", then=ReadOperation(LINE))


class Front:
    """A context that knows two names, refuses others, and shows the default to whoever names nobody."""

    def __init__(self, ca: Authority) -> None:
        self.asked: list[str | None] = []
        self._known = {name: server_side(ca, ca.issue(name)) for name in ("one.test", "two.test")}
        self.context = server_side(ca, ca.issue("default.test"), sni_callback=self._choose)

    def _choose(self, connection: Any, name: str | None, default: ssl.SSLContext) -> int | None:
        self.asked.append(name)
        if name is not None and name not in self._known:
            return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
        connection.context = self._known.get(name or "", default)
        return None


@pytest.fixture
def front(ca: Authority) -> Front:
    return Front(ca)


@pytest.fixture
def ask(server: Serve, ca: Authority) -> Callable[..., Service]:
    """A server with `context` that was asked by each of `names`."""

    def run(context: Any, *names: str, scheme: str = "tls", **own: Any) -> Service:
        def started(event: Any) -> None:
            for name in names:
                settings = {"ca_file": ca.ca_file, "server_hostname": name, **own}
                address = f"{scheme}://127.0.0.1:{service.port}"
                service.ask(ASK, address=address, stream_context=settings)

        service = server(
            "tls://127.0.0.1:0", stream_context={"tls": context}, clients=len(names), started=started
        )
        return service.execute()

    return run


def subject_of(asked: Log) -> str:
    assert asked.frames == [b"hello\n"]
    ((kind, name),) = asked.metadata.tls.peer_certificate["subjectAltName"]
    assert kind == "DNS"
    return str(name)


@pytest.mark.parametrize("scheme", ["tlsv1.2", "tlsv1.3"])
def test_each_name_gets_its_certificate(ask: Callable[..., Service], front: Front, scheme: str) -> None:
    """Verified by the client: another certificate would not do."""
    service = ask(front.context, "one.test", "two.test", "three.test", scheme=scheme)
    one, two, three = service.asked
    assert sorted(filter(None, front.asked)) == ["one.test", "three.test", "two.test"]
    assert [subject_of(one), subject_of(two)] == ["one.test", "two.test"]
    assert isinstance(three.error, TlsHandshakeError) and three.names == FAILED
    # The server's side of it concerns that client alone.
    assert isinstance(service.talking.error, TlsHandshakeError)
    assert "EXCEPTION" not in service.listening.names


def test_whoever_names_nobody_sees_the_default(server: Serve, ca: Authority, front: Front) -> None:
    """A client that goes by the numeric address sends no name."""
    context = ssl.create_default_context(cafile=ca.ca_file)
    context.check_hostname = False
    service = server(
        "tls://127.0.0.1:0", asks=[ASK], asking={"stream_context": {"tls": context}}, host="127.0.0.1",
        stream_context={"tls": front.context},
    ).execute()  # fmt: skip
    assert front.asked == [None] and subject_of(service.asked[0]) == "default.test"


def test_a_bug_in_the_choice_ends_one_client(
    ask: Callable[..., Service], ca: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ssl module reports it and fails the handshake; the next client is served."""
    buggy = server_side(ca, ca.issue("default.test"))
    buggy.sni_callback = lambda connection, name, default: {}["nobody"] if name == "one.test" else None
    reported: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", lambda args: reported.append(args.exc_type))
    one, default = ask(buggy, "one.test", "default.test").asked
    assert isinstance(one.error, TlsHandshakeError) and reported == [KeyError]
    assert subject_of(default) == "default.test"


def test_names_asked_by_openssl(server: Serve, ca: Authority, front: Front) -> None:
    programs: list[subprocess.Popen[str]] = []
    names = ["one.test", "two.test"]

    def started(event: Any) -> None:
        for name in names:
            command = [need("openssl"), "s_client", "-connect", f"127.0.0.1:{service.port}", "-servername"]
            command += [name, "-CAfile", ca.ca_file, "-verify_hostname", name, "-verify_return_error"]
            programs.append(
                subprocess.Popen(
                    [*command, "-brief", "-ign_eof"], text=True, stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                )
            )  # fmt: skip
            stdin = programs[-1].stdin
            assert stdin is not None
            stdin.write("hello\n")
            stdin.close()

    service = server("tls://127.0.0.1:0", clients=2, started=started, stream_context={"tls": front.context})
    service.execute()
    for name, one in zip(names, programs, strict=True):
        with one:
            assert one.stdout is not None
            text = one.stdout.read()
            one.wait(HANGS)
        assert f"Verified peername: {name}" in text and "hello" in text
    assert sorted(filter(None, front.asked)) == names


@pytest.mark.parametrize("mode", [ssl.CERT_REQUIRED, ssl.CERT_OPTIONAL])
@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("version", VERSIONS)
def test_client_certificates_by_ones_own_context(
    ask: Callable[..., Service], ca: Authority, mode: ssl.VerifyMode, shown: bool, version: ssl.TLSVersion
) -> None:
    """What the context of the chosen name demands counts, not that of the default."""
    chosen = server_side(ca, ca.issue("one.test"), verify_mode=mode)
    chosen.load_verify_locations(ca.ca_file)
    default = server_side(ca, ca.issue("default.test"), verify_mode=mode, maximum_version=version)
    default.load_verify_locations(ca.ca_file)
    default.sni_callback = lambda connection, name, default: setattr(connection, "context", chosen)
    service = ask(default, "one.test", **(ca.client.settings if shown else {}))
    (asked,) = service.asked
    if mode is ssl.CERT_REQUIRED and not shown:
        assert isinstance(service.talking.errors[0], TlsHandshakeError)
        assert asked.errors and not asked.frames
    else:
        assert subject_of(asked) == "one.test"
        (read,) = service.talking.of("READ")
        assert read.metadata.tls.version == ("TLSv1.2" if version is VERSIONS[0] else "TLSv1.3")
        assert bool(read.metadata.tls.peer_certificate) == shown
