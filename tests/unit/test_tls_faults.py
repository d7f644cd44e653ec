"""What goes wrong with TLS transports: certificates, garbage, peers that go."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack
from typing import Any

import pytest

from evsockets.engines.base import READ
from evsockets.transports.tls import TlsTransport
from support.certificates import Authority
from support.tls import contexts, ends, joined, one_end, shake, take_tickets
from support.transports import pair


@pytest.mark.parametrize(
    ("leaf", "words"),
    [("expired", "expired"), ("wrong_host", "mismatch"), ("stranger", "unable to get local issuer")],
)
def test_certificates_are_verified(
    stack: ExitStack, ca: Authority, version: str, leaf: str, words: str
) -> None:
    made = getattr(ca, leaf)
    if isinstance(made, Authority):
        made = made.server
    ours, theirs = ends(
        stack, contexts(ca, version, certificate=made.certificate, private_key=made.private_key)
    )
    with pytest.raises(ssl.SSLCertVerificationError, match=words):
        shake(ours, theirs)
    # The alert has been sent: the other side learns why.
    with pytest.raises(ssl.SSLError, match="ALERT"):
        shake(theirs)
    ours.close()


def test_verification_can_be_turned_off(stack: ExitStack, ca: Authority, version: str) -> None:
    leaf = ca.expired
    made = contexts(
        ca, version, {"verify": False}, certificate=leaf.certificate, private_key=leaf.private_key
    )
    near, far = pair(stack)
    ours = TlsTransport(near, made[0], server_side=False)
    shake(ours, TlsTransport(far, made[1], server_side=True))
    assert ours.info().peer_certificate == {}


@pytest.mark.parametrize("verify", [True, "optional"])
@pytest.mark.parametrize("given", [True, False])
def test_client_certificates(stack: ExitStack, ca: Authority, version: str, verify: Any, given: bool) -> None:
    leaf = ca.client
    settings = leaf.settings if given else {}
    ours, theirs = ends(stack, contexts(ca, version, settings, verify=verify, ca_file=ca.ca_file))
    if verify is True and not given:
        with pytest.raises(ssl.SSLError, match="did not return a certificate"):
            shake(ours, theirs)
        # With TLS 1.3 the client was done before the server looked.
        with pytest.raises(ssl.SSLError, match="ALERT"):
            ours.recv() if version == "TLSv1.3" else shake(ours)
        return
    shake(ours, theirs)
    certificate = theirs.info().peer_certificate
    assert (certificate is not None) == given


@pytest.mark.parametrize("server_side", [True, False])
def test_garbage_instead_of_a_handshake(stack: ExitStack, ca: Authority, server_side: bool) -> None:
    transport, far = one_end(stack, ca, server_side=server_side)
    transport.handshake()
    far.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        transport.handshake()
    transport.close()


@pytest.mark.parametrize("server_side", [True, False])
@pytest.mark.parametrize("partial", [b"", b"\x16\x03\x01"])
def test_the_peer_goes_away_within_the_handshake(
    stack: ExitStack, ca: Authority, server_side: bool, partial: bytes
) -> None:
    transport, far = one_end(stack, ca, server_side=server_side)
    assert not transport.handshake()
    assert transport.wants == READ
    far.recv(65_536) if not server_side else None
    far.send(partial)
    far.close()
    with pytest.raises(ssl.SSLEOFError):
        transport.handshake()


def test_no_common_version(stack: ExitStack, ca: Authority) -> None:
    ours, theirs = ends(stack, (contexts(ca, "TLSv1.2")[0], contexts(ca, "TLSv1.3")[1]))
    with pytest.raises(ssl.SSLError):
        shake(ours, theirs)


def test_garbage_after_data(stack: ExitStack, ca: Authority, version: str) -> None:
    ours, theirs = joined(stack, contexts(ca, version))
    take_tickets(ours)
    assert theirs.send(b"good") == 4
    theirs.sock.send(b"this is no record at all")
    # What came before the damage is delivered, then the damage is told, every time.
    assert ours.recv() == b"good"
    assert ours.pending
    for _ in range(2):
        with pytest.raises(ssl.SSLError):
            ours.recv()
    ours.close()


def test_a_host_name_is_needed_for_verifying_it(stack: ExitStack, ca: Authority) -> None:
    with pytest.raises(ValueError, match="set server_hostname, or verify=False"):
        TlsTransport(pair(stack)[0], contexts(ca)[0], server_side=False)


def test_sending_to_the_gone(stack: ExitStack, ca: Authority) -> None:
    ours, theirs = joined(stack, contexts(ca))
    theirs.abort()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        ours.send(b"x")
    assert not ours.unflushed
    ours.close()


def test_a_closed_one_reaches_no_other_of_its_number(stack: ExitStack, ca: Authority) -> None:
    ours, _ = joined(stack, contexts(ca))
    number = ours.fileno()
    ours.abort()
    near, far = pair(stack)
    taken = stack.enter_context(socket.socket()) if number not in (near.fileno(), far.fileno()) else None
    assert number in (near.fileno(), far.fileno(), taken.fileno() if taken else -1)
    other = far if near.fileno() == number else near
    for call in (ours.recv, lambda: ours.send(b"x")):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call()
    if taken is None:
        with pytest.raises(BlockingIOError):
            other.recv(1)
