"""What cannot be adopted, for its bytes would not be what they seem."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from evsockets import (
    ClientSocket,
    ConnectionFailedError,
    EventType,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    TlsHandshakeOperation,
    WriteOperation,
)
from support.certificates import Authority, server_side
from support.life import FAILED
from support.machine import until
from support.wire import add, pair, peer, read_to_end, reset, talk, tls_script

Make = Callable[[ExitStack], socket.socket]


def plain(family: int, kind: int, protocol: int = 0, *, bind: Any = None, listen: bool = False) -> Make:
    def make(stack: ExitStack) -> socket.socket:
        sock = stack.enter_context(socket.socket(family, kind, protocol))
        if bind is not None:
            sock.bind(bind)
        if listen:
            sock.listen()
        return sock

    return make


def one_of_a_pair(kind: int) -> Make:
    def make(stack: ExitStack) -> socket.socket:
        near, far = socket.socketpair(socket.AF_UNIX, kind)
        stack.enter_context(far)
        return stack.enter_context(near)

    return make


def connected(kind: int) -> Make:
    def make(stack: ExitStack) -> socket.socket:
        far = plain(socket.AF_INET, kind, bind=("127.0.0.1", 0), listen=kind == socket.SOCK_STREAM)(stack)
        near = plain(socket.AF_INET, kind)(stack)
        near.connect(far.getsockname())
        return near

    return make


def in_disguise(stack: ExitStack) -> socket.socket:
    """A socket object that says stream of a datagram descriptor."""
    real = plain(socket.AF_INET, socket.SOCK_DGRAM)(stack)
    return stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=real.detach()))


LISTENING = plain(socket.AF_INET, socket.SOCK_STREAM, bind=("127.0.0.1", 0), listen=True)
UNIX_LISTENING = plain(socket.AF_UNIX, socket.SOCK_STREAM, bind="", listen=True)

NO_CLIENTS = {
    "listening": (LISTENING, "use ServerSocket.from_socket"),
    "unix-listening": (UNIX_LISTENING, "use ServerSocket.from_socket"),
    "not-connected": (plain(socket.AF_INET, socket.SOCK_STREAM), "not connected: wait for its connect"),
    "unix-not-connected": (plain(socket.AF_UNIX, socket.SOCK_STREAM), "not connected"),
    "ipv6-bound": (plain(socket.AF_INET6, socket.SOCK_STREAM, bind=("::1", 0)), "not connected"),
    "udp-not-connected": (plain(socket.AF_INET, socket.SOCK_DGRAM, bind=("127.0.0.1", 0)), "not connected"),
    "udg-not-connected": (plain(socket.AF_UNIX, socket.SOCK_DGRAM, bind=""), "not connected"),
    "in-disguise": (in_disguise, "not connected"),
}
NO_SERVERS = {
    "connected": (connected(socket.SOCK_STREAM), "connected: use ClientSocket.from_socket"),
    "one-of-a-pair": (one_of_a_pair(socket.SOCK_STREAM), "connected: use ClientSocket.from_socket"),
    "fresh": (plain(socket.AF_INET, socket.SOCK_STREAM), "call its listen"),
    "bound": (plain(socket.AF_INET6, socket.SOCK_STREAM, bind=("::1", 0)), "call its listen"),
    "unix-bound": (plain(socket.AF_UNIX, socket.SOCK_STREAM, bind=""), "call its listen"),
    "udp-connected": (connected(socket.SOCK_DGRAM), "use ClientSocket.from_socket"),
    "udg-pair": (one_of_a_pair(socket.SOCK_DGRAM), "use ClientSocket.from_socket"),
    "udp-unbound": (plain(socket.AF_INET, socket.SOCK_DGRAM), "call its bind"),
    "udg-unbound": (plain(socket.AF_UNIX, socket.SOCK_DGRAM), "call its bind"),
    "in-disguise": (in_disguise, "call its bind"),
}
NEITHER = {
    "packets": (one_of_a_pair(socket.SOCK_SEQPACKET), "type 5"),
    "packets-listening": (plain(socket.AF_UNIX, socket.SOCK_SEQPACKET, bind="", listen=True), "type 5"),
    "netlink": (plain(socket.AF_NETLINK, socket.SOCK_RAW), "family 16"),
    "netlink-datagrams": (plain(socket.AF_NETLINK, socket.SOCK_DGRAM), "family 16"),
}
CASES = [
    *(
        pytest.param(ClientSocket, *case, id=f"client-{name}")
        for name, case in (NO_CLIENTS | NEITHER).items()
    ),
    *(
        pytest.param(ServerSocket, *case, id=f"server-{name}")
        for name, case in (NO_SERVERS | NEITHER).items()
    ),
]


@pytest.mark.parametrize(("handle", "make", "cure"), CASES)
def test_the_wrong_kind(handle: Any, make: Make, cure: str) -> None:
    with ExitStack() as stack:
        sock = make(stack)
        with pytest.raises(TypeError, match=cure):
            handle.from_socket(sock)
        assert sock.fileno() >= 0  # still its owner's
        sock.getsockname()


@pytest.mark.parametrize("name", [*NO_SERVERS, *NEITHER])
def test_the_wrong_kind_of_descriptor(executor: RequestExecutor, name: str) -> None:
    make, cure = (NO_SERVERS | NEITHER)[name]
    with ExitStack() as stack:
        sock = make(stack)
        log = talk(executor, f"fd://{sock.fileno()}", ReadOperation(), socket=ServerSocket())
        assert isinstance(log.error, ConnectionFailedError) and log.names == FAILED
        assert cure in str(log.error)
        sock.getsockname()


@pytest.mark.parametrize("handle", [ClientSocket, ServerSocket])
@pytest.mark.parametrize("given", [5, None, "tcp://localhost:80", ssl.MemoryBIO()])
def test_what_is_no_socket(handle: Any, given: object) -> None:
    with pytest.raises(TypeError, match=r"from_socket\(\) takes a socket\.socket, got "):
        handle.from_socket(given)


@pytest.mark.parametrize("handle", [ClientSocket, ServerSocket])
def test_a_closed_one(handle: Any) -> None:
    sock = socket.socket()
    sock.close()
    with pytest.raises(OSError, match="closed"):
        handle.from_socket(sock)


class Wrapped:
    """Behaves like the socket inside, but for what it makes of the bytes."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.parametrize("handle", [ClientSocket, ServerSocket])
def test_what_only_behaves_like_a_socket(handle: Any) -> None:
    with ExitStack() as stack:
        sock = one_of_a_pair(socket.SOCK_STREAM)(stack)
        with pytest.raises(TypeError, match=r"takes a socket\.socket"):
            handle.from_socket(Wrapped(sock))
        assert sock.fileno() >= 0


# ---- TLS ---------------------------------------------------------------------------------------------


def is_refused(tls: Any) -> None:
    """`tls` is the module whose sockets are meant: ssl, or gevent's."""
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    ours, theirs = socket.socketpair()
    with theirs:
        with context.wrap_socket(ours, do_handshake_on_connect=False) as wrapped:
            with pytest.raises(TypeError, match="TlsHandshakeOperation"):
                ClientSocket.from_socket(wrapped)
            assert wrapped.fileno() >= 0
        assert read_to_end(theirs) == b""
    context = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
    listener = socket.create_server(("127.0.0.1", 0))
    with context.wrap_socket(listener, server_side=True) as wrapped:
        with pytest.raises(TypeError, match="tls://"):
            ServerSocket.from_socket(wrapped)


def test_a_tls_socket_is_never_written_to_in_plain_text() -> None:
    is_refused(ssl)


def test_gevents_tls_socket(gevent_is_tested: None) -> None:
    import gevent.ssl

    is_refused(gevent.ssl)


def test_gevents_plain_socket_can_be_adopted(executor: RequestExecutor, gevent_is_tested: None) -> None:
    import gevent.socket

    with peer(read_to_end) as server:
        sock = gevent.socket.create_connection(("127.0.0.1", server.port))
        talk(executor, None, WriteOperation(b"x"), socket=ClientSocket.from_socket(sock))
    assert server.results == [b"x"]


def test_a_tls_object() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with pytest.raises(TypeError, match="TlsHandshakeOperation"):
        ClientSocket.from_socket(context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO()))  # type: ignore[arg-type]


def test_the_cure_is_one(executor: RequestExecutor, ca: Authority) -> None:
    with peer(tls_script(server_side(ca), read_to_end)) as server:
        sock = socket.create_connection(("127.0.0.1", server.port))
        log = talk(
            executor,
            None,
            TlsHandshakeOperation(WriteOperation(b"secret"), server_hostname="localhost"),
            socket=ClientSocket.from_socket(sock),
            stream_context={"ca_file": ca.ca_file},
        )
    assert server.results == [b"secret"] and log.errors == []


# ---- an address that says something else -------------------------------------------------------------


@pytest.mark.parametrize("address", ["tls://localhost:1", "tcp://127.0.0.1:1", "unix:///x"])
def test_datagrams_with_a_streams_address(executor: RequestExecutor, address: str) -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    far.settimeout(0)
    client = ClientSocket.from_socket(near)
    with far:
        with pytest.raises(TypeError, match="carries datagrams"):
            executor.socket_bag.add_socket(client, WriteOperation(b"secret"), address=address)
        assert client not in executor.socket_bag

        def late(event: Any) -> None:
            with pytest.raises(TypeError, match="carries datagrams"):
                event.metadata.address = address
            event.cancel_operation()

        add(executor, None, WriteOperation(b"secret"), socket=client, on={"INITIALIZE": late})
        executor.execute_request()
        with pytest.raises(BlockingIOError):
            far.recv(100)


def test_a_stream_with_an_address_of_datagrams(executor: RequestExecutor) -> None:
    client, theirs = pair()
    with theirs:
        with pytest.raises(TypeError, match="carries a stream"):
            executor.socket_bag.add_socket(client, ReadOperation(), address="udp://127.0.0.1:1")
        client.close()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = ServerSocket.from_socket(listener)
        with pytest.raises(TypeError, match="carries a stream"):
            executor.socket_bag.add_socket(server, ReadOperation(), address="udp://127.0.0.1:0")
        server.close()


# ---- a peer that has gone is no mistake of the program's ---------------------------------------------


def test_a_connection_that_was_reset_meanwhile(executor: RequestExecutor) -> None:
    """Whoever hands over accepted connections must not meet a TypeError by what a peer does."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        near = stack.enter_context(socket.create_connection(listener.getsockname()))
        far, _ = listener.accept()
        reset(far)
        for _ in until(what="the reset, which is under way"):
            try:
                near.getpeername()
            except OSError:
                break
        log = talk(executor, None, ReadOperation(), socket=ClientSocket.from_socket(near))
    assert isinstance(log.error, ConnectionFailedError)
    assert log.events[-1].type is EventType.FINALIZE
