"""`openssl s_server`: client certificates, TLS versions, ALPN."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    EventType,
    MarkerFramePicker,
    NetworkSocketError,
    ReadOperation,
    RequestExecutor,
    SocketMetadata,
    StreamContext,
    TlsHandshakeError,
    WriteOperation,
)
from support.certificates import Authority
from support.wire import Log

Server = Callable[..., AbstractContextManager[int]]


def turn_round(
    executor: RequestExecutor, address: str, context: StreamContext
) -> tuple[SocketMetadata, list[bytes], Log]:
    """Sends a line to a server that turns lines round, and returns what came back."""
    recorder = Log()
    answers: list[bytes] = []
    seen: list[Any] = []

    def on_read(event: Any) -> None:
        answers.append(event.frame.data)
        seen.append(event.metadata.tls)

    executor.with_event_handler(recorder)
    metadata = executor.socket_bag.add_socket(
        ClientSocket(),
        WriteOperation(b"evsockets\n", then=ReadOperation(MarkerFramePicker(None, b"\n"))),
        handler={EventType.READ: on_read},
        address=address,
        stream_context=context,
        connection_timeout=20,
        io_timeout=20,
    )
    executor.execute_request()
    return metadata, answers, recorder


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
def test_versions(
    executor: RequestExecutor, openssl_server: Server, ca: Authority, option: str, scheme: str, version: str
) -> None:
    with openssl_server(option) as port:
        metadata, answers, recorder = turn_round(
            executor, f"{scheme}://127.0.0.1:{port}", StreamContext(ca_file=ca.ca_file)
        )
    assert recorder.errors == []
    assert answers == [b"stekcosve\n"]
    assert metadata.tls is not None
    assert metadata.tls.version == version
    assert metadata.tls.peer_certificate["subject"]


@pytest.mark.parametrize(("option", "scheme"), [("-tls1_2", "tlsv1.3"), ("-tls1_3", "tlsv1.2")])
def test_a_version_the_server_refuses(
    executor: RequestExecutor, openssl_server: Server, ca: Authority, option: str, scheme: str
) -> None:
    with openssl_server(option) as port:
        _, answers, recorder = turn_round(
            executor, f"{scheme}://127.0.0.1:{port}", StreamContext(ca_file=ca.ca_file)
        )
    assert answers == []
    (error,) = recorder.errors
    assert isinstance(error, TlsHandshakeError)
    assert recorder.names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]


def test_alpn(executor: RequestExecutor, openssl_server: Server, ca: Authority) -> None:
    context = StreamContext(ca_file=ca.ca_file, alpn_protocols=("h2", "http/1.1"))
    with openssl_server("-alpn", "http/1.1") as port:
        metadata, answers, _ = turn_round(executor, f"tls://127.0.0.1:{port}", context)
    assert answers == [b"stekcosve\n"]
    assert metadata.tls is not None
    assert metadata.tls.alpn_protocol == "http/1.1"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_client_certificate(
    executor: RequestExecutor, openssl_server: Server, ca: Authority, version: str
) -> None:
    leaf = ca.client
    context = StreamContext(ca_file=ca.ca_file, certificate=leaf.certificate, private_key=leaf.private_key)
    options = (version, "-Verify", "2", "-verify_return_error")
    with openssl_server(*options, ca_file=ca.ca_file) as port:
        _, answers, recorder = turn_round(executor, f"tls://127.0.0.1:{port}", context)
    assert recorder.errors == []
    assert answers == [b"stekcosve\n"]


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_without_the_client_certificate(
    executor: RequestExecutor, openssl_server: Server, ca: Authority, version: str
) -> None:
    options = (version, "-Verify", "2", "-verify_return_error")
    with openssl_server(*options, ca_file=ca.ca_file) as port:
        _, answers, recorder = turn_round(
            executor, f"tls://127.0.0.1:{port}", StreamContext(ca_file=ca.ca_file)
        )
    assert answers == []
    # With TLS 1.3 the client's handshake is over before the server asks: the refusal meets the read.
    (error,) = recorder.errors
    assert isinstance(error, TlsHandshakeError if version == "-tls1_2" else NetworkSocketError)
    assert recorder.names[-1] == "FINALIZE"


@pytest.mark.parametrize("kind", ["expired", "wrong_host"])
def test_certificates_that_do_not_hold(
    executor: RequestExecutor, ca: Authority, tmp_path: Any, kind: str
) -> None:
    from support.servers import openssl_server

    with openssl_server(tmp_path, getattr(ca, kind)) as port:
        _, answers, recorder = turn_round(
            executor, f"tls://127.0.0.1:{port}", StreamContext(ca_file=ca.ca_file)
        )
    assert answers == []
    (error,) = recorder.errors
    assert isinstance(error, TlsHandshakeError)
    word = {"expired": "expired", "wrong_host": "not valid for"}[kind]
    assert word in str(error)


def test_unverified_when_told_so(executor: RequestExecutor, ca: Authority, tmp_path: Any) -> None:
    from support.servers import openssl_server

    with openssl_server(tmp_path, ca.expired) as port:
        _, answers, recorder = turn_round(executor, f"tls://127.0.0.1:{port}", StreamContext(verify=False))
    assert recorder.errors == []
    assert answers == [b"stekcosve\n"]
