"""Authorities given as text, and the peer's certificate as it came."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from evsockets import ReadOperation, RequestExecutor, TlsHandshakeError, WriteOperation
from support.certificates import Authority
from support.service import Serve
from support.wire import Secure


def der(pem: str) -> bytes:
    """The first one of a file."""
    end = "-----END CERTIFICATE-----\n"
    return ssl.PEM_cert_to_DER_cert(Path(pem).read_text().partition(end)[0] + end)


@pytest.mark.parametrize("kind", [str, bytes, "commented"])
def test_authorities_as_text(secure: Secure, ca: Authority, kind: Any) -> None:
    text = Path(ca.ca_file).read_text()
    given: Any = {str: text, bytes: text.encode(), "commented": "# Größe\n" + text}[kind]
    settings = {"ca_file": None, "ca_data": given}
    log, _ = secure(lambda sock: sock.sendall(b"hi"), ReadOperation(), settings=settings)
    assert log.errors == [] and log.frames == [b"hi"]
    tls = log.metadata.tls
    assert tls.peer_certificate["subjectAltName"] and tls.peer_certificate_der == der(ca.server.certificate)


def test_another_authority_is_refused(secure: Secure, ca: Authority) -> None:
    settings = {"ca_file": None, "ca_data": Path(ca.stranger.ca_file).read_text()}
    log, _ = secure(lambda sock: None, ReadOperation(), settings=settings, quiet=True)
    assert isinstance(log.error, TlsHandshakeError)


def test_a_broken_one_is_named(secure: Secure, ca: Authority) -> None:
    broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    settings = {"ca_file": None, "ca_data": broken}
    log, _ = secure(lambda sock: None, ReadOperation(), settings=settings, quiet=True)
    assert "ca_data has a certificate that is broken" in str(log.error)


@pytest.mark.parametrize("verify", [True, False])
def test_it_is_there_verified_or_not(secure: Secure, ca: Authority, verify: bool) -> None:
    log, _ = secure(lambda sock: sock.sendall(b"hi"), ReadOperation(), settings={"verify": verify})
    tls = log.metadata.tls
    assert bool(tls.peer_certificate) is verify and tls.peer_certificate_der == der(ca.server.certificate)


@pytest.mark.parametrize("shown", [True, False])
def test_a_clients(server: Serve, ca: Authority, shown: bool) -> None:
    asking = {"ca_data": Path(ca.ca_file).read_text(), **(ca.client.settings if shown else {})}
    service = server(
        "tls://127.0.0.1:0", asks=[WriteOperation(b"x\n")], asking={"stream_context": asking},
        stream_context={**ca.server.settings, "verify": "optional", "ca_data": asking["ca_data"]},
    ).execute()  # fmt: skip
    (read,) = service.talking.of("READ")
    assert read.metadata.tls.peer_certificate_der == (der(ca.client.certificate) if shown else None)


def test_none_without_tls(executor: RequestExecutor, server: Serve) -> None:
    assert server(says=[b"x\n"]).execute().talking.of("READ")[0].metadata.tls is None
