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
    ConnectionFailedError,
    ReadOperation,
    RequestExecutor,
    ServerSocket,
    WriteOperation,
)
from evsockets.transports.listener import Listener
from support.certificates import Authority
from support.life import END, FAILED, USUAL
from support.service import LINE, Serve, Service, echo
from support.wire import add, pair

LIFE = [*USUAL, "ACCEPT", *END]
NUMBERS = [b"%d\n" % number for number in range(300)]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_tcp(server: Serve, host: str) -> None:
    locals_read: list[Any] = []

    def read(event: Any) -> None:
        locals_read.append(event.metadata.local_address)
        echo(event)

    service = server(f"tcp://{host}:0", says=[b"hello\n"], handler={"READ": read}).execute()
    assert service.answers() == [b"hello\n"]
    assert service.listening.names == LIFE
    assert service.talking.names == [*USUAL, "READ", "WRITE", *END]
    (accept,) = service.accepted
    assert accept.socket is service.server
    assert isinstance(accept.client_socket, AcceptedSocket)
    assert accept.client_socket.is_client and not accept.client_socket.is_server
    assert accept.remote_address == service.peers[0].getsockname()
    assert accept.frame.client_socket is accept.client_socket
    assert accept.frame.remote_address == accept.remote_address
    (read_event,) = service.talking.of("READ")
    assert read_event.frame.remote_address == read_event.metadata.remote_address == accept.remote_address
    assert locals_read == [service.local]
    name, port = accept.remote_address[:2]
    assert read_event.metadata.address == f"tcp://{f'[{name}]' if ':' in name else '127.0.0.1'}:{port}"
    assert service.server.is_server and not service.server.is_client
    # Accepted sockets leave the bag by themselves, the listener stays, complete.
    assert list(service.executor.socket_bag) == [service.server]
    assert service.metadata.request_complete and not service.server.is_connected
    assert service.server.fileno() == -1


def test_address_and_remote_address_are_there_from_initialize_on(server: Serve) -> None:
    seen = []
    handler = {
        "INITIALIZE": lambda e: seen.append((e.metadata.address, e.metadata.remote_address)),
        "READ": echo,
    }
    name = server(says=[b"x\n"], handler=handler).execute().peers[0].getsockname()
    assert seen == [(f"tcp://127.0.0.1:{name[1]}", name)]


def test_dual_stack_takes_both_families(server: Serve) -> None:
    def started(event: Any) -> None:
        service.peers.stream(("127.0.0.1", service.port), b"four\n")
        service.peers.stream(("::1", service.port, 0, 0), b"six\n")

    service = server("tcp://[::]:0", clients=2, started=started, stream_context={"ipv6_only": False})
    assert service.execute().answers() == [b"four\n", b"six\n"]
    assert {e.remote_address[0] for e in service.accepted} == {"::ffff:127.0.0.1", "::1"}


def test_ipv6_only_refuses_ipv4(server: Serve) -> None:
    def started(event: Any) -> None:
        with socket.socket() as peer:
            assert peer.connect_ex(("127.0.0.1", event.metadata.local_address[1])) == errno.ECONNREFUSED
        event.cancel_operation()

    service = server("tcp://[::]:0", started=started, stream_context={"ipv6_only": True}).execute()
    assert service.listening.names == [*USUAL, *END]


def test_client_not_added_is_closed(server: Serve) -> None:
    def accept(event: Any) -> None:
        if len(service.accepted) == 2:
            event.cancel_operation()  # in ACCEPT: the listener ends

    service = server(says=[b"", b""], serves=False, server_handler={"ACCEPT": accept})
    assert service.execute().answers() == [b"", b""]
    assert service.listening.names == [*USUAL, "ACCEPT", "ACCEPT", *END]
    assert all(not e.client_socket.is_connected for e in service.accepted)


def test_nobody_listening_to_accept(executor: RequestExecutor) -> None:
    listener = ServerSocket()

    def connected(event: Any) -> None:
        sock = socket.create_connection(event.metadata.local_address)
        ended = {"FINALIZE": lambda e: listener.close()}
        add(executor, None, ReadOperation(), socket=ClientSocket.from_socket(sock), on=ended)

    handler = {"CONNECTED": connected}
    add(executor, "tcp://127.0.0.1:0", ReadOperation(), socket=listener, on=handler, io_timeout=None)
    executor.execute_request()


def test_many_clients_in_one_burst(server: Serve) -> None:
    """More than one turn accepts; each is served, in a run that also asks."""
    service = server(says=NUMBERS[:150], stream_context={"backlog": 512}).execute()
    assert service.answers() == NUMBERS[:150]
    assert service.listening.names.count("ACCEPT") == 150


def test_a_burst_is_accepted_in_bounded_shares(executor: RequestExecutor, server: Serve) -> None:
    """Several a turn, and never all: another socket has its turn in between."""
    shares: list[int] = []
    busy, far = pair()

    def reading(event: Any) -> None:
        shares.append(service.listening.names.count("ACCEPT"))
        if shares[-1] < 300:
            far.send(b"!")
            event.next_is_read()

    with far:
        service = server(says=NUMBERS, started=lambda e: far.send(b"!"), stream_context={"backlog": 512})
        add(executor, None, ReadOperation(), socket=busy, on={"READ": reading})
        service.execute()
    assert 16 <= max(later - sooner for sooner, later in itertools.pairwise(shares)) <= 100
    assert service.listening.names.count("ACCEPT") == 300


def test_a_connection_gone_before_it_was_accepted(server: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """ECONNABORTED, which other systems give: nothing is told, and the next one is accepted."""
    accept, failures = Listener.accept, [errno.ECONNABORTED, errno.EPROTO, errno.EINTR]

    def aborted(self: Any) -> Any:
        if failures:
            raise OSError(failures.pop(), "gone")
        return accept(self)

    monkeypatch.setattr(Listener, "accept", aborted)
    service = server(says=[b"x\n"]).execute()
    assert service.answers() == [b"x\n"]
    assert failures == [] and service.listening.names == LIFE


def test_bind_failure(server: Serve, unused_port: int) -> None:
    service = server(f"tcp://127.0.0.1:{unused_port}").execute()
    assert service.listening.names == FAILED
    error = service.listening.error
    assert isinstance(error, ConnectionFailedError)
    assert error.errno == errno.EADDRINUSE and isinstance(error.__cause__, OSError)
    assert error.address in str(error) and error.address == f"tcp://127.0.0.1:{unused_port}"
    assert error.socket is service.server and service.metadata.request_complete


def test_a_second_life(server: Serve) -> None:
    service = server(says=[b"1\n"]).execute()
    again = server(server=service.server, says=[b"2\n"]).execute()
    assert again.answers() == [b"1\n", b"2\n"] and again.listening.names == LIFE


def test_reuse_port_shares_the_port(server: Serve) -> None:
    services: list[Service] = []

    def started(event: Any) -> None:
        if len(services) == 1:
            services.append(server(services[0].url(), started=started, stream_context={"reuse_port": True}))
        else:
            for service in services:
                service.server.close()

    services.append(server(started=started, stream_context={"reuse_port": True}))
    services[0].execute()
    assert [service.listening.names for service in services] == [[*USUAL, *END]] * 2


@pytest.mark.parametrize("when", ["in its FINALIZE", "later"])
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "tls://127.0.0.1:0", "unix://@forgotten-{}"])
def test_a_forgotten_client_lives_again_over_its_connection(
    executor: RequestExecutor, server: Serve, ca: Authority, address: str, when: str
) -> None:
    bag = executor.socket_bag
    lives: list[Any] = []
    heard: list[bytes] = []

    def begin(client: Any) -> None:
        on = {"READ": echo, "WRITE": forget, "FINALIZE": ended}
        lives.append(add(executor, None, ReadOperation(LINE), socket=client, on=on, keep_alive=True))

    def forget(event: Any) -> None:
        if len(lives) < 3:
            bag.forget_socket(event.socket)

    def ended(event: Any) -> None:
        if len(lives) == 3:
            service.server.close()
            with pytest.raises(ValueError, match="cannot be opened again"):
                bag.add_socket(event.socket, ReadOperation())
            return
        assert event.socket.is_connected
        executor.call_soon_threadsafe(begin, event.socket) if when == "later" else begin(event.socket)

    def listen(event: Any) -> None:
        heard.append(event.frame.data)
        if len(heard) < 3:
            event.next_is_read(LINE)

    service = server(
        address.format(id(lives)), asks=[WriteOperation(b"one\ntwo\nthree\n", then=ReadOperation(LINE))],
        asking={"on": {"READ": listen}, "stream_context": {"ca_file": ca.ca_file}}, serves=False,
        server_handler={"ACCEPT": lambda e: begin(e.client_socket)}, stream_context=ca.server.settings,
    )  # fmt: skip
    service.execute()
    assert heard == [b"one\n", b"two\n", b"three\n"]
    assert [life.names for life in lives] == [
        [*USUAL, "READ", "WRITE", "FINALIZE"],
        ["INITIALIZE", "READ", "WRITE", "FINALIZE"],
        ["INITIALIZE", "READ", "WRITE", *END],
    ]
