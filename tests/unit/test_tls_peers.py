"""TLS transports with the standard library or OpenSSL's command at the other end."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from evsockets.engines.base import READ, WRITE
from evsockets.transports.adopted import adopt
from evsockets.transports.tls import TlsTransport
from support.certificates import Authority
from support.servers import need
from support.tls import contexts
from support.transports import LIMIT


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


def test_key_updates_while_a_write_is_pending(
    stack: ExitStack, ca: Authority, tmp_path: Path, thread: Callable[[Callable[[], None]], None]
) -> None:
    """OpenSSL's client asks for new keys at "K": the answer goes out between our data, which all arrives."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    errors = stack.enter_context(open(tmp_path / "errors", "wb"))
    command = [need("openssl"), "s_client", "-tls1_3", "-CAfile", ca.ca_file, "-connect", address]
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
