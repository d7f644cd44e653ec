"""TLS that begins in the middle of a connection."""

from __future__ import annotations

import socket
import ssl

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
from support.life import END, USUAL
from support.service import LINE
from support.wire import add, pair, peer, quietly, read_exactly, read_to_end, reset, talk


def upgrading(ca: Authority, answer: bytes = b"go\n"):
    """A peer that upgrades when told to, and echoes one line."""

    def script(sock):
        assert read_exactly(sock, 9) == b"STARTTLS\n"
        sock.sendall(answer)
        with server_side(ca).wrap_socket(sock, server_side=True) as wrapped:
            wrapped.sendall(wrapped.recv(100))
            return wrapped.recv(100)

    return script


def then_tls(handshake: TlsHandshakeOperation):
    """READ handler: the answer to STARTTLS, then the handshake."""

    def on_read(event):
        if event.frame.data == b"go\n":
            event.next_is(handshake)

    return {"READ": on_read}


STARTTLS = WriteOperation(b"STARTTLS\n", then=ReadOperation(LINE))
HELLO = WriteOperation(b"hello\n", then=ReadOperation(LINE))


@pytest.mark.parametrize("how", ["stream context", "own context"])
def test_a_client(executor: RequestExecutor, ca: Authority, how: str) -> None:
    if how == "stream context":
        handshake, settings = TlsHandshakeOperation(HELLO), {"ca_file": ca.ca_file}
    else:
        context = ssl.create_default_context(cafile=ca.ca_file)
        handshake = TlsHandshakeOperation(HELLO, context=context, server_hostname="localhost")
        settings = {}
    with peer(upgrading(ca)) as server:
        log = talk(executor, server.url(), STARTTLS, on=then_tls(handshake), stream_context=settings)
    assert log.frames == [b"go\n", b"hello\n"]
    assert log.names == [*USUAL, "WRITE", "READ", "WRITE", "READ", *END]
    assert log.metadata.tls.version == "TLSv1.3"
    assert log.metadata.bytes_received == 9 and log.metadata.bytes_sent == 15


def test_a_name_to_verify(executor: RequestExecutor, ca: Authority) -> None:
    handshake = TlsHandshakeOperation(HELLO, server_hostname="elsewhere.example.test")
    with peer(quietly(upgrading(ca))) as server:
        log = talk(
            executor, server.url(), STARTTLS, on=then_tls(handshake), stream_context={"ca_file": ca.ca_file}
        )
    assert isinstance(log.error, TlsHandshakeError) and isinstance(log.error, ConnectionFailedError)
    assert isinstance(log.error.__cause__, ssl.SSLCertVerificationError)
    assert log.names == [*USUAL, "WRITE", "READ", "EXCEPTION", *END]


def test_with_nothing_next_the_request_ends(executor: RequestExecutor, ca: Authority) -> None:
    def script(sock):
        with server_side(ca).wrap_socket(sock, server_side=True, suppress_ragged_eofs=False) as wrapped:
            return wrapped.recv(10)

    with peer(script) as server:
        log = talk(executor, server.url(), TlsHandshakeOperation(), stream_context={"ca_file": ca.ca_file})
    assert server.results == [b""]  # with our close_notify
    assert log.names == [*USUAL, *END] and log.metadata.tls is not None


def test_a_client_takes_no_injected_answers(executor: RequestExecutor, ca: Authority) -> None:
    handshake = TlsHandshakeOperation(HELLO)
    with peer(quietly(upgrading(ca, b"go\ninjected\n"))) as server:
        log = talk(
            executor, server.url(), STARTTLS, on=then_tls(handshake), stream_context={"ca_file": ca.ca_file}
        )
    assert isinstance(log.error, TlsHandshakeError)
    assert log.frames == [b"go\n"] and log.metadata.tls is None


def test_unless_it_is_told_to(executor: RequestExecutor, ca: Authority) -> None:
    handshake = TlsHandshakeOperation(ReadOperation(LINE), allow_leftover=True)

    def on_read(event):
        if event.frame.data == b"go\n":
            event.next_is(handshake)
        elif event.frame.data == b"plain\n":
            event.next_is(HELLO)

    with peer(upgrading(ca, b"go\nplain\n")) as server:
        log = talk(
            executor, server.url(), STARTTLS, on={"READ": on_read}, stream_context={"ca_file": ca.ca_file}
        )
    assert log.frames == [b"go\n", b"plain\n", b"hello\n"]


def test_twice(executor: RequestExecutor, ca: Authority) -> None:
    with peer(quietly(upgrading(ca))) as server:
        log = talk(
            executor, server.url(), STARTTLS,
            on=then_tls(TlsHandshakeOperation(TlsHandshakeOperation(HELLO))),
            stream_context={"ca_file": ca.ca_file},
        )  # fmt: skip
    assert isinstance(log.error, TlsHandshakeError)
    assert log.names == [*USUAL, "WRITE", "READ", "EXCEPTION", *END]


def test_twice_after_tls_from_the_start(executor: RequestExecutor, ca: Authority) -> None:
    def script(sock):
        with server_side(ca).wrap_socket(sock, server_side=True) as wrapped:
            return wrapped.recv(10)

    with peer(quietly(script)) as server:
        log = talk(
            executor, server.url("tls"), TlsHandshakeOperation(), stream_context={"ca_file": ca.ca_file}
        )
    assert isinstance(log.error, TlsHandshakeError)
    assert log.names == [*USUAL, "EXCEPTION", *END]


@pytest.mark.parametrize("how", ["silence", "garbage", "end", "reset"])
def test_a_peer_that_does_not_shake_hands(executor: RequestExecutor, how: str) -> None:
    def script(sock):
        if how == "garbage":
            sock.sendall(b"500 no TLS here\r\n" * 100)
        elif how == "end":
            sock.shutdown(socket.SHUT_WR)
        elif how == "reset":
            sock.recv(10)
            return reset(sock)
        return quietly(read_to_end)(sock)

    with peer(script) as server:
        more = {"io_timeout": 0.1} if how == "silence" else {}
        log = talk(executor, server.url(), TlsHandshakeOperation(), stream_context={"verify": False}, **more)
    if how == "silence":
        assert log.timeouts == [("IO", "handshaking")]
    else:
        assert isinstance(log.error, TlsHandshakeError)
    assert log.names == [*USUAL, "TIMEOUT" if how == "silence" else "EXCEPTION", *END]


def test_not_on_datagrams(executor: RequestExecutor) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        log = talk(executor, f"udp://127.0.0.1:{other.getsockname()[1]}", TlsHandshakeOperation())
    assert isinstance(log.error, TlsHandshakeError)


def test_wrong_arguments() -> None:
    for wrong in ({"next_operation": b""}, {"context": "tls"}):
        with pytest.raises(TypeError):
            TlsHandshakeOperation(**wrong)


@pytest.mark.parametrize("at_once", [False, True], ids=["patient client", "hello sent with STARTTLS"])
def test_a_server(executor: RequestExecutor, ca: Authority, at_once: bool) -> None:
    """What was received beyond STARTTLS is the beginning of the handshake."""
    settings = {"certificate": ca.server.certificate, "private_key": ca.server.private_key}
    logs = []

    def on_read(event):
        if event.frame.data == b"STARTTLS\n":
            handshake = TlsHandshakeOperation(ReadOperation(LINE))
            event.next_is_write(b"go\n", then=handshake)
        else:
            event.next_is_write(event.frame.data.upper())

    def on_accept(event):
        logs.append(
            add(
                executor,
                None,
                ReadOperation(LINE),
                socket=event.client_socket,
                on={"READ": on_read},
                stream_context=settings,
            )
        )
        event.socket.close()

    def client(port):
        context = ssl.create_default_context(cafile=ca.ca_file)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.settimeout(10)
            sock.sendall(b"STARTTLS\n" + (outgoing.read() if at_once else b""))
            assert read_exactly(sock, 3) == b"go\n"
            while True:
                try:
                    sock.sendall(outgoing.read())
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    incoming.write(sock.recv(65536))
            tls.write(b"hello\n")
            sock.sendall(outgoing.read())
            answer = b""
            while not answer:
                try:
                    answer = tls.read(100)
                except ssl.SSLWantReadError:
                    incoming.write(sock.recv(65536))
            return answer

    import threading

    answers = []
    listener = add(
        executor, "tcp://127.0.0.1:0", ReadOperation(), socket=ServerSocket(), on={"ACCEPT": on_accept}
    )
    threads = []

    def listening(event):
        if event.socket.is_server:
            port = event.metadata.local_address[1]
            threads.append(threading.Thread(target=lambda: answers.append(client(port)), daemon=True))
            threads[0].start()

    executor.with_event_handler({EventType.CONNECTED: listening})
    executor.execute_request()
    threads[0].join(20)
    assert answers == [b"HELLO\n"]
    assert logs[0].names == [*USUAL, "READ", "WRITE", "READ", "WRITE", *END]
    assert logs[0].metadata.tls.version == "TLSv1.3"
    assert listener.names == [*USUAL, "ACCEPT", *END]


def test_unsent_bytes_leave_before_the_handshake(executor: RequestExecutor, ca: Authority) -> None:
    """All that was written is in clear, however long the peer takes to read it."""
    size = 1_500_000

    def script(sock):
        assert read_exactly(sock, size) == bytes(size)
        with server_side(ca).wrap_socket(sock, server_side=True) as wrapped:
            wrapped.sendall(wrapped.recv(100))
            return wrapped.recv(100)

    operation = WriteOperation(bytes(size), then=TlsHandshakeOperation(HELLO))
    with peer(script, receive_buffer=8192) as server:
        log = talk(executor, server.url(), operation, stream_context={"ca_file": ca.ca_file})
    assert log.frames == [b"hello\n"]


def test_on_a_unix_pair_a_name_is_needed(executor: RequestExecutor, ca: Authority) -> None:
    client, theirs = pair()
    with theirs:
        log = talk(
            executor, None, TlsHandshakeOperation(), socket=client, stream_context={"ca_file": ca.ca_file}
        )
    assert isinstance(log.error, TlsHandshakeError) and "server_hostname" in str(log.error)


def test_a_failure_at_connected_is_not_one_of_the_handshake(
    executor: RequestExecutor, ca: Authority
) -> None:
    """The peer gets the last of our handshake though the first operation fails at once."""

    def script(sock):
        with server_side(ca).wrap_socket(sock, server_side=True, suppress_ragged_eofs=False) as wrapped:
            version = wrapped.version()
            try:
                wrapped.recv(1)
            except (ssl.SSLEOFError, ConnectionResetError):
                return version

    with peer(script) as server:
        log = talk(
            executor, server.url("tls"), TlsHandshakeOperation(), stream_context={"ca_file": ca.ca_file}
        )
    assert log.names == [*USUAL, "EXCEPTION", *END] and server.results[0].startswith("TLSv1")
