"""Stream servers: listening, ACCEPT, and whose affair what is."""

from __future__ import annotations

import errno
import itertools
import socket
from typing import Any

import pytest

from evsockets import (
    AcceptedSocket,
    ClientSocket,
    Configuration,
    ConnectionFailedError,
    EventMultiHandler,
    EventType,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from support.certificates import Authority
from support.clients import Recorder
from support.service import CLIENT, LINE, Peers, Service, conversation, echo
from support.wire import read_to_end

LIFE = ["INITIALIZE", "CONNECTED", "ACCEPT", "DISCONNECTED", "FINALIZE"]
CLIENT_LIFE = ["INITIALIZE", "CONNECTED", "READ", "WRITE", "DISCONNECTED", "FINALIZE"]


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET), ("[::1]", socket.AF_INET6), ("localhost", 0)]
)
def test_tcp(executor: RequestExecutor, host: str, family: int) -> None:
    with Peers() as peers:

        def started(event: Any) -> None:
            address = event.metadata.local_address
            kind = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
            peers.stream(address, b"hello\n", kind)

        def read_handler(event: Any) -> None:
            read_local.append(event.metadata.local_address)
            echo(event)

        read_local: list[Any] = []
        service = Service(
            executor, f"tcp://{host}:0", started=started, handler={EventType.READ: read_handler}
        )
        executor.execute_request()
        assert read_to_end(peers[0]) == b"hello\n"
        assert service.listening.names() == LIFE
        assert service.talking.names() == CLIENT_LIFE
        (accept,) = service.accepted
        assert accept.socket is service.server
        assert isinstance(accept.client_socket, AcceptedSocket)
        assert accept.client_socket.is_client and not accept.client_socket.is_server
        assert accept.remote_address == peers[0].getsockname()
        assert accept.frame.client_socket is accept.client_socket
        assert accept.frame.remote_address == accept.remote_address
        read = service.talking.of(EventType.READ)[0]
        assert read.frame.remote_address == accept.remote_address
        assert read.metadata.remote_address == accept.remote_address
        assert read_local == [service.local]
        port = accept.remote_address[1]
        shown = f"[{accept.remote_address[0]}]" if ":" in accept.remote_address[0] else "127.0.0.1"
        assert read.metadata.address == f"tcp://{shown}:{port}"
        assert service.server.is_server and not service.server.is_client
        # Accepted sockets leave the bag by themselves, the listener stays, complete.
        assert list(executor.socket_bag) == [service.server]
        assert service.metadata.request_complete and not service.server.is_connected
        assert service.server.fileno() == -1


def test_address_and_remote_address_are_there_from_initialize_on(executor: RequestExecutor) -> None:
    seen = []
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.INITIALIZE:
                seen.append((event.metadata.address, event.metadata.remote_address))
            elif event.type is EventType.READ:
                echo(event)

        Service(executor, started=lambda e: peers.stream(e.metadata.local_address, b"x\n"), handler=handler)
        executor.execute_request()
        name = peers[0].getsockname()
        assert seen == [(f"tcp://127.0.0.1:{name[1]}", name)]


def test_dual_stack_takes_both_families(executor: RequestExecutor) -> None:
    with Peers() as peers:

        def started(event: Any) -> None:
            port = event.metadata.local_address[1]
            peers.stream(("127.0.0.1", port), b"four\n")
            peers.stream(("::1", port), b"six\n", socket.AF_INET6)

        service = Service(
            executor, "tcp://[::]:0", clients=2, started=started, stream_context={"ipv6_only": False}
        )
        executor.execute_request()
        assert [read_to_end(peer) for peer in peers] == [b"four\n", b"six\n"]
        assert {e.remote_address[0] for e in service.accepted} == {"::ffff:127.0.0.1", "::1"}


def test_ipv6_only_refuses_ipv4(executor: RequestExecutor) -> None:
    def started(event: Any) -> None:
        with socket.socket() as peer:
            assert peer.connect_ex(("127.0.0.1", event.metadata.local_address[1])) == errno.ECONNREFUSED
        event.cancel_operation()

    service = Service(executor, "tcp://[::]:0", started=started, stream_context={"ipv6_only": True})
    executor.execute_request()
    assert service.listening.names() == ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]


def test_client_not_added_is_closed(executor: RequestExecutor) -> None:
    with Peers() as peers:
        events = Recorder()

        def handler(event: Any) -> None:
            events(event)
            if event.type is EventType.CONNECTED:
                peers.stream(event.metadata.local_address)
                peers.stream(event.metadata.local_address)
            elif event.type is EventType.ACCEPT and len(events.of(EventType.ACCEPT)) == 2:
                event.cancel_operation()  # in ACCEPT: the listener ends

        executor.socket_bag.add_socket(
            ServerSocket(), ReadOperation(), address="tcp://127.0.0.1:0", handler=handler
        )
        executor.execute_request()
        assert [read_to_end(peer) for peer in peers] == [b"", b""]
        assert events.names() == ["INITIALIZE", "CONNECTED", "ACCEPT", "ACCEPT", "DISCONNECTED", "FINALIZE"]
        assert all(not e.client_socket.is_connected for e in events.of(EventType.ACCEPT))


def test_nobody_listening_to_accept(executor: RequestExecutor) -> None:
    with Peers() as peers:
        server = ServerSocket()

        def connected(event: Any) -> None:
            client = peers.stream(event.metadata.local_address)
            executor.socket_bag.add_socket(
                ClientSocket.from_socket(client), ReadOperation(), handler={EventType.FINALIZE: ended}
            )

        def ended(event: Any) -> None:
            server.close()

        executor.socket_bag.add_socket(
            server, ReadOperation(), address="tcp://127.0.0.1:0", handler={EventType.CONNECTED: connected}
        )
        executor.execute_request()


def test_many_clients_in_one_burst(executor: RequestExecutor) -> None:
    """More than one turn accepts; each is served, in a run that also asks."""
    with Peers() as peers:

        def started(event: Any) -> None:
            for number in range(150):
                peers.stream(event.metadata.local_address, b"%d\n" % number)

        service = Service(executor, clients=150, started=started, stream_context={"backlog": 512})
        executor.execute_request()
        assert [read_to_end(peer) for peer in peers] == [b"%d\n" % number for number in range(150)]
        assert service.listening.names().count("ACCEPT") == 150


def test_a_burst_is_accepted_in_bounded_shares(executor: RequestExecutor) -> None:
    """Several a turn, and never all: another socket has its turn in between."""
    shares: list[int] = []
    busy, far = socket.socketpair()
    with Peers() as peers, far:

        def started(event: Any) -> None:
            for _ in range(300):
                peers.stream(event.metadata.local_address, b"x\n")
            far.send(b"!")

        def reading(event: Any) -> None:
            shares.append(service.listening.names().count("ACCEPT"))
            if shares[-1] < 300:
                far.send(b"!")
                event.next_is_read()

        service = Service(executor, clients=300, started=started, stream_context={"backlog": 512})
        executor.socket_bag.add_socket(
            ClientSocket.from_socket(busy), ReadOperation(), handler={EventType.READ: reading}
        )
        executor.execute_request()
    steps = [later - sooner for sooner, later in itertools.pairwise(shares)]
    assert 1 < max(steps) < 150
    assert service.listening.names().count("ACCEPT") == 300


def test_a_connection_gone_before_it_was_accepted(
    executor: RequestExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ECONNABORTED, which other systems give: nothing is told, and the next one is accepted."""
    from evsockets.transports.listener import Listener

    accept, failures = Listener.accept, [errno.ECONNABORTED, errno.EPROTO, errno.EINTR]

    def aborted(self: Any) -> Any:
        if failures:
            raise OSError(failures.pop(), "gone")
        return accept(self)

    monkeypatch.setattr(Listener, "accept", aborted)
    with Peers() as peers:
        service = Service(executor, started=lambda e: peers.stream(e.metadata.local_address, b"x\n"))
        executor.execute_request()
        assert read_to_end(peers[0]) == b"x\n"
    assert failures == [] and service.listening.names() == LIFE


def test_asks_its_own_server(executor: RequestExecutor) -> None:
    _, events = conversation(executor)
    executor.execute_request()
    assert events.names() == CLIENT
    assert events.of(EventType.READ)[0].frame.data == b"hello\n"


@pytest.mark.parametrize("operation", [WriteOperation(b"x"), None, b"x"])
def test_a_server_takes_only_a_read(executor: RequestExecutor, operation: Any) -> None:
    with pytest.raises(TypeError):
        executor.socket_bag.add_socket(ServerSocket(), operation, address="tcp://127.0.0.1:0")
    assert len(executor.socket_bag) == 0


def test_bind_failure(executor: RequestExecutor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        service = Service(executor, f"tcp://127.0.0.1:{port}")
        executor.execute_request()
    assert service.listening.names() == ["INITIALIZE", "EXCEPTION", "FINALIZE"]
    error = service.listening.exceptions()[0]
    assert isinstance(error, ConnectionFailedError)
    assert error.errno == errno.EADDRINUSE and isinstance(error.__cause__, OSError)
    assert str(port) in str(error) and error.socket is service.server
    assert service.metadata.request_complete


def test_no_address(executor: RequestExecutor) -> None:
    service = Service(executor, None)
    executor.execute_request()
    assert service.listening.names() == ["INITIALIZE", "EXCEPTION", "FINALIZE"]
    assert isinstance(service.listening.exceptions()[0], ConnectionFailedError)


def test_a_second_life(executor: RequestExecutor) -> None:
    with Peers() as peers:
        service = Service(executor, started=lambda e: peers.stream(e.metadata.local_address, b"1\n"))
        executor.execute_request()
        again = Service(
            executor, server=service.server,
            started=lambda e: peers.stream(e.metadata.local_address, b"2\n"),
        )  # fmt: skip
        executor.execute_request()
        assert [read_to_end(peer) for peer in peers] == [b"1\n", b"2\n"]
        assert again.listening.names() == LIFE


def test_reuse_port_shares_the_port(executor: RequestExecutor) -> None:
    services: list[Service] = []

    def started(event: Any) -> None:
        if len(services) == 1:
            port = event.metadata.local_address[1]
            services.append(
                Service(
                    executor, f"tcp://127.0.0.1:{port}", started=started, stream_context={"reuse_port": True}
                )
            )
        else:
            for service in services:
                service.server.close()

    services.append(Service(executor, started=started, stream_context={"reuse_port": True}))
    executor.execute_request()
    assert [s.listening.names() for s in services] == [
        ["INITIALIZE", "CONNECTED", "DISCONNECTED", "FINALIZE"]
    ] * 2


def test_timeouts_of_a_server_are_none(engine: str) -> None:
    brief = Configuration(connection_timeout=0.01, io_timeout=0.01, idle_timeout=0.01, request_timeout=0.01)
    with RequestExecutor(engine, configuration=brief) as executor:
        service = Service(executor)
        metadata = service.metadata
        assert [
            metadata.connection_timeout, metadata.io_timeout, metadata.idle_timeout, metadata.request_timeout
        ] == [None] * 4  # fmt: skip
        executor.socket_bag.remove_socket(service.server)


def test_io_timeout_counts_since_the_last_accept(executor: RequestExecutor) -> None:
    """TIMEOUT (IO, "listening"); one more attempt restarts the clock; then the listener ends."""
    told = []
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type is EventType.TIMEOUT:
                told.append((event.when.name, event.phase))
                if len(told) == 1:
                    event.enable_one_more_attempt()

        service = Service(executor, io_timeout=0.05, clients=2)
        executor.with_event_handler(handler)
        executor.execute_request()
        assert told == [("IO", "listening")] * 2
        assert service.listening.names() == [
            "INITIALIZE", "CONNECTED", "TIMEOUT", "TIMEOUT", "DISCONNECTED", "FINALIZE"
        ]  # fmt: skip
        assert not peers


def test_an_accept_restarts_the_io_timeout(executor: RequestExecutor) -> None:
    """The clock runs from the last ACCEPT, not from the start."""
    moments: list[float] = []
    with Peers() as peers:

        def handler(event: Any) -> None:
            if event.type in (EventType.ACCEPT, EventType.TIMEOUT):
                moments.append(executor.clock())
            if event.type is EventType.FINALIZE and isinstance(event.socket, ClientSocket):
                peers.stream(service.local, b"late\n")

        def started(event: Any) -> None:
            executor.socket_bag.add_socket(
                ClientSocket(), ReadOperation(), io_timeout=0.06,
                address=f"tcp://127.0.0.1:{silent.getsockname()[1]}",
            )  # fmt: skip

        with socket.create_server(("127.0.0.1", 0)) as silent:
            service = Service(executor, io_timeout=0.5, clients=2, started=started)
            executor.with_event_handler(handler)
            executor.execute_request()
    assert service.listening.names().count("TIMEOUT") == 1
    accept, timeout = moments[-2:]
    assert timeout - accept >= 0.5


@pytest.mark.parametrize("when", ["in its FINALIZE", "later"])
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "tls://127.0.0.1:0", "unix://@{}"])
def test_a_forgotten_client_lives_again_over_its_connection(
    executor: RequestExecutor, ca: Authority, address: str, when: str
) -> None:
    lives: list[Recorder] = []
    name = f"@forgotten-{id(lives)}"

    def begin(client: Any) -> None:
        life = Recorder()
        lives.append(life)
        handler = EventMultiHandler([life, act])
        executor.socket_bag.add_socket(client, ReadOperation(LINE), handler=handler, keep_alive=True)

    def act(event: Any) -> None:
        bag = executor.socket_bag
        if event.type is EventType.READ:
            event.next_is_write(event.frame.data)
        elif event.type is EventType.WRITE and len(lives) < 3:
            bag.forget_socket(event.socket)
        elif event.type is EventType.FINALIZE and len(lives) < 3:
            assert event.socket.is_connected
            if when == "later":
                executor.call_soon_threadsafe(begin, event.socket)
            else:
                begin(event.socket)
        elif event.type is EventType.FINALIZE:
            server.close()
            with pytest.raises(ValueError, match="cannot be opened again"):
                bag.add_socket(event.socket, ReadOperation())

    server = ServerSocket()
    heard: list[bytes] = []

    def ask(event: Any) -> None:
        where = event.metadata.local_address
        url = f"{scheme}://{where if scheme == 'unix' else f'localhost:{where[1]}'}"
        executor.socket_bag.add_socket(
            ClientSocket(), WriteOperation(b"one\ntwo\nthree\n", then=ReadOperation(LINE)), address=url,
            handler={EventType.READ: listen}, stream_context={"ca_file": ca.ca_file},
        )  # fmt: skip

    def listen(event: Any) -> None:
        heard.append(event.frame.data)
        if len(heard) < 3:
            event.next_is_read(LINE)

    scheme = address.partition(":")[0]
    executor.socket_bag.add_socket(
        server, ReadOperation(), address=address.format(name[1:]),
        handler={EventType.CONNECTED: ask, EventType.ACCEPT: lambda event: begin(event.client_socket)},
        stream_context={"certificate": ca.server.certificate, "private_key": ca.server.private_key},
    )  # fmt: skip
    executor.execute_request()
    assert heard == [b"one\n", b"two\n", b"three\n"]
    assert [life.names() for life in lives] == [
        ["INITIALIZE", "CONNECTED", "READ", "WRITE", "FINALIZE"],
        ["INITIALIZE", "READ", "WRITE", "FINALIZE"],
        ["INITIALIZE", "READ", "WRITE", "DISCONNECTED", "FINALIZE"],
    ]
