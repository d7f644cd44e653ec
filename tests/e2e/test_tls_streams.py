"""TLS on both sides of a connection: settings, handshakes, much data."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest

from evsockets import (
    WRITE,
    ClientSocket,
    ConnectionFailedError,
    FixedLengthFramePicker,
    MarkerFramePicker,
    Operation,
    ReadOperation,
    RequestExecutor,
    TlsHandshakeError,
    UnsupportedOperationError,
    WriteOperation,
)
from support.certificates import Authority, server_side
from support.life import END, FAILED, USUAL
from support.service import LINE, Serve
from support.wire import (
    PATIENCE,
    Log,
    Secure,
    pair,
    peer,
    quietly,
    read_exactly,
    read_to_end,
    talk,
    tls_script,
)

ASK = WriteOperation(b"hello\n", then=ReadOperation(LINE))


def echo_line(sock: ssl.SSLSocket) -> Any:
    sock.sendall(sock.recv(100))
    return sock.version()


# ---- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "version"),
    [("tls", "TLSv1.3"), ("ssl", "TLSv1.3"), ("tlsv1.2", "TLSv1.2"), ("tlsv1.3", "TLSv1.3")],
)
def test_a_verified_conversation(secure: Secure, scheme: str, version: str) -> None:
    log, results = secure(echo_line, ASK, scheme)
    assert log.frames == [b"hello\n"] and log.names == [*USUAL, "WRITE", "READ", *END]
    tls = log.metadata.tls
    assert [tls.version] == results == [version]
    assert tls.cipher and tls.alpn_protocol is None and tls.peer_certificate["subjectAltName"]
    assert (log.metadata.bytes_sent, log.metadata.bytes_received) == (6, 6)


def test_a_pinned_version_the_peer_does_not_speak(secure: Secure, ca: Authority) -> None:
    context = server_side(ca, maximum_version=ssl.TLSVersion.TLSv1_2)
    log, _ = secure(echo_line, ASK, "tlsv1.3", context=context, quiet=True)
    assert isinstance(log.error, TlsHandshakeError) and log.names == FAILED


@pytest.mark.parametrize("trouble", ["unknown authority", "wrong host", "expired", "system's authorities"])
def test_what_is_not_trusted(secure: Secure, ca: Authority, trouble: str) -> None:
    leaf = {"wrong host": ca.wrong_host, "expired": ca.expired}.get(trouble, ca.server)
    trust = {"unknown authority": {"ca_file": ca.stranger.ca_file}, "system's authorities": {"ca_file": None}}
    log, (met,) = secure(
        echo_line, ASK, context=server_side(ca, leaf), quiet=True, settings=trust.get(trouble, {})
    )
    error = log.error
    assert isinstance(met, OSError) and log.names == FAILED
    assert isinstance(error, TlsHandshakeError) and isinstance(error, ConnectionFailedError)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
    assert "certificate" in str(error) and log.metadata.address in str(error)


@pytest.mark.parametrize("how", ["turned off", "own context", "another name"])
def test_what_one_says_oneself_is_trusted(secure: Secure, ca: Authority, how: str) -> None:
    asked: list[str] = []
    leaf = {"turned off": ca.expired, "another name": ca.wrong_host}.get(how, ca.server)
    name = "elsewhere.example.test"
    settings: dict[str, Any] = {
        "turned off": {"verify": False, "ca_file": None}, "another name": {"server_hostname": name},
        "own context": {"tls": ssl.create_default_context(cafile=ca.ca_file)},
    }[how]  # fmt: skip
    context = server_side(ca, leaf, sni_callback=lambda sock, name, context: asked.append(name))
    log, _ = secure(echo_line, ASK, context=context, settings=settings)
    assert log.frames == [b"hello\n"] and asked == [name if how == "another name" else None]


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [(("h2", "http/1.1"), "h2"), (("http/1.1",), "http/1.1"), (("smtp",), None), ((), None)],
)
def test_alpn(secure: Secure, ca: Authority, offered: tuple[str, ...], agreed: str | None) -> None:
    context = server_side(ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    log, _ = secure(echo_line, ASK, context=context, settings={"alpn_protocols": offered})
    assert log.metadata.tls.alpn_protocol == agreed


@pytest.mark.parametrize("version", ["tlsv1.2", "tlsv1.3"])
@pytest.mark.parametrize("given", [True, False])
def test_client_certificates(secure: Secure, ca: Authority, given: bool, version: str) -> None:
    context = server_side(ca, verify_mode=ssl.CERT_REQUIRED)
    context.load_verify_locations(ca.ca_file)
    log, (shown,) = secure(
        lambda sock: echo_line(sock) and sock.getpeercert(), ASK, version, context=context, quiet=True,
        settings=ca.client.settings if given else {},
    )  # fmt: skip
    if given:
        assert log.frames == [b"hello\n"] and shown["subjectAltName"]
    else:
        assert log.frames == [] and len(log.errors) == 1  # in TLS 1.3 told after the handshake


def test_files_that_cannot_be_used_are_named(secure: Secure) -> None:
    log, _ = secure(echo_line, ASK, quiet=True, settings={"ca_file": "/does/not/exist.pem"})
    assert "/does/not/exist.pem" in str(log.error) and log.names == FAILED


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20, b"\x00" * 1000, b""])
def test_no_tls_behind_the_address(secure: Secure, said: bytes) -> None:
    def script(sock: socket.socket) -> object:
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        return quietly(read_to_end)(sock)

    log, _ = secure(script, ASK, wrapped=False)
    assert isinstance(log.error, TlsHandshakeError) and log.names == FAILED


def test_a_peer_that_says_nothing_meets_the_connection_timeout(secure: Secure) -> None:
    log, _ = secure(read_to_end, ASK, wrapped=False, connection_timeout=0.1)
    assert log.timeouts == [("CONNECTION", "handshaking")]
    assert log.names == ["INITIALIZE", "TIMEOUT", "FINALIZE"]


def test_out_of_band_data_is_not_for_tls(secure: Secure) -> None:
    log, _ = secure(echo_line, WriteOperation(b"!", out_of_band=True), quiet=True)
    assert isinstance(log.error, UnsupportedOperationError)


# ---- much data -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["tlsv1.2", "tlsv1.3"])
def test_much_data_through_tiny_buffers(secure: Secure, scheme: str) -> None:
    data = bytes(range(256)) * 4000

    def script(sock: ssl.SSLSocket) -> None:
        sock.sendall(read_exactly(sock, len(data)))

    log, _ = secure(
        script, WriteOperation(data, then=ReadOperation(FixedLengthFramePicker(len(data)))), scheme,
        receive_buffer=8192, settings={"send_buffer_size": 4608, "receive_buffer_size": 4096},
    )  # fmt: skip
    assert log.frames == [data]
    assert (log.metadata.bytes_sent, log.metadata.bytes_received) == (len(data), len(data))


def test_one_record_with_many_frames(secure: Secure) -> None:
    """Decrypted bytes for which the kernel announces nothing any more."""
    lines = b"".join(b"%d\n" % number for number in range(3000))

    def script(sock: ssl.SSLSocket) -> bytes:
        sock.sendall(lines)
        return sock.recv(10)

    def read(event: Any) -> None:
        event.next_is_read(LINE) if event.frame.data != b"2999\n" else event.next_is_write(b"done")

    log, results = secure(script, ReadOperation(LINE), on={"READ": read})
    assert b"".join(log.frames) == lines and results == [b"done"]


def test_many_small_records(secure: Secure) -> None:
    def script(sock: ssl.SSLSocket) -> bytes:
        for _ in range(500):
            sock.sendall(b"0123456789" * 20)
        return sock.recv(10)

    on = {"READ": lambda event: event.next_is_write(b"done")}
    log, results = secure(script, ReadOperation(FixedLengthFramePicker(100_000)), on=on)
    assert log.frames == [b"0123456789" * 10_000] and results == [b"done"]


def test_a_large_upload_then_header_and_body_over_tls(secure: Secure) -> None:
    chunks = [bytes([number]) * 8192 for number in range(10)]
    head, body = b"length: 51200\r\n\r\n", bytes(range(256)) * 200

    def script(sock: ssl.SSLSocket) -> bytes:
        sent = read_exactly(sock, 81920)
        sock.sendall(head + body)
        return sent

    def read(event: Any) -> None:
        if event.frame.data == head:
            event.next_is_read(FixedLengthFramePicker(51200))

    first = WriteOperation(iter(chunks), then=ReadOperation(MarkerFramePicker(None, b"\r\n\r\n")))
    log, results = secure(script, first, host="localhost", on={"READ": read})
    assert log.frames == [head, body] and results == [b"".join(chunks)]
    assert log.metadata.bytes_sent == 81920


# ---- our server, and adopted sockets ---------------------------------------------------------------


def test_both_sides_in_one_executor(server: Serve, ca: Authority) -> None:
    service = server(
        "tls://127.0.0.1:0", asks=[ASK], asking={"stream_context": {"ca_file": ca.ca_file}}, host="127.0.0.1",
        stream_context=ca.server.settings,
        handler={"READ": lambda event: event.next_is_write(event.frame.data.upper())},
    ).execute()  # fmt: skip
    assert service.asked[0].frames == [b"HELLO\n"]
    assert service.talking.names == [*USUAL, "READ", "WRITE", *END]
    metadata = service.talking.events[-1].metadata
    assert metadata.tls.version == "TLSv1.3" and metadata.address.startswith("tls://127.0.0.1:")
    assert service.listening.names == [*USUAL, "ACCEPT", *END]


def test_an_adopted_socket_may_be_for_tls(executor: RequestExecutor, ca: Authority) -> None:
    with peer(tls_script(server_side(ca), echo_line)) as other:
        client = ClientSocket.from_socket(socket.create_connection(other.name, PATIENCE))
        trust = {"ca_file": ca.ca_file}
        log: Log = talk(executor, other.url("tls"), ASK, socket=client, stream_context=trust)
    assert log.frames == [b"hello\n"] and log.metadata.tls is not None


def test_a_socketpair_has_no_tls(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        assert talk(executor, None, WriteOperation(b"x"), socket=client).metadata.tls is None


class SendAll(Operation):
    """Sends `size` bytes, and is done when `channel.send` has taken them."""

    interest = WRITE

    def __init__(self, size: int) -> None:
        self.missing = size

    def start(self, channel: Any) -> Operation | None:
        return self.step(channel, WRITE)

    def step(self, channel: Any, mask: int) -> Operation | None:
        while self.missing:
            taken = channel.send(bytes(min(self.missing, 100_000)))
            if not taken:
                return self
            self.missing -= taken
        return None


@pytest.mark.parametrize("scheme", ["tcp", "tls"])
def test_what_send_took_arrives(server: Serve, ca: Authority, scheme: str) -> None:
    """Also what TLS has taken and the kernel not yet: the end waits for it."""
    size = 2_000_000
    service = server(
        f"{scheme}://127.0.0.1:0", first=ReadOperation, handler={"READ": lambda event: event.next_is_read()},
        asks=[SendAll(size)], host="localhost",
        asking={"stream_context": {"ca_file": ca.ca_file, "send_buffer_size": 8192}},
        stream_context={"receive_buffer_size": 4096, **ca.server.settings},
    ).execute()  # fmt: skip
    (asked,) = service.asked
    assert sum(map(len, service.talking.frames)) == size == asked.metadata.bytes_sent
    assert service.talking.errors == []
