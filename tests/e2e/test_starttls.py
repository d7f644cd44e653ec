"""TLS that begins in the middle of a connection."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from evsockets import (
    ConnectionFailedError,
    ReadOperation,
    RequestExecutor,
    TlsHandshakeError,
    TlsHandshakeOperation,
    WriteOperation,
)
from support.certificates import Authority, server_side
from support.life import END, USUAL
from support.service import LINE, Serve
from support.tls import Far
from support.wire import Secure, pair, quietly, read_exactly, read_to_end, reset, talk

STARTTLS = WriteOperation(b"STARTTLS\n", then=ReadOperation(LINE))
HELLO = WriteOperation(b"hello\n", then=ReadOperation(LINE))


def upgrading(ca: Authority, answer: bytes = b"go\n") -> Callable[[socket.socket], object]:
    """A peer that upgrades when told to, and echoes one line."""

    def script(sock: socket.socket) -> bytes:
        assert read_exactly(sock, 9) == b"STARTTLS\n"
        sock.sendall(answer)
        return echo(ca, sock)

    return script


def echo(ca: Authority, sock: socket.socket) -> bytes:
    """Shakes hands and echoes once; what comes then."""
    with server_side(ca).wrap_socket(sock, server_side=True) as wrapped:
        wrapped.sendall(wrapped.recv(100))
        return wrapped.recv(100)


def then(**operations: Any) -> dict[str, Any]:
    """Handlers: what follows when a line was read."""

    def read(event: Any) -> None:
        following = operations.get(event.frame.data.decode().strip())
        if following is not None:
            event.next_is(following)

    return {"READ": read}


@pytest.mark.parametrize("how", ["stream context", "own context"])
def test_a_client(secure: Secure, ca: Authority, how: str) -> None:
    handshake = TlsHandshakeOperation(HELLO)
    if how == "own context":
        context = ssl.create_default_context(cafile=ca.ca_file)
        handshake = TlsHandshakeOperation(HELLO, context=context, server_hostname="localhost")
    settings = {} if how == "stream context" else {"ca_file": None}
    log, _ = secure(upgrading(ca), STARTTLS, "tcp", wrapped=False, on=then(go=handshake), settings=settings)
    assert log.frames == [b"go\n", b"hello\n"]
    assert log.names == [*USUAL, "WRITE", "READ", "WRITE", "READ", *END]
    assert log.metadata.tls.version == "TLSv1.3"
    assert log.metadata.bytes_received == 9 and log.metadata.bytes_sent == 15


@pytest.mark.parametrize(("answer", "handshake", "cause"), [
    (b"go\n", TlsHandshakeOperation(HELLO, server_hostname="elsewhere.test"), ssl.SSLCertVerificationError),
    (b"go\ninjected\n", TlsHandshakeOperation(HELLO), None),
    (b"go\n", TlsHandshakeOperation(TlsHandshakeOperation(HELLO)), None),
], ids=["another name", "injected answer", "twice"])  # fmt: skip
def test_what_a_client_does_not_take(
    secure: Secure, ca: Authority, answer: bytes, handshake: Any, cause: Any
) -> None:
    log, _ = secure(upgrading(ca, answer), STARTTLS, "tcp", wrapped=False, quiet=True, on=then(go=handshake))
    assert isinstance(log.error, TlsHandshakeError) and isinstance(log.error, ConnectionFailedError)
    assert cause is None or isinstance(log.error.__cause__, cause)
    assert log.names == [*USUAL, "WRITE", "READ", "EXCEPTION", *END]
    assert log.frames == [b"go\n"]
    if b"injected" in answer:
        assert log.metadata.tls is None


def test_injected_answers_are_taken_when_told_to(secure: Secure, ca: Authority) -> None:
    handshake = TlsHandshakeOperation(ReadOperation(LINE), allow_leftover=True)
    on = then(go=handshake, plain=HELLO)
    log, _ = secure(upgrading(ca, b"go\nplain\n"), STARTTLS, "tcp", wrapped=False, on=on)
    assert log.frames == [b"go\n", b"plain\n", b"hello\n"]


def test_with_nothing_next_the_request_ends(secure: Secure) -> None:
    log, results = secure(lambda sock: sock.recv(10), TlsHandshakeOperation(), "tcp")
    assert results == [b""]  # with our close_notify
    assert log.names == [*USUAL, *END] and log.metadata.tls is not None


def test_twice_after_tls_from_the_start(secure: Secure) -> None:
    """And the peer gets the last of our handshake though the first operation fails at once."""

    def script(sock: ssl.SSLSocket) -> str | None:
        version = sock.version()
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            sock.recv(1)
        return version

    log, (version,) = secure(script, TlsHandshakeOperation())
    assert isinstance(log.error, TlsHandshakeError) and log.names == [*USUAL, "EXCEPTION", *END]
    assert version.startswith("TLSv1")


@pytest.mark.parametrize("how", ["silence", "garbage", "end", "reset"])
def test_a_peer_that_does_not_shake_hands(secure: Secure, how: str) -> None:
    def script(sock: socket.socket) -> object:
        if how == "garbage":
            sock.sendall(b"500 no TLS here\r\n" * 100)
        elif how == "end":
            sock.shutdown(socket.SHUT_WR)
        elif how == "reset":
            sock.recv(10)
            return reset(sock)
        return quietly(read_to_end)(sock)

    more = {"io_timeout": 0.1} if how == "silence" else {}
    log, _ = secure(script, TlsHandshakeOperation(), "tcp", wrapped=False, **more)
    assert log.names == [*USUAL, "TIMEOUT" if how == "silence" else "EXCEPTION", *END]
    if how == "silence":
        assert log.timeouts == [("IO", "handshaking")]
    else:
        assert isinstance(log.error, TlsHandshakeError)


def test_on_a_unix_pair_a_name_is_needed(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        log = talk(executor, None, TlsHandshakeOperation(), socket=client)
    assert isinstance(log.error, TlsHandshakeError) and "server_hostname" in str(log.error)


@pytest.mark.parametrize("wrong", [{"next_operation": b""}, {"context": "tls"}])
def test_wrong_arguments(wrong: Any) -> None:
    with pytest.raises(TypeError):
        TlsHandshakeOperation(**wrong)


def asking(ca: Authority, port: int, at_once: bool) -> bytes:
    """A client that upgrades (its hello goes with STARTTLS, or after the answer); what it hears."""
    context = ssl.create_default_context(cafile=ca.ca_file)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(10)
        far = Far(sock, context, server_side=False)
        hello = far.flight()
        sock.sendall(b"STARTTLS\n" + hello * at_once)
        assert read_exactly(sock, 3) == b"go\n"
        if not at_once:
            sock.sendall(hello)
        far.call(far.tls.do_handshake)
        far.tls.write(b"hello\n")
        far.send()
        answer: bytes = far.call(lambda: far.tls.read(100))
        return answer


@pytest.mark.parametrize("at_once", [False, True], ids=["patient client", "hello sent with STARTTLS"])
def test_a_server(server: Serve, ca: Authority, at_once: bool) -> None:
    """What was received beyond STARTTLS is the beginning of the handshake."""

    def read(event: Any) -> None:
        if event.frame.data == b"STARTTLS\n":
            event.next_is_write(b"go\n", then=TlsHandshakeOperation(ReadOperation(LINE)))
        else:
            event.next_is_write(event.frame.data.upper())

    with ThreadPoolExecutor(1) as pool:
        answers: list[Any] = []
        service = server(
            handler={"READ": read}, client_metadata={"stream_context": ca.server.settings},
            started=lambda event: answers.append(pool.submit(asking, ca, service.port, at_once)),
        )  # fmt: skip
        service.execute()
        assert answers[0].result(20) == b"HELLO\n"
    assert service.talking.names == [*USUAL, "READ", "WRITE", "READ", "WRITE", *END]
    assert service.talking.events[-1].metadata.tls.version == "TLSv1.3"
    assert service.listening.names == [*USUAL, "ACCEPT", *END]


def test_unsent_bytes_leave_before_the_handshake(secure: Secure, ca: Authority) -> None:
    """All that was written is in clear, however long the peer takes to read it."""
    size = 1_500_000

    def script(sock: socket.socket) -> bytes:
        assert read_exactly(sock, size) == bytes(size)
        return echo(ca, sock)

    operation = WriteOperation(bytes(size), then=TlsHandshakeOperation(HELLO))
    log, _ = secure(script, operation, "tcp", wrapped=False, receive_buffer=8192)
    assert log.frames == [b"hello\n"]
