"""As test_early_answers.py, within TLS; and a refusal by TLS itself is told as the reason."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from evsockets import (
    DisconnectedError,
    FixedLengthFramePicker,
    NetworkSocketError,
    Operation,
    ReadOperation,
    ReadWriteOperation,
    RequestExecutor,
    StreamContext,
    TlsHandshakeError,
    WriteOperation,
)
from support.certificates import Authority
from support.life import END, USUAL
from support.machine import until
from support.service import LINE
from support.tls import VERSIONS, Far, contexts
from support.wire import Log, peer, quietly, read_exactly, reset, talk, tls_script

ANSWER = b"HTTP/1.1 413 Content Too Large\r\n"
BIG = 8_000_000


def operations(data: Callable[[], Any]) -> dict[str, Callable[[], Operation]]:
    def read() -> Operation:
        return ReadOperation(LINE)

    return {
        "write then read": lambda: WriteOperation(data(), then=read()),
        "both directions": lambda: ReadWriteOperation(True, [read(), WriteOperation(data())]),
        "writing first": lambda: ReadWriteOperation(False, [WriteOperation(data()), read()]),
        "write alone": lambda: WriteOperation(data()),
    }


LARGE = operations(lambda: bytes(BIG))
ITERABLE = operations(lambda: [bytes(10_000)] * 800)
READING = ["write then read", "both directions", "writing first"]


def settings(ca: Authority) -> StreamContext:
    return StreamContext(ca_file=ca.ca_file, server_hostname="localhost")


def server_side(ca: Authority, version: str, client_certificates: bool = False) -> ssl.SSLContext:
    settings = {"verify": True, "ca_file": ca.ca_file} if client_certificates else {}
    return contexts(ca, version, **settings)[1]


def no_delay(sock: socket.socket) -> None:
    """What is sent shall have left when the connection is reset."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def answering(context: ssl.SSLContext, answer: bytes) -> Callable[[socket.socket], object]:
    """A peer that reads a little, answers and resets."""

    def script(sock: ssl.SSLSocket) -> None:
        no_delay(sock)
        read_exactly(sock, 1000)
        sock.sendall(answer)
        reset(socket.socket(fileno=sock.detach()))

    return quietly(tls_script(context, script))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("form", ["bytes", "iterable"])
@pytest.mark.parametrize("how", READING)
def test_an_answer_in_the_midst_of_a_large_write(
    executor: RequestExecutor, ca: Authority, version: str, how: str, form: str
) -> None:
    operation = (LARGE if form == "bytes" else ITERABLE)[how]()
    with peer(answering(server_side(ca, version), ANSWER)) as server:
        log = talk(executor, server.url("tls"), operation, stream_context=settings(ca))
    assert log.frames == [ANSWER]
    assert how == "both directions" or isinstance(log.error, DisconnectedError)
    assert log.names[-2:] == END


@pytest.mark.parametrize(
    ("size", "how"), [*(("large", how) for how in LARGE), *(("small", how) for how in READING)]
)
def test_a_refused_client_certificate(executor: RequestExecutor, ca: Authority, size: str, how: str) -> None:
    """With TLS 1.3 the client is done before the server looks at its certificate: the write meets that."""
    chosen = LARGE if size == "large" else operations(lambda: b"question\n")
    script = quietly(tls_script(server_side(ca, "TLSv1.3", client_certificates=True), lambda sock: None))
    with peer(script) as server:
        log = talk(executor, server.url("tls"), chosen[how](), stream_context=settings(ca))
    assert log.names == [*USUAL, "WRITE", "EXCEPTION", *END]
    assert refused(log)


@pytest.mark.parametrize("how", LARGE)
def test_with_tls_1_2_it_is_the_handshake_that_fails(
    executor: RequestExecutor, ca: Authority, how: str
) -> None:
    script = quietly(tls_script(server_side(ca, "TLSv1.2", client_certificates=True), lambda sock: None))
    with peer(script) as server:
        log = talk(executor, server.url("tls"), LARGE[how](), stream_context=settings(ca))
    assert isinstance(log.error, TlsHandshakeError) and "ALERT" in str(log.error)


def refused(log: Log) -> bool:
    error = log.error
    return (
        isinstance(error, NetworkSocketError)
        and isinstance(error.__cause__, ssl.SSLError)
        and "CERTIFICATE_REQUIRED" in str(error)
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("how", LARGE)
def test_an_alert_behind_data(executor: RequestExecutor, ca: Authority, version: str, how: str) -> None:
    """Data first, also where nobody reads it; then the alert, however large the write was."""

    def script(sock: socket.socket) -> None:
        no_delay(sock)
        far = Far(sock, server_side(ca, version), server_side=True)
        far.call(far.tls.do_handshake)
        far.tls.write(ANSWER)
        far.send()
        far.incoming.write(b"\x17\x03\x03\x00\x20" + bytes(32))  # a record that cannot be opened
        for _ in until(lambda: far.outgoing.pending):
            try:
                far.tls.read(65536)
            except ssl.SSLWantReadError:  # it completes one that had begun to arrive
                far.incoming.write(bytes(1000))
            except ssl.SSLError:
                break
        far.send()  # the alert bad_record_mac
        reset(sock)

    with peer(quietly(script)) as server:
        log = talk(executor, server.url("tls"), LARGE[how](), stream_context=settings(ca))
    assert log.frames == ([] if how == "write alone" else [ANSWER])
    if how != "both directions":
        assert "BAD_RECORD_MAC" in str(log.error)


def test_a_length_that_needs_several_records(executor: RequestExecutor, ca: Authority) -> None:
    answer = bytes(50_000)
    operation = WriteOperation(bytes(BIG), then=ReadOperation(FixedLengthFramePicker(len(answer))))
    with peer(answering(server_side(ca, "TLSv1.3"), answer)) as server:
        log = talk(executor, server.url("tls"), operation, stream_context=settings(ca))
    assert log.frames == [answer] and isinstance(log.error, DisconnectedError)
