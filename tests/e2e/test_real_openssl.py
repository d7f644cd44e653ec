"""`openssl s_server`: client certificates, TLS versions, ALPN."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evsockets import (
    NetworkSocketError,
    ReadOperation,
    RequestExecutor,
    TlsHandshakeError,
    WriteOperation,
)
from support.certificates import Authority
from support.life import FAILED
from support.servers import openssl_server
from support.service import LINE
from support.wire import Log, talk

ASK = WriteOperation(b"evsockets\n", then=ReadOperation(LINE))
TURNED = [b"stekcosve\n"]


@pytest.fixture
def ask(executor: RequestExecutor, ca: Authority, tmp_path: Path) -> Callable[..., Log]:
    """A client that sends a line to an `openssl s_server -rev` with these options, which turns it round."""

    def ask(
        *options: str, leaf: Any = None, scheme: str = "tls", verifies: bool = False, **settings: Any
    ) -> Log:
        settings = settings or {"ca_file": ca.ca_file}
        more = {"ca_file": ca.ca_file} if verifies else {}
        with openssl_server(tmp_path, leaf or ca.server, *options, **more) as port:
            return talk(executor, f"{scheme}://127.0.0.1:{port}", ASK, stream_context=settings)

    return ask


@pytest.mark.parametrize(
    ("option", "scheme", "version"),
    [
        ("-tls1_2", "tls", "TLSv1.2"),
        ("-tls1_3", "tls", "TLSv1.3"),
        ("-tls1_2", "tlsv1.2", "TLSv1.2"),
        ("-tls1_3", "tlsv1.3", "TLSv1.3"),
        ("-no_comp", "tlsv1.2", "TLSv1.2"),
        ("-no_comp", "ssl", "TLSv1.3"),
    ],
)
def test_versions(ask: Callable[..., Log], option: str, scheme: str, version: str) -> None:
    log = ask(option, scheme=scheme)
    assert (log.errors, log.frames) == ([], TURNED)
    assert log.metadata.tls.version == version
    assert log.metadata.tls.peer_certificate["subject"]


@pytest.mark.parametrize(("option", "scheme"), [("-tls1_2", "tlsv1.3"), ("-tls1_3", "tlsv1.2")])
def test_a_version_the_server_refuses(ask: Callable[..., Log], option: str, scheme: str) -> None:
    log = ask(option, scheme=scheme)
    assert isinstance(log.error, TlsHandshakeError) and log.names == FAILED


def test_alpn(ask: Callable[..., Log], ca: Authority) -> None:
    log = ask("-alpn", "http/1.1", ca_file=ca.ca_file, alpn_protocols=("h2", "http/1.1"))
    assert log.frames == TURNED and log.metadata.tls.alpn_protocol == "http/1.1"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("given", [True, False])
def test_client_certificate(ask: Callable[..., Log], ca: Authority, version: str, given: bool) -> None:
    own = ca.client.settings if given else {}
    log = ask(version, "-Verify", "2", "-verify_return_error", verifies=True, ca_file=ca.ca_file, **own)
    if given:
        assert (log.errors, log.frames) == ([], TURNED)
    else:
        # With TLS 1.3 the client's handshake is over before the server asks: the refusal meets the read.
        assert isinstance(log.error, TlsHandshakeError if version == "-tls1_2" else NetworkSocketError)
        assert log.frames == [] and log.names[-1] == "FINALIZE"


@pytest.mark.parametrize(("kind", "says"), [("expired", "expired"), ("wrong_host", "not valid for")])
def test_certificates_that_do_not_hold(ask: Callable[..., Log], ca: Authority, kind: str, says: str) -> None:
    log = ask(leaf=getattr(ca, kind))
    assert log.frames == [] and isinstance(log.error, TlsHandshakeError) and says in str(log.error)


def test_unverified_when_told_so(ask: Callable[..., Log], ca: Authority) -> None:
    log = ask(leaf=ca.expired, verify=False)
    assert (log.errors, log.frames) == ([], TURNED)
