"""TLS on both sides of a connection: settings, handshakes and how it ends."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    ConnectionFailedError,
    EventType,
    FixedLengthFramePicker,
    MarkerFramePicker,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    StreamContext,
    TlsHandshakeError,
    UnsupportedOperationError,
    WriteOperation,
)
from support.certificates import Authority, server_side
from support.life import END, USUAL
from support.service import LINE
from support.wire import PATIENCE, add, pair, peer, quietly, read_exactly, read_to_end, talk, tls_script


def client_side(ca: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca.ca_file)


def echo_line(sock):
    sock.sendall(sock.recv(100))
    return sock.version()


def line(text: bytes = b"hello\n") -> WriteOperation:
    return WriteOperation(text, then=ReadOperation(LINE))


# ---- settings --------------------------------------------------------------------------------------


def test_a_verified_conversation(executor: RequestExecutor, ca: Authority) -> None:
    with peer(tls_script(server_side(ca), echo_line)) as server:
        log = talk(executor, server.url("tls"), line(), stream_context={"ca_file": ca.ca_file})
    assert log.frames == [b"hello\n"]
    assert log.names == [*USUAL, "WRITE", "READ", *END]
    tls = log.metadata.tls
    assert tls.version == "TLSv1.3" and tls.cipher and tls.alpn_protocol is None
    assert tls.peer_certificate["subjectAltName"]
    assert (log.metadata.bytes_sent, log.metadata.bytes_received) == (6, 6)


@pytest.mark.parametrize(
    ("scheme", "version"),
    [("tls", "TLSv1.3"), ("ssl", "TLSv1.3"), ("tlsv1.2", "TLSv1.2"), ("tlsv1.3", "TLSv1.3")],
)
def test_schemes(executor: RequestExecutor, ca: Authority, scheme: str, version: str) -> None:
    with peer(tls_script(server_side(ca), echo_line)) as server:
        log = talk(executor, server.url(scheme), line(), stream_context={"ca_file": ca.ca_file})
    assert log.metadata.tls.version == version and server.results == [version]


def test_a_pinned_version_the_peer_does_not_speak(executor: RequestExecutor, ca: Authority) -> None:
    context = server_side(ca, maximum_version=ssl.TLSVersion.TLSv1_2)
    with peer(quietly(tls_script(context, echo_line))) as server:
        log = talk(executor, server.url("tlsv1.3"), line(), stream_context={"ca_file": ca.ca_file})
    assert isinstance(log.error, TlsHandshakeError)
    assert log.names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]


@pytest.mark.parametrize("trouble", ["unknown authority", "wrong host", "expired", "system's authorities"])
def test_what_is_not_trusted(executor: RequestExecutor, ca: Authority, trouble: str) -> None:
    leaf = {"wrong host": ca.wrong_host, "expired": ca.expired}.get(trouble, ca.server)
    settings = {"ca_file": ca.ca_file}
    if trouble == "unknown authority":
        settings = {"ca_file": ca.stranger.ca_file}
    elif trouble == "system's authorities":
        settings = {}
    with peer(quietly(tls_script(server_side(ca, leaf), echo_line))) as server:
        log = talk(executor, server.url("tls"), line(), stream_context=settings)
        assert isinstance(server.wait()[0], OSError)
    assert isinstance(log.error, TlsHandshakeError) and isinstance(log.error, ConnectionFailedError)
    assert isinstance(log.error.__cause__, ssl.SSLCertVerificationError)
    assert "certificate" in str(log.error) and server.url("tls") in str(log.error)
    assert log.names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]


def test_verification_can_be_turned_off(executor: RequestExecutor, ca: Authority) -> None:
    with peer(tls_script(server_side(ca, ca.expired), echo_line)) as server:
        log = talk(executor, server.url("tls"), line(), stream_context={"verify": False})
    assert log.frames == [b"hello\n"]


def test_another_host_name(executor: RequestExecutor, ca: Authority) -> None:
    names = []
    context = server_side(ca, ca.wrong_host)
    context.sni_callback = lambda sock, name, context: names.append(name)
    with peer(tls_script(context, echo_line)) as server:
        log = talk(
            executor, server.url("tls"), line(),
            stream_context={"ca_file": ca.ca_file, "server_hostname": "elsewhere.example.test"},
        )  # fmt: skip
    assert log.frames == [b"hello\n"] and names == ["elsewhere.example.test"]


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [(("h2", "http/1.1"), "h2"), (("http/1.1",), "http/1.1"), (("smtp",), None), ((), None)],
)
def test_alpn(executor: RequestExecutor, ca: Authority, offered: tuple[str, ...], agreed: str | None) -> None:
    context = server_side(ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with peer(tls_script(context, echo_line)) as server:
        log = talk(
            executor, server.url("tls"), line(),
            stream_context={"ca_file": ca.ca_file, "alpn_protocols": offered},
        )  # fmt: skip
    assert log.metadata.tls.alpn_protocol == agreed


@pytest.mark.parametrize("version", ["tlsv1.2", "tlsv1.3"])
@pytest.mark.parametrize("given", [True, False])
def test_client_certificates(executor: RequestExecutor, ca: Authority, given: bool, version: str) -> None:
    context = server_side(ca, verify_mode=ssl.CERT_REQUIRED)
    context.load_verify_locations(ca.ca_file)
    settings = {"ca_file": ca.ca_file}
    if given:
        settings |= {"certificate": ca.client.certificate, "private_key": ca.client.private_key}
    with peer(quietly(tls_script(context, lambda sock: echo_line(sock) and sock.getpeercert()))) as server:
        log = talk(executor, server.url(version), line(), stream_context=settings)
    if given:
        assert log.frames == [b"hello\n"] and server.results[0]["subjectAltName"]
    else:
        assert log.frames == [] and len(log.errors) == 1  # in TLS 1.3 told after the handshake


def test_ones_own_context(executor: RequestExecutor, ca: Authority) -> None:
    with peer(tls_script(server_side(ca), echo_line)) as server:
        log = talk(executor, server.url("tls"), line(), stream_context=StreamContext(tls=client_side(ca)))
    assert log.frames == [b"hello\n"]


def test_files_that_cannot_be_used_are_named(executor: RequestExecutor, ca: Authority) -> None:
    with peer(quietly(tls_script(server_side(ca), echo_line))) as server:
        log = talk(executor, server.url("tls"), line(), stream_context={"ca_file": "/does/not/exist.pem"})
    assert "/does/not/exist.pem" in str(log.error)
    assert log.names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20, b"\x00" * 1000, b""])
def test_no_tls_behind_the_address(executor: RequestExecutor, said: bytes) -> None:
    def script(sock):
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        return quietly(read_to_end)(sock)

    with peer(script) as server:
        log = talk(executor, server.url("tls"), line())
    assert isinstance(log.error, TlsHandshakeError)
    assert log.names == ["INITIALIZE", "EXCEPTION", "FINALIZE"]


def test_a_peer_that_says_nothing_meets_the_connection_timeout(executor: RequestExecutor) -> None:
    with peer(read_to_end) as server:
        log = talk(executor, server.url("tls"), line(), connection_timeout=0.1)
    assert log.timeouts == [("CONNECTION", "handshaking")]
    assert log.names == ["INITIALIZE", "TIMEOUT", "FINALIZE"]


def test_out_of_band_data_is_not_for_tls(executor: RequestExecutor, ca: Authority) -> None:
    with peer(quietly(tls_script(server_side(ca), echo_line))) as server:
        log = talk(
            executor, server.url("tls"), WriteOperation(b"!", out_of_band=True),
            stream_context={"ca_file": ca.ca_file},
        )  # fmt: skip
    assert isinstance(log.error, UnsupportedOperationError)


# ---- much data -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["tlsv1.2", "tlsv1.3"])
def test_much_data_through_tiny_buffers(executor: RequestExecutor, ca: Authority, scheme: str) -> None:
    data = bytes(range(256)) * 4000

    def script(sock):
        received = read_exactly(sock, len(data))
        sock.sendall(received)
        return len(received)

    read = ReadOperation(FixedLengthFramePicker(len(data)))
    with peer(tls_script(server_side(ca), script), receive_buffer=8192) as server:
        log = talk(
            executor, server.url(scheme), WriteOperation(data, then=read),
            stream_context={"ca_file": ca.ca_file, "send_buffer_size": 4608, "receive_buffer_size": 4096},
        )  # fmt: skip
    assert log.frames == [data]
    assert (log.metadata.bytes_sent, log.metadata.bytes_received) == (len(data), len(data))


def test_one_record_with_many_frames(executor: RequestExecutor, ca: Authority) -> None:
    """Decrypted bytes for which the kernel announces nothing any more."""
    lines = b"".join(b"%d\n" % i for i in range(3000))

    def script(sock):
        sock.sendall(lines)
        return sock.recv(10)

    def on_read(event):
        if event.frame.data != b"2999\n":
            event.next_is_read(LINE)
        else:
            event.next_is_write(b"done")

    with peer(tls_script(server_side(ca), script)) as server:
        log = talk(
            executor, server.url("tls"), ReadOperation(LINE), on={"READ": on_read},
            stream_context={"ca_file": ca.ca_file},
        )  # fmt: skip
    assert b"".join(log.frames) == lines and server.results == [b"done"]


def test_many_small_records(executor: RequestExecutor, ca: Authority) -> None:
    def script(sock):
        for _ in range(500):
            sock.sendall(b"0123456789" * 20)
        return sock.recv(10)

    with peer(tls_script(server_side(ca), script)) as server:
        log = talk(
            executor, server.url("tls"), ReadOperation(FixedLengthFramePicker(100_000)),
            stream_context={"ca_file": ca.ca_file}, on={"READ": lambda event: event.next_is_write(b"done")},
        )  # fmt: skip
    assert log.frames == [b"0123456789" * 10_000] and server.results == [b"done"]


# ---- our server ------------------------------------------------------------------------------------


def serve_once(executor: RequestExecutor, ca: Authority, operation, on, **settings):
    """A TLS server of ours that ends with its first client; its address comes by `log.metadata`."""
    leaf = ca.server
    settings = {"certificate": leaf.certificate, "private_key": leaf.private_key, **settings}
    logs = []

    def on_accept(event):
        logs.append(add(executor, None, operation, socket=event.client_socket, on=on, **more))
        event.socket.close()

    more = {"stream_context": settings}
    listener = add(
        executor, "tls://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), stream_context=settings,
        on={"ACCEPT": on_accept},
    )  # fmt: skip
    return listener, logs


def test_both_sides_in_one_executor(executor: RequestExecutor, ca: Authority) -> None:
    listener, logs = serve_once(
        executor,
        ca,
        ReadOperation(LINE),
        {"READ": lambda event: event.next_is_write(event.frame.data.upper())},
    )
    client = []

    def listening(event):
        port = event.metadata.local_address[1]
        client.append(
            add(executor, f"tls://127.0.0.1:{port}", line(), stream_context={"ca_file": ca.ca_file})
        )

    executor.with_event_handler(
        {EventType.CONNECTED: lambda event: event.socket.is_server and listening(event)}
    )
    executor.execute_request()
    assert client[0].frames == [b"HELLO\n"]
    assert logs[0].names == [*USUAL, "READ", "WRITE", *END]
    assert logs[0].metadata.tls.version == "TLSv1.3"
    assert logs[0].metadata.address.startswith("tls://127.0.0.1:")
    assert listener.names == [*USUAL, "ACCEPT", *END]


def test_an_adopted_socket_may_be_for_tls(executor: RequestExecutor, ca: Authority) -> None:
    with peer(tls_script(server_side(ca), echo_line)) as server:
        sock = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        client = ClientSocket.from_socket(sock)
        log = talk(executor, server.url("tls"), line(), socket=client, stream_context={"ca_file": ca.ca_file})
    assert log.frames == [b"hello\n"] and log.metadata.tls is not None


def test_a_socketpair_has_no_tls(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        log = talk(executor, None, WriteOperation(b"x"), socket=client)
    assert log.metadata.tls is None


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
    with peer(tls_script(server_side(ca), script)) as server:
        log = talk(
            executor, server.url("tls", "localhost"), WriteOperation(iter(chunks), then=head),
            on={"READ": read}, stream_context={"ca_file": ca.ca_file},
        )  # fmt: skip
    assert log.frames == [b"length: 51200\r\n\r\n", body]
    assert server.results == [b"".join(chunks)]
    assert log.metadata.bytes_sent == 81920
