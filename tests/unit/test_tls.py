"""The TLS transport over real sockets, both ends ours: data, and how it ends."""

from __future__ import annotations

import _socket
import os
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from evsockets.engines.base import WRITE
from evsockets.errors import UnsupportedOperationError
from evsockets.transports.tls import TlsTransport
from support.certificates import Authority
from support.tls import VERSIONS, contexts, joined, move, shake, take_tickets
from support.transports import pair, wait

# ---- the ordinary way


def test_round_trip(stack: ExitStack, ca: Authority, version: str) -> None:
    ours, theirs = joined(stack, contexts(ca, version))
    assert ours.recv() is None
    for size in (1, 16_384, 16_385, 500_000):
        data = os.urandom(size)
        assert move(ours, theirs, data) == data
        assert move(theirs, ours, data) == data
    assert not ours.datagram
    assert not ours.supports_out_of_band
    with pytest.raises(UnsupportedOperationError):
        ours.send_out_of_band(b"x")


def test_info(stack: ExitStack, ca: Authority, version: str) -> None:
    alpn = ("h2", "http/1.1")
    ours, theirs = joined(
        stack, contexts(ca, version, {"alpn_protocols": alpn}, alpn_protocols=("x", "http/1.1"))
    )
    for end in (ours, theirs):
        info = end.info()
        assert info.version == version
        assert "_" in info.cipher or "-" in info.cipher
        assert info.alpn_protocol == "http/1.1"
    certificate = ours.info().peer_certificate
    assert certificate is not None
    assert ("DNS", "localhost") in certificate["subjectAltName"]
    assert theirs.info().peer_certificate is theirs.info().peer_certificate_der is None
    data = ours.info().peer_certificate_der
    assert data is not None
    assert Path(ca.server.certificate).read_text().startswith(ssl.DER_cert_to_PEM_cert(data))


def test_certificates_of_one_peer_are_told_apart(stack: ExitStack, ca: Authority, version: str) -> None:
    """The decoded certificate is remembered: each connection has its own, what was not verified has none."""
    infos = []
    for verify in (True, True, False):
        ours, _ = joined(stack, contexts(ca, version, {"verify": verify}))
        infos.append(ours.info())
    first, second, unverified = (info.peer_certificate for info in infos)
    assert first and first == second and first is not second
    assert unverified == {} and infos[2].peer_certificate_der == infos[0].peer_certificate_der
    first.clear()
    assert second and "subjectAltName" in second
    ours, _ = joined(stack, contexts(ca, version))
    assert ours.info().peer_certificate == second


def test_threads_at_the_same_time(ca: Authority, version: str) -> None:
    """While one thread decrypts others run, which must not get into its bytes."""
    made = contexts(ca, version)

    def carry(byte: int) -> bytes:
        data = bytes([byte]) * 3_000_000
        with ExitStack() as stack:
            ours, theirs = joined(stack, made)
            return move(theirs, ours, data)

    with ThreadPoolExecutor(8) as threads:
        for byte, received in enumerate(threads.map(carry, range(16))):
            assert received == bytes([byte]) * 3_000_000


def test_tiny_socket_buffers(stack: ExitStack, ca: Authority, version: str) -> None:
    ours, theirs = joined(stack, contexts(ca, version), tiny=True)
    data = os.urandom(300_000)
    assert move(ours, theirs, data) == data
    assert move(theirs, ours, data) == data


def test_sending_stops_where_the_kernel_does(stack: ExitStack, ca: Authority, version: str) -> None:
    ours, theirs = joined(stack, contexts(ca, version))
    view = memoryview(bytes(50_000_000))
    total = 0
    while taken := ours.send(view[total:]):
        total += taken
    # What TLS has swallowed but the kernel has not is bounded, and is told.
    assert 0 < ours.unflushed < 400_000
    assert not ours.flush()
    assert ours.send(b"x") == 0
    received = 0
    while received < total:
        part = theirs.recv()
        received += len(part or b"")
        if ours.unflushed:
            ours.flush()
    assert not ours.unflushed
    assert theirs.recv() is None


@hypothesis_settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=12), version=st.sampled_from(VERSIONS))
def test_many_records_are_joined_and_pending_tells_the_truth(
    ca: Authority, sizes: list[int], version: str
) -> None:
    with ExitStack() as stack:
        ours, theirs = joined(stack, contexts(ca, version))
        take_tickets(ours)
        sent = b""
        for number, size in enumerate(sizes):
            data = bytes([number]) * size
            if theirs.send(data) != size or theirs.unflushed:
                break
            sent += data
        received = b""
        while len(received) < len(sent):
            if not ours.pending:
                wait(ours)
            part = ours.recv()
            assert part is not None or not ours.pending
            received += part or b""
        assert received[: len(sent)] == sent  # a part of the one that did not fit may have come, too


# ---- STARTTLS and other bytes that came before


def test_received_bytes_begin_the_handshake(stack: ExitStack, ca: Authority, version: str) -> None:
    made = contexts(ca, version)
    near, far = pair(stack)
    ours = TlsTransport(near, made[0], server_side=False, server_hostname="localhost")
    assert not ours.handshake()
    theirs = TlsTransport(far, made[1], server_side=True, received=far.recv(65_536))
    shake(ours, theirs)
    assert move(ours, theirs, b"after") == b"after"


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_part_of_the_hello_was_received(stack: ExitStack, ca: Authority, cut: int) -> None:
    made = contexts(ca)
    near, far = pair(stack)
    ours = TlsTransport(near, made[0], server_side=False, server_hostname="localhost")
    assert not ours.handshake()
    hello = far.recv(cut)
    theirs = TlsTransport(far, made[1], server_side=True, received=hello)
    shake(ours, theirs)
    assert move(ours, theirs, b"after") == b"after"


def test_data_on_the_heels_of_the_handshake_is_not_lost(
    stack: ExitStack, ca: Authority, version: str
) -> None:
    made = contexts(ca, version)
    near, far = pair(stack)
    middle_near, middle_far = pair(stack)
    ours = TlsTransport(near, made[0], server_side=False, server_hostname="localhost")
    theirs = TlsTransport(middle_far, made[1], server_side=True)

    def carry(source: _socket.socket, target: _socket.socket) -> None:
        try:
            target.send(source.recv(65_536))
        except BlockingIOError:
            pass

    client_done = server_done = False
    for _ in range(10):
        if not client_done and ours.handshake():
            # With TLS 1.3 the last flight and the first data arrive in one piece.
            client_done = ours.send(b"early") == 5
        carry(far, middle_near)
        server_done = server_done or (theirs.handshake() and theirs.flush())
        carry(middle_near, far)
        if client_done and server_done:
            break
    if version == "TLSv1.2":
        carry(far, middle_near)
    else:
        assert theirs.pending
    assert theirs.recv() == b"early"
    assert not theirs.pending


# ---- the end


def test_close_sends_a_close_notify(stack: ExitStack, ca: Authority, version: str) -> None:
    ours, theirs = joined(stack, contexts(ca, version))
    assert ours.send(b"last") == 4
    ours.close()
    ours.close()
    assert ours.closed
    assert theirs.recv() == b"last"
    if not theirs.pending:
        wait(theirs)
    assert [theirs.recv(), theirs.recv()] == [b"", b""]
    assert not theirs.pending


@pytest.mark.parametrize("required", [True, False])
def test_truncation(stack: ExitStack, ca: Authority, version: str, required: bool) -> None:
    ours, theirs = joined(stack, contexts(ca, version), require_close_notify=required)
    assert ours.recv() is None  # session tickets, which unread would make a reset of the end
    assert ours.send(b"last") == 4
    ours.abort()
    assert theirs.recv() == b"last"
    if required:
        with pytest.raises(ssl.SSLEOFError):
            theirs.recv()
    else:
        assert [theirs.recv(), theirs.recv()] == [b"", b""]
    assert not theirs.pending


def test_truncation_within_a_record(stack: ExitStack, ca: Authority, version: str) -> None:
    ours, theirs = joined(stack, contexts(ca, version))
    take_tickets(ours)
    assert theirs.send(b"whole") == 5
    theirs.sock.send(b"\x17\x03\x03\x10\x00half a record")
    theirs.abort()
    assert ours.recv() == b"whole"
    with pytest.raises(ssl.SSLEOFError):
        ours.recv()


def test_half_close(stack: ExitStack, ca: Authority, version: str) -> None:
    ours, theirs = joined(stack, contexts(ca, version))
    assert theirs.send(b"before") == 6
    assert ours.recv() == b"before"
    assert ours.shutdown_write()
    assert ours.shutdown_write()
    wait(theirs)
    assert theirs.recv() == b""
    data = os.urandom(100_000)
    assert move(theirs, ours, data) == data
    with pytest.raises(ssl.SSLError):
        ours.send(b"too late")
    theirs.close()
    if not ours.pending:
        wait(ours)
    assert ours.recv() == b""


def test_half_close_keeps_what_was_not_read_yet(stack: ExitStack, ca: Authority, version: str) -> None:
    ours, theirs = joined(stack, contexts(ca, version))
    take_tickets(ours)
    sent = b""
    for number in range(9):
        data = bytes([number]) * 15_000
        assert theirs.send(data) == len(data)
        sent += data
    received = ours.recv()
    assert received
    assert ours.shutdown_write()
    while len(received) < len(sent):
        if not ours.pending:
            wait(ours)
        received += ours.recv() or b""
    assert received == sent
    theirs.close()
    if not ours.pending:
        wait(ours)
    assert ours.recv() == b""


def test_the_end_in_the_same_piece_as_data_needs_no_readiness(
    stack: ExitStack, ca: Authority, version: str
) -> None:
    ours, theirs = joined(stack, contexts(ca, version))
    take_tickets(ours)
    assert theirs.send(b"last") == 4
    assert theirs.shutdown_write()  # the TCP connection stays open: the kernel has no end to announce
    assert ours.recv() == b"last"
    assert ours.pending
    assert ours.recv() == b""
    assert not ours.pending
    assert ours.send(b"answer") == 6
    assert theirs.recv() == b"answer"


def test_shutdown_waits_for_the_kernel(stack: ExitStack, ca: Authority) -> None:
    ours, theirs = joined(stack, contexts(ca))
    view = memoryview(bytes(50_000_000))
    total = 0
    while taken := ours.send(view[total:]):
        total += taken
    assert not ours.shutdown_write()
    assert ours.wants == WRITE
    received = 0
    done = False
    while (part := theirs.recv()) != b"":
        received += len(part or b"")
        done = done or ours.shutdown_write()
    assert done
    assert ours.wants == 0
    assert received == total
