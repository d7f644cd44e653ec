"""The TLS transport over real sockets: both sides ours, or one of them the standard library's."""

from __future__ import annotations

import _socket
import os
import select
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from evsockets.address import parse_address
from evsockets.configuration import StreamContext
from evsockets.engines.base import READ, WRITE
from evsockets.errors import UnsupportedOperationError
from evsockets.transports.listener import adopt
from evsockets.transports.tls import TlsTransport
from evsockets.transports.tls_context import client_context, server_context, server_name
from support.certificates import Authority

LIMIT = 60_000
VERSIONS = ["TLSv1.2", "TLSv1.3"]

Ends = tuple[TlsTransport, TlsTransport]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def sockets(stack: ExitStack, *, tiny: bool = False) -> tuple[_socket.socket, _socket.socket]:
    near, far = (adopt(end) for end in socket.socketpair())
    for sock in (near, far):
        stack.callback(sock.close)
        if tiny:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    return near, far


def contexts(
    ca: Authority, version: str | None = None, client: dict[str, Any] | None = None, **server: Any
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    scheme = "tls" if version is None else version.lower()
    address = parse_address(f"{scheme}://localhost:443")
    leaf = ca.server
    server = {"certificate": leaf.certificate, "private_key": leaf.private_key, **server}
    return (
        client_context(StreamContext(**{"ca_file": ca.ca_file, **(client or {})}), address),
        server_context(StreamContext(**server), address),
    )


def ends(
    stack: ExitStack, made: tuple[ssl.SSLContext, ssl.SSLContext], *, tiny: bool = False, **settings: Any
) -> Ends:
    near, far = sockets(stack, tiny=tiny)
    return (
        TlsTransport(near, made[0], server_side=False, server_hostname="localhost", **settings),
        TlsTransport(far, made[1], server_side=True, **settings),
    )


def shake(*transports: TlsTransport) -> None:
    """Handshake to the end; no step may wait for a direction that is ready without going on."""
    waiting = list(transports)
    for _ in range(10_000):
        for transport in list(waiting):
            if transport.handshake():
                assert transport.wants == 0
                if transport.unflushed:  # our last part, which would leave with the first bytes written
                    assert transport.flush()
                assert not transport.unflushed
                waiting.remove(transport)
            else:
                assert transport.wants in (READ, WRITE)
                assert (transport.wants == WRITE) == bool(transport.unflushed)
        if not waiting:
            return
    raise AssertionError("the handshake does not end")


def wait(transport: TlsTransport) -> None:
    poll = select.poll()
    poll.register(transport.fileno(), select.POLLIN)
    assert poll.poll(LIMIT)


def move(sender: TlsTransport, receiver: TlsTransport, data: bytes) -> bytes:
    """Send `data` and receive all of it, in one thread."""
    view, received = memoryview(data), []
    missing = len(data)
    for _ in range(1_000_000):
        if view:
            view = view[sender.send(view) :]
        elif sender.unflushed:
            sender.flush()
        part = receiver.recv()
        if part:
            assert len(part) <= 65_536
            received.append(part)
            missing -= len(part)
        assert part != b""
        if missing <= 0 and not view:
            break
    return b"".join(received)


# ---- the ordinary way


def test_round_trip(stack: ExitStack, ca: Authority, version: str) -> None:
    ours, theirs = ends(stack, contexts(ca, version))
    shake(ours, theirs)
    assert ours.recv() is None
    for size in (1, 16_384, 16_385, 500_000):
        data = os.urandom(size)
        assert move(ours, theirs, data) == data
        assert move(theirs, ours, data) == data
    assert not ours.datagram
    assert not ours.supports_urgent
    with pytest.raises(UnsupportedOperationError):
        ours.send_oob(b"x")


def test_info(stack: ExitStack, ca: Authority, version: str) -> None:
    alpn = ("h2", "http/1.1")
    ours, theirs = ends(
        stack, contexts(ca, version, {"alpn_protocols": alpn}, alpn_protocols=("x", "http/1.1"))
    )
    shake(ours, theirs)
    for end in (ours, theirs):
        info = end.info()
        assert info.version == version
        assert "_" in info.cipher or "-" in info.cipher
        assert info.alpn_protocol == "http/1.1"
    certificate = ours.info().peer_certificate
    assert certificate is not None
    assert ("DNS", "localhost") in certificate["subjectAltName"]
    assert theirs.info().peer_certificate is None


def test_tiny_socket_buffers(stack: ExitStack, ca: Authority, version: str) -> None:
    ours, theirs = ends(stack, contexts(ca, version), tiny=True)
    shake(ours, theirs)
    data = os.urandom(300_000)
    assert move(ours, theirs, data) == data
    assert move(theirs, ours, data) == data


def test_sending_stops_where_the_kernel_does(stack: ExitStack, ca: Authority, version: str) -> None:
    ours, theirs = ends(stack, contexts(ca, version))
    shake(ours, theirs)
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
        ours, theirs = ends(stack, contexts(ca, version))
        shake(ours, theirs)
        while ours.recv() is not None:
            pass
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
    near, far = sockets(stack)
    ours = TlsTransport(near, made[0], server_side=False, server_hostname="localhost")
    assert not ours.handshake()
    theirs = TlsTransport(far, made[1], server_side=True, received=far.recv(65_536))
    shake(ours, theirs)
    assert move(ours, theirs, b"after") == b"after"


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_part_of_the_hello_was_received(stack: ExitStack, ca: Authority, cut: int) -> None:
    made = contexts(ca)
    near, far = sockets(stack)
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
    near, far = sockets(stack)
    middle_near, middle_far = sockets(stack)
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
    ours, theirs = ends(stack, contexts(ca, version))
    shake(ours, theirs)
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
    ours, theirs = ends(stack, contexts(ca, version), require_close_notify=required)
    shake(ours, theirs)
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
    made = contexts(ca, version)
    near, far = sockets(stack)
    ours = TlsTransport(near, made[0], server_side=False, server_hostname="localhost")
    theirs = TlsTransport(far, made[1], server_side=True)
    shake(ours, theirs)
    while ours.recv() is not None:
        pass
    assert theirs.send(b"whole") == 5
    far.send(b"\x17\x03\x03\x10\x00half a record")
    theirs.abort()
    assert ours.recv() == b"whole"
    with pytest.raises(ssl.SSLEOFError):
        ours.recv()


def test_half_close(stack: ExitStack, ca: Authority, version: str) -> None:
    ours, theirs = ends(stack, contexts(ca, version))
    shake(ours, theirs)
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
    ours, theirs = ends(stack, contexts(ca, version))
    shake(ours, theirs)
    while ours.recv() is not None:
        pass
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
    ours, theirs = ends(stack, contexts(ca, version))
    shake(ours, theirs)
    while ours.recv() is not None:
        pass
    assert theirs.send(b"last") == 4
    assert theirs.shutdown_write()  # the TCP connection stays open: the kernel has no end to announce
    assert ours.recv() == b"last"
    assert ours.pending
    assert ours.recv() == b""
    assert not ours.pending
    assert ours.send(b"answer") == 6
    assert theirs.recv() == b"answer"


def test_shutdown_waits_for_the_kernel(stack: ExitStack, ca: Authority) -> None:
    ours, theirs = ends(stack, contexts(ca))
    shake(ours, theirs)
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


# ---- what goes wrong


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
    near, far = sockets(stack)
    ours = TlsTransport(near, made[0], server_side=False)
    shake(ours, TlsTransport(far, made[1], server_side=True))
    assert ours.info().peer_certificate == {}


@pytest.mark.parametrize("verify", [True, "optional"])
@pytest.mark.parametrize("given", [True, False])
def test_client_certificates(stack: ExitStack, ca: Authority, version: str, verify: Any, given: bool) -> None:
    leaf = ca.client
    settings = {"certificate": leaf.certificate, "private_key": leaf.private_key} if given else {}
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
    made = contexts(ca)
    near, far = sockets(stack)
    transport = TlsTransport(
        near,
        made[server_side],
        server_side=server_side,
        server_hostname=None if server_side else "localhost",
    )
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
    made = contexts(ca)
    near, far = sockets(stack)
    transport = TlsTransport(
        near,
        made[server_side],
        server_side=server_side,
        server_hostname=None if server_side else "localhost",
    )
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
    made = contexts(ca, version)
    near, far = sockets(stack)
    ours = TlsTransport(near, made[0], server_side=False, server_hostname="localhost")
    theirs = TlsTransport(far, made[1], server_side=True)
    shake(ours, theirs)
    while ours.recv() is not None:
        pass
    assert theirs.send(b"good") == 4
    far.send(b"this is no record at all")
    # What came before the damage is delivered, then the damage is told, every time.
    assert ours.recv() == b"good"
    assert ours.pending
    for _ in range(2):
        with pytest.raises(ssl.SSLError):
            ours.recv()
    ours.close()


def test_a_host_name_is_needed_for_verifying_it(stack: ExitStack, ca: Authority) -> None:
    with pytest.raises(ValueError, match="set server_hostname, or verify=False"):
        TlsTransport(sockets(stack)[0], contexts(ca)[0], server_side=False)


def test_sending_to_the_gone(stack: ExitStack, ca: Authority) -> None:
    ours, theirs = ends(stack, contexts(ca))
    shake(ours, theirs)
    theirs.abort()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        ours.send(b"x")
    assert not ours.unflushed
    ours.close()


# ---- with the standard library at the other end


@pytest.fixture
def thread() -> Iterator[Callable[[Callable[[], None]], None]]:
    threads: list[threading.Thread] = []
    failures: list[BaseException] = []

    def start(function: Callable[[], None]) -> None:
        def run() -> None:
            try:
                function()
            except BaseException as error:
                failures.append(error)

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield start
    for made in threads:
        made.join(LIMIT / 1000)
        assert not made.is_alive()
    assert not failures, failures


def blocking(transport: TlsTransport, call: Callable[[], Any]) -> Any:
    """Call until it can be done, waiting as the transport says."""
    while True:
        result = call()
        if result not in (None, False):
            return result
        poll = select.poll()
        interest = transport.wants or READ
        events = (select.POLLIN if interest & READ else 0) | (select.POLLOUT if interest & WRITE else 0)
        if transport.unflushed:
            events |= select.POLLOUT
        poll.register(transport.fileno(), events)
        assert poll.poll(LIMIT)
        if transport.unflushed:
            transport.flush()


def test_a_blocking_server(
    stack: ExitStack, ca: Authority, version: str, thread: Callable[[Callable[[], None]], None]
) -> None:
    made = contexts(ca, version)
    near, far = socket.socketpair()
    data = os.urandom(1_000_000)

    def server() -> None:
        with far, made[1].wrap_socket(far, server_side=True) as peer:
            peer.settimeout(LIMIT / 1000)
            received = b""
            while len(received) < len(data):
                received += peer.recv(65_536)
            peer.sendall(received)
            assert peer.recv(1) == b""  # our close_notify

    thread(server)
    sock = adopt(near)
    stack.callback(sock.close)
    ours = TlsTransport(sock, made[0], server_side=False, server_hostname="localhost")
    blocking(ours, ours.handshake)
    view = memoryview(data)
    while view:
        view = view[ours.send(view) :]
        blocking(ours, ours.flush)
    received = b""
    while len(received) < len(data):
        received += (ours.recv() or b"") if ours.pending else blocking(ours, ours.recv)
    assert received == data
    ours.close()


def test_a_blocking_client(
    stack: ExitStack, ca: Authority, version: str, thread: Callable[[Callable[[], None]], None]
) -> None:
    made = contexts(ca, version)
    near, far = socket.socketpair()

    def client() -> None:
        with far, made[0].wrap_socket(far, server_hostname="localhost") as peer:
            peer.settimeout(LIMIT / 1000)
            peer.sendall(b"question")
            assert peer.recv(100) == b"answer"
            peer.unwrap().close()

    thread(client)
    sock = adopt(near)
    stack.callback(sock.close)
    ours = TlsTransport(sock, made[1], server_side=True)
    blocking(ours, ours.handshake)
    assert blocking(ours, ours.recv) == b"question"
    assert ours.send(b"answer") == 6
    assert (ours.recv() if ours.pending else blocking(ours, ours.recv)) == b""
    ours.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command")
def test_key_updates_while_a_write_is_pending(
    stack: ExitStack, ca: Authority, tmp_path: Path, thread: Callable[[Callable[[], None]], None]
) -> None:
    """OpenSSL's client asks for new keys at "K": the answer goes out between our data, which all arrives."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    errors = stack.enter_context(open(tmp_path / "errors", "wb"))
    command = ["openssl", "s_client", "-tls1_3", "-CAfile", ca.ca_file, "-connect", address]
    peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
    stack.enter_context(peer)
    stack.callback(peer.kill)
    peer_in, peer_out = peer.stdin, peer.stdout
    assert peer_in is not None
    assert peer_out is not None
    sock = adopt(listener.accept()[0])
    stack.callback(sock.close)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    ours = TlsTransport(sock, contexts(ca)[1], server_side=True)
    blocking(ours, ours.handshake)
    size, rounds = 400_000, 3

    def drink() -> None:
        printed = b""
        while part := os.read(peer_out.fileno(), 65_536):
            printed += part
        assert printed.count(b"\x02") == size * rounds

    thread(drink)
    for number in range(rounds):
        view = memoryview(b"\x02" * size)
        view = view[ours.send(view) :]
        peer_in.write(b"K\n")
        peer_in.flush()
        told = asked = False
        received = b""
        while view or ours.unflushed or received != b"question\n":
            if view:
                view = view[ours.send(view) :]
            received += ours.recv() or b""
            told = told or (tmp_path / "errors").read_bytes().count(b"KEYUPDATE") > number
            if told and not asked:
                asked = True
                peer_in.write(b"question\n")
                peer_in.flush()
    ours.close()


# ---- contexts


def test_contexts_are_shared(ca: Authority, tmp_path: Path) -> None:
    leaf = ca.server
    settings = StreamContext(certificate=leaf.certificate, private_key=leaf.private_key)
    assert server_context(settings) is server_context(settings)
    assert server_context(settings) is not client_context(StreamContext(verify=False))
    copy = tmp_path / "ca.pem"
    copy.write_bytes(Path(ca.ca_file).read_bytes())
    first = client_context(StreamContext(ca_file=copy))
    assert client_context(StreamContext(ca_file=str(copy), backlog=5)) is first
    assert client_context(StreamContext(ca_file=copy, alpn_protocols=("h2",))) is not first
    pinned = client_context(StreamContext(ca_file=copy), parse_address("tlsv1.2://h:1"))
    assert pinned is not first
    assert pinned.minimum_version == pinned.maximum_version == ssl.TLSVersion.TLSv1_2
    os.utime(copy, ns=(1, 1))
    assert client_context(StreamContext(ca_file=copy)) is not first


def test_client_defaults_are_safe(ca: Authority) -> None:
    for verify in (None, True):
        context = client_context(StreamContext(ca_file=ca.ca_file, verify=verify))
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    open_to_all = client_context(StreamContext(verify=False))
    assert open_to_all.verify_mode == ssl.CERT_NONE
    assert not open_to_all.check_hostname
    assert len(client_context(StreamContext(ca_file=ca.ca_file)).get_ca_certs()) == 1
    with pytest.raises(ValueError, match="'optional' is for servers"):
        client_context(StreamContext(verify="optional"))


@pytest.mark.parametrize(
    ("verify", "mode"),
    [
        (None, ssl.CERT_NONE),
        (False, ssl.CERT_NONE),
        ("optional", ssl.CERT_OPTIONAL),
        (True, ssl.CERT_REQUIRED),
    ],
)
def test_server_verify(ca: Authority, verify: Any, mode: ssl.VerifyMode) -> None:
    leaf = ca.server
    settings = StreamContext(
        certificate=leaf.certificate, private_key=leaf.private_key, verify=verify, ca_file=ca.ca_file
    )
    assert server_context(settings).verify_mode == mode


def test_a_directory_of_authorities(ca: Authority, tmp_path: Path) -> None:
    assert client_context(StreamContext(ca_file=tmp_path)).get_ca_certs() == []


def test_a_ready_context_is_used_as_it_is(ca: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    settings = StreamContext(tls=context)
    assert client_context(settings) is context
    assert server_context(settings) is context
    pinned = parse_address("tlsv1.3://h:1")
    with pytest.raises(ValueError, match=r"asks for TLSv1\.3 only"):
        client_context(settings, pinned)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    assert client_context(settings, pinned) is context


def test_misconfiguration_names_the_file_and_the_cure(ca: Authority, tmp_path: Path) -> None:
    leaf, other = ca.server, ca.client
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    missing = str(tmp_path / "missing.pem")
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "set certificate="),
        ({"certificate": missing}, f"certificate '{missing}' cannot be read: No such file"),
        ({"certificate": leaf.certificate, "private_key": missing}, f"private_key '{missing}' cannot be"),
        ({"certificate": leaf.certificate}, "set private_key="),
        ({"certificate": leaf.certificate, "private_key": other.private_key}, "do not make a pair"),
        ({"certificate": junk}, "junk.pem"),
        (
            {"certificate": leaf.certificate, "private_key": leaf.private_key, "ca_file": missing},
            f"ca_file '{missing}' cannot be read: No such file",
        ),
        (
            {"certificate": leaf.certificate, "private_key": leaf.private_key, "ca_file": junk},
            "has no PEM certificate",
        ),
    ]
    for settings, words in cases:
        with pytest.raises(ValueError) as caught:
            server_context(StreamContext(**settings))
        assert words in str(caught.value)


def test_an_encrypted_key_is_not_asked_for_on_the_terminal(ca: Authority, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    leaf = ca.server
    key = serialization.load_pem_private_key(Path(leaf.private_key).read_bytes(), None)
    encrypted = tmp_path / "encrypted.pem"
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ValueError, match=r"encrypted.pem' is encrypted: decrypt it"):
        server_context(StreamContext(certificate=leaf.certificate, private_key=encrypted))


@pytest.mark.parametrize(
    ("text", "settings", "name"),
    [
        ("tls://example.org:1", {}, "example.org"),
        ("tls://example.org.:1", {}, "example.org"),
        ("tls://bücher.example:1", {}, "xn--bcher-kva.example"),
        ("tls://[fe80::1%eth0]:1", {}, "fe80::1"),
        ("tls://127.0.0.1:1", {}, "127.0.0.1"),
        ("tls://127.0.0.1:1", {"server_hostname": "bücher.example"}, "xn--bcher-kva.example"),
        ("unix:///x", {}, None),
        ("unix:///x", {"server_hostname": "example.org"}, "example.org"),
    ],
)
def test_server_name(text: str, settings: dict[str, Any], name: str | None) -> None:
    assert server_name(StreamContext(**settings), parse_address(text)) == name
    assert server_name(StreamContext(), None) is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_names_and_addresses_are_verified(stack: ExitStack, ca: Authority, host: str) -> None:
    made = contexts(ca)
    near, far = sockets(stack)
    ours = TlsTransport(near, made[0], server_side=False, server_hostname=host)
    shake(ours, TlsTransport(far, made[1], server_side=True))
